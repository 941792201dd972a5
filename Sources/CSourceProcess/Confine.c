#define _GNU_SOURCE
#include "CSourceProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { most_descriptors = 256, lower_priority = 5 };

static int limit(int resource, uint64_t most) {
    struct rlimit now;
    if (getrlimit(resource, &now) < 0) return -1;
    if (now.rlim_max != RLIM_INFINITY && now.rlim_max < most) most = now.rlim_max;
    struct rlimit value = {.rlim_cur = most, .rlim_max = most};
    return setrlimit(resource, &value);
}

int weir_source_limit(pid_t parent, uint64_t memory, uint64_t log) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return -1;
    /* It may have ended before. */
    if (getppid() != parent) {
        errno = ESRCH;
        return -1;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -1;
    if (limit(RLIMIT_CORE, 0) < 0 || limit(RLIMIT_FSIZE, log) < 0) return -1;
    if (limit(RLIMIT_NOFILE, most_descriptors) < 0 || limit(RLIMIT_AS, memory) < 0) return -1;
    /* Media of others comes first. Where that may not be asked for, it is as it is. */
    setpriority(PRIO_PROCESS, 0, lower_priority);
    return 0;
}

/* Of the second version of Landlock (Linux 5.19); older kernels know fewer rights. */
static const uint64_t all_rights[] = {(1ull << 13) - 1, (1ull << 14) - 1};
static const uint64_t file_rights = LANDLOCK_ACCESS_FS_READ_FILE;
static const uint64_t folder_rights = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;

/* What libc's resolver and GnuTLS read. Not /etc as a whole: keys are there. */
static const char *const readable[] = {
    "/dev/null", "/dev/urandom", "/dev/random", "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf",
    "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/localtime", "/etc/ld.so.cache", "/etc/gnutls",
    "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls", "/etc/pki/ca-trust", "/etc/ca-certificates",
    "/etc/crypto-policies", "/run/systemd/resolve", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share", "/lib",
    "/lib64", "/proc/cpuinfo", "/proc/meminfo", "/proc/sys", "/sys/devices/system/cpu",
};

static int allow(int rules, const char *path) {
    int descriptor = open(path, O_PATH | O_CLOEXEC);
    if (descriptor < 0) return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -1;
    struct stat status;
    int result = fstat(descriptor, &status);
    if (result == 0) {
        struct landlock_path_beneath_attr rule = {
            .allowed_access = S_ISDIR(status.st_mode) ? folder_rights : file_rights, .parent_fd = descriptor};
        result = (int)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    int error = errno;
    close(descriptor);
    errno = error;
    return result;
}

int weir_source_confine(const char *folder) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) return 0;
    struct landlock_ruleset_attr attributes = {.handled_access_fs = all_rights[version > 1]};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
    if (rules < 0) return -1;
    int result = 0;
    for (size_t i = 0; result == 0 && i < sizeof(readable) / sizeof(readable[0]); i++) {
        result = allow(rules, readable[i]);
    }
    if (result == 0 && folder[0] != 0) result = allow(rules, folder);
    if (result == 0) result = (int)syscall(SYS_landlock_restrict_self, rules, 0);
    int error = errno;
    close(rules);
    errno = error;
    return result == 0 ? 1 : -1;
}
