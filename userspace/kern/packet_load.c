#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "kern/packet_object.h"
#include "packet.skel.h"

int packet_failed(char *reason, const char *step, int err)
{
	const char *advice = "";

	if (err == -EPERM)
		advice = "; it takes CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_NET_RAW";
	else if ((err == -ENOENT || err == -ESRCH) && strncmp(step, "pinning", 7) != 0)
		advice = "; the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)";
	else if (err == -EINVAL || err == -EOPNOTSUPP)
		advice = "; the kernel lacks it (CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_ACT)";
	snprintf(reason, PACKET_REASON_MAX, "%s: %s%s", step, strerror(-err), advice);
	return err;
}

static int on_libbpf_print(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	if (log_enabled(LOG_DEBUG))
		log_vwrite(LOG_DEBUG, "libbpf", format, args);
	return 0;
}

void packet_unpin(const char *pin_dir)
{
	libbpf_set_print(on_libbpf_print);
	packet_hooks_remove();
	packet_pins_drop(pin_dir);
}

static int open_and_load(struct packet *p, uint32_t pairs, const char *pin_dir, char *reason)
{
	int r;

	p->skel = packet_bpf__open();
	if (!p->skel)
		return packet_failed(reason, "opening the embedded BPF object", -errno);
	if (!pin_dir || !packet_pins_adopt(p, pin_dir, pairs)) {
		p->count = pairs;
		bpf_map__set_max_entries(p->skel->maps.seam_pairs, pairs);
		bpf_map__set_max_entries(p->skel->maps.seam_halves, 2 * pairs);
		bpf_map__set_max_entries(p->skel->maps.seam_labels, pairs);
	}
	r = packet_bpf__load(p->skel);
	if (r)
		return packet_failed(reason, "loading the BPF object for packets", r);
	p->halves_fd = bpf_map__fd(p->skel->maps.seam_halves);
	p->labels_fd = bpf_map__fd(p->skel->maps.seam_labels);
	p->offers_fd = bpf_map__fd(p->skel->maps.seam_offers);
	return 0;
}

static int map_pairs(struct packet *p, char *reason)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (p->count * sizeof(struct seam_pair) + page - 1) / page * page;
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(p->skel->maps.seam_pairs), 0);

	if (at == MAP_FAILED)
		return packet_failed(reason, "mmap of seam_pairs", -errno);
	p->pairs = at;
	p->pairs_bytes = bytes;
	return 0;
}

static bool is_taken(const struct seam_pair *pair)
{
	return pair->used && SEAM_PACKET_STATE(pair->state) == SEAM_PACKET_TAKEN;
}

/* Pairs of an earlier process that were not taken died with their sockets. */
static int count_pairs(struct packet *p, char *reason)
{
	p->free = malloc(p->count * sizeof(*p->free));
	if (!p->free)
		return packet_failed(reason, "pairs", -ENOMEM);
	for (uint32_t i = 0; i < p->count; i++) {
		struct packet_pair pair = { p, &p->pairs[i], i };

		if (is_taken(&p->pairs[i])) {
			p->used++;
			continue;
		}
		if (p->pairs[i].used) {
			p->used++;
			packet_remove(&pair);
		} else {
			p->free[p->free_count++] = i;
		}
	}
	return 0;
}

static int open_raw(struct packet *p, char *reason)
{
	p->raw4 = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	p->raw6 = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (p->raw4 < 0 || (p->raw6 < 0 && errno != EAFNOSUPPORT))
		return packet_failed(reason, "a raw socket, for RST", -errno);
	return 0;
}

/* The programs of the earlier process make way for ours, also where pairs are that go on. */
static void take_over_hooks(struct packet *p)
{
	packet_hooks_adopt(p);
	for (uint32_t i = 0; i < p->count; i++)
		for (int side = 0; side < 2; side++)
			if (p->pairs[i].used)
				(void)packet_hook_add(p, (int)p->pairs[i].side[side].ifindex,
						      PACKET_INGRESS);
}

int packet_load(struct packet **ret, uint32_t pairs, const char *pin_dir, char *reason)
{
	struct packet *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return packet_failed(reason, "packets", -ENOMEM);
	pthread_mutex_init(&p->lock, NULL);
	p->raw4 = p->raw6 = p->dir_fd = -1;
	libbpf_set_print(on_libbpf_print);
	r = open_and_load(p, pairs, pin_dir, reason);
	if (!r)
		r = map_pairs(p, reason);
	if (!r)
		r = count_pairs(p, reason);
	if (!r)
		r = open_raw(p, reason);
	if (!r && pin_dir)
		r = packet_pins_make(p, reason);
	if (r) {
		packet_free(p, true);
		return r;
	}
	if (pin_dir)
		take_over_hooks(p);
	*ret = p;
	return 0;
}

/* Nobody will arm the others any more. */
static void remove_untaken(struct packet *p)
{
	for (uint32_t i = 0; p->pairs && p->free && i < p->count; i++) {
		struct packet_pair pair = { p, &p->pairs[i], i };

		if (p->pairs[i].used && packet_disarm(&pair) != SEAM_PACKET_TAKEN)
			packet_remove(&pair);
	}
}

void packet_detach(struct packet *p)
{
	pthread_mutex_lock(&p->lock);
	packet_hooks_free(p, true);
	packet_pins_remove(p);
	p->dir[0] = '\0';
	p->detached = true;
	pthread_mutex_unlock(&p->lock);
}

bool packet_is_detached(struct packet *p)
{
	bool detached;

	pthread_mutex_lock(&p->lock);
	detached = p->detached;
	pthread_mutex_unlock(&p->lock);
	return detached;
}

void packet_free(struct packet *p, bool keep)
{
	if (!p)
		return;
	packet_attacher_stop(p);
	remove_untaken(p);
	packet_hooks_free(p, !keep || !*p->dir);
	if (!keep)
		packet_pins_remove(p);
	if (p->dir_fd >= 0)
		close(p->dir_fd);
	if (p->raw4 >= 0)
		close(p->raw4);
	if (p->raw6 >= 0)
		close(p->raw6);
	if (p->pairs)
		munmap(p->pairs, p->pairs_bytes);
	packet_bpf__destroy(p->skel);
	free(p->free);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
