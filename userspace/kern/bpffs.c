#include "kern/bpffs.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PATH_BYTES 256

int bpffs_mount(void)
{
	struct statfs fs;

	if (!statfs("/sys/fs/bpf", &fs) && fs.f_type == BPF_FS_MAGIC)
		return 0;
	return mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700") ? -errno : 0;
}

int bpffs_pin(int fd, const char *path)
{
	char tmp[PATH_BYTES];

	snprintf(tmp, sizeof(tmp), "%s_%d", path, (int)getpid());
	(void)unlink(tmp);
	if (bpf_obj_pin(fd, tmp))
		return -errno;
	return rename(tmp, path) ? -errno : 0; /* bpffs replaces like any file system */
}
