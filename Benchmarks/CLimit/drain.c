/* The thread that empties the receiving sockets: what 400 players would do on machines of their own. It never asks
 * for UDP_GRO, which would spare the sender the cutting of its runs. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "limit.h"

#define DRAIN_BATCH 64
/* Enough of a packet to have touched it; MSG_TRUNC of the rest spares the drain a copy, not the sender anything. */
#define DRAIN_BYTES 64
/* Sweeps without a packet after which the drain sleeps a little, so as not to steal a shared core. */
#define IDLE_SWEEPS 8
#define IDLE_SLEEP_NS 200000

int weir_limit_pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < 0 || cpu >= CPU_SETSIZE) return EINVAL;
    CPU_SET(cpu, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static void *drain(void *argument) {
    struct weir_limit *limit = argument;
    static _Thread_local uint8_t bytes[DRAIN_BATCH][DRAIN_BYTES];
    struct iovec vectors[DRAIN_BATCH];
    struct mmsghdr messages[DRAIN_BATCH];
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < DRAIN_BATCH; i++) {
        vectors[i] = (struct iovec){bytes[i], DRAIN_BYTES};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int idle = 0;
    while (!atomic_load_explicit(&limit->drain.stop, memory_order_relaxed)) {
        int64_t read = 0;
        for (int i = 0; i < limit->count; i++) {
            int n;
            do {
                n = recvmmsg(limit->sockets[i], messages, DRAIN_BATCH, MSG_DONTWAIT, NULL);
                if (n > 0) read += n;
            } while (n == DRAIN_BATCH);
        }
        if (read > 0) {
            atomic_fetch_add_explicit(&limit->drain.delivered, read, memory_order_release);
            idle = 0;
        } else if (++idle >= IDLE_SWEEPS) {
            struct timespec pause = {0, IDLE_SLEEP_NS};
            nanosleep(&pause, NULL);
        }
    }
    return NULL;
}

int weir_limit_start_drain(struct weir_limit *limit, int cpu) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    int error = 0;
    if (cpu >= CPU_SETSIZE) error = EINVAL;
    if (!error && cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        error = pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
    }
    if (!error) {
        atomic_store(&limit->drain.stop, 0);
        error = pthread_create(&limit->drain.thread, &attributes, drain, limit);
    }
    pthread_attr_destroy(&attributes);
    limit->drain.running = !error;
    return error;
}

void weir_limit_stop_drain(struct weir_limit *limit) {
    if (!limit->drain.running) return;
    atomic_store(&limit->drain.stop, 1);
    pthread_join(limit->drain.thread, NULL);
    limit->drain.running = 0;
}
