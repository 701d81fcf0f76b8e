/* bpffs - where BPF objects are pinned. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Mounts it on /sys/fs/bpf, unless it is there. */
int bpffs_mount(void);
/* @fd under the name @path, in place of what was there: never neither of them. */
int bpffs_pin(int fd, const char *path);
/* @act with the path of each entry of @folder whose name begins with @prefix; it may remove it. */
void bpffs_each(const char *folder, const char *prefix, void (*act)(const char *path, void *ctx),
		void *ctx);
