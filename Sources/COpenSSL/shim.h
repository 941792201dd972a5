#pragma once
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/srtp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* OpenSSL's macros, as functions that Swift can call. */
static inline long weir_ssl_set_mtu(SSL *ssl, long mtu) { return SSL_set_mtu(ssl, mtu); }
static inline uint64_t weir_ctx_set_options(SSL_CTX *ctx, uint64_t bits) { return SSL_CTX_set_options(ctx, bits); }
static inline int weir_ctx_require_dtls12(SSL_CTX *ctx) { return SSL_CTX_set_min_proto_version(ctx, DTLS1_2_VERSION); }
static inline void weir_ctx_no_sessions(SSL_CTX *ctx) { SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); }
static inline long weir_ctx_max_fragment(SSL_CTX *ctx, long bytes) { return SSL_CTX_set_max_send_fragment(ctx, bytes); }
static inline long weir_dtls_handle_timeout(SSL *ssl) { return DTLSv1_handle_timeout(ssl); }
/* Microseconds until the next retransmission; -1 when no timer runs. */
static inline int64_t weir_dtls_timeout_us(SSL *ssl) {
    struct timeval left;
    if (!DTLSv1_get_timeout(ssl, &left)) return -1;
    return (int64_t)left.tv_sec * 1000000 + left.tv_usec;
}
static inline int weir_bio_type(void) { return BIO_get_new_index() | BIO_TYPE_SOURCE_SINK; }
static inline void weir_bio_retry_read(BIO *bio) { BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY); }
static inline void weir_bio_clear_retry(BIO *bio) { BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY); }
static inline EVP_PKEY *weir_ec_p256(void) { return EVP_EC_gen("P-256"); }
static inline X509 *weir_peer_certificate(SSL *ssl) { return SSL_get1_peer_certificate(ssl); }
enum { WEIR_BIO_FLUSH = BIO_CTRL_FLUSH, WEIR_BIO_MTU = BIO_CTRL_DGRAM_QUERY_MTU };

/* HMAC-SHA1 from a key's two hash states (after the inner and the outer pad, 5 words each): 40 bytes a key, where an
 * EVP_MAC_CTX takes a kilobyte, and no look-ups a packet. OpenSSL 3 calls its low-level SHA functions deprecated, yet
 * offers nothing else whose state is plain memory. */
static inline void weir_sha1_resume(SHA_CTX *c, const uint32_t *h) {
    c->h0 = h[0], c->h1 = h[1], c->h2 = h[2], c->h3 = h[3], c->h4 = h[4];
    c->Nl = 64 * 8, c->Nh = 0, c->num = 0;
}
/* `key` is at most 64 bytes long. */
static inline void weir_hmac_sha1_expand(uint32_t *states, const uint8_t *key, size_t length) {
    for (int outer = 0; outer < 2; outer++) {
        uint8_t block[64];
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = (outer ? 0x5c : 0x36) ^ (i < length ? key[i] : 0);
        SHA_CTX c;
        SHA1_Init(&c);
        SHA1_Transform(&c, block);
        uint32_t *h = states + 5 * outer;
        h[0] = c.h0, h[1] = c.h1, h[2] = c.h2, h[3] = c.h3, h[4] = c.h4;
        OPENSSL_cleanse(block, sizeof block);
        OPENSSL_cleanse(&c, sizeof c);
    }
}
/* HMAC over `bytes` and `more` behind them; writes 20 bytes. */
static inline void weir_hmac_sha1(
    const uint32_t *states, const void *bytes, size_t length, const void *more, size_t more_length, uint8_t *out) {
    SHA_CTX c;
    weir_sha1_resume(&c, states);
    SHA1_Update(&c, bytes, length);
    SHA1_Update(&c, more, more_length);
    SHA1_Final(out, &c);
    weir_sha1_resume(&c, states + 5);
    SHA1_Update(&c, out, 20);
    SHA1_Final(out, &c);
}

/* Key block of TLS 1.2 (RFC 5246 section 6.3); parameter arrays are awkward in Swift. Returns 1 on success. */
static inline int weir_tls12_key_block(
    const char *digest, const unsigned char *master, size_t master_length, const unsigned char *server_random,
    const unsigned char *client_random, size_t random_length, unsigned char *out, size_t length) {
    static const char label[] = "key expansion";
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_PRF, NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    EVP_KDF_free(kdf);
    if (!context) return 0;
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, (void *)master, master_length),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *)label, sizeof label - 1),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *)server_random, random_length),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *)client_random, random_length),
        OSSL_PARAM_construct_end(),
    };
    int done = EVP_KDF_derive(context, out, length, parameters) > 0;
    EVP_KDF_CTX_free(context);
    return done;
}
