/* GNU system calls that Swift's Glibc does not show. Each returns 0 if nothing else is said, or -1 with errno. */
#pragma once
#include <spawn.h>

/* rename(2) that fails with EEXIST instead of replacing `to`. */
int weir_rename_new(const char *from, const char *to);
/* pipe(2), both ends closed in children. */
int weir_pipe(int ends[2]);
/* The child closes all descriptors from `first` on. Returns 0 or an errno. */
int weir_spawn_close_from(posix_spawn_file_actions_t *actions, int first);
/* memfd_create(2), closed in children. Returns the descriptor. */
int weir_memory_file(const char *name);
