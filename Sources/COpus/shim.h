#pragma once
#include <opus/opus.h>

/* opus_encoder_ctl is variadic and its requests are macros. Each returns OPUS_OK or a negative error. */
static inline int weir_opus_set_bitrate(OpusEncoder *encoder, opus_int32 bitsPerSecond) {
    return opus_encoder_ctl(encoder, OPUS_SET_BITRATE(bitsPerSecond));
}
static inline int weir_opus_set_vbr(OpusEncoder *encoder, int on) {
    return opus_encoder_ctl(encoder, OPUS_SET_VBR(on));
}
