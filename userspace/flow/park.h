/* park - flows whose packets tc translates past the sockets (FLOW_PARKED): what ends them, and the ways of
 * their packets. No event tells of them: a timer looks. The sockets stay open, silent: they hold the ports.
 */
#pragma once
#include "flow/flow.h"

struct netif_list;

/* Right after RELAY_TAKEN. true: we are about to end, and it goes on without us. */
bool park_begin(struct tcp_flow *flow);
/* The pair's end, by flow->end, from any state and before the relay stops: RST to both hosts, or nothing
 * where they have ended or go on without us. */
void park_end(struct tcp_flow *flow);
/* The routes may have changed: the ways follow, also those of a pair that is not taken yet. */
void park_follow(struct tcp_flow *flow);
/* packet_env.tell: a line in the log, at debug */
void park_tell(const struct relay *relay);
/* packet_env.describe */
void park_label(const struct relay *relay, struct seam_label *ret);

/* For these and for adopted ones: END_NONE, and when to look again; or why it is over. */
enum flow_end park_judge(const struct packet_pair *pair, struct park *park,
			 const struct config_relay *config, uint64_t now_ms,
			 uint32_t *ret_delay_ms);
/* Whether it is time to ask for the ways again: packets have come since. */
bool park_wants_way(struct park *park, uint64_t now_ms);
/* Its end: @kept: it goes on without us; else RST to both hosts, unless they have ended it. */
void park_release(struct packet_pair *pair, enum flow_end why, bool kept);
