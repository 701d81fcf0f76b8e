#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/names.h"
#include "kern/bpffs.h"
#include "kern/packet_object.h"
#include "kern/packet_syn.h"
#include "packet.skel.h"

#define HANDLE 0x5eaU /* of our filter in clsact, and its priority */
#define RAWIP  519    /* ARPHRD_RAWIP, 4.14: modems */

static const struct {
	int tcx; /* enum bpf_attach_type BPF_TCX_INGRESS, BPF_TCX_EGRESS, 6.6 */
	enum bpf_tc_attach_point clsact;
} points[] = {
	[PACKET_INGRESS] = { 46, BPF_TC_INGRESS },
	[PACKET_EGRESS] = { 47, BPF_TC_EGRESS },
};

static int link_type(int interface)
{
	defer_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };

	if (fd < 0 || !if_indextoname((unsigned)interface, ifr.ifr_name))
		return -ENODEV;
	return ioctl(fd, SIOCGIFHWADDR, &ifr) ? -errno : ifr.ifr_hwaddr.sa_family;
}

static int program_for(const struct packet *p, int interface, enum packet_point point)
{
	int type = link_type(interface);

	if (type < 0)
		return type;
	if (type == ARPHRD_ETHER)
		return bpf_program__fd(point == PACKET_EGRESS ? p->skel->progs.seam_syn_ether
							      : p->skel->progs.seam_ether);
	if (type == ARPHRD_NONE || type == ARPHRD_PPP || type == RAWIP)
		return bpf_program__fd(point == PACKET_EGRESS ? p->skel->progs.seam_syn_ip
							      : p->skel->progs.seam_ip);
	return -EOPNOTSUPP;
}

static void link_path(const char *dir, int interface, char path[PACKET_PATH_BYTES])
{
	snprintf(path, PACKET_PATH_BYTES, "%.150s/" PACKET_LINK "%d", dir, interface);
}

/* The descriptor of a link, which is pinned if there is a folder for it; -errno. */
static int attach_tcx(struct packet *p, int interface, enum packet_point point, int program)
{
	const bool pinned = point == PACKET_INGRESS && *p->dir;
	char path[PACKET_PATH_BYTES];
	int fd, r;

	link_path(p->dir, interface, path);
	if (pinned) {
		fd = bpf_obj_get(path);
		if (fd >= 0 && !bpf_link_update(fd, program, NULL))
			return fd;
		if (fd >= 0)
			close(fd);
		(void)unlink(path); /* its interface is gone, this one only has the same index */
	}
	fd = bpf_link_create(program, interface, (enum bpf_attach_type)points[point].tcx, NULL);
	if (fd < 0)
		return -errno;
	r = pinned && bpf_obj_pin(fd, path) ? -errno : 0;
	if (r)
		close(fd);
	return r ? r : fd;
}

static int attach_clsact(int interface, enum packet_point point, int program)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = interface, .attach_point = points[point].clsact);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program, .handle = HANDLE, .priority = HANDLE,
		    .flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&hook); /* the qdisc, which stays: others may use it by then */

	if (r && r != -EEXIST)
		return r;
	return bpf_tc_attach(&hook, &opts);
}

/* Whether the filter is ours: others may use the handle. */
static bool is_ours(uint32_t program)
{
	static const char *const names[] = { "seam_ether", "seam_ip", "seam_syn_ether",
					     "seam_syn_ip" };
	defer_close int fd = bpf_prog_get_fd_by_id(program);
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(info.name, names[i]))
			return true;
	return false;
}

static bool has_clsact(int interface, enum packet_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = interface, .attach_point = points[point].clsact);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = HANDLE, .priority = HANDLE);

	return !bpf_tc_query(&hook, &opts) && is_ours(opts.prog_id);
}

static void detach_clsact(int interface, enum packet_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = interface, .attach_point = points[point].clsact);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = HANDLE, .priority = HANDLE);

	if (has_clsact(interface, point))
		(void)bpf_tc_detach(&hook, &opts);
}

struct packet_hook *packet_hook_find(struct packet *p, int interface, enum packet_point point)
{
	for (size_t i = 0; i < p->hook_count; i++)
		if (p->hooks[i].interface == interface && p->hooks[i].point == point)
			return &p->hooks[i];
	return NULL;
}

static int attach(struct packet *p, int interface, enum packet_point point, int *ret_link)
{
	int program = program_for(p, interface, point), r;

	if (program < 0)
		return program;
	*ret_link = -1;
	if (!p->no_tcx) {
		r = attach_tcx(p, interface, point, program);
		if (r >= 0) {
			*ret_link = r;
			return 0;
		}
		if (r != -EINVAL && r != -EOPNOTSUPP)
			return r;
		p->no_tcx = true;
	}
	return attach_clsact(interface, point, program);
}

int packet_hook_fits(const struct packet *p, int interface)
{
	int program = program_for(p, interface, PACKET_INGRESS);

	return program < 0 ? program : 0;
}

/* Of an interface that has none there. */
static struct packet_hook *add_hook(struct packet *p, int interface, enum packet_point point)
{
	struct packet_hook *hooks = realloc(p->hooks, (p->hook_count + 1) * sizeof(*hooks));

	if (!hooks)
		return NULL;
	p->hooks = hooks;
	hooks[p->hook_count] =
		(struct packet_hook){ .interface = interface, .point = point, .link_fd = -1 };
	return &hooks[p->hook_count++];
}

int packet_hook_add(struct packet *p, int interface, enum packet_point point)
{
	struct packet_hook *hook = packet_hook_find(p, interface, point);
	int r;

	if (p->detached)
		return -ESHUTDOWN;
	if (hook && !hook->err)
		return 0;
	if (!hook)
		hook = add_hook(p, interface, point);
	if (!hook)
		return -ENOMEM;
	r = attach(p, interface, point, &hook->link_fd);
	hook->err = r;
	if (r)
		*hook = p->hooks[--p->hook_count];
	return r;
}

void packet_hook_failed(struct packet *p, int interface, int err)
{
	struct packet_hook *hook = add_hook(p, interface, PACKET_INGRESS);

	if (hook)
		hook->err = err;
}

static void adopt_link(const char *path, void *ctx)
{
	(void)packet_hook_add(ctx, atoi(strrchr(path, '_') + 1), PACKET_INGRESS);
}

void packet_hooks_adopt(struct packet *p)
{
	struct if_nameindex *list = if_nameindex();

	if (*p->dir)
		bpffs_each(p->dir, PACKET_LINK, adopt_link, p);
	for (struct if_nameindex *i = list; i && i->if_index; i++) {
		if (has_clsact((int)i->if_index, PACKET_INGRESS))
			(void)packet_hook_add(p, (int)i->if_index, PACKET_INGRESS);
		detach_clsact((int)i->if_index, PACKET_EGRESS);
	}
	if (list)
		if_freenameindex(list);
}

static void forget(struct packet *p, struct packet_hook *hook, bool detach)
{
	const bool out = hook->point == PACKET_EGRESS;
	char path[PACKET_PATH_BYTES];

	link_path(p->dir, hook->interface, path);
	if (detach && !out && *p->dir && hook->link_fd >= 0)
		(void)unlink(path);
	if ((detach || out) && hook->link_fd < 0)
		detach_clsact(hook->interface, hook->point);
	if (hook->link_fd >= 0)
		close(hook->link_fd);
	*hook = p->hooks[--p->hook_count];
}

void packet_hooks_free(struct packet *p, bool detach)
{
	while (p->hook_count)
		forget(p, &p->hooks[p->hook_count - 1], detach);
	free(p->hooks);
	p->hooks = NULL;
}

/* Links vanish with their pins. */
void packet_hooks_remove(void)
{
	struct if_nameindex *list = if_nameindex();

	for (struct if_nameindex *i = list; i && i->if_index; i++) {
		detach_clsact((int)i->if_index, PACKET_INGRESS);
		detach_clsact((int)i->if_index, PACKET_EGRESS);
	}
	if (list)
		if_freenameindex(list);
}

int packet_attach(struct packet *p, int interface)
{
	int r;

	pthread_mutex_lock(&p->lock);
	r = packet_hook_add(p, interface, PACKET_INGRESS);
	pthread_mutex_unlock(&p->lock);
	return r;
}

int packet_limit_syn(struct packet *p, int fd, int interface, const struct syn_limits *limits)
{
	const struct seam_offer offer = { .mss = limits->mss,
					  .no_timestamps = limits->no_timestamps,
					  .no_sack = limits->no_sack };
	int r;

	pthread_mutex_lock(&p->lock);
	r = packet_hook_add(p, interface, PACKET_EGRESS);
	pthread_mutex_unlock(&p->lock);
	if (!r && bpf_map_update_elem(p->offers_fd, &fd, &offer, BPF_ANY))
		r = -errno;
	return r;
}

void packet_interfaces(struct packet *p, const struct netif_list *list)
{
	pthread_mutex_lock(&p->lock);
	for (size_t i = p->hook_count; i--;)
		if (!netif_by_index(list, p->hooks[i].interface))
			forget(p, &p->hooks[i], true);
	pthread_mutex_unlock(&p->lock);
}
