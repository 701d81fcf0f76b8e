/* fastpath - the BPF programs and maps, loaded as one transaction and shared by all workers.
 *
 * Loading needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (the verdict reads struct tcp_sock); using it
 * needs none. Kernel: 6.1 or later with BTF and CONFIG_BPF_SYSCALL, CONFIG_NET_SOCK_MSG.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "seam/abi.h"

#define FASTPATH_PIN_DIR    "/sys/fs/bpf/seam"
#define FASTPATH_REASON_MAX 256

struct fastpath {
	struct sockmap_bpf *skel;
	struct local *local;   /* NULL: clients on this host are like any other */
	struct seam_dir *dirs; /* seam_dirs, mapped: 2 * pairs of them */
	size_t dirs_bytes;
	uint32_t pairs, workers;
	int socks_fd, flows_fd;
	int *ring_fds; /* one a worker */
	bool pinned;
};

/* @pairs: most flows at once, over all workers. On failure -errno, nothing is held, and @reason of
 * FASTPATH_REASON_MAX bytes names the step, the cause and what to do. */
int fastpath_load(struct fastpath **ret, uint32_t pairs, uint32_t workers, char *reason);
/* Every gate must be gone. Pins of ours are removed. NULL is fine. */
void fastpath_free(struct fastpath *fastpath);
/* Names for bpftool under FASTPATH_PIN_DIR, in place of those that an earlier daemon left. The last one
 * started owns the names; nothing depends on them. -errno with @reason: only the names are missing. */
int fastpath_pin(struct fastpath *fastpath, char *reason);
/* Events that found a ring full, ever. */
uint64_t fastpath_events_lost(const struct fastpath *fastpath);
