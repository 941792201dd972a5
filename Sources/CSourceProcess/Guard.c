/* connect, sendto, sendmsg and getaddrinfo of the whole program, so that libraries that connect by themselves (libavformat
   with its redirects and playlists, libsrt) are asked at the last moment, with the address that the kernel is given. The
   dynamic linker prefers the program's definitions to libc's; the static linker exports them, since libavformat refers
   to them. libc's own look-ups of names use its internal ones, so resolvers on loopback stay reachable. */
#define _GNU_SOURCE
#include "CSourceProcess.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic(weir_allows_address) allowed_address;
static _Atomic(weir_allows_name) allowed_name;

void weir_guard_connections(weir_allows_address allows, weir_allows_name allows_name) {
    atomic_store(&allowed_address, allows);
    atomic_store(&allowed_name, allows_name);
}

static bool may_reach(const struct sockaddr *address, socklen_t length) {
    weir_allows_address allows = atomic_load_explicit(&allowed_address, memory_order_acquire);
    if (!allows || !address || length < sizeof(sa_family_t)) return true;
    /* Undoes a connection. */
    if (address->sa_family == AF_UNSPEC) return true;
    if (address->sa_family != AF_INET && address->sa_family != AF_INET6) return false;
    return allows(address, length);
}

int connect(int descriptor, const struct sockaddr *address, socklen_t length) {
    if (!may_reach(address, length)) {
        errno = EACCES;
        return -1;
    }
    return (int)syscall(SYS_connect, descriptor, address, length);
}

ssize_t sendto(
    int descriptor, const void *bytes, size_t count, int flags, const struct sockaddr *address, socklen_t length) {
    if (!may_reach(address, length)) {
        errno = EACCES;
        return -1;
    }
    return syscall(SYS_sendto, descriptor, bytes, count, flags, address, length);
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags) {
    if (message && !may_reach(message->msg_name, message->msg_namelen)) {
        errno = EACCES;
        return -1;
    }
    return syscall(SYS_sendmsg, descriptor, message, flags);
}

typedef int (*resolver)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(
    const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
    struct addrinfo **restrict result) {
    static _Atomic(resolver) next;
    weir_allows_name allows = atomic_load_explicit(&allowed_name, memory_order_acquire);
    if (allows && name && !allows(name)) return EAI_FAIL;
    resolver found = atomic_load_explicit(&next, memory_order_acquire);
    if (!found) {
        found = (resolver)dlsym(RTLD_NEXT, "getaddrinfo");
        if (!found) return EAI_SYSTEM;
        atomic_store(&next, found);
    }
    return found(name, service, hints, result);
}
