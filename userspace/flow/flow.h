/* flow - one client connection, from accept to close: its states, why it ended, and what is told of it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/log.h"
#include "dial/dial.h"
#include "flow/decide.h"
#include "flow/dns_flow.h"
#include "flow/kick.h"
#include "net/addr.h"
#include "net/sock.h"
#include "net/stream.h"
#include "relay/relay.h"

/* In order. A flow only moves forward; flow_goto() asserts it. */
enum flow_state {
	FLOW_ROUTE, /* decide where to */
	FLOW_DNS,   /* owns @dns: the questions are answered here */
	FLOW_DIAL,  /* owns @dial; the client is watched for its end */
	FLOW_KICK, /* owns both streams; the upstream's SYN waits for the first write (flow/kick.h) */
	FLOW_RELAY,  /* owns both streams and @relay */
	FLOW_PARKED, /* tc translates its packets: it becomes a struct parked (flow/parked.h) */
	FLOW_CLOSE, /* told of parked ones that both hosts have ended: their pair lingers for a moment */
	FLOW_STATE_COUNT,
};
extern const char *const flow_state_names[FLOW_STATE_COUNT];

/* Why a flow ended. All but END_DONE reset what is still open. */
enum flow_end {
	END_NONE,
	END_DONE,        /* both directions ended and were delivered */
	END_REJECTED,    /* by a rule, or routed to a block outbound */
	END_DROPPED,     /* by a rule, and the client is told nothing */
	END_UNRESOLVED,  /* a rule had its name looked up, and it has no address */
	END_BAD_ADDRESS, /* multicast, broadcast or unspecified source or destination */
	END_LOOP,        /* to our own listener */
	END_CLIENT_GONE, /* it ended while we dialed, and had sent nothing */
	END_DIAL_FAILED,
	END_DIAL_TIMEOUT,
	END_ADDRESS_GONE,   /* the upstream's own address left this machine */
	END_INTERFACE_GONE, /* as did the interface it is bound to */
	END_CLIENT_RESET,
	END_UPSTREAM_RESET,
	END_UNREACHABLE, /* UDP: the server's host says that nobody listens (ICMP) */
	END_EVICTED,     /* UDP: others needed its room */
	END_BACKLOG,     /* the fast path could not hold what was received */
	END_NO_MEMORY,
	END_IDLE,
	END_HALF_CLOSED_IDLE,
	END_KILLED,
	END_SHUTDOWN,
	END_RESET,    /* by either host, while it was parked */
	END_DETACHED, /* its packets go on being translated without us */
	END_COUNT,
};
extern const char *const flow_end_names[END_COUNT];
enum log_level flow_end_level(enum flow_end end); /* how loud it is told */

struct inbound {
	char *tag;
	struct addr listen;
	unsigned network; /* CONFIG_NETWORK_* */
	uint32_t mss;     /* TCP; 0: auto */
	uint32_t udp_timeout_ms;
};

struct outbound {
	char *tag;
	const struct dialer *dialer; /* NULL: block; owned by flow_config->dialers */
	struct keep_alive keep_alive;
	uint32_t dial_timeout_ms, connect_timeout_ms;
	struct target
		override; /* AF_UNSPEC without a domain: where the client wanted; port 0: its port */
	char *override_domain; /* owns override.domain */
	bool multi_path;       /* its sockets may be MPTCP, which no sockmap takes */
};

struct worker;

struct tcp_flow {
	struct list link; /* worker->flows */
	struct worker *worker;
	uint64_t id, start_ms, dial_ms;
	const struct inbound *inbound;
	const struct outbound *outbound; /* from FLOW_ROUTE on */
	struct addr source, destination;
	struct decide *decide;     /* until FLOW_RELAY; NULL: there are no rules */
	struct dns_flow *dns;      /* only in FLOW_DNS */
	struct dial *dial;         /* only in FLOW_DIAL */
	struct trace trace;        /* what the dial tried */
	struct stream side[SIDES]; /* UPSTREAM from FLOW_KICK on */
	struct kick kick;          /* only in FLOW_KICK */
	char *domain;              /* of the sniffed name, owned; NULL: none */
	size_t rule;               /* that decided; CONFIG_NONE: route.final */
	enum protocol protocol;    /* sniffed */
	struct relay relay;        /* from FLOW_RELAY on */
	struct timer
		timer; /* FLOW_DIAL, FLOW_KICK: dial_timeout; then keep-alive, idle, half-closed; ageing */
	uint64_t idle_bytes, idle_since_ms;
	enum flow_state state;
	enum flow_end end;
	bool keep_alive_set;
};

/* A copy of what is told of a flow: for ctl, on any thread. Strings live as long as the configuration. */
struct flow_info {
	uint64_t id, age_ms;
	int64_t taken_ms; /* since it began: when tc took it over; -1: not */
	enum flow_state state;
	enum flow_end end;              /* END_NONE: lives */
	const char *inbound, *outbound; /* outbound "" before it is routed */
	struct addr source, destination;
	char domain[SNIFF_DOMAIN_MAX]; /* sniffed; "" */
	enum protocol protocol;
	size_t rule; /* index, CONFIG_NONE: none decided */
	const char *method,
		*refused;   /* refused: why not the sockmap, "" if it is or was not tried */
	const char *packet; /* why tc does not carry it, likewise */
	uint32_t missed;    /* and why not yet: relay->missed */
	bool adopted;       /* an earlier daemon began it */
	struct {
		uint64_t bytes, kernel_bytes;
		const char *gate; /* "" outside the sockmap */
		uint32_t spills;
	} side[SIDES];                  /* [CLIENT]: up */
	struct trace_attempt *attempts; /* owned; see flow_info_deinit() */
	size_t attempt_count;
};
/* A copy; without memory none. */
void flow_info_set_attempts(struct flow_info *info, const struct trace *trace);
void flow_info_deinit(struct flow_info *info);

/* Why a connection between these is none for us; END_NONE: it is. In listener.c. */
enum flow_end listener_refuses(const struct worker *worker, const struct addr *source,
			       const struct addr *destination);
/* Takes over @fd, an accepted non-blocking socket. It may be closed again before this returns. */
void tcp_flow_start(struct worker *worker, const struct inbound *inbound, int fd,
		    const struct addr *source, const struct addr *destination);
/* Ends it now. */
void tcp_flow_kill(struct tcp_flow *flow, enum flow_end why);
/* A line that begins with what the flow is. */
__attribute__((format(printf, 3, 4))) void flow_log(const struct tcp_flow *flow,
						    enum log_level level, const char *format, ...);
/* *@ret is to be given back by flow_info_deinit(). */
void tcp_flow_describe(const struct tcp_flow *flow, struct flow_info *ret);
/* Ends it if the upstream's address or interface is no longer in @interfaces. */
void tcp_flow_check_interfaces(struct tcp_flow *flow, const struct netif_list *interfaces);
/* A relay has work that no socket event tells of. */
void tcp_flow_wake(struct relay *relay);
