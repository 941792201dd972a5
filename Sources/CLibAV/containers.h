/* What Swift cannot see of libavformat: macros, and functions with variable arguments. */
#pragma once
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <libavutil/display.h>
#include <libavutil/log.h>
#include <libavutil/mathematics.h>
#include <libavutil/opt.h>

static const int weir_av_eof = AVERROR_EOF;
static const int weir_av_invalid_data = AVERROR_INVALIDDATA;
static const int weir_av_exit = AVERROR_EXIT;
static const int64_t weir_av_no_time = AV_NOPTS_VALUE;
static const int weir_av_seek_size = AVSEEK_SIZE;

/* libav's form of an errno, and back. */
static inline int weir_av_error(int error) { return AVERROR(error); }
static inline int weir_av_errno(int result) { return AVUNERROR(result); }

static inline uint32_t weir_av_tag(char a, char b, char c, char d) { return MKTAG(a, b, c, d); }
