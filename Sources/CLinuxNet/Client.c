#define _GNU_SOURCE
#include "CLinuxNet.h"
#include "Sockaddr.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Room for SCM_TIMESTAMPNS and SO_RXQ_OVFL. */
#define CLIENT_CONTROL 64

struct weir_client_io {
    int slots;
    struct mmsghdr *headers;
    struct iovec *vectors;
    uint8_t *control;
};

struct weir_client_io *weir_client_io_new(uint8_t *arena, size_t slot_size, int slots) {
    struct weir_client_io *io = calloc(1, sizeof *io);
    if (!io) return NULL;
    io->slots = slots;
    io->headers = calloc((size_t)slots, sizeof *io->headers);
    io->vectors = calloc((size_t)slots, sizeof *io->vectors);
    io->control = calloc((size_t)slots, CLIENT_CONTROL);
    if (!io->headers || !io->vectors || !io->control) {
        weir_client_io_free(io);
        return NULL;
    }
    for (int i = 0; i < slots; i++) {
        io->vectors[i] = (struct iovec){arena + (size_t)i * slot_size, slot_size};
        io->headers[i].msg_hdr.msg_iov = &io->vectors[i];
        io->headers[i].msg_hdr.msg_iovlen = 1;
        io->headers[i].msg_hdr.msg_control = io->control + (size_t)i * CLIENT_CONTROL;
    }
    return io;
}

void weir_client_io_free(struct weir_client_io *io) {
    if (!io) return;
    free(io->headers);
    free(io->vectors);
    free(io->control);
    free(io);
}

int weir_client_open(const struct weir_address *remote, int receive_buffer) {
    int domain = remote->family == 4 ? AF_INET : AF_INET6;
    int fd = socket(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct sockaddr_in6 name;
    socklen_t length = to_sockaddr(remote, &name);
    int one = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one) < 0) goto fail;
    if (setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof one) < 0) goto fail;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (connect(fd, (struct sockaddr *)&name, length) < 0) goto fail;
    return fd;
fail:;
    int code = errno;
    close(fd);
    return -code;
}

int weir_client_receive(struct weir_client_io *io, int fd, int first, int count, struct weir_arrival *out,
                        uint32_t *dropped) {
    if (first < 0 || count < 1 || first + count > io->slots) return -EINVAL;
    for (int i = 0; i < count; i++) io->headers[first + i].msg_hdr.msg_controllen = CLIENT_CONTROL;
    int received = recvmmsg(fd, io->headers + first, (unsigned)count, MSG_DONTWAIT, NULL);
    if (received < 0) return -errno;
    for (int i = 0; i < received; i++) {
        struct msghdr *header = &io->headers[first + i].msg_hdr;
        out[i].length = header->msg_flags & MSG_TRUNC ? 0 : io->headers[first + i].msg_len;
        out[i].kernel_time_ns = 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
            if (c->cmsg_level != SOL_SOCKET) continue;
            if (c->cmsg_type == SCM_TIMESTAMPNS) {
                struct timespec t;
                memcpy(&t, CMSG_DATA(c), sizeof t);
                out[i].kernel_time_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
            } else if (c->cmsg_type == SO_RXQ_OVFL) {
                memcpy(dropped, CMSG_DATA(c), sizeof *dropped);
            }
        }
    }
    return received;
}

int weir_client_send(int fd, const uint8_t *bytes, size_t length) {
    ssize_t sent = send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : (int)sent;
}

int64_t weir_thread_cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void weir_sleep_until_ns(int64_t monotonic_ns) {
    struct timespec t = {monotonic_ns / 1000000000, monotonic_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
    }
}
