#define _GNU_SOURCE
#include "CLinuxNet.h"
#include "Sockaddr.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

_Static_assert(WEIR_READABLE == EPOLLIN && WEIR_WRITABLE == EPOLLOUT && WEIR_HANGUP == EPOLLHUP, "epoll bits");

/* Bytes that the kernel may hold of what it cannot send yet. By itself it would hold up to tcp_wmem, 4 MiB: seconds of
 * stale video that nobody can take back. What the network has in flight does not count. */
#define WEIR_TCP_UNSENT 65536

#define RECEIVE_CONTROL 128
#define SEND_CONTROL 96

struct weir_io {
    struct mmsghdr receive[WEIR_RECEIVE_BATCH];
    struct iovec receive_vec[WEIR_RECEIVE_BATCH];
    struct sockaddr_in6 receive_name[WEIR_RECEIVE_BATCH];
    _Alignas(16) uint8_t receive_control[WEIR_RECEIVE_BATCH][RECEIVE_CONTROL];
    int used; /* headers that the kernel has written to */
    struct mmsghdr send[WEIR_SEND_BATCH];
    struct iovec send_vec[WEIR_SEND_BATCH];
    struct sockaddr_in6 send_name[WEIR_SEND_BATCH];
    _Alignas(16) uint8_t send_control[WEIR_SEND_BATCH][SEND_CONTROL];
};

struct weir_io *weir_io_new(void) {
    struct weir_io *io = calloc(1, sizeof *io);
    if (!io) return NULL;
    for (int i = 0; i < WEIR_RECEIVE_BATCH; i++) {
        io->receive[i].msg_hdr = (struct msghdr){
            .msg_name = &io->receive_name[i],
            .msg_iov = &io->receive_vec[i],
            .msg_iovlen = 1,
            .msg_control = io->receive_control[i],
        };
    }
    io->used = WEIR_RECEIVE_BATCH;
    return io;
}
void weir_io_free(struct weir_io *io) { free(io); }

static int bound_socket(const struct weir_address *address, int type) {
    int domain = address->family == 4 ? AF_INET : AF_INET6;
    int fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int one = 1;
    /* Of ports that sockets share, the kernel may give one that is in use as the free one: those of another engine. */
    int any_port = address->port == 0;
    if (!any_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) < 0) goto fail;
    if (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0) goto fail;
    if (domain == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) < 0) goto fail;
    struct sockaddr_in6 name;
    socklen_t length = to_sockaddr(address, &name);
    if (bind(fd, (struct sockaddr *)&name, length) < 0) goto fail;
    if (any_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) < 0) goto fail;
    return fd;
fail:;
    int error = errno;
    close(fd);
    return -error;
}

/* FORCE needs CAP_NET_ADMIN; without it the kernel's limit (rmem_max, wmem_max) caps the size. */
static void set_buffer(int fd, int force, int plain, int size) {
    if (size > 0 && setsockopt(fd, SOL_SOCKET, force, &size, sizeof size) < 0)
        setsockopt(fd, SOL_SOCKET, plain, &size, sizeof size);
}

int weir_udp_open(const struct weir_address *address, int receive_buffer, int send_buffer) {
    int fd = bound_socket(address, SOCK_DGRAM);
    if (fd < 0) return fd;
    int one = 1;
    if (address->family == 4)
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
    else
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, receive_buffer);
    set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, send_buffer);
    return fd;
}

int weir_udp_open_sender(const struct weir_address *local, int send_buffer) {
    int fd = bound_socket(local, SOCK_DGRAM);
    if (fd < 0) return fd;
    set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, send_buffer);
    /* Nobody but this host can send from there. */
    struct sockaddr_in6 self;
    socklen_t length = to_sockaddr(local, &self);
    if (connect(fd, (struct sockaddr *)&self, length) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int weir_tcp_listen(const struct weir_address *address, int backlog) {
    int fd = bound_socket(address, SOCK_STREAM);
    if (fd < 0) return fd;
    if (listen(fd, backlog) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int weir_tcp_accept(int fd, struct weir_address *remote, struct weir_address *local) {
    struct sockaddr_in6 name;
    socklen_t length = sizeof name;
    int client = accept4(fd, (struct sockaddr *)&name, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) return -errno;
    from_sockaddr(&name, remote);
    int one = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int unsent = WEIR_TCP_UNSENT;
    setsockopt(client, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    int result = weir_local_address(client, local);
    if (result < 0) {
        close(client);
        return result;
    }
    return client;
}

int weir_local_address(int fd, struct weir_address *address) {
    struct sockaddr_in6 name;
    socklen_t length = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &length) < 0) return -errno;
    from_sockaddr(&name, address);
    return 0;
}

int weir_socket_buffer(int fd, int receive) {
    int value = 0;
    socklen_t length = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, receive ? SO_RCVBUF : SO_SNDBUF, &value, &length) < 0) return -errno;
    return value;
}

int weir_receive(struct weir_io *io, int fd, uint8_t *const *buffers, int count, size_t capacity,
                 struct weir_datagram *out) {
    if (count > WEIR_RECEIVE_BATCH) count = WEIR_RECEIVE_BATCH;
    for (int i = 0; i < io->used; i++) {
        io->receive[i].msg_hdr.msg_namelen = sizeof io->receive_name[i];
        io->receive[i].msg_hdr.msg_controllen = RECEIVE_CONTROL;
    }
    io->used = 0;
    for (int i = 0; i < count; i++) io->receive_vec[i] = (struct iovec){(void *)buffers[i], capacity};
    int received = recvmmsg(fd, io->receive, (unsigned)count, MSG_DONTWAIT, NULL);
    if (received < 0) return -errno;
    io->used = received;
    for (int i = 0; i < received; i++) {
        struct msghdr *header = &io->receive[i].msg_hdr;
        struct weir_datagram *d = &out[i];
        memset(d, 0, sizeof *d);
        d->length = io->receive[i].msg_len;
        d->truncated = (header->msg_flags & MSG_TRUNC) != 0;
        from_sockaddr(&io->receive_name[i], &d->remote);
        for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
            if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
                struct in_pktinfo info;
                memcpy(&info, CMSG_DATA(c), sizeof info);
                d->local.family = 4;
                d->local.low = ntohl(info.ipi_addr.s_addr);
            } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
                struct in6_pktinfo info;
                memcpy(&info, CMSG_DATA(c), sizeof info);
                d->local.family = 6;
                d->local.high = load64(info.ipi6_addr.s6_addr);
                d->local.low = load64(info.ipi6_addr.s6_addr + 8);
                d->local.scope = (d->local.high >> 54) == 0x3fa ? info.ipi6_ifindex : 0;
            } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
                struct timespec t;
                memcpy(&t, CMSG_DATA(c), sizeof t);
                d->kernel_time_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
            }
        }
    }
    return received;
}

int weir_send(struct weir_io *io, int fd, const struct weir_message *messages, int count, int bound) {
    if (count > WEIR_SEND_BATCH) count = WEIR_SEND_BATCH;
    for (int i = 0; i < count; i++) {
        const struct weir_message *m = &messages[i];
        socklen_t name_length = to_sockaddr(&m->remote, &io->send_name[i]);
        io->send_vec[i] = (struct iovec){(void *)m->data, m->length};
        struct msghdr header = {
            .msg_name = &io->send_name[i],
            .msg_namelen = name_length,
            .msg_iov = &io->send_vec[i],
            .msg_iovlen = 1,
            .msg_control = io->send_control[i],
            .msg_controllen = SEND_CONTROL,
        };
        size_t used = 0;
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        if (bound) {
            /* No packet info to parse, for us and for the kernel. */
        } else if (m->local.family == 4 && m->remote.family == 4) {
            struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl((uint32_t)m->local.low)};
            c->cmsg_level = IPPROTO_IP;
            c->cmsg_type = IP_PKTINFO;
            c->cmsg_len = CMSG_LEN(sizeof info);
            memcpy(CMSG_DATA(c), &info, sizeof info);
            used += CMSG_SPACE(sizeof info);
        } else if (m->local.family == 6 && m->remote.family == 6) {
            struct in6_pktinfo info = {.ipi6_ifindex = m->local.scope};
            store64(info.ipi6_addr.s6_addr, m->local.high);
            store64(info.ipi6_addr.s6_addr + 8, m->local.low);
            c->cmsg_level = IPPROTO_IPV6;
            c->cmsg_type = IPV6_PKTINFO;
            c->cmsg_len = CMSG_LEN(sizeof info);
            memcpy(CMSG_DATA(c), &info, sizeof info);
            used += CMSG_SPACE(sizeof info);
        }
        if (m->segment > 0 && m->segment < m->length) {
            uint16_t segment = (uint16_t)m->segment;
            c = (struct cmsghdr *)(io->send_control[i] + used);
            c->cmsg_level = IPPROTO_UDP;
            c->cmsg_type = UDP_SEGMENT;
            c->cmsg_len = CMSG_LEN(sizeof segment);
            memcpy(CMSG_DATA(c), &segment, sizeof segment);
            used += CMSG_SPACE(sizeof segment);
        }
        header.msg_controllen = used;
        if (used == 0) header.msg_control = NULL;
        io->send[i].msg_hdr = header;
    }
    int sent = sendmmsg(fd, io->send, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

int weir_epoll_create(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int weir_epoll_set(int epoll, int fd, uint32_t events, uint64_t token, int add) {
    struct epoll_event event = {.events = events, .data.u64 = token};
    return epoll_ctl(epoll, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) < 0 ? -errno : 0;
}

int weir_epoll_remove(int epoll, int fd) { return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0; }

int weir_epoll_wait(int epoll, struct weir_ready *out, int count, int64_t timeout_ns) {
    struct epoll_event events[64];
    if (count > 64) count = 64;
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    int n = epoll_pwait2(epoll, events, count, timeout_ns < 0 ? NULL : &timeout, NULL);
    /* EPERM: a seccomp filter that is older than the call. */
    if (n < 0 && (errno == ENOSYS || errno == EPERM)) {
        n = epoll_wait(epoll, events, count, timeout_ns < 0 ? -1 : (int)((timeout_ns + 999999) / 1000000));
    }
    if (n < 0) return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        out[i].token = events[i].data.u64;
        out[i].events = events[i].events;
    }
    return n;
}

int weir_eventfd(void) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}
void weir_eventfd_signal(int fd) {
    uint64_t one = 1;
    ssize_t ignored = write(fd, &one, sizeof one); /* EAGAIN means it is signalled already */
    (void)ignored;
}
void weir_eventfd_drain(int fd) {
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof count);
    (void)ignored;
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
int64_t weir_monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
int64_t weir_realtime_ns(void) { return clock_ns(CLOCK_REALTIME); }

void weir_pin_thread(int index) {
    cpu_set_t usable, set;
    if (sched_getaffinity(0, sizeof usable, &usable) != 0) return;
    CPU_ZERO(&set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &usable) || index-- > 0) continue;
        CPU_SET(cpu, &set);
        pthread_setaffinity_np(pthread_self(), sizeof set, &set);
        return;
    }
}
void weir_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

int weir_usable_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return CPU_COUNT(&set);
}

int weir_claim_name(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if (length + 1 > sizeof address.sun_path) return -ENAMETOOLONG;
    memcpy(address.sun_path + 1, name, length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (bind(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + length) < 0) {
        int code = errno;
        close(fd);
        return -code;
    }
    return fd;
}
