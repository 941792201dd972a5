#define _GNU_SOURCE
#include <openssl/core_names.h>
#include <stdlib.h>
#include <string.h>

#include "limit.h"

/* Keys need to be different, not secret. */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}
static void fill_random(uint8_t *out, size_t count, uint64_t *state) {
    for (size_t i = 0; i < count; i++) out[i] = (uint8_t)next_random(state);
}

int limit_cipher_open(struct cipher_state *c) {
#if defined(__x86_64__)
    c->manager = alloc_mb_mgr(0);
    if (!c->manager) return 0; /* OpenSSL alone */
    IMB_ARCH architecture = IMB_ARCH_NONE;
    init_mb_mgr_auto(c->manager, &architecture);
    if (imb_get_errno(c->manager) != 0 || architecture == IMB_ARCH_NONE || architecture == IMB_ARCH_NOAESNI) return 0;
    c->cipher_jobs = calloc(JOB_BATCH, sizeof *c->cipher_jobs);
    c->hash_jobs = calloc(JOB_BATCH, sizeof *c->hash_jobs);
    if (!c->cipher_jobs || !c->hash_jobs) return -1;
    for (int i = 0; i < JOB_BATCH; i++) {
        IMB_JOB *job = &c->cipher_jobs[i];
        job->cipher_mode = IMB_CIPHER_CNTR;
        job->cipher_direction = IMB_DIR_ENCRYPT;
        job->key_len_in_bytes = 16;
        job->iv = c->slots[i].iv;
        job->iv_len_in_bytes = 16;
        job = &c->hash_jobs[i];
        job->hash_alg = IMB_AUTH_HMAC_SHA_1;
        job->auth_tag_output = c->slots[i].tag;
        job->auth_tag_output_len_in_bytes = sizeof c->slots[i].tag;
        job->user_data = &c->slots[i];
    }
    c->ready = 1;
#else
    (void)c;
#endif
    return 0;
}

void limit_cipher_close(struct cipher_state *c) {
#if defined(__x86_64__)
    if (c->manager) free_mb_mgr(c->manager);
    free(c->cipher_jobs);
    free(c->hash_jobs);
#else
    (void)c;
#endif
}

static EVP_CIPHER_CTX *evp_context(const EVP_CIPHER *kind, const uint8_t key[16]) {
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context && EVP_EncryptInit_ex(context, kind, NULL, key, NULL) == 1) return context;
    EVP_CIPHER_CTX_free(context);
    return NULL;
}

static EVP_MAC_CTX *hmac_context(const uint8_t *key, size_t length) {
    EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = algorithm ? EVP_MAC_CTX_new(algorithm) : NULL;
    EVP_MAC_free(algorithm);
    char digest[] = "SHA1";
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_construct_end()};
    if (context && EVP_MAC_init(context, key, length, parameters) == 1) return context;
    EVP_MAC_CTX_free(context);
    return NULL;
}

int limit_keys_open(struct cipher_state *c, struct destination *d, uint64_t seed) {
    uint8_t key[16], auth[20];
    fill_random(key, sizeof key, &seed);
    fill_random(auth, sizeof auth, &seed);
    fill_random(d->salt, sizeof d->salt, &seed);
    d->ssrc = (uint32_t)next_random(&seed);
    d->timestamp_offset = (uint32_t)next_random(&seed);
    d->index = next_random(&seed) & 0x1ffff;
    d->evp_gcm = evp_context(EVP_aes_128_gcm(), key);
    d->evp_cm = evp_context(EVP_aes_128_ctr(), key);
    d->evp_mac = hmac_context(auth, sizeof auth);
    if (!d->evp_gcm || !d->evp_cm || !d->evp_mac) return -1;
#if defined(__x86_64__)
    if (!c->ready) return 0;
    _Alignas(CACHE_LINE) uint8_t decryption[16 * 11];
    IMB_AES_KEYEXP_128(c->manager, key, d->round_keys, decryption);
    IMB_AES128_GCM_PRE(c->manager, key, &d->gcm);
    uint8_t block[IMB_SHA1_BLOCK_SIZE];
    memset(block, 0x36, sizeof block);
    for (size_t i = 0; i < sizeof auth; i++) block[i] ^= auth[i];
    IMB_SHA1_ONE_BLOCK(c->manager, block, d->inner);
    memset(block, 0x5c, sizeof block);
    for (size_t i = 0; i < sizeof auth; i++) block[i] ^= auth[i];
    IMB_SHA1_ONE_BLOCK(c->manager, block, d->outer);
#else
    (void)c;
#endif
    return 0;
}

void limit_keys_close(struct destination *d) {
    EVP_CIPHER_CTX_free(d->evp_gcm);
    EVP_CIPHER_CTX_free(d->evp_cm);
    EVP_MAC_CTX_free(d->evp_mac);
}

int weir_limit_has(const struct weir_limit *limit, enum weir_limit_cipher cipher) {
    switch (cipher) {
    case WEIR_LIMIT_PLAIN:
    case WEIR_LIMIT_GCM_EVP:
    case WEIR_LIMIT_CM_EVP: return 1;
    default: return limit->cipher.ready;
    }
}

const char *weir_limit_ipsecmb(const struct weir_limit *limit) {
#if defined(__x86_64__)
    if (!limit->cipher.ready) return "none";
    switch (limit->cipher.manager->used_arch) {
    case IMB_ARCH_SSE: return "SSE";
    case IMB_ARCH_AVX: return "AVX";
    case IMB_ARCH_AVX2: return "AVX2";
    case IMB_ARCH_AVX512: return "AVX512";
    default: return "other";
    }
#else
    (void)limit;
    return "none";
#endif
}
