#pragma once
#include <stddef.h>
#include <string.h>
#include <zlib.h>

/* Compresses into `out` as gzip (RFC 1952). Returns the length, or 0 if `room` is too small or memory is short. */
static inline size_t weir_gzip(const unsigned char *in, size_t length, unsigned char *out, size_t room, int level) {
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    /* 15: the largest window; 16: a gzip header. */
    if (length > 0x7fffffff || room > 0x7fffffff) return 0;
    if (deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
    stream.next_in = (Bytef *)in;
    stream.avail_in = (uInt)length;
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    int result = deflate(&stream, Z_FINISH);
    size_t done = stream.total_out;
    deflateEnd(&stream);
    return result == Z_STREAM_END ? done : 0;
}
/* Enough room for `weir_gzip`. */
static inline size_t weir_gzip_bound(size_t length) { return compressBound((uLong)length) + 18; }
