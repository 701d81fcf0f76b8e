#include "flow/udp_held.h"
#include <stdlib.h>
#include <string.h>

void udp_held_init(struct udp_held *held, struct mem_budget *budget)
{
	*held = (struct udp_held){ .budget = budget };
	list_init(&held->list);
}

void udp_held_deinit(struct udp_held *held)
{
	struct held_datagram *datagram;

	while ((datagram = udp_held_take(held)) != NULL)
		free(datagram);
}

bool udp_held_is_full(const struct udp_held *held)
{
	return held->count >= UDP_HELD_MAX || held->bytes >= UDP_HELD_MAX_BYTES;
}

void udp_held_add(struct udp_held *held, struct held_datagram *datagram)
{
	list_append(&held->list, &datagram->link);
	held->count++;
	held->bytes += datagram->len;
	held->budget->used += datagram->len;
}

static bool put_one(struct udp_held *held, const struct addr *destination, const uint8_t *data,
		    size_t len)
{
	struct held_datagram *datagram;

	if (udp_held_is_full(held) || len > UDP_HELD_MAX_BYTES - held->bytes)
		return false;
	if (mem_budget_left(held->budget) < len)
		return false;
	datagram = malloc(sizeof(*datagram) + len);
	if (!datagram)
		return false;
	datagram->destination = *destination;
	datagram->len = len;
	if (len)
		memcpy(datagram->data, data, len);
	list_init(&datagram->link);
	udp_held_add(held, datagram);
	return true;
}

unsigned udp_held_put(struct udp_held *held, const struct datagram *datagram)
{
	size_t step = datagram->segment ? datagram->segment : datagram->len, at = 0;
	unsigned lost = 0;

	do {
		size_t left = datagram->len - at;

		if (!put_one(held, &datagram->destination, datagram->data + at,
			     left < step ? left : step))
			lost++;
		at += step;
	} while (at < datagram->len);
	return lost;
}

const struct held_datagram *udp_held_get(const struct udp_held *held, size_t index)
{
	if (index >= held->count)
		return NULL;
	list_for_each (link, &held->list) {
		if (!index--)
			return container_of(link, struct held_datagram, link);
	}
	return NULL;
}

struct held_datagram *udp_held_take(struct udp_held *held)
{
	struct held_datagram *datagram;

	if (!held->count)
		return NULL;
	datagram = container_of(held->list.next, struct held_datagram, link);
	list_unlink(&datagram->link);
	held->count--;
	held->bytes -= datagram->len;
	mem_budget_give(held->budget, datagram->len);
	return datagram;
}
