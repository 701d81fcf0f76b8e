#include "kern/packet_object.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/names.h"
#include "kern/bpffs.h"
#include "packet.skel.h"

static const struct pinned_map {
	const char *name;
	uint32_t key_bytes, value_bytes;
} maps[] = {
	{ "seam_pairs", sizeof(uint32_t), sizeof(struct seam_pair) },
	{ "seam_halves", sizeof(struct seam_tuple), sizeof(struct seam_half) },
	{ "seam_labels", sizeof(uint32_t), sizeof(struct seam_label) },
};

static void path_of(const struct packet *p, const char *name, char path[PACKET_PATH_BYTES])
{
	snprintf(path, PACKET_PATH_BYTES, "%.150s/%.32s", p->dir, name);
}

static void remove_entry(const char *path, void *ctx)
{
	(void)ctx;
	(void)unlink(path);
}

static void empty_folder(const char *dir)
{
	bpffs_each(dir, "", remove_entry, NULL);
	(void)rmdir(dir);
}

/* With what its programs are attached to. */
static void remove_folder(const char *dir)
{
	packet_hooks_remove();
	empty_folder(dir);
}

static void remove_other(const char *path, void *ctx)
{
	const struct packet *p = ctx;

	if (strcmp(path, p->dir) != 0)
		remove_folder(path);
}

static void drop_folder(const char *path, void *ctx)
{
	(void)ctx;
	empty_folder(path);
}

/* The number of pairs, 0 if the map is not what it should be. */
static uint32_t entries_of(int fd, const struct pinned_map *map)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) || info.key_size != map->key_bytes ||
	    info.value_size != map->value_bytes)
		return 0;
	return info.max_entries;
}

/* The number of pairs, 0 unless all maps are there and fit together. */
static uint32_t pairs_of(const int fd[ARRAY_SIZE(maps)])
{
	uint32_t pairs = entries_of(fd[0], &maps[0]);

	if (entries_of(fd[1], &maps[1]) != 2 * pairs || entries_of(fd[2], &maps[2]) != pairs)
		return 0;
	return pairs;
}

static bool has_taken(int fd, uint32_t pairs)
{
	size_t bytes = pairs * sizeof(struct seam_pair);
	const struct seam_pair *pair = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	bool taken = false;

	if (pair == MAP_FAILED)
		return false;
	for (uint32_t i = 0; i < pairs && !taken; i++)
		taken = pair[i].used && SEAM_PACKET_STATE(pair[i].state) == SEAM_PACKET_TAKEN;
	munmap((void *)pair, bytes);
	return taken;
}

static int adopt_maps(struct packet *p, uint32_t pairs)
{
	int fd[ARRAY_SIZE(maps)], r = -ENOENT;
	char path[PACKET_PATH_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		path_of(p, maps[i].name, path);
		fd[i] = bpf_obj_get(path);
	}
	p->count = pairs_of(fd);
	if (p->count && (p->count == pairs || has_taken(fd[0], p->count)))
		r = 0;
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(p->skel->obj, maps[i].name);

		if (!r)
			r = bpf_map__reuse_fd(map, fd[i]); /* keeps a copy */
		if (fd[i] >= 0)
			close(fd[i]);
	}
	return r;
}

int packet_pins_adopt(struct packet *p, const char *pin_dir, uint32_t pairs)
{
	char path[PACKET_PATH_BYTES];

	snprintf(p->dir, sizeof(p->dir), "%.120s/" PACKET_FOLDER "%d", pin_dir, SEAM_ABI_VERSION);
	bpffs_each(pin_dir, PACKET_FOLDER, remove_other, p);
	path_of(p, "seam_pairs", path);
	if (access(path, F_OK))
		return 0;
	if (!adopt_maps(p, pairs))
		return 1;
	remove_folder(p->dir);
	return 0;
}

static int make_folder(struct packet *p)
{
	char path[PACKET_PATH_BYTES];
	int r = bpffs_mount();

	if (r)
		return r;
	snprintf(path, sizeof(path), "%s", p->dir);
	*strrchr(path, '/') = '\0';
	if ((mkdir(path, 0700) && errno != EEXIST) || (mkdir(p->dir, 0700) && errno != EEXIST))
		return -errno;
	p->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir_fd < 0 || flock(p->dir_fd, LOCK_SH | LOCK_NB))
		return -errno;
	return 0;
}

int packet_pins_make(struct packet *p, char *reason)
{
	const struct {
		const char *name;
		int fd;
	} programs[] = {
		{ "seam_ether", bpf_program__fd(p->skel->progs.seam_ether) },
		{ "seam_ip", bpf_program__fd(p->skel->progs.seam_ip) },
	};
	char path[PACKET_PATH_BYTES];
	int r = make_folder(p);

	for (size_t i = 0; !r && i < ARRAY_SIZE(maps); i++) {
		path_of(p, maps[i].name, path);
		r = bpffs_pin(bpf_object__find_map_fd_by_name(p->skel->obj, maps[i].name), path);
	}
	for (size_t i = 0; !r && i < ARRAY_SIZE(programs); i++) {
		path_of(p, programs[i].name, path);
		r = bpffs_pin(programs[i].fd, path);
	}
	return r ? packet_failed(reason, "pinning in a bpffs", r) : 0;
}

void packet_pins_remove(const struct packet *p)
{
	char path[PACKET_PATH_BYTES];

	if (!*p->dir)
		return;
	remove_folder(p->dir);
	snprintf(path, sizeof(path), "%s", p->dir);
	*strrchr(path, '/') = '\0';
	(void)rmdir(path); /* unless it is not ours alone */
}

void packet_pins_drop(const char *pin_dir)
{
	bpffs_each(pin_dir, PACKET_FOLDER, drop_folder, NULL);
	(void)rmdir(pin_dir);
}
