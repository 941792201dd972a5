/* Internals shared by the loops. */
#pragma once
#include <netinet/in.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "CLimit.h"

#if defined(__x86_64__)
#include <intel-ipsec-mb.h>
#endif

#define CACHE_LINE 64
#define FIXED_HEADER 12
#define CM_TAG 10
#define GCM_TAG 16
/* Packets of one publisher that passes take turns in, so that a pass finds its source as warm as a ring's newest. */
#define SOURCE_SLOTS 256
#define SOURCE_BYTES 2048
/* Packets that one submission to ipsec-mb holds: its queue takes 256, its bursts 128. */
#define JOB_BATCH 64

/* One receiver: address, position, keys of both profiles for both libraries. */
struct destination {
    struct sockaddr_in address;
    uint32_t ssrc;
    uint32_t timestamp_offset;
    uint64_t index; /* roll-over counter and sequence number, 48 bits */
    uint8_t salt[14];
    EVP_CIPHER_CTX *evp_gcm;
    EVP_CIPHER_CTX *evp_cm;
    EVP_MAC_CTX *evp_mac;
#if defined(__x86_64__)
    _Alignas(CACHE_LINE) uint8_t round_keys[16 * 11];
    _Alignas(CACHE_LINE) uint8_t inner[20];
    uint8_t outer[20];
    _Alignas(CACHE_LINE) struct gcm_key_data gcm;
#endif
};

#if defined(__x86_64__)
/* What a job needs until it is done. */
struct job_slot {
    _Alignas(CACHE_LINE) uint8_t iv[16];
    uint8_t tag[20];
    uint8_t *tag_place;
};
#endif

struct cipher_state {
#if defined(__x86_64__)
    IMB_MGR *manager;
    struct gcm_context_data gcm_context;
    struct job_slot slots[2 * IMB_MAX_JOBS];
    unsigned next_slot;
    int waiting; /* jobs queued one by one */
    int pending; /* jobs gathered for a burst */
    IMB_JOB *burst[JOB_BATCH];
    IMB_JOB *cipher_jobs;
    IMB_JOB *hash_jobs;
#endif
    int ready; /* 0: no ipsec-mb */
};

struct limit_drain {
    _Alignas(CACHE_LINE) _Atomic int64_t delivered;
    _Alignas(CACHE_LINE) _Atomic int stop;
    pthread_t thread;
    int running;
};

struct weir_limit {
    int count;
    int send_socket;
    int *sockets;
    struct destination *destinations;
    uint8_t *source;
    uint8_t *out;
    size_t out_bytes;
    struct cipher_state cipher;
    struct limit_drain drain;
};

/* ciphers.c. Both 0 on success. */
int limit_cipher_open(struct cipher_state *state);
void limit_cipher_close(struct cipher_state *state);
int limit_keys_open(struct cipher_state *state, struct destination *destination, uint64_t seed);
void limit_keys_close(struct destination *destination);
