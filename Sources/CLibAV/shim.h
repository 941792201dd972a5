#pragma once
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavcodec/bsf.h>
#include <libavformat/avformat.h>
#include <libavutil/audio_fifo.h>
#include <libavutil/avutil.h>
#include <libavutil/channel_layout.h>
#include <libavutil/display.h>
#include <libavutil/error.h>
#include <libavutil/frame.h>
#include <libavutil/imgutils.h>
#include <libavutil/log.h>
#include <libavutil/mathematics.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libavutil/samplefmt.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>

/* Debian 12 has FFmpeg 5.1: what is used here (AVChannelLayout among it) is there from this version on. */
_Static_assert(LIBAVCODEC_VERSION_MAJOR >= 59, "FFmpeg 5.1 or newer");

/* Macros that Swift cannot see. */
static inline int weir_averror(int posixError) { return AVERROR(posixError); }
static const int weir_averror_eof = AVERROR_EOF;
static const int weir_averror_invalid_data = AVERROR_INVALIDDATA;
static const int64_t weir_av_nopts = AV_NOPTS_VALUE;
static const int weir_av_input_padding = AV_INPUT_BUFFER_PADDING_SIZE;
static const int weir_av_flag_low_delay = AV_CODEC_FLAG_LOW_DELAY;
static const int weir_av_flag_global_header = AV_CODEC_FLAG_GLOBAL_HEADER;

/* The library's own words for an error, into `text` (at least AV_ERROR_MAX_STRING_SIZE bytes). */
static inline void weir_av_error_text(int error, char *text, size_t length) {
    if (av_strerror(error, text, length) < 0 && length > 0) text[0] = 0;
}

static inline AVRational weir_rational(int numerator, int denominator) {
    return (AVRational){numerator, denominator};
}

/* Containers. */
static const int weir_averror_exit = AVERROR_EXIT;
static const int weir_av_seek_size = AVSEEK_SIZE;
static const int weir_av_seek_force = AVSEEK_FORCE;
static inline int weir_posix_error(int libavError) { return AVUNERROR(libavError); }

/* Networks. */
static const int weir_averror_http_unauthorized = AVERROR_HTTP_UNAUTHORIZED;
static const int weir_averror_http_forbidden = AVERROR_HTTP_FORBIDDEN;
static const int weir_averror_http_not_found = AVERROR_HTTP_NOT_FOUND;
static const int weir_averror_http_other_4xx = AVERROR_HTTP_OTHER_4XX;
static const int weir_averror_http_bad_request = AVERROR_HTTP_BAD_REQUEST;
static const int weir_averror_http_server_error = AVERROR_HTTP_SERVER_ERROR;
static const int weir_averror_protocol_not_found = AVERROR_PROTOCOL_NOT_FOUND;
