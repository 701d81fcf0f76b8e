/* udp_model - what flow/udp_table.h promises, found by looking at all sessions each time. */
#pragma once
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "flow/udp_table.h"

#define MODEL_SESSIONS 256

struct model_session {
	struct udp_entry entry;
	bool in, replied; /* what we think; entry is the table's */
	struct addr source, destination;
	uint64_t used;
};

struct model {
	struct udp_table table;
	struct model_session sessions[MODEL_SESSIONS];
	uint64_t clock;
	size_t count;
};

/* 8 hosts of each family, with 8 ports; those of IPv6 have two addresses in their /64. */
static inline struct addr model_source(uint8_t n)
{
	struct addr addr = { .family = n & 1 ? AF_INET6 : AF_INET, .port = 1000 + (n >> 4 & 7) };

	if (addr.family == AF_INET) {
		addr.v6.s6_addr[9] = n; /* not a part of it */
		addr.v4.s_addr = htonl(0x0a000000 + (n >> 1 & 7));
		return addr;
	}
	memcpy(&addr.v6, "\xfd\0\0\0\0\0\0", 7);
	addr.v6.s6_addr[7] = n >> 1 & 7;
	addr.v6.s6_addr[15] = n >> 7;
	return addr;
}

/* Half of them are none. */
static inline struct addr model_destination(uint8_t n)
{
	struct addr addr = { .port = n & 3 };

	if (n & 16)
		return addr;
	addr.family = n & 4 ? AF_INET6 : AF_INET;
	addr.v6.s6_addr[0] = n >> 3 & 1;
	return addr;
}

static inline bool model_same_host(const struct addr *a, const struct addr *b)
{
	return a->family == b->family &&
	       !memcmp(&a->v6, &b->v6, a->family == AF_INET ? sizeof(a->v4) : 8);
}

static inline size_t model_of_host(const struct model *model, const struct addr *source)
{
	size_t count = 0;

	for (size_t i = 0; i < MODEL_SESSIONS; i++)
		count += model->sessions[i].in &&
			 model_same_host(&model->sessions[i].source, source);
	return count;
}

/* The first to go, @source: of its host; NULL: of all. */
static inline struct model_session *model_oldest(struct model *model, const struct addr *source)
{
	struct model_session *oldest = NULL;

	for (size_t i = 0; i < MODEL_SESSIONS; i++) {
		struct model_session *s = &model->sessions[i];

		if (!s->in || (source && !model_same_host(&s->source, source)))
			continue;
		if (!oldest || s->replied < oldest->replied ||
		    (s->replied == oldest->replied && s->used < oldest->used))
			oldest = s;
	}
	return oldest;
}

static inline struct model_session *model_victim(struct model *model, const struct addr *source)
{
	const struct udp_table *table = &model->table;

	if (table->host_capacity && model_of_host(model, source) >= table->host_capacity)
		return model_oldest(model, source);
	return model->count >= table->capacity ? model_oldest(model, NULL) : NULL;
}

/* Of several with the same addresses, any is right. */
static inline bool model_found(const struct model *model, const struct addr *source,
			       const struct addr *destination, const struct udp_entry *found)
{
	const struct model_session *got = (const struct model_session *)found;
	bool bound = false, free = false;

	for (size_t i = 0; i < MODEL_SESSIONS; i++) {
		const struct model_session *s = &model->sessions[i];

		if (!s->in || !addr_equal(&s->source, source))
			continue;
		if (s->destination.family == AF_UNSPEC)
			free = true;
		else if (addr_equal(&s->destination, destination))
			bound = true;
	}
	if (!got || !got->in)
		return !got && !bound && !free;
	if (!addr_equal(&got->source, source))
		return false;
	return bound ? addr_equal(&got->destination, destination)
		     : got->destination.family == AF_UNSPEC;
}

static inline void model_must(bool right)
{
	if (!right)
		abort();
}

static inline void model_remove(struct model *model, struct model_session *s)
{
	udp_table_remove(&model->table, &s->entry);
	model->count -= s->in;
	s->in = false;
}

/* The table gives up whom we do, and then has room. @s->source is set. */
static inline void model_add(struct model *model, struct model_session *s,
			     const struct addr *destination)
{
	struct model_session *victim = model_victim(model, &s->source);

	model_must(udp_table_victim(&model->table, &s->source) == (victim ? &victim->entry : NULL));
	s->destination = s->entry.destination = *destination;
	s->entry.source = s->source;
	model_must(udp_table_add(&model->table, &s->entry) ==
		   (victim || !model->table.capacity ? -ENOSPC : 0));
	if (victim) {
		model_remove(model, victim);
		model_must(!udp_table_victim(&model->table, &s->source));
		model_must(!udp_table_add(&model->table, &s->entry));
	}
	s->in = s->entry.host;
	s->replied = false;
	s->used = model->clock;
	model->count += s->in;
}
