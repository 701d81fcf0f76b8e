/* direct - one connect() to an address, with the socket options of its outbound; or, for datagrams, a way
 * (packet_direct.h), if there is a route to the address. */
#pragma once
#include <net/if.h>
#include "dial/dial.h"

struct netns;

/* Options of a socket, TCP or UDP; what does not apply to a type is left out. */
struct direct_options {
	uint32_t routing_mark;         /* 0: none */
	char bind_interface[IFNAMSIZ]; /* "": none */
	struct addr bind4, bind6;      /* AF_UNSPEC: none */
	bool bind_address_no_port;     /* TCP: the port is chosen by connect() */
	bool reuse_addr;               /* UDP */
	bool tcp_fast_open, tcp_multi_path;
	bool udp_fragment; /* UDP: false sets the DF bit */
	enum transparent_source transparent_source;
	bool auto_detect_interface;
	char *protect_path;  /* owned; NULL: none */
	struct netns *netns; /* borrowed; NULL: ours */
};

struct direct_dialer {
	struct dialer base;
	struct direct_options options;
	uint32_t connect_timeout_ms;
};

extern const struct dialer_ops dial_direct_ops;

/* A socket for @family with everything of @options but what needs a peer or a client (transparent_source,
 * protect_path, fast open): for DNS. -errno, with *@ret_call what was refused. */
int direct_open(const struct direct_options *options, sa_family_t family, int type,
		const char **ret_call);
