/* Pins of network namespaces that are gone. Nothing tells by the cookie whether its namespace lives; but a
 * link forgets its interface with it. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/cleanup.h"
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

static void count_links(const char *dir, struct census *ret)
{
	char path[PACKET_PATH_BYTES];
	DIR *list = opendir(dir);
	struct dirent *entry;

	while (list && (entry = readdir(list))) {
		if (strncmp(entry->d_name, PACKET_LINK, strlen(PACKET_LINK)) != 0)
			continue;
		snprintf(path, sizeof(path), "%.120s/%.60s", dir, entry->d_name);
		if (interface_of(path))
			ret->alive++;
		else
			ret->gone++;
	}
	if (list)
		closedir(list);
}

static void count_folders(const char *pin_dir, struct census *ret)
{
	char path[PACKET_PATH_BYTES];
	DIR *list = opendir(pin_dir);
	struct dirent *entry;

	while (list && (entry = readdir(list))) {
		if (strncmp(entry->d_name, PACKET_FOLDER, strlen(PACKET_FOLDER)) != 0)
			continue;
		snprintf(path, sizeof(path), "%.120s/%.60s", pin_dir, entry->d_name);
		count_links(path, ret);
	}
	if (list)
		closedir(list);
}

static bool sweep(const char *pin_dir)
{
	defer_close int fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct census links = { 0 };

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		return false;
	count_folders(pin_dir, &links);
	if (links.alive || !links.gone)
		return false;
	packet_pins_drop(pin_dir);
	return access(pin_dir, F_OK) != 0;
}

unsigned packet_sweep(const char *root, const char *prefix)
{
	char path[PACKET_PATH_BYTES];
	DIR *list = opendir(root);
	struct dirent *entry;
	unsigned count = 0;

	while (list && (entry = readdir(list))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(path, sizeof(path), "%.100s/%.60s", root, entry->d_name);
		count += sweep(path);
	}
	if (list)
		closedir(list);
	return count;
}
