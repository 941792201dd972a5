/* What physics demands of one fan-out core, as bare C loops: copy a packet, write its header, encrypt it under the
 * destination's key, send it. No protocol, no bookkeeping, no decisions. */
#pragma once
#include <stdint.h>

/* How packets are encrypted. All kinds of one profile give the same bytes: `weir_limit_check` compares them. */
enum weir_limit_cipher {
    WEIR_LIMIT_PLAIN,        /* copy and header alone */
    WEIR_LIMIT_GCM_DIRECT,   /* AES-128-GCM, ipsec-mb, one packet a call */
    WEIR_LIMIT_GCM_EVP,      /* AES-128-GCM, OpenSSL, one kept context per destination */
    WEIR_LIMIT_CM_JOBS,      /* AES-CM + HMAC-SHA1-80, ipsec-mb jobs, one submission a packet */
    WEIR_LIMIT_CM_BURST,     /* the same jobs, submitted up to 64 at a time */
    WEIR_LIMIT_CM_SPLIT,     /* the synchronous bursts: cipher of many packets without a copy, then HMAC of many */
    WEIR_LIMIT_CM_EVP,       /* AES-CM + HMAC-SHA1-80, OpenSSL, kept contexts per destination */
    WEIR_LIMIT_CIPHERS
};

#define WEIR_LIMIT_SEND_BATCH 64
/* Bytes of one UDP datagram before the kernel cuts it. */
#define WEIR_LIMIT_MAX_MESSAGE 65507
#define WEIR_LIMIT_MAX_DESTINATIONS 8192

/* Destinations with their sockets, keys and the draining thread. */
struct weir_limit;

struct weir_limit_load {
    enum weir_limit_cipher cipher;
    int run;           /* large packets per destination and burst */
    int gso;           /* 1: a run is one message (UDP_SEGMENT); 0: a message a packet */
    int one_key;       /* 1: all packets under the first destination's key, as the calibration does */
    int packet_bytes;  /* RTP packet with header, without tag */
    int header_bytes;  /* 12, or 20 with a header extension */
    int audio_bytes;   /* small packet, likewise */
    double audio;      /* share of small packets, each a message of its own: 0 ..< 1 */
    int batch;         /* messages per sendmmsg at most */
    int send;          /* 0: crypto alone */
    double seconds;    /* wall time to measure */
};

struct weir_limit_result {
    int64_t packets;       /* prepared, and sent if sending */
    int64_t audio_packets; /* of them small */
    int64_t calls;         /* of sendmmsg */
    int64_t cpu_ns;        /* CLOCK_THREAD_CPUTIME_ID of the sending thread, waits for the drain left out */
    int64_t wall_ns;       /* CLOCK_MONOTONIC, waits left out */
    int64_t waited_ns;     /* for the drain to catch up */
    int64_t delivered;     /* packets that the drain read, those of the unmeasured first pass included */
    int64_t dropped;       /* sent and never read: a receive buffer was full */
    int error;             /* errno of a failed send, else 0 */
};

/* Opens one sending socket and `destinations` receiving ones on 127.0.0.1. NULL with errno set on failure. */
struct weir_limit *weir_limit_new(int destinations);
void weir_limit_free(struct weir_limit *limit);

/* Whether this processor and build have the cipher. */
int weir_limit_has(const struct weir_limit *limit, enum weir_limit_cipher cipher);
/* Name of the code path that ipsec-mb chose, or "none". */
const char *weir_limit_ipsecmb(const struct weir_limit *limit);
/* Whether `cipher` gives the bytes that OpenSSL gives, for both packet sizes and several destinations; 1 or 0. */
int weir_limit_check(struct weir_limit *limit, const struct weir_limit_load *load);

/* Starts the thread that empties the receiving sockets, pinned to `cpu` (as in taskset; -1: not pinned). 0 or errno. */
int weir_limit_start_drain(struct weir_limit *limit, int cpu);
void weir_limit_stop_drain(struct weir_limit *limit);

/* Pins the calling thread to a processor by number, as in taskset. 0 or errno. */
int weir_limit_pin(int cpu);

struct weir_limit_result weir_limit_run(struct weir_limit *limit, const struct weir_limit_load *load);
