#define _GNU_SOURCE
#include <errno.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "protect.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* The sender waits for the drain when so many packets per destination are under way. Without a bound the queues would
 * grow, packets be dropped (cheaper than queueing them), and memory come cold from the allocator. */
#define WINDOW_PER_DESTINATION 64
/* When the drain reads nothing for so long, what is missing was dropped: longer than a busy machine keeps a thread
 * from running. */
#define LOST_AFTER_NS 500000000
#define TIMESTAMP_STEP 3000
#define VIDEO_TYPE 96
#define AUDIO_TYPE 111

static int64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct pass {
    const uint8_t *source; /* `run` packets from here */
    int audio;             /* small packets per destination in this pass */
    uint32_t timestamp;
};

struct outbox {
    struct mmsghdr messages[WEIR_LIMIT_SEND_BATCH];
    struct iovec vectors[WEIR_LIMIT_SEND_BATCH];
    _Alignas(16) uint8_t control[WEIR_LIMIT_SEND_BATCH][CMSG_SPACE(sizeof(uint16_t))];
    int count;
    uint8_t *end; /* of the bytes in use */
};

static void prepare(struct outbox *box, uint16_t segment) {
    memset(box, 0, sizeof *box);
    for (int i = 0; i < WEIR_LIMIT_SEND_BATCH; i++) {
        struct cmsghdr *c = (struct cmsghdr *)box->control[i];
        c->cmsg_level = SOL_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof segment);
        memcpy(CMSG_DATA(c), &segment, sizeof segment);
        box->messages[i].msg_hdr.msg_iov = &box->vectors[i];
        box->messages[i].msg_hdr.msg_iovlen = 1;
        box->messages[i].msg_hdr.msg_namelen = sizeof(struct sockaddr_in);
    }
}

ALWAYS int deliver(struct weir_limit *limit, const struct weir_limit_load *load, enum weir_limit_cipher cipher,
                   struct outbox *box, struct weir_limit_result *result) {
    finish(&limit->cipher, cipher);
    int at = 0;
    while (load->send && at < box->count) {
        int sent = sendmmsg(limit->send_socket, box->messages + at, (unsigned)(box->count - at), 0);
        if (sent < 0) {
            if (errno == EINTR) continue;
            return errno;
        }
        result->calls++;
        at += sent;
    }
    box->count = 0;
    box->end = limit->out;
    return 0;
}

ALWAYS void queue(struct outbox *box, const struct destination *d, int bytes, int segmented) {
    int i = box->count++;
    box->vectors[i] = (struct iovec){box->end, (size_t)bytes};
    struct msghdr *m = &box->messages[i].msg_hdr;
    m->msg_name = (void *)&d->address;
    m->msg_control = segmented ? box->control[i] : NULL;
    m->msg_controllen = segmented ? sizeof box->control[i] : 0;
    box->end += bytes;
}

/* One burst to every destination. */
ALWAYS int send_pass(struct weir_limit *limit, const struct weir_limit_load *load, enum weir_limit_cipher cipher,
                     const struct pass *pass, struct outbox *box, struct weir_limit_result *result) {
    struct cipher_state *c = &limit->cipher;
    const int header = load->header_bytes, tag = tag_bytes(cipher);
    const int whole = load->packet_bytes + tag, small = load->audio_bytes + tag;
    const int payload = load->packet_bytes - header, audio_payload = load->audio_bytes - header;
    for (int n = 0; n < limit->count; n++) {
        struct destination *d = &limit->destinations[n];
        /* The calibration's packets go everywhere under one key, but each destination has its own numbers. */
        const struct destination *keys = load->one_key ? &limit->destinations[0] : d;
        uint8_t *p = box->end;
        for (int i = 0; i < load->run; i++, p += whole) {
            write_header(p, keys, d->index, pass->timestamp, header, VIDEO_TYPE);
            protect(c, cipher, keys, p, header, pass->source + i * SOURCE_BYTES, payload, d->index++);
            if (!load->gso) {
                queue(box, d, whole, 0);
                if (box->count == load->batch) {
                    int error = deliver(limit, load, cipher, box, result);
                    if (error) return error;
                    p = box->end - whole;
                }
            }
        }
        if (load->gso) {
            queue(box, d, load->run * whole, load->run > 1);
            if (box->count == load->batch) {
                int error = deliver(limit, load, cipher, box, result);
                if (error) return error;
            }
        }
        for (int i = 0; i < pass->audio; i++) {
            p = box->end;
            write_header(p, keys, d->index, pass->timestamp, header, AUDIO_TYPE);
            protect(c, cipher, keys, p, header, pass->source, audio_payload, d->index++);
            queue(box, d, small, 0);
            if (box->count == load->batch) {
                int error = deliver(limit, load, cipher, box, result);
                if (error) return error;
            }
        }
    }
    return deliver(limit, load, cipher, box, result);
}

static int run_pass(struct weir_limit *limit, const struct weir_limit_load *load, const struct pass *pass,
                    struct outbox *box, struct weir_limit_result *result) {
    switch (load->cipher) {
    case WEIR_LIMIT_PLAIN: return send_pass(limit, load, WEIR_LIMIT_PLAIN, pass, box, result);
    case WEIR_LIMIT_GCM_DIRECT: return send_pass(limit, load, WEIR_LIMIT_GCM_DIRECT, pass, box, result);
    case WEIR_LIMIT_GCM_EVP: return send_pass(limit, load, WEIR_LIMIT_GCM_EVP, pass, box, result);
    case WEIR_LIMIT_CM_JOBS: return send_pass(limit, load, WEIR_LIMIT_CM_JOBS, pass, box, result);
    case WEIR_LIMIT_CM_BURST: return send_pass(limit, load, WEIR_LIMIT_CM_BURST, pass, box, result);
    case WEIR_LIMIT_CM_SPLIT: return send_pass(limit, load, WEIR_LIMIT_CM_SPLIT, pass, box, result);
    case WEIR_LIMIT_CM_EVP: return send_pass(limit, load, WEIR_LIMIT_CM_EVP, pass, box, result);
    default: return EINVAL;
    }
}

/* Waits until at most `allowed` packets are under way. Returns those given up. */
static int64_t wait_for_drain(struct weir_limit *limit, int64_t sent, int64_t allowed) {
    int64_t seen = -1, since = 0;
    for (;;) {
        int64_t delivered = atomic_load_explicit(&limit->drain.delivered, memory_order_acquire);
        if (sent - delivered <= allowed) return 0;
        int64_t now = now_ns(CLOCK_MONOTONIC);
        if (delivered != seen) {
            seen = delivered;
            since = now;
        } else if (now - since > LOST_AFTER_NS) {
            return sent - delivered;
        }
        sched_yield();
    }
}

static int is_valid(const struct weir_limit *limit, const struct weir_limit_load *load) {
    int whole = load->packet_bytes + GCM_TAG;
    return weir_limit_has(limit, load->cipher) && load->run >= 1 && load->run <= SOURCE_SLOTS / 2 &&
           load->batch >= 1 && load->batch <= WEIR_LIMIT_SEND_BATCH &&
           (load->header_bytes == FIXED_HEADER || load->header_bytes == FIXED_HEADER + 8) &&
           load->audio_bytes > load->header_bytes && load->packet_bytes > load->header_bytes &&
           load->packet_bytes <= SOURCE_BYTES && load->audio_bytes <= SOURCE_BYTES && load->audio >= 0 &&
           load->audio < 1 && (!load->gso || load->run * whole <= WEIR_LIMIT_MAX_MESSAGE) &&
           (size_t)load->batch * (size_t)load->run * (size_t)whole <= limit->out_bytes;
}

struct weir_limit_result weir_limit_run(struct weir_limit *limit, const struct weir_limit_load *load) {
    struct weir_limit_result result = {0};
    struct outbox *box = aligned_alloc(CACHE_LINE, (sizeof *box + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1));
    if (!box || !is_valid(limit, load) || (load->send && !limit->drain.running)) {
        result.error = box ? EINVAL : ENOMEM;
        free(box);
        return result;
    }
    prepare(box, (uint16_t)(load->packet_bytes + tag_bytes(load->cipher)));
    box->end = limit->out;
    const int64_t before = atomic_load(&limit->drain.delivered);
    const double audio_per_pass = load->audio / (1 - load->audio) * load->run;
    const int64_t duration = (int64_t)(load->seconds * 1e9);
    struct pass pass = {0};
    double audio_due = 0;
    int slot = 0;
    int warming = 1; /* the first pass fills caches and queues: not measured */
    int64_t sent = 0, given_up = 0;
    while (warming || result.wall_ns < duration) {
        audio_due += audio_per_pass;
        pass.audio = (int)audio_due;
        audio_due -= pass.audio;
        if (slot + load->run > SOURCE_SLOTS) slot = 0;
        pass.source = limit->source + (size_t)slot * SOURCE_BYTES;
        slot += load->run;
        pass.timestamp += TIMESTAMP_STEP;

        int64_t wall = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
        int64_t calls = result.calls;
        result.error = run_pass(limit, load, &pass, box, &result);
        int64_t cpu_end = now_ns(CLOCK_THREAD_CPUTIME_ID), wall_end = now_ns(CLOCK_MONOTONIC);
        if (result.error) break;
        int64_t packets = (int64_t)limit->count * (load->run + pass.audio);
        if (load->send) {
            sent += packets;
            int64_t window = (int64_t)limit->count * WINDOW_PER_DESTINATION;
            given_up += wait_for_drain(limit, before + sent - given_up, window);
        }
        if (warming) {
            warming = 0;
            result.calls = calls;
            continue;
        }
        result.cpu_ns += cpu_end - cpu;
        result.wall_ns += wall_end - wall;
        result.waited_ns += now_ns(CLOCK_MONOTONIC) - wall_end;
        result.packets += packets;
        result.audio_packets += (int64_t)limit->count * pass.audio;
    }
    if (load->send) {
        /* What was given up may have come after all: nothing may reach into the next measurement. */
        wait_for_drain(limit, before + sent, 0);
        result.delivered = atomic_load(&limit->drain.delivered) - before;
        result.dropped = sent - result.delivered;
    }
    free(box);
    return result;
}

/* MARK: - Check */

static void protect_one(struct weir_limit *limit, enum weir_limit_cipher cipher, const struct destination *d,
                        uint8_t *p, int header, int payload) {
    /* Constants in a switch, as in run_pass: the same code is checked as is measured. */
#define ONE(kind)                                                                                                     \
    case kind: protect(&limit->cipher, kind, d, p, header, limit->source, payload, d->index); break
    switch (cipher) {
        ONE(WEIR_LIMIT_PLAIN);
        ONE(WEIR_LIMIT_GCM_DIRECT);
        ONE(WEIR_LIMIT_GCM_EVP);
        ONE(WEIR_LIMIT_CM_JOBS);
        ONE(WEIR_LIMIT_CM_BURST);
        ONE(WEIR_LIMIT_CM_SPLIT);
        ONE(WEIR_LIMIT_CM_EVP);
    default: break;
    }
#undef ONE
}

/* Room of one packet in the check. */
#define CHECK_STRIDE (SOURCE_BYTES + 64)
#define CHECK_PACKETS 100

int weir_limit_check(struct weir_limit *limit, const struct weir_limit_load *load) {
    enum weir_limit_cipher reference = tag_bytes(load->cipher) == GCM_TAG ? WEIR_LIMIT_GCM_EVP : WEIR_LIMIT_CM_EVP;
    if (load->cipher == WEIR_LIMIT_PLAIN) reference = WEIR_LIMIT_PLAIN;
    if (!weir_limit_has(limit, load->cipher)) return 0;
    uint8_t *made = calloc(CHECK_PACKETS, CHECK_STRIDE), *expected = calloc(1, CHECK_STRIDE);
    int right = made && expected;
    const int header = load->header_bytes;
    /* Both sizes mixed, and more packets than a burst holds. */
    for (int i = 0; right && i < CHECK_PACKETS; i++) {
        const struct destination *d = &limit->destinations[i % limit->count];
        int bytes = i % 3 == 2 ? load->audio_bytes : load->packet_bytes;
        write_header(made + i * CHECK_STRIDE, d, d->index, 0, header, VIDEO_TYPE);
        protect_one(limit, load->cipher, d, made + i * CHECK_STRIDE, header, bytes - header);
    }
    if (right) finish(&limit->cipher, load->cipher);
    for (int i = 0; right && i < CHECK_PACKETS; i++) {
        const struct destination *d = &limit->destinations[i % limit->count];
        int bytes = i % 3 == 2 ? load->audio_bytes : load->packet_bytes;
        write_header(expected, d, d->index, 0, header, VIDEO_TYPE);
        protect_one(limit, reference, d, expected, header, bytes - header);
        int compared = load->cipher == WEIR_LIMIT_PLAIN ? bytes : bytes + tag_bytes(load->cipher);
        right = memcmp(made + i * CHECK_STRIDE, expected, (size_t)compared) == 0;
        /* Encrypted at all? */
        if (right && load->cipher != WEIR_LIMIT_PLAIN)
            right = memcmp(expected + header, limit->source, (size_t)(bytes - header)) != 0;
    }
    free(made);
    free(expected);
    return right;
}
