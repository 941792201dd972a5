#pragma once
#include <stdint.h>
#include <stddef.h>
#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>

/* libvpx's macros and variadics, as functions that Swift can call. */
static inline vpx_codec_err_t weir_vp8_default_config(vpx_codec_enc_cfg_t *config) {
    return vpx_codec_enc_config_default(vpx_codec_vp8_cx(), config, 0);
}
static inline vpx_codec_err_t weir_vp8_init(vpx_codec_ctx_t *context, const vpx_codec_enc_cfg_t *config) {
    return vpx_codec_enc_init(context, vpx_codec_vp8_cx(), config, 0);
}
/* Negative speeds trade quality for time without watching the clock, so that the outcome is always the same. */
static inline vpx_codec_err_t weir_vp8_set_speed(vpx_codec_ctx_t *context, int speed) {
    return vpx_codec_control(context, VP8E_SET_CPUUSED, speed);
}
/* Limit of a key frame's size, in percent of what an average frame may take. */
static inline vpx_codec_err_t weir_vp8_set_max_key_frame(vpx_codec_ctx_t *context, unsigned int percent) {
    return vpx_codec_control(context, VP8E_SET_MAX_INTRA_BITRATE_PCT, percent);
}
static inline vpx_codec_err_t weir_vpx_encode(
    vpx_codec_ctx_t *context, const vpx_image_t *image, int64_t at, int isKeyFrame) {
    return vpx_codec_encode(context, image, at, 1, isKeyFrame ? VPX_EFLAG_FORCE_KF : 0, VPX_DL_REALTIME);
}
/* The bytes of the next packet of the last picture: NULL when there is none. They are the encoder's until its next call. */
static inline const void *weir_vpx_next_frame(vpx_codec_ctx_t *context, vpx_codec_iter_t *position, size_t *length) {
    const vpx_codec_cx_pkt_t *packet;
    while ((packet = vpx_codec_get_cx_data(context, position)) != NULL) {
        if (packet->kind != VPX_CODEC_CX_FRAME_PKT) continue;
        *length = packet->data.frame.sz;
        return packet->data.frame.buf;
    }
    return NULL;
}
