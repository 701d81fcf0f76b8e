#include "route/prefixes.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void key_of(const struct addr *addr, uint8_t *ret)
{
	memset(ret, 0, ROUTE_PREFIX_KEY);
	ret[0] = (uint8_t)addr->family;
	if (addr->family == AF_INET)
		memcpy(&ret[1], &addr->v4, sizeof(addr->v4));
	else
		memcpy(&ret[1], &addr->v6, sizeof(addr->v6));
}

static uint8_t head_mask(unsigned bits)
{
	return (uint8_t)(0xff00 >> bits);
}

static bool contains(const struct route_prefix *prefix, const uint8_t *key)
{
	unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;

	if (memcmp(prefix->key, key, whole) != 0)
		return false;
	return !rest || prefix->key[whole] == (key[whole] & head_mask(rest));
}

int route_prefixes_init(struct route_prefixes *prefixes, size_t count)
{
	*prefixes = (struct route_prefixes){ .uses = calloc(count + 1, sizeof(*prefixes->uses)) };
	return prefixes->uses ? 0 : -ENOMEM;
}

void route_prefixes_deinit(struct route_prefixes *prefixes)
{
	free(prefixes->list);
	free(prefixes->uses);
	route_chains_deinit(&prefixes->chains);
	*prefixes = (struct route_prefixes){ 0 };
}

void route_prefixes_add(struct route_prefixes *prefixes, const struct config_prefix *prefix,
			uint32_t id)
{
	struct route_prefix_use *use = &prefixes->uses[prefixes->use_count++];
	unsigned bits = prefix->bits + 8U;

	assert(prefix->addr.family == AF_INET
		       ? prefix->bits <= 32
		       : prefix->addr.family == AF_INET6 && prefix->bits <= 128);
	use->id = id;
	use->prefix.bits = (uint8_t)bits;
	key_of(&prefix->addr, use->prefix.key);
	for (unsigned i = bits / 8; i < ROUTE_PREFIX_KEY; i++)
		use->prefix.key[i] &= i == bits / 8 ? head_mask(bits % 8) : 0;
}

static int compare_prefixes(const struct route_prefix *a, const struct route_prefix *b)
{
	int order = memcmp(a->key, b->key, sizeof(a->key));

	return order ? order : a->bits - b->bits;
}

static int compare_uses(const void *left, const void *right)
{
	const struct route_prefix_use *a = left, *b = right;
	int order = compare_prefixes(&a->prefix, &b->prefix);

	return order ? order : (a->id > b->id) - (a->id < b->id);
}

/* Of networks that begin before @key, the nearest around it: @list or one above. */
static uint32_t around(const struct route_prefixes *prefixes, uint32_t list, const uint8_t *key)
{
	while (list != ROUTE_END && !contains(&prefixes->list[list], key))
		list = prefixes->chains.up[list];
	return list;
}

static void link_up(struct route_prefixes *prefixes)
{
	struct route_chains *chains = &prefixes->chains;

	for (size_t i = 0; i < prefixes->use_count; i++) {
		const struct route_prefix_use *use = &prefixes->uses[i];
		uint32_t last = prefixes->count - 1; /* ROUTE_END where there is none */

		chains->ids[i] = use->id;
		if (prefixes->count && !compare_prefixes(&prefixes->list[last], &use->prefix))
			continue;
		prefixes->list[prefixes->count] = use->prefix;
		chains->up[prefixes->count] = around(prefixes, last, use->prefix.key);
		chains->start[prefixes->count++] = (uint32_t)i;
	}
	chains->start[prefixes->count] = (uint32_t)prefixes->use_count;
}

int route_prefixes_seal(struct route_prefixes *prefixes)
{
	size_t count = prefixes->use_count;
	int r = route_chains_init(&prefixes->chains, count, count);

	if (r < 0)
		return r;
	prefixes->list = calloc(count + 1, sizeof(*prefixes->list));
	if (!prefixes->list)
		return -ENOMEM;
	qsort(prefixes->uses, count, sizeof(*prefixes->uses), compare_uses);
	link_up(prefixes);
	free(prefixes->uses);
	prefixes->uses = NULL;
	return 0;
}

uint32_t route_prefixes_find(const struct route_prefixes *prefixes, const struct addr *addr)
{
	uint8_t key[ROUTE_PREFIX_KEY];
	uint32_t low = 0, high = prefixes->count;

	if (!prefixes->count || (addr->family != AF_INET && addr->family != AF_INET6))
		return ROUTE_END;
	key_of(addr, key);
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (memcmp(prefixes->list[middle].key, key, sizeof(key)) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? around(prefixes, low - 1, key) : ROUTE_END;
}
