/* Linux system calls that Swift cannot reach well: control-message macros, recvmmsg and sendmmsg batches with
 * UDP_SEGMENT, packet info and kernel time stamps. Plain functions over plain memory; every error is -errno. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Mirrors Wire.SocketAddress. family is 4 or 6; port in host order; IPv4 lives in the low 32 bits of low. */
struct weir_address {
    uint64_t high;
    uint64_t low;
    uint32_t scope;
    uint16_t port;
    uint8_t family;
};

/* One received datagram. */
struct weir_datagram {
    uint32_t length;
    uint32_t truncated;
    int64_t kernel_time_ns; /* CLOCK_REALTIME of arrival, 0 if the kernel gave none */
    struct weir_address remote;
    struct weir_address local; /* address it came to; port 0 */
};

/* One message to send: `length` bytes cut by the kernel into datagrams of `segment` bytes (0: one datagram). */
struct weir_message {
    const uint8_t *data;
    uint32_t length;
    uint32_t segment;
    struct weir_address remote;
    struct weir_address local; /* source address to use; family 0: the kernel's choice */
};

#define WEIR_RECEIVE_BATCH 64
#define WEIR_SEND_BATCH 64

struct weir_io; /* scratch memory of one thread for both batches */
struct weir_io *weir_io_new(void);
void weir_io_free(struct weir_io *io);

/* UDP socket bound to `address` with SO_REUSEPORT, packet info and time stamps. Port 0 is one that no socket has.
 * Returns the descriptor or -errno. */
int weir_udp_open(const struct weir_address *address, int receive_buffer, int send_buffer);
/* UDP socket to send from `local`, an address that the host has: the same port as a socket of weir_udp_open, which goes
 * on to receive everything, since this one is connected to itself. Returns the descriptor or -errno. */
int weir_udp_open_sender(const struct weir_address *local, int send_buffer);
int weir_tcp_listen(const struct weir_address *address, int backlog);
/* Accepts one connection, non-blocking, no delay. -EAGAIN when none waits. */
int weir_tcp_accept(int fd, struct weir_address *remote, struct weir_address *local);
/* Local address of a bound socket. */
int weir_local_address(int fd, struct weir_address *address);
int weir_socket_buffer(int fd, int receive);

/* Receives up to `count` datagrams (at most WEIR_RECEIVE_BATCH) into buffers[i] of `capacity` bytes each. */
int weir_receive(struct weir_io *io, int fd, uint8_t *const *buffers, int count, size_t capacity,
                 struct weir_datagram *out);
/* Sends messages[0..<count] (at most WEIR_SEND_BATCH). bound=1: the socket's own address is the source, whatever
 * `local` says. Returns how many were sent, or -errno for the first. */
int weir_send(struct weir_io *io, int fd, const struct weir_message *messages, int count, int bound);

int weir_epoll_create(void);
int weir_epoll_set(int epoll, int fd, uint32_t events, uint64_t token, int add);
int weir_epoll_remove(int epoll, int fd);
struct weir_ready {
    uint64_t token;
    uint32_t events;
};
int weir_epoll_wait(int epoll, struct weir_ready *out, int count, int64_t timeout_ns);
#define WEIR_READABLE 1u
#define WEIR_WRITABLE 4u
#define WEIR_HANGUP 16u

int weir_eventfd(void);
void weir_eventfd_signal(int fd);
void weir_eventfd_drain(int fd);

int64_t weir_monotonic_ns(void);
int64_t weir_realtime_ns(void);
/* Processors in the affinity mask of this process. */
int weir_usable_cores(void);
/* Asks for cache lines (of 64 bytes) that will be read soon. */
static inline void weir_prefetch(const void *memory, int lines) {
    for (int i = 0; i < lines; i++) __builtin_prefetch((const char *)memory + 64 * i, 0, 3);
}
/* Pins the calling thread to the index-th processor of the affinity mask. */
void weir_pin_thread(int index);
/* Holds an abstract Unix socket of that name: its descriptor, or -errno (-EADDRINUSE when somebody holds it). */
int weir_claim_name(const char *name);
void weir_name_thread(const char *name);

/* Clients of the load generator: connected UDP sockets, swept without epoll so that the sender pays for no wake-up. */
struct weir_arrival {
    uint32_t length; /* 0 if the datagram did not fit */
    int64_t kernel_time_ns; /* CLOCK_REALTIME, 0 if the kernel gave none */
};
struct weir_client_io; /* receives into the slots of one arena */
struct weir_client_io *weir_client_io_new(uint8_t *arena, size_t slot_size, int slots);
void weir_client_io_free(struct weir_client_io *io);
/* Connected, non-blocking, with kernel time stamps and a count of drops: descriptor or -errno. */
int weir_client_open(const struct weir_address *remote, int receive_buffer);
/* Receives into slots first..<first+count: how many, or -errno. `dropped` is set to what the socket has dropped so far
 * when the kernel tells. */
int weir_client_receive(struct weir_client_io *io, int fd, int first, int count, struct weir_arrival *out,
                        uint32_t *dropped);
int weir_client_send(int fd, const uint8_t *bytes, size_t length);
int64_t weir_thread_cpu_ns(void);
void weir_sleep_until_ns(int64_t monotonic_ns);

/* Counts the system calls of one thread, and of threads that it makes later, from now on: a descriptor from which 8
 * bytes are read as the count, or -errno. Needs tracefs and the right to trace (-ENOENT, -EACCES, -EPERM). */
int weir_count_syscalls_open(pid_t tid);
