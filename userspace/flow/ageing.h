/* ageing - when a pair that tc has taken is over, and when its ways are worth asking for. No event tells of
 * either: a timer looks, the more often the more lively it is. */
#pragma once
#include "config/config.h"
#include "flow/flow.h"
#include "kern/packet.h"

struct ageing {
	uint64_t bytes, since_ms; /* when it moved bytes last */
	uint64_t last_ms;         /* of any packet */
	uint64_t way_ms;          /* the ways were asked for then */
};

/* END_NONE, and when to look again; or why it is over. */
enum flow_end ageing_judge(struct ageing *ageing, const struct packet_pair *pair,
			   const struct config_relay *config, uint64_t now_ms,
			   uint32_t *ret_delay_ms);
/* Whether it is time to ask for the ways again: packets have come since. */
bool ageing_wants_way(struct ageing *ageing, uint64_t now_ms);
