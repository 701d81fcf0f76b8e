#include "kern/bpffs.h"
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
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

void bpffs_each(const char *folder, const char *prefix, void (*act)(const char *path, void *ctx),
		void *ctx)
{
	char path[PATH_BYTES];
	DIR *list = opendir(folder);
	struct dirent *entry;

	while (list && (entry = readdir(list))) {
		if (entry->d_name[0] == '.' || strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(path, sizeof(path), "%.150s/%.100s", folder, entry->d_name);
		act(path, ctx);
	}
	if (list)
		closedir(list);
}
