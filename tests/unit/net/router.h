/* router - a router and its client, a namespace each: what the client sends to anybody by UDP is handed to
 * port 7000 of the router by TPROXY of nftables. The thread is in the router's. */
#pragma once
#include "datagram_kit.h"

#define PORT    7000

#define CLIENT4 "192.0.2.2"
#define CLIENT6 "2001:db8:1::2"

static int router_fd, client_fd; /* the namespaces */

static inline void enter(int fd)
{
	assert_int_equal(setns(fd, CLONE_NEWNET), 0);
}

/* Runs each line by the shell. Whether all went well. */
static inline bool run(const char *const *lines)
{
	bool good = true;

	for (; *lines; lines++)
		if (system(*lines)) {
			(void)fprintf(stderr, "failed: %s\n", *lines);
			good = false;
		}
	return good;
}

static inline bool run_in_client(const char *line)
{
	bool good;

	enter(client_fd);
	good = !system(line);
	enter(router_fd);
	return good;
}

static inline bool set_up_router(void)
{
	static const char *const lines[] = {
		"ip addr add 192.0.2.1/24 dev lan",
		"ip addr add 2001:db8:1::1/64 dev lan nodad",
		"ip link set lan up",
		"ip rule add fwmark 1 lookup 100",
		"ip -6 rule add fwmark 1 lookup 100",
		"ip route add local default dev lo table 100",
		"ip -6 route add local default dev lo table 100",
		NULL,
	};

	return run(lines);
}

/* The second rule is for what ICMP says of a socket that speaks in another's name. */
static inline bool intercept(void)
{
	return !system(
		"nft 'table inet seam { chain in { type filter hook prerouting priority mangle; "
		"iifname lan meta l4proto udp meta mark set 1 tproxy to :7000 accept; "
		"iifname lan meta l4proto { icmp, ipv6-icmp } socket transparent 1 "
		"meta mark set 1 accept; }; }'");
}

static inline bool set_up_client(void)
{
	static const char *const lines[] = {
		"ip addr add 192.0.2.2/24 dev eth",
		"ip addr add 2001:db8:1::2/64 dev eth nodad",
		"ip link set eth up",
		"ip route add default via 192.0.2.1",
		"ip -6 route add default via 2001:db8:1::1",
		NULL,
	};
	bool good;

	enter(client_fd);
	good = run(lines);
	enter(router_fd);
	return good;
}

/* Links and neighbours take a moment: until the router refuses what the client sends it, by ICMP. */
static inline bool is_linked(const char *router)
{
	struct addr to = address(router, 9);
	int fd, err = 0;

	enter(client_fd);
	fd = socket(to.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	connect_to(fd, &to);
	for (int i = 0; i < 500 && err != ECONNREFUSED; i++) {
		(void)send(fd, "", 1, 0);
		usleep(10000);
		err = -sock_error(fd);
	}
	close(fd);
	enter(router_fd);
	return err == ECONNREFUSED;
}

/* False: this system does not let us. */
static inline bool make_router(void)
{
	char line[128];

	if (!enter_new_namespace())
		return false;
	client_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (!enter_new_namespace())
		return false;
	router_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(line, sizeof(line), "ip link add lan type veth peer name eth netns /proc/%d/fd/%d",
		 (int)getpid(), client_fd);
	return !system(line) && set_up_client() && set_up_router() && is_linked("192.0.2.1") &&
	       is_linked("2001:db8:1::1") && intercept();
}

/* A socket of the client, that is connected to @to if it is not NULL. */
static inline int client_socket(sa_family_t family, const struct addr *to)
{
	struct addr own = address(family == AF_INET ? CLIENT4 : CLIENT6, 0);
	int fd;

	enter(client_fd);
	fd = udp_socket(&own);
	if (to)
		connect_to(fd, to);
	enter(router_fd);
	return fd;
}
