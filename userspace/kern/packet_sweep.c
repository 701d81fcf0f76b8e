/* Pins of network namespaces that are gone. Nothing tells by the cookie whether its namespace lives; but a
 * link forgets its interface with it. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "kern/bpffs.h"
#include "kern/packet_object.h"

/* The interface of a pinned link, 0: it is gone; -errno. */
static int interface_of(const char *path)
{
	defer_close int fd = bpf_obj_get(path);
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	return (int)info.xdp.ifindex; /* tcx has it in the same place (6.6) */
}

struct census {
	unsigned alive, gone;
};

static void count_link(const char *path, void *ctx)
{
	struct census *links = ctx;

	if (interface_of(path))
		links->alive++;
	else
		links->gone++;
}

static void count_folder(const char *path, void *ctx)
{
	bpffs_each(path, PACKET_LINK, count_link, ctx);
}

static void sweep(const char *pin_dir, void *ctx)
{
	defer_close int fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct census links = { 0 };
	unsigned *count = ctx;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		return;
	bpffs_each(pin_dir, PACKET_FOLDER, count_folder, &links);
	if (links.alive || !links.gone)
		return;
	packet_pins_drop(pin_dir);
	*count += access(pin_dir, F_OK) != 0;
}

unsigned packet_sweep(const char *root, const char *prefix)
{
	unsigned count = 0;

	bpffs_each(root, prefix, sweep, &count);
	return count;
}
