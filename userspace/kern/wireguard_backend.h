/* wireguard_backend - what makes a WireGuard interface: the kernel, or wireguard-go.
 *
 * Private to kern/wireguard*.c. Keys never go into a reason or a log line.
 */
#pragma once
#include <sys/types.h>
#include "kern/wireguard.h"
#include "kern/wireguard_link.h"

struct wireguard_backend {
	const char *name;
	/* Makes the link, without keys, and sets its index. -errno with @reason: nothing is left. */
	int (*create)(struct wireguard *wireguard, char *reason);
	/* Keys, port, mark and peers, with endpoints that are IP addresses; before the link is up. */
	int (*configure)(struct wireguard *wireguard, uint32_t mark, char *reason);
	int (*set_endpoint)(struct wireguard *wireguard, const uint8_t *public_key,
			    const struct addr *endpoint, char *reason);
	/* NULL: there is nothing that can. */
	bool (*has_ended)(struct wireguard *wireguard, char *reason);
	void (*destroy)(struct wireguard *wireguard); /* after create() */
};

extern const struct wireguard_backend wireguard_kernel, wireguard_go;

struct wireguard {
	const struct wireguard_backend *backend; /* NULL: there is no link */
	const struct config_wireguard *config;
	struct wireguard_link link;
	bool up;
	/* of wireguard_kernel */
	struct mnl_socket *generic; /* NULL: not open */
	uint16_t family;
	/* of wireguard_go */
	pid_t pid;  /* 0: not running, and reaped */
	int pidfd;  /* -1: none */
	int status; /* of waitpid(), once it is reaped */
};

/* "@step: what @err means", into @reason; returns @err. */
int wireguard_failed(char *reason, const char *step, int err);

/* false: the endpoint of @peer is a name, or unknown. */
bool wireguard_endpoint_of(const struct config_peer *peer, struct addr *ret);

/* WG_CMD_SET_DEVICE in as many messages as it takes: where the next one goes on. */
struct wireguard_messages {
	const struct config_wireguard *config;
	uint32_t mark, index;
	uint16_t family;
	bool begun;
	size_t peer, ip; /* the first that was not sent */
};
/* Builds the next into @buf. false: there is none. */
bool wireguard_messages_next(struct wireguard_messages *messages, char *buf, size_t size);
void wireguard_messages_endpoint(char *buf, const struct wireguard *wireguard,
				 const uint8_t *public_key, const struct addr *endpoint);

/* The configuration protocol of the process @pid: a connection, or -errno; -EPERM: another process
 * listens there. */
int wireguard_uapi_connect(const char *name, pid_t pid);
int wireguard_uapi_configure(int fd, const struct config_wireguard *config, uint32_t mark);
int wireguard_uapi_set_endpoint(int fd, const uint8_t *public_key, const struct addr *endpoint);
