/* Processes that read one source each: how they are begun, what they may do, and where they may connect to. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* ---- The server's side ---- */

/* Begins a process of its own group, which has no descriptors but three: nothing at 0 and 1, a memory file at 2, and one
   end of a pair of stream sockets at 3. Signals are as a fresh process has them.
   `environment` and `arguments` end with NULL. Returns 0 or an errno; on success `link` is the other end of the pair,
   which does not block, and `errors` the memory file. Both are the caller's, and closed in other children. */
int weir_source_spawn(
    const char *program, char *const *arguments, char *const *environment, pid_t *child, int *link, int *errors);

/* ---- The process's side ---- */

/* Has the kernel kill this process when `parent` ends, and bounds what it may use: address space, descriptors, no core
   files, `log` bytes of any file. Returns 0, or -1: the parent is gone already, or a limit cannot be set (errno). */
int weir_source_limit(pid_t parent, uint64_t memory, uint64_t log);

/* Takes the file system away but for what name resolution and TLS read, and `folder` if it is not empty: reading only
   (Landlock). Returns 1 if that holds from now on, 0 if this kernel has no such thing, -1 with errno. */
int weir_source_confine(const char *folder);

/* Nothing of another host is reached but by these. Once they are set, connect, sendto and sendmsg to other addresses than
   IPv4 and IPv6 ones that `allows` takes fail with EACCES, and getaddrinfo of names that `allows_name` does not take with
   EAI_FAIL, whoever calls them in this process: the definitions in the program come before libc's. Until then they are
   libc's. May be called by several threads at a time. */
typedef bool (*weir_allows_address)(const struct sockaddr *address, socklen_t length);
typedef bool (*weir_allows_name)(const char *name);
void weir_guard_connections(weir_allows_address allows, weir_allows_name allows_name);
