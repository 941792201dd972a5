/* Header and encryption of one packet. Inline, with the cipher a constant at each call, so that a loop holds only the
 * code of its own cipher. */
#pragma once
#include <string.h>

#include "limit.h"

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS void store16(uint8_t *p, uint16_t v) {
    v = __builtin_bswap16(v);
    memcpy(p, &v, 2);
}
ALWAYS void store32(uint8_t *p, uint32_t v) {
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}

ALWAYS int tag_bytes(enum weir_limit_cipher cipher) {
    switch (cipher) {
    case WEIR_LIMIT_GCM_DIRECT:
    case WEIR_LIMIT_GCM_EVP: return GCM_TAG;
    default: return CM_TAG; /* plain packets too: lengths stay comparable */
    }
}

ALWAYS void write_header(uint8_t *p, const struct destination *d, uint64_t index, uint32_t timestamp, int bytes,
                         uint8_t payload_type) {
    p[0] = bytes > FIXED_HEADER ? 0x90 : 0x80;
    p[1] = payload_type;
    store16(p + 2, (uint16_t)index);
    store32(p + 4, timestamp + d->timestamp_offset);
    store32(p + 8, d->ssrc);
    if (bytes > FIXED_HEADER) { /* RFC 8285: one-byte elements, one word of them */
        store32(p + 12, 0xbede0001);
        store32(p + 16, 0x32000000 | (uint32_t)(index & 0xffff) << 8);
    }
}

/* RFC 3711 §4.1.1: (salt * 2^16) ^ (SSRC * 2^64) ^ (index * 2^16). */
ALWAYS void counter_block(uint8_t iv[16], const struct destination *d, uint64_t index) {
    memcpy(iv, d->salt, 14);
    iv[14] = iv[15] = 0;
    uint32_t ssrc;
    memcpy(&ssrc, iv + 4, 4);
    ssrc ^= __builtin_bswap32(d->ssrc);
    memcpy(iv + 4, &ssrc, 4);
    uint64_t low;
    memcpy(&low, iv + 8, 8);
    low ^= __builtin_bswap64(index << 16);
    memcpy(iv + 8, &low, 8);
}

/* RFC 7714 §8.1: 00 00 SSRC ROC SEQ, xor salt. */
ALWAYS void gcm_nonce(uint8_t nonce[12], const struct destination *d, uint64_t index) {
    uint8_t plain[12] = {0};
    store32(plain + 2, d->ssrc);
    store32(plain + 6, (uint32_t)(index >> 16));
    store16(plain + 10, (uint16_t)index);
    for (int i = 0; i < 12; i++) nonce[i] = plain[i] ^ d->salt[i];
}

ALWAYS void evp_gcm(const struct destination *d, uint8_t *p, int header, const uint8_t *payload, int length,
                    uint64_t index) {
    uint8_t nonce[12];
    int n;
    gcm_nonce(nonce, d, index);
    EVP_EncryptInit_ex(d->evp_gcm, NULL, NULL, NULL, nonce);
    EVP_EncryptUpdate(d->evp_gcm, NULL, &n, p, header);
    EVP_EncryptUpdate(d->evp_gcm, p + header, &n, payload, length);
    EVP_EncryptFinal_ex(d->evp_gcm, p + header + length, &n);
    EVP_CIPHER_CTX_ctrl(d->evp_gcm, EVP_CTRL_AEAD_GET_TAG, GCM_TAG, p + header + length);
}

ALWAYS void evp_cm(const struct destination *d, uint8_t *p, int header, const uint8_t *payload, int length,
                   uint64_t index) {
    uint8_t iv[16], tag[20];
    int n;
    size_t tag_length;
    uint8_t *end = p + header + length;
    counter_block(iv, d, index);
    EVP_EncryptInit_ex(d->evp_cm, NULL, NULL, NULL, iv);
    EVP_EncryptUpdate(d->evp_cm, p + header, &n, payload, length);
    store32(end, (uint32_t)(index >> 16)); /* the tag overwrites it: one update less */
    EVP_MAC_init(d->evp_mac, NULL, 0, NULL);
    EVP_MAC_update(d->evp_mac, p, (size_t)(header + length + 4));
    EVP_MAC_final(d->evp_mac, tag, &tag_length, sizeof tag);
    memcpy(end, tag, CM_TAG);
}

#if defined(__x86_64__)
ALWAYS void place_tag(const struct job_slot *slot) { memcpy(slot->tag_place, slot->tag, CM_TAG); }

ALWAYS struct job_slot *fill_job(struct cipher_state *c, IMB_JOB *job, const struct destination *d, uint8_t *p,
                                 int header, int length, uint64_t index) {
    /* More slots than jobs that can be queued: a slot is free again when its turn comes. */
    struct job_slot *slot = &c->slots[c->next_slot++ % (2 * IMB_MAX_JOBS)];
    counter_block(slot->iv, d, index);
    slot->tag_place = p + header + length;
    store32(slot->tag_place, (uint32_t)(index >> 16));
    job->cipher_mode = IMB_CIPHER_CNTR;
    job->cipher_direction = IMB_DIR_ENCRYPT;
    job->chain_order = IMB_ORDER_CIPHER_HASH;
    job->hash_alg = IMB_AUTH_HMAC_SHA_1;
    job->enc_keys = job->dec_keys = d->round_keys;
    job->key_len_in_bytes = 16;
    job->src = p;
    job->dst = p + header;
    job->cipher_start_src_offset_in_bytes = (uint64_t)header;
    job->msg_len_to_cipher_in_bytes = (uint64_t)length;
    job->hash_start_src_offset_in_bytes = 0;
    job->msg_len_to_hash_in_bytes = (uint64_t)(header + length + 4);
    job->iv = slot->iv;
    job->iv_len_in_bytes = 16;
    job->auth_tag_output = slot->tag;
    job->auth_tag_output_len_in_bytes = sizeof slot->tag;
    job->u.HMAC._hashed_auth_key_xor_ipad = d->inner;
    job->u.HMAC._hashed_auth_key_xor_opad = d->outer;
    job->user_data = slot;
    return slot;
}

ALWAYS void finish_bursts(struct cipher_state *c) {
    if (c->pending == 0) return;
    uint32_t done = c->manager->submit_burst_nocheck(c->manager, (uint32_t)c->pending, c->burst);
    for (uint32_t i = 0; i < done; i++) place_tag(c->burst[i]->user_data);
    c->waiting += c->pending - (int)done;
    c->pending = 0;
}

ALWAYS void finish_split(struct cipher_state *c) {
    if (c->pending == 0) return;
    uint32_t count = (uint32_t)c->pending;
    c->manager->submit_cipher_burst_nocheck(c->manager, c->cipher_jobs, count, IMB_CIPHER_CNTR, IMB_DIR_ENCRYPT,
                                            IMB_KEY_128_BYTES);
    c->manager->submit_hash_burst_nocheck(c->manager, c->hash_jobs, count, IMB_AUTH_HMAC_SHA_1);
    for (uint32_t i = 0; i < count; i++) place_tag(c->hash_jobs[i].user_data);
    c->pending = 0;
}
#endif

/* `p` holds the header; the payload is copied from `payload`. Bytes are final after `finish`. */
ALWAYS void protect(struct cipher_state *c, enum weir_limit_cipher cipher, const struct destination *d, uint8_t *p,
                    int header, const uint8_t *payload, int length, uint64_t index) {
    switch (cipher) {
    case WEIR_LIMIT_PLAIN: memcpy(p + header, payload, (size_t)length); break;
    case WEIR_LIMIT_GCM_EVP: evp_gcm(d, p, header, payload, length, index); break;
    case WEIR_LIMIT_CM_EVP: evp_cm(d, p, header, payload, length, index); break;
#if defined(__x86_64__)
    case WEIR_LIMIT_GCM_DIRECT: {
        uint8_t nonce[12];
        gcm_nonce(nonce, d, index);
        c->manager->gcm128_enc(&d->gcm, &c->gcm_context, p + header, payload, (uint64_t)length, nonce, p,
                               (uint64_t)header, p + header + length, GCM_TAG);
        break;
    }
    case WEIR_LIMIT_CM_JOBS: {
        memcpy(p + header, payload, (size_t)length);
        IMB_JOB *job = c->manager->get_next_job(c->manager);
        fill_job(c, job, d, p, header, length, index);
        c->waiting++;
        job = c->manager->submit_job_nocheck(c->manager);
        if (job) {
            c->waiting--;
            place_tag(job->user_data);
        }
        break;
    }
    case WEIR_LIMIT_CM_BURST: {
        memcpy(p + header, payload, (size_t)length);
        if (c->pending == 0) {
            /* Its queue holds four bursts; when jobs of earlier ones fill it, they must be done first. */
            while (c->manager->get_next_burst(c->manager, JOB_BATCH, c->burst) < JOB_BATCH) {
                uint32_t done = c->manager->flush_burst(c->manager, JOB_BATCH, c->burst);
                for (uint32_t i = 0; i < done; i++) place_tag(c->burst[i]->user_data);
                c->waiting -= (int)done;
            }
        }
        fill_job(c, c->burst[c->pending++], d, p, header, length, index);
        if (c->pending == JOB_BATCH) finish_bursts(c);
        break;
    }
    case WEIR_LIMIT_CM_SPLIT: {
        IMB_JOB *cipher_job = &c->cipher_jobs[c->pending];
        IMB_JOB *hash_job = &c->hash_jobs[c->pending];
        struct job_slot *slot = &c->slots[c->pending];
        counter_block(slot->iv, d, index);
        slot->tag_place = p + header + length;
        store32(slot->tag_place, (uint32_t)(index >> 16));
        /* All other fields are the same for every packet: limit_cipher_open has set them. */
        cipher_job->enc_keys = d->round_keys;
        cipher_job->src = payload;
        cipher_job->dst = p + header;
        cipher_job->msg_len_to_cipher_in_bytes = (uint64_t)length;
        hash_job->src = p;
        hash_job->msg_len_to_hash_in_bytes = (uint64_t)(header + length + 4);
        hash_job->u.HMAC._hashed_auth_key_xor_ipad = d->inner;
        hash_job->u.HMAC._hashed_auth_key_xor_opad = d->outer;
        if (++c->pending == JOB_BATCH) finish_split(c);
        break;
    }
#endif
    default: break;
    }
}

/* Completes what jobs still hold. */
ALWAYS void finish(struct cipher_state *c, enum weir_limit_cipher cipher) {
#if defined(__x86_64__)
    if (cipher == WEIR_LIMIT_CM_SPLIT) {
        finish_split(c);
    } else if (cipher == WEIR_LIMIT_CM_JOBS) {
        for (IMB_JOB *job; c->waiting > 0 && (job = c->manager->flush_job(c->manager)); c->waiting--)
            place_tag(job->user_data);
    } else if (cipher == WEIR_LIMIT_CM_BURST) {
        finish_bursts(c);
        while (c->waiting > 0) {
            uint32_t done = c->manager->flush_burst(c->manager, JOB_BATCH, c->burst);
            if (done == 0) break;
            for (uint32_t i = 0; i < done; i++) place_tag(c->burst[i]->user_data);
            c->waiting -= (int)done;
        }
    }
#else
    (void)c, (void)cipher;
#endif
}
