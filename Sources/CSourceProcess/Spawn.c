#define _GNU_SOURCE
#include "CSourceProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <unistd.h>

enum { link_descriptor = 3 };

static int start(
    const char *program, char *const *arguments, char *const *environment, int link, int errors, pid_t *child) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int result = posix_spawn_file_actions_init(&actions);
    if (result != 0) return result;
    result = posix_spawnattr_init(&attributes);
    if (result != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return result;
    }
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    /* Standard input and output last: they cannot be one of ours, whose numbers are higher. */
    if (result == 0) result = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    if (result == 0) result = posix_spawn_file_actions_adddup2(&actions, link, link_descriptor);
    if (result == 0) result = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (result == 0) result = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    /* Descriptors that some library has opened without O_CLOEXEC. */
    if (result == 0) result = posix_spawn_file_actions_addclosefrom_np(&actions, link_descriptor + 1);
    if (result == 0) result = posix_spawn(child, program, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

int weir_source_spawn(
    const char *program, char *const *arguments, char *const *environment, pid_t *child, int *link, int *errors) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return errno;
    int log = memfd_create("weir-source", MFD_CLOEXEC);
    int result = log < 0 ? errno : 0;
    if (result == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) result = errno;
    if (result == 0) result = start(program, arguments, environment, ends[1], log, child);
    close(ends[1]);
    if (result != 0) {
        close(ends[0]);
        if (log >= 0) close(log);
        return result;
    }
    *link = ends[0];
    *errors = log;
    return 0;
}
