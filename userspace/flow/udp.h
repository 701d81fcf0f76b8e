/* udp - the UDP sessions of a worker: listeners, table, reply sockets. Read udp_session.c first. */
#pragma once
#include "base/mem.h"
#include "flow/flow.h"
#include "flow/udp_held.h"
#include "flow/udp_pair.h"
#include "flow/udp_reply.h"
#include "flow/udp_table.h"
#include "net/datagram.h"
#include "net/icmp.h"

/* In order. A session only moves forward. */
enum udp_state {
	UDP_ROUTE, /* decide where to; holds what comes meanwhile */
	UDP_DIAL,  /* owns @dial; as above */
	UDP_RELAY, /* owns @way */
	UDP_DNS,   /* the questions are answered here */
	UDP_BLOCK, /* a rule says no; remembered for a while */
	UDP_CLOSE,
	UDP_STATE_COUNT,
};
extern const char *const udp_state_names[UDP_STATE_COUNT];

/* Why datagrams were lost here. */
enum udp_drop {
	UDP_DROP_ADDRESS,   /* from or to where no session may be: multicast, ourselves */
	UDP_DROP_TRUNCATED, /* longer than any datagram */
	UDP_DROP_HELD,      /* more than are held until there is a way */
	UDP_DROP_REFUSED,   /* by a rule, or nobody can carry them */
	UDP_DROP_SEND,      /* the kernel did not take them */
	UDP_DROP_FOREIGN,   /* an answer by an address that the client cannot have written to */
	UDP_DROP_STOPPING,  /* no new sessions while the daemon stops */
	UDP_DROP_MEMORY,
	UDP_DROP_COUNT,
};
extern const char *const udp_drop_names[UDP_DROP_COUNT];

struct udp_stats {
	uint64_t sessions, active; /* ever; now */
	uint64_t ended[END_COUNT];
	uint64_t datagrams[SIDES], bytes[SIDES]; /* that were received: [CLIENT] by the listeners */
	uint64_t dropped[UDP_DROP_COUNT];
	uint64_t unreachables; /* ICMP messages sent */
	struct udp_reply_stats replies;
};

struct udp_listener;

/* Part of a worker. */
struct udp {
	struct udp_table table;
	struct mem_pool pool;
	struct list sessions;
	struct datagram_batch *batch; /* of whoever receives; NULL: no inbound takes UDP */
	struct udp_replies replies;
	struct icmp icmp;
	uint64_t icmp_second; /* that @icmp_left is for */
	uint32_t icmp_left;   /* messages that may still be sent in it */
	struct udp_listener *listeners;
	size_t listener_count;
	struct udp_stats stats;
};

struct udp_session {
	struct udp_entry entry; /* its source, and its destination if it is bound */
	struct list link;       /* udp->sessions */
	struct worker *worker;
	uint64_t id, start_ms, used_ms;
	const struct inbound *inbound;
	const struct outbound *outbound; /* from UDP_ROUTE on, if it goes anywhere */
	struct addr destination;         /* of its first datagram */
	struct udp_held held;            /* until UDP_RELAY */
	struct decide *decide;  /* until UDP_RELAY, and in UDP_DNS; NULL: there are no rules */
	struct dial *dial;      /* only in UDP_DIAL */
	struct packet_way *way; /* from UDP_RELAY on */
	struct udp_pair pair;   /* as far as it is translated by tc */
	struct list questions;  /* UDP_DNS: under way */
	unsigned question_count;
	struct trace trace;
	struct timer timer; /* sniffing, dial_timeout, then idle */
	uint32_t timeout_ms;
	char *domain; /* sniffed, owned; NULL: none */
	size_t rule;
	enum protocol protocol;
	enum udp_state state;
	enum flow_end end;
	bool adopted;    /* an earlier daemon began it */
	bool has_others; /* its client wrote to other destinations as well */
	bool silent;     /* UDP_BLOCK: the client is told nothing */
	bool unmapped;   /* answers come from the address that a name turned out to have */
	uint64_t datagrams[SIDES], bytes[SIDES],
		dropped;            /* what its pair has moved is not in them */
	uint64_t translated[SIDES]; /* by pairs that it had; in @datagrams */
};

/* A copy of what is told of a session: for ctl, on any thread. Strings live as long as the configuration. */
struct udp_info {
	uint64_t id, age_ms, idle_ms, timeout_ms;
	enum udp_state state;
	const char *inbound, *outbound, *method; /* "" if there is none */
	struct addr source, destination;
	bool bound, replied, adopted;
	char domain[SNIFF_DOMAIN_MAX];
	enum protocol protocol;
	size_t rule; /* index, CONFIG_NONE: none decided */
	uint64_t datagrams[SIDES], bytes[SIDES], dropped;
	uint64_t translated[SIDES]; /* of the datagrams, by tc */
};

/* -errno and @reason (256 bytes). Nothing is opened if no inbound takes UDP. */
int udp_init(struct worker *worker, char *reason);
void udp_deinit(struct worker *worker); /* half-initialised and zeroed are fine */
void udp_stats(const struct worker *worker, struct udp_stats *ret);
void udp_kill_all(struct worker *worker, enum flow_end why);
int udp_kill(struct worker *worker, uint64_t id); /* -ENOENT */
/* Sessions whose address or interface is gone end. */
void udp_check_interfaces(struct worker *worker, const struct netif_list *interfaces);
void udp_leave_packet(struct worker *worker); /* all sessions go on in user space */
size_t udp_describe(const struct worker *worker, struct udp_info *ret, size_t count);

/* Datagrams of clients. @list is the worker's batch. */
void udp_take(struct worker *worker, const struct inbound *inbound, const struct datagram *list,
	      unsigned count);

/* A session that knows no more than its addresses, without an id; NULL: out of memory, or the table is full. */
struct udp_session *udp_session_make(struct worker *worker, const struct inbound *inbound,
				     const struct addr *source, const struct addr *destination);
/* UDP_RELAY by @way, which becomes the session's, until it is quiet for @timeout_ms. */
void udp_session_relay(struct udp_session *session, struct packet_way *way, uint32_t timeout_ms);
/* A session for @first and what comes after it; NULL as above. */
struct udp_session *udp_session_new(struct worker *worker, const struct inbound *inbound,
				    const struct datagram *first);
/* Datagrams of its client to one destination. The session may be gone. */
void udp_session_take(struct udp_session *session, const struct datagram *list, unsigned count);
void udp_session_end(struct udp_session *session, enum flow_end why);

/* For what a session is made of. */
/* In UDP_RELAY, UDP_DNS and UDP_BLOCK: what its client sends. */
void udp_carry(struct udp_session *session, const struct datagram *list, unsigned count);
/* The same for what is held. What a bound session is not for goes on to sessions of its own, for which this one
 * may have to make room: it may be gone. With @end it is: it ends before those begin. */
void udp_carry_held(struct udp_session *session, enum flow_end end);
void udp_dropped(struct udp_session *session, enum udp_drop why, unsigned count);
/* Answers to the client, as if from @from. */
void udp_answer(struct udp_session *session, const struct addr *from, const struct datagram *list,
		unsigned count);
/* ICMP port unreachable for a datagram of @source's. */
void udp_tell_unreachable(struct worker *worker, const struct addr *source,
			  const struct addr *destination, const uint8_t *data, size_t len);
/* How long a session may be quiet: what a rule says, what it speaks, its port, its inbound. Pure. */
uint32_t udp_timeout_ms(const struct route_options *options, enum protocol protocol, uint16_t port,
			uint32_t inbound_ms);
/* Takes a datagram of a hijacked session: a question, or nothing. */
void udp_dns_take(struct udp_session *session, const uint8_t *data, size_t len);
void udp_dns_stop(struct udp_session *session);
/* END_NONE: what carries it is still there. */
enum flow_end udp_lost_ground(const struct udp_session *session,
			      const struct netif_list *interfaces);
