#define _GNU_SOURCE
#include "limit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for what the window allows, headers of the kernel's buffers included. */
#define RECEIVE_BUFFER (1 << 20)
#define SEND_BUFFER (4 << 20)
/* sendmmsg of 64 messages of the largest size. */
#define OUT_BYTES ((size_t)WEIR_LIMIT_SEND_BATCH * (WEIR_LIMIT_MAX_MESSAGE + 1))
/* Descriptors beside the receiving sockets. */
#define OTHER_DESCRIPTORS 32
#define HUGE_PAGE (2 << 20)

static int loopback_socket(int option, int forced, int bytes, struct sockaddr_in *name) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    /* FORCE needs CAP_NET_ADMIN. */
    if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes);
    *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof *name;
    if (bind(fd, (struct sockaddr *)name, length) == 0 && getsockname(fd, (struct sockaddr *)name, &length) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

struct weir_limit *weir_limit_new(int destinations) {
    if (destinations < 1 || destinations > WEIR_LIMIT_MAX_DESTINATIONS) {
        errno = EINVAL;
        return NULL;
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < (rlim_t)destinations + OTHER_DESCRIPTORS) {
        files.rlim_cur = files.rlim_max; /* where that is too little, socket() tells */
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct weir_limit *limit = aligned_alloc(CACHE_LINE, (sizeof *limit + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1));
    if (!limit) return NULL;
    memset(limit, 0, sizeof *limit);
    limit->send_socket = -1;
    limit->out_bytes = OUT_BYTES;
    limit->sockets = malloc((size_t)destinations * sizeof *limit->sockets);
    size_t room = (size_t)destinations * sizeof *limit->destinations;
    limit->destinations = aligned_alloc(CACHE_LINE, room);
    limit->source = aligned_alloc(CACHE_LINE, (size_t)SOURCE_SLOTS * SOURCE_BYTES);
    limit->out = aligned_alloc(HUGE_PAGE, (OUT_BYTES + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1));
    if (!limit->sockets || !limit->destinations || !limit->source || !limit->out) goto fail;
    memset(limit->destinations, 0, room);
    memset(limit->out, 0, OUT_BYTES);
    for (size_t i = 0; i < (size_t)SOURCE_SLOTS * SOURCE_BYTES; i++) limit->source[i] = (uint8_t)(i * 2654435761u >> 13);
    if (limit_cipher_open(&limit->cipher) != 0) goto fail;
    struct sockaddr_in own;
    limit->send_socket = loopback_socket(SO_SNDBUF, SO_SNDBUFFORCE, SEND_BUFFER, &own);
    if (limit->send_socket < 0) goto fail;
    for (int i = 0; i < destinations; i++) {
        struct destination *d = &limit->destinations[i];
        limit->sockets[i] = loopback_socket(SO_RCVBUF, SO_RCVBUFFORCE, RECEIVE_BUFFER, &d->address);
        if (limit->sockets[i] < 0) goto fail;
        limit->count = i + 1;
        if (limit_keys_open(&limit->cipher, d, (uint64_t)i + 1) != 0) {
            errno = ENOMEM;
            goto fail;
        }
    }
    return limit;
fail:;
    int error = errno;
    weir_limit_free(limit);
    errno = error;
    return NULL;
}

void weir_limit_free(struct weir_limit *limit) {
    if (!limit) return;
    weir_limit_stop_drain(limit);
    for (int i = 0; i < limit->count; i++) {
        close(limit->sockets[i]);
        limit_keys_close(&limit->destinations[i]);
    }
    if (limit->send_socket >= 0) close(limit->send_socket);
    limit_cipher_close(&limit->cipher);
    free(limit->sockets);
    free(limit->destinations);
    free(limit->source);
    free(limit->out);
    free(limit);
}
