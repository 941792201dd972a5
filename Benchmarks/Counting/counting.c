/* Counts what the packet path must not do: a library to be preloaded into `weir serve`. The media threads' calls of
 * malloc and its kin, swift_retain, swift_release and pthread_mutex_lock are counted in memory of each thread, without
 * locks; SIGUSR2 writes the sums to the file that WEIR_COUNTS names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALLOCATIONS, RETAINS, RELEASES, LOCKS, KINDS };
static const char *const names[KINDS] = {"allocations", "retains", "releases", "locks"};

/* Initial-exec: reaching a count must not call anything. */
__thread unsigned long weir_counts[KINDS] __attribute__((tls_model("initial-exec")));

#define MAX_THREADS 256
static unsigned long *registered[MAX_THREADS];
static int threads;

static void write_counts(int signal) {
    (void)signal;
    const char *path = getenv("WEIR_COUNTS");
    int file = path ? open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644) : -1;
    if (file < 0) return;
    for (int kind = 0; kind < KINDS; kind++) {
        unsigned long sum = 0;
        for (int i = 0; i < threads; i++) sum += registered[i][kind];
        char line[64];
        int length = snprintf(line, sizeof line, "%s %lu\n", names[kind], sum);
        if (write(file, line, (size_t)length) != length) break;
    }
    close(file);
}

static void *(*real_malloc)(size_t);
static void (*real_free)(void *);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);
static void *(*real_aligned_alloc)(size_t, size_t);
static int (*real_lock)(pthread_mutex_t *);
static int (*real_setname)(pthread_t, const char *);
/* The stubs below jump through these with all registers as they were. */
void *weir_real_retain, *weir_real_release;

/* dlsym itself asks for memory before malloc is known. */
static char early[65536];
static size_t early_used;
static void *early_memory(size_t length) {
    void *out = early + early_used;
    early_used += (length + 63) & ~(size_t)63;
    if (early_used > sizeof early) abort();
    return out;
}

static void find_all(void) {
    static int finding;
    if (finding) return;
    finding = 1;
    /* First: a name that is not found makes dlsym itself free memory. */
    real_free = dlsym(RTLD_NEXT, "free");
    real_calloc = dlsym(RTLD_NEXT, "calloc");
    real_realloc = dlsym(RTLD_NEXT, "realloc");
    real_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    real_aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
    real_lock = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    real_setname = dlsym(RTLD_NEXT, "pthread_setname_np");
    weir_real_retain = dlsym(RTLD_NEXT, "swift_retain");
    weir_real_release = dlsym(RTLD_NEXT, "swift_release");
    real_malloc = dlsym(RTLD_NEXT, "malloc");
}

__attribute__((constructor)) static void start(void) {
    find_all();
    signal(SIGUSR2, write_counts);
}

void *malloc(size_t length) {
    if (!real_malloc) find_all();
    if (!real_malloc) return early_memory(length);
    weir_counts[ALLOCATIONS]++;
    return real_malloc(length);
}
void *calloc(size_t count, size_t length) {
    if (!real_calloc) return early_memory(count * length);
    weir_counts[ALLOCATIONS]++;
    return real_calloc(count, length);
}
void *realloc(void *old, size_t length) {
    if (!real_realloc) find_all();
    weir_counts[ALLOCATIONS]++;
    return real_realloc(old, length);
}
int posix_memalign(void **out, size_t alignment, size_t length) {
    if (!real_posix_memalign) find_all();
    weir_counts[ALLOCATIONS]++;
    return real_posix_memalign(out, alignment, length);
}
void *aligned_alloc(size_t alignment, size_t length) {
    if (!real_aligned_alloc) find_all();
    weir_counts[ALLOCATIONS]++;
    return real_aligned_alloc(alignment, length);
}
void free(void *memory) {
    if ((char *)memory >= early && (char *)memory < early + sizeof early) return;
    if (!real_free) find_all();
    /* Not found yet: the few bytes of the search stay. */
    if (real_free) real_free(memory);
}
int pthread_mutex_lock(pthread_mutex_t *mutex) {
    if (!real_lock) find_all();
    if (!real_lock) return 0;
    weir_counts[LOCKS]++;
    return real_lock(mutex);
}
int pthread_setname_np(pthread_t thread, const char *name) {
    if (!real_setname) find_all();
    if (strncmp(name, "weir-media-", 11) == 0) {
        int place = __atomic_fetch_add(&threads, 1, __ATOMIC_RELAXED);
        if (place < MAX_THREADS) registered[place] = weir_counts;
    }
    return real_setname(thread, name);
}

/* Swift's runtime promises its callers more registers than C does: nothing but the flags is touched. */
#define STUB(name, kind, real)                                                                                   \
    __asm__(".text\n.globl " name "\n.type " name ",@function\n" name ":\n"                                      \
            "  pushq %rax\n"                                                                                     \
            "  movq weir_counts@gottpoff(%rip), %rax\n"                                                          \
            "  incq %fs:" kind "*8(%rax)\n"                                                                      \
            "  movq " real "@GOTPCREL(%rip), %rax\n"                                                             \
            "  movq (%rax), %rax\n"                                                                              \
            "  xchgq %rax, (%rsp)\n"                                                                             \
            "  ret\n")
STUB("swift_retain", "1", "weir_real_retain");
STUB("swift_release", "2", "weir_real_release");
