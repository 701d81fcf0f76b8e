#include "kern/local.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "local.skel.h"
#include "net/sock.h"
#include "sockmap.skel.h"

#define FLOWS_MOST 16384U
#define BUSY_TRIES 8 /* the client is in a system call on its socket, mostly for microseconds */

struct local {
	struct local_bpf *skel;
	int clients_fd, uplinks_fd, enrol_fd;
};

static int failed(char *reason, const char *step, int err)
{
	snprintf(reason, FASTPATH_REASON_MAX, "%s: %s", step, strerror(-err));
	return err;
}

static int open_and_load(struct local *l, const struct fastpath *f, char *reason)
{
	uint32_t flows = f->pairs < FLOWS_MOST ? f->pairs : FLOWS_MOST;
	int r;

	l->skel = local_bpf__open();
	if (!l->skel)
		return failed(reason, "opening the embedded BPF object for local clients", -errno);
	l->skel->rodata->seam_nonblock = O_NONBLOCK;
	bpf_map__set_max_entries(l->skel->maps.seam_clients, flows);
	bpf_map__set_max_entries(l->skel->maps.seam_uplinks, flows);
	r = bpf_map__reuse_fd(l->skel->maps.seam_socks, f->socks_fd);
	if (!r)
		r = bpf_map__reuse_fd(l->skel->maps.seam_dirs,
				      bpf_map__fd(f->skel->maps.seam_dirs));
	if (!r)
		r = local_bpf__load(l->skel);
	return r ? failed(reason, "loading the BPF object for local clients", r) : 0;
}

int local_load(struct local **ret, struct fastpath *fastpath, char *reason)
{
	struct local *l = calloc(1, sizeof(*l));
	int r = l ? open_and_load(l, fastpath, reason) : failed(reason, "local clients", -ENOMEM);

	if (!r) {
		l->clients_fd = bpf_map__fd(l->skel->maps.seam_clients);
		l->uplinks_fd = bpf_map__fd(l->skel->maps.seam_uplinks);
		l->enrol_fd = bpf_program__fd(l->skel->progs.seam_enrol);
		if (bpf_prog_attach(bpf_program__fd(l->skel->progs.seam_msg), l->clients_fd,
				    BPF_SK_MSG_VERDICT, 0))
			r = failed(reason, "BPF_PROG_ATTACH (BPF_SK_MSG_VERDICT)", -errno);
	}
	if (r) {
		local_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

void local_free(struct local *l)
{
	if (!l)
		return;
	local_bpf__destroy(l->skel);
	free(l);
}

/* The tuple of a segment from @from to @to. */
static void fill_tuple(struct bpf_sock_tuple *tuple, const struct addr *from, const struct addr *to)
{
	if (from->family == AF_INET) {
		tuple->ipv4.saddr = from->v4.s_addr;
		tuple->ipv4.daddr = to->v4.s_addr;
		tuple->ipv4.sport = htons(from->port);
		tuple->ipv4.dport = htons(to->port);
		return;
	}
	memcpy(tuple->ipv6.saddr, &from->v6, sizeof(from->v6));
	memcpy(tuple->ipv6.daddr, &to->v6, sizeof(to->v6));
	tuple->ipv6.sport = htons(from->port);
	tuple->ipv6.dport = htons(to->port);
}

static int enrol(const struct local *l, const struct local_flow *flow, uint32_t *ret_seq)
{
	struct seam_enrol ask = { .id = flow->id,
				  .slot = flow->slot,
				  .is_v6 = flow->source.family == AF_INET6 };
	struct seam_enrol answer;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = &ask, .data_size_in = sizeof(ask),
		    .data_out = &answer, .data_size_out = sizeof(answer));

	fill_tuple(&ask.client, &flow->destination, &flow->source);
	fill_tuple(&ask.accepted, &flow->source, &flow->destination);
	if (bpf_prog_test_run_opts(l->enrol_fd, &opts))
		return -errno;
	*ret_seq = answer.start;
	return (int)opts.retval;
}

/* The program looks at the size of the send queue only (net.ipv4.tcp_notsent_lowat may be less). */
static void set_room(int fd, int unsent)
{
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
}

int local_add(struct local *l, const struct local_flow *flow, uint32_t *ret_seq)
{
	uint64_t fd = (uint64_t)flow->upstream_fd;
	int r = -EBUSY;

	if (!sock_addr_is_local(&flow->source))
		return -ENOENT;
	if (bpf_map_update_elem(l->uplinks_fd, &flow->id, &fd, BPF_NOEXIST))
		return -errno;
	set_room(flow->upstream_fd, INT32_MAX);
	for (int i = 0; i < BUSY_TRIES && r == -EBUSY; i++)
		r = enrol(l, flow, ret_seq);
	if (r) {
		set_room(flow->upstream_fd, 0);
		(void)bpf_map_delete_elem(l->uplinks_fd, &flow->id);
	}
	return r;
}

void local_remove(struct local *l, uint64_t id)
{
	(void)bpf_map_delete_elem(l->clients_fd, &id);
	(void)bpf_map_delete_elem(l->uplinks_fd, &id);
}
