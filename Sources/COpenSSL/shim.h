#pragma once
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/srtp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* OpenSSL's macros, as functions that Swift can call. */
static inline long weir_ssl_set_mtu(SSL *ssl, long mtu) { return SSL_set_mtu(ssl, mtu); }
static inline uint64_t weir_ssl_set_options(SSL *ssl, uint64_t options) { return SSL_set_options(ssl, options); }
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
