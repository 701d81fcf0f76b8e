/* bpffs - where BPF objects are pinned. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Mounts it on /sys/fs/bpf, unless it is there. */
int bpffs_mount(void);
/* @fd under the name @path, in place of what was there: never neither of them. */
int bpffs_pin(int fd, const char *path);
