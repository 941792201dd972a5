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
