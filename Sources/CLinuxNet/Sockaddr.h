/* Addresses between the kernel's form and ours; for the files of this target. */
#ifndef WEIR_SOCKADDR_H
#define WEIR_SOCKADDR_H

#include "CLinuxNet.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

static inline uint64_t load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}
static inline void store64(uint8_t *p, uint64_t v) {
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}

static inline socklen_t to_sockaddr(const struct weir_address *a, struct sockaddr_in6 *out) {
    memset(out, 0, sizeof *out);
    if (a->family == 4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(a->port);
        v4->sin_addr.s_addr = htonl((uint32_t)a->low);
        return sizeof *v4;
    }
    out->sin6_family = AF_INET6;
    out->sin6_port = htons(a->port);
    out->sin6_scope_id = a->scope;
    store64(out->sin6_addr.s6_addr, a->high);
    store64(out->sin6_addr.s6_addr + 8, a->low);
    return sizeof *out;
}

static inline void from_sockaddr(const struct sockaddr_in6 *in, struct weir_address *a) {
    memset(a, 0, sizeof *a);
    if (in->sin6_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)in;
        a->family = 4;
        a->port = ntohs(v4->sin_port);
        a->low = ntohl(v4->sin_addr.s_addr);
    } else if (in->sin6_family == AF_INET6) {
        a->family = 6;
        a->port = ntohs(in->sin6_port);
        a->high = load64(in->sin6_addr.s6_addr);
        a->low = load64(in->sin6_addr.s6_addr + 8);
        /* The zone matters only for link-local addresses; elsewhere it would make equal addresses differ. */
        a->scope = (a->high >> 54) == 0x3fa ? in->sin6_scope_id : 0;
    }
}

#endif
