/* kernel - which kernel this is, and what its version says about the sockmap. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Whether the running kernel's stable release carries the sockmap's data-loss, duplication and
 * use-after-free fixes: 6.1.191+, 6.6.94+, 6.12.105+, 6.18+. @reason says why not. */
bool kernel_sockmap_fit(char *reason, size_t size);
/* The same for a release string such as "6.1.0-42-amd64 #1 SMP Debian 6.1.192-1": Debian's uname -r names
 * the ABI, the version string (uname -v) the release. */
bool kernel_release_fit(const char *release, const char *version, char *reason, size_t size);
/* /proc/sys/kernel/tainted: a new oops or warning bit means that the kernel itself went wrong. */
unsigned long kernel_taint(void);
