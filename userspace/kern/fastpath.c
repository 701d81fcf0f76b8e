#include "kern/fastpath.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "base/names.h"
#include "kern/bpffs.h"
#include "kern/local.h"
#include "sockmap.skel.h"

#define RING_BYTES (256 * 1024)

/* What libbpf calls a warning is often the expected "no", and the reason that we return names it. */
static int on_libbpf_print(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	if (log_enabled(LOG_DEBUG))
		log_vwrite(LOG_DEBUG, "libbpf", format, args);
	return 0;
}

static int failed(char *reason, const char *step, int err)
{
	const char *advice = "";

	if (err == -EPERM)
		advice = "; it takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON";
	else if (err == -ENOENT || err == -ESRCH)
		advice = "; the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)";
	else if (err == -EINVAL || err == -EOPNOTSUPP)
		advice = "; the kernel lacks it (CONFIG_BPF_SYSCALL, CONFIG_BPF_STREAM_PARSER)";
	snprintf(reason, FASTPATH_REASON_MAX, "%s: %s%s", step, strerror(-err), advice);
	return err;
}

static int make_rings(struct fastpath *f, char *reason)
{
	int outer = bpf_map__fd(f->skel->maps.seam_events);

	f->ring_fds = malloc(f->workers * sizeof(*f->ring_fds));
	if (!f->ring_fds)
		return failed(reason, "event rings", -ENOMEM);
	for (uint32_t i = 0; i < f->workers; i++)
		f->ring_fds[i] = -1;
	for (uint32_t i = 0; i < f->workers; i++) {
		int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "seam_ring", 0, 0, RING_BYTES, NULL);

		if (fd < 0)
			return failed(reason, "BPF_MAP_CREATE of an event ring", fd);
		f->ring_fds[i] = fd;
		if (bpf_map_update_elem(outer, &i, &fd, BPF_ANY))
			return failed(reason, "BPF_MAP_UPDATE_ELEM of seam_events", -errno);
	}
	return 0;
}

static int open_and_load(struct fastpath *f, char *reason)
{
	int r;

	f->skel = sockmap_bpf__open();
	if (!f->skel)
		return failed(reason, "opening the embedded BPF object", -errno);
	bpf_map__set_max_entries(f->skel->maps.seam_socks, 2 * f->pairs);
	bpf_map__set_max_entries(f->skel->maps.seam_flows, 2 * f->pairs);
	bpf_map__set_max_entries(f->skel->maps.seam_dirs, 2 * f->pairs);
	r = sockmap_bpf__load(f->skel);
	return r ? failed(reason, "loading the BPF object", r) : 0;
}

static int attach(struct fastpath *f, char *reason)
{
	int r = bpf_prog_attach(bpf_program__fd(f->skel->progs.seam_verdict), f->socks_fd,
				BPF_SK_SKB_VERDICT, 0);

	return r ? failed(reason, "BPF_PROG_ATTACH of the verdict (BPF_SK_SKB_VERDICT)", -errno)
		 : 0;
}

static int map_dirs(struct fastpath *f, char *reason)
{
	long page = sysconf(_SC_PAGESIZE);
	size_t bytes = 2 * (size_t)f->pairs * sizeof(struct seam_dir);
	void *at;

	bytes = (bytes + (size_t)page - 1) / (size_t)page * (size_t)page;
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		  bpf_map__fd(f->skel->maps.seam_dirs), 0);
	if (at == MAP_FAILED)
		return failed(reason, "mmap of seam_dirs", -errno);
	f->dirs = at;
	f->dirs_bytes = bytes;
	return 0;
}

int fastpath_load(struct fastpath **ret, uint32_t pairs, uint32_t workers, char *reason)
{
	struct fastpath *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return failed(reason, "fast path", -ENOMEM);
	f->pairs = pairs;
	f->workers = workers;
	libbpf_set_print(on_libbpf_print);
	r = open_and_load(f, reason);
	if (!r) {
		f->socks_fd = bpf_map__fd(f->skel->maps.seam_socks);
		f->flows_fd = bpf_map__fd(f->skel->maps.seam_flows);
		r = attach(f, reason);
	}
	if (!r)
		r = map_dirs(f, reason);
	if (!r)
		r = make_rings(f, reason);
	if (r) {
		fastpath_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

static const struct pin {
	const char *name;
	bool is_map;
} pins[] = {
	{ "seam_socks", true },  { "seam_flows", true },    { "seam_dirs", true },
	{ "seam_events", true }, { "seam_verdict", false },
};

static int object_fd(const struct fastpath *f, const struct pin *pin)
{
	if (!pin->is_map)
		return bpf_program__fd(f->skel->progs.seam_verdict);
	return bpf_object__find_map_fd_by_name(f->skel->obj, pin->name);
}

/* The kernel's id of a map or program, 0 when it says no. */
static uint32_t object_id(int fd, bool is_map)
{
	struct bpf_map_info map = { 0 };
	struct bpf_prog_info prog = { 0 };
	uint32_t len = is_map ? sizeof(map) : sizeof(prog);

	if (bpf_obj_get_info_by_fd(fd, is_map ? (void *)&map : (void *)&prog, &len))
		return 0;
	return is_map ? map.id : prog.id;
}

static void unpin(const struct fastpath *f)
{
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(pins); i++) {
		int theirs;

		snprintf(path, sizeof(path), FASTPATH_PIN_DIR "/%s", pins[i].name);
		theirs = bpf_obj_get(path);
		if (theirs < 0)
			continue;
		if (object_id(theirs, pins[i].is_map) ==
		    object_id(object_fd(f, &pins[i]), pins[i].is_map))
			(void)unlink(path);
		close(theirs);
	}
	(void)rmdir(FASTPATH_PIN_DIR); /* stays while somebody else's pins are in it */
}

int fastpath_pin(struct fastpath *f, char *reason)
{
	char path[128];
	int r = bpffs_mount();

	if (r)
		return failed(reason, "mounting bpffs on /sys/fs/bpf", r);
	if (mkdir(FASTPATH_PIN_DIR, 0700) && errno != EEXIST)
		return failed(reason, "mkdir " FASTPATH_PIN_DIR, -errno);
	f->pinned = true;
	for (size_t i = 0; i < ARRAY_SIZE(pins); i++) {
		snprintf(path, sizeof(path), FASTPATH_PIN_DIR "/%s", pins[i].name);
		r = bpffs_pin(object_fd(f, &pins[i]), path);
		if (r)
			return failed(reason, "BPF_OBJ_PIN under " FASTPATH_PIN_DIR, r);
	}
	return 0;
}

void fastpath_free(struct fastpath *f)
{
	if (!f)
		return;
	local_free(f->local);
	if (f->pinned)
		unpin(f);
	for (uint32_t i = 0; f->ring_fds && i < f->workers; i++)
		if (f->ring_fds[i] >= 0)
			close(f->ring_fds[i]);
	free(f->ring_fds);
	if (f->dirs)
		munmap(f->dirs, f->dirs_bytes);
	sockmap_bpf__destroy(f->skel);
	free(f);
}

uint64_t fastpath_events_lost(const struct fastpath *f)
{
	return __atomic_load_n(&f->skel->bss->seam_events_lost, __ATOMIC_RELAXED);
}
