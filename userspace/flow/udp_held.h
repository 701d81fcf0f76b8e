/* udp_held - datagrams that wait until there is a way for them, in order; bounded. */
#pragma once
#include "base/list.h"
#include "base/mem.h"
#include "net/datagram.h"

#define UDP_HELD_MAX       128 /* datagrams: what a client sends before it waits for an answer */
#define UDP_HELD_MAX_BYTES (4 << 20) /* so that 50 of the longest fit */

struct held_datagram {
	struct list link;
	struct addr destination;
	size_t len;
	uint8_t data[];
};

struct udp_held {
	struct list list;
	size_t count, bytes;
	struct mem_budget *budget; /* of all that is held */
};

void udp_held_init(struct udp_held *held, struct mem_budget *budget);
void udp_held_deinit(struct udp_held *held); /* twice is fine */
/* Copies it, a train as what it is made of; returns how many did not fit and are lost. */
unsigned udp_held_put(struct udp_held *held, const struct datagram *datagram);
/* One that was taken, behind the others, whether full or not. */
void udp_held_add(struct udp_held *held, struct held_datagram *datagram);
bool udp_held_is_full(const struct udp_held *held);
/* The one at @index, NULL: there are fewer. */
const struct held_datagram *udp_held_get(const struct udp_held *held, size_t index);
/* As it came, from @source. */
static inline struct datagram udp_held_datagram(const struct held_datagram *held,
						const struct addr *source)
{
	return (struct datagram){ .source = *source,
				  .destination = held->destination,
				  .data = held->data,
				  .len = held->len };
}
/* The oldest, which is the caller's to free(); NULL: none. */
struct held_datagram *udp_held_take(struct udp_held *held);
