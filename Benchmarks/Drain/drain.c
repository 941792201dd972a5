/* Empties the sockets of many players as fast as one thread can, as the limit program's drain does: sweep by sweep, without
 * waiting for any of them, so that the sender pays for no wake-up; and without UDP_GRO, which would spare it the cutting of
 * its runs. A library for tools/bench. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#define BATCH 64
/* Enough of a packet to have touched it. */
#define BYTES 64
#define STREAM_BYTES 65536
#define IDLE_SWEEPS 8
#define IDLE_SLEEP_NS 200000

static void rest(int *idle) {
    if (++*idle < IDLE_SWEEPS) return;
    struct timespec pause = {0, IDLE_SLEEP_NS};
    nanosleep(&pause, NULL);
}

/* Datagrams, until `stop` is set. `received` counts them. */
void weir_drain_datagrams(const int *sockets, int count, const volatile int *stop, volatile uint64_t *received) {
    uint8_t bytes[BATCH][BYTES];
    struct iovec vectors[BATCH];
    struct mmsghdr messages[BATCH];
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){bytes[i], BYTES};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    for (int idle = 0; !*stop;) {
        uint64_t read = 0;
        for (int i = 0; i < count; i++) {
            int n;
            do {
                n = recvmmsg(sockets[i], messages, BATCH, MSG_DONTWAIT, NULL);
                if (n > 0) read += (uint64_t)n;
            } while (n == BATCH);
        }
        *received += read;
        if (read > 0) idle = 0;
        else rest(&idle);
    }
}

/* Bytes of connections, until `stop` is set. Returns how many connections were found closed. */
int weir_drain_streams(const int *sockets, int count, const volatile int *stop, volatile uint64_t *received) {
    static _Thread_local uint8_t bytes[STREAM_BYTES];
    int closed = 0;
    for (int idle = 0; !*stop;) {
        uint64_t read = 0;
        closed = 0;
        for (int i = 0; i < count; i++) {
            ssize_t n = recv(sockets[i], bytes, sizeof bytes, MSG_DONTWAIT);
            if (n > 0) read += (uint64_t)n;
            else if (n == 0 || (errno != EAGAIN && errno != EINTR)) closed++;
        }
        *received += read;
        if (read > 0) idle = 0;
        else rest(&idle);
    }
    return closed;
}

/* A plain loop of `writev`: gives every connection `pictures` pieces of `picture_bytes` and `sounds` of `sound_bytes` a
 * second, each when its time has come, for so long. Returns the nanoseconds of processor time of this thread; `written`
 * is what the connections took. */
int64_t weir_write_streams(const int *sockets, int count, int pictures, int picture_bytes, int sounds, int sound_bytes,
                           double seconds, uint64_t *written) {
    static uint8_t bytes[1 << 20];
    struct timespec begin, now, cpu;
    int64_t done[2] = {0, 0};
    const int rates[2] = {pictures, sounds}, sizes[2] = {picture_bytes, sound_bytes};
    if (picture_bytes > (int)sizeof bytes || sound_bytes > (int)sizeof bytes) return -1;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    int64_t before = (int64_t)cpu.tv_sec * 1000000000 + cpu.tv_nsec;
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        double at = (double)(now.tv_sec - begin.tv_sec) + (double)(now.tv_nsec - begin.tv_nsec) / 1e9;
        if (at >= seconds) break;
        int idle = 1;
        for (int kind = 0; kind < 2; kind++) {
            if ((double)done[kind] >= at * rates[kind]) continue;
            done[kind]++;
            idle = 0;
            struct iovec piece = {bytes, (size_t)sizes[kind]};
            for (int i = 0; i < count; i++) {
                ssize_t n = writev(sockets[i], &piece, 1);
                if (n > 0) *written += (uint64_t)n;
            }
        }
        if (idle) {
            struct timespec pause = {0, 500000};
            nanosleep(&pause, NULL);
        }
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    return (int64_t)cpu.tv_sec * 1000000000 + cpu.tv_nsec - before;
}
