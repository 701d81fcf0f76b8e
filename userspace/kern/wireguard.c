/* wireguard - the life of an interface, whoever makes it. */
#include "kern/wireguard.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "kern/wireguard_backend.h"

/* Of the interface with index n: this + n. Numbers of this size are nobody's custom. */
#define TABLE_BASE 0x5ea0000U

int wireguard_failed(char *reason, const char *step, int err)
{
	snprintf(reason, WIREGUARD_REASON_MAX, "%s: %s%s", step, strerror(-err),
		 err == -EPERM ? "; it takes CAP_NET_ADMIN" : "");
	return err;
}

static int failed_prefix(char *reason, const char *step, const struct config_prefix *prefix,
			 int err)
{
	char ip[INET6_ADDRSTRLEN] = "";

	inet_ntop(prefix->addr.family, &prefix->addr.v6, ip, sizeof(ip));
	snprintf(reason, WIREGUARD_REASON_MAX, "%s %s/%u: %s%s", step, ip, prefix->bits,
		 strerror(-err),
		 prefix->addr.family == AF_INET6 && (err == -EACCES || err == -EOPNOTSUPP)
			 ? "; IPv6 is disabled here"
			 : "");
	return err;
}

static int read_number(const char *path)
{
	defer_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char digits[16] = "";

	return fd < 0 || read(fd, digits, sizeof(digits) - 1) <= 0 ? -1 : atoi(digits);
}

/* Strict (1) asks whether the main table, which does not know of us, would answer by this interface:
 * every packet that comes in is dropped. The larger of `all` and the interface's own counts. */
static int loosen_rp_filter(const char *name, char *reason)
{
	char path[64 + IFNAMSIZ];
	int all = read_number("/proc/sys/net/ipv4/conf/all/rp_filter");

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", name);
	if (all > 1 || (all != 1 && read_number(path) != 1))
		return 0;

	defer_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err;

	if (fd >= 0 && write(fd, "2\n", 2) == 2)
		return 0;
	err = -errno;
	snprintf(reason, WIREGUARD_REASON_MAX,
		 "net.ipv4.conf.%s.rp_filter: %s; set net.ipv4.conf.default.rp_filter to 2", name,
		 strerror(-err));
	return err;
}

bool wireguard_endpoint_of(const struct config_peer *peer, struct addr *ret)
{
	return peer->address && !addr_parse(peer->address, peer->port, ret);
}

static bool has_usable_peer(const struct config_wireguard *config)
{
	struct addr endpoint;

	for (size_t i = 0; i < config->peer_count; i++)
		if (!config->peers[i].address ||
		    wireguard_endpoint_of(&config->peers[i], &endpoint))
			return true;
	return !config->peer_count;
}

static int add_routes(struct wireguard *w, const struct config_peer *peer, uint32_t table,
		      char *reason)
{
	for (size_t i = 0; i < peer->allowed_ip_count; i++) {
		int r = wireguard_link_add_route(&w->link, &peer->allowed_ips[i], table);

		if (r)
			return failed_prefix(reason, "route to", &peer->allowed_ips[i], r);
	}
	return 0;
}

static bool uses_ipv6(const struct config_wireguard *config)
{
	for (size_t i = 0; i < config->address_count; i++)
		if (config->addresses[i].addr.family == AF_INET6)
			return true;
	for (size_t i = 0; i < config->peer_count; i++)
		for (size_t j = 0; j < config->peers[i].allowed_ip_count; j++)
			if (config->peers[i].allowed_ips[j].addr.family == AF_INET6)
				return true;
	return false;
}

static int set_routing(struct wireguard *w, char *reason)
{
	const struct config_wireguard *config = w->config;
	uint32_t table = TABLE_BASE + w->link.index;
	int r = 0;

	for (size_t i = 0; i < config->peer_count && !r; i++)
		r = add_routes(w, &config->peers[i], table, reason);
	if (r)
		return r;
	wireguard_link_delete_rules(&w->link);
	r = wireguard_link_add_rule(&w->link, AF_INET, table);
	if (!r && uses_ipv6(config)) /* the kernel may have none */
		r = wireguard_link_add_rule(&w->link, AF_INET6, table);
	if (r)
		return wireguard_failed(reason, "routing rule", r);
	return loosen_rp_filter(w->link.name, reason);
}

/* Everything that can be done twice, for a call that failed in the middle. */
static int bring_up(struct wireguard *w, char *reason)
{
	int r = wireguard_link_set_up(&w->link);

	if (r)
		return wireguard_failed(reason, r == -EADDRINUSE ? "listen_port" : "setting it up",
					r);
	r = set_routing(w, reason);
	w->up = !r;
	return r;
}

static int prepare_link(struct wireguard *w, char *reason)
{
	const struct config_wireguard *config = w->config;
	int r = wireguard_link_set_mtu(&w->link, config->mtu);

	if (r)
		return wireguard_failed(reason, "mtu", r);
	for (size_t i = 0; i < config->address_count; i++) {
		r = wireguard_link_add_address(&w->link, &config->addresses[i]);
		if (r)
			return failed_prefix(reason, "address", &config->addresses[i], r);
	}
	wireguard_link_set_quiet(&w->link);
	return 0;
}

static int create_link(struct wireguard *w, char *reason)
{
	int r;

	w->backend = &wireguard_kernel;
	r = w->backend->create(w, reason);
	if (r == -EOPNOTSUPP) {
		w->backend = &wireguard_go;
		r = w->backend->create(w, reason);
	}
	if (r)
		w->backend = NULL;
	return r;
}

static int make(struct wireguard *w, uint32_t mark, char *reason)
{
	const struct config_wireguard *config = w->config;
	int r = wireguard_link_open(&w->link, config->name);

	if (r)
		return wireguard_failed(reason, "rtnetlink socket", r);
	if (!wireguard_link_find(&w->link)) {
		snprintf(reason, WIREGUARD_REASON_MAX,
			 "interface %s exists; if a daemon that was killed left it: `ip link del "
			 "%s`, else choose another name",
			 config->name, config->name);
		return -EEXIST;
	}
	r = create_link(w, reason);
	if (!r)
		r = w->backend->configure(w, mark, reason);
	if (!r)
		r = prepare_link(w, reason);
	if (!r && has_usable_peer(config))
		r = bring_up(w, reason);
	return r;
}

int wireguard_new(struct wireguard **ret, const struct config_wireguard *config, uint32_t mark,
		  char *reason)
{
	struct wireguard *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return wireguard_failed(reason, "wireguard", -ENOMEM);
	w->config = config;
	w->pidfd = -1;
	r = make(w, mark, reason);
	if (r) {
		wireguard_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

int wireguard_set_endpoint(struct wireguard *w, size_t peer, const struct addr *endpoint,
			   char *reason)
{
	int r;

	if (peer >= w->config->peer_count)
		return wireguard_failed(reason, "endpoint", -EINVAL);
	r = w->backend->set_endpoint(w, w->config->peers[peer].public_key, endpoint, reason);
	return r || w->up ? r : bring_up(w, reason);
}

void wireguard_free(struct wireguard *w)
{
	if (!w)
		return;
	if (w->backend) {
		wireguard_link_delete_rules(&w->link);
		w->backend->destroy(w);
	}
	wireguard_link_close(&w->link);
	free(w);
}

const char *wireguard_backend(const struct wireguard *w)
{
	return w->backend->name;
}

bool wireguard_is_up(const struct wireguard *w)
{
	return w->up;
}

int wireguard_pidfd(const struct wireguard *w)
{
	return w->pidfd;
}

bool wireguard_has_ended(struct wireguard *w, char *reason)
{
	return w->backend->has_ended && w->backend->has_ended(w, reason);
}
