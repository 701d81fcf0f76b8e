#include "route/domains.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FNV_PRIME 0x01000193U

enum { ITSELF, BELOW, LISTS };

/* Of the characters from the end on: the hash of every name above is met on the way. */
static uint32_t hash_step(uint32_t hash, char c)
{
	return (hash ^ (unsigned char)c) * FNV_PRIME;
}

static bool is_name(const struct route_domain *domain, const char *name, size_t length,
		    uint32_t hash)
{
	return domain->hash == hash && domain->length == length &&
	       !memcmp(domain->name, name, length);
}

/* The slot of the name, or the free one where it belongs. */
static uint32_t *slot_of(const struct route_domains *domains, const char *name, size_t length,
			 uint32_t hash)
{
	for (uint32_t i = hash ^ hash >> 15;; i++) {
		uint32_t *slot = &domains->slots[i & domains->mask];

		if (*slot == ROUTE_END || is_name(&domains->list[*slot], name, length, hash))
			return slot;
	}
}

int route_domains_init(struct route_domains *domains, size_t count)
{
	size_t slots = 2;

	while (slots < count * 2)
		slots *= 2;
	*domains = (struct route_domains){ .list = calloc(count + 1, sizeof(*domains->list)),
					   .slots = malloc(slots * sizeof(*domains->slots)),
					   .mask = (uint32_t)slots - 1,
					   .uses = calloc(count * LISTS + 1,
							  sizeof(*domains->uses)) };
	if (!domains->list || !domains->slots || !domains->uses) {
		route_domains_deinit(domains);
		return -ENOMEM;
	}
	memset(domains->slots, 0xff, slots * sizeof(*domains->slots));
	return 0;
}

void route_domains_deinit(struct route_domains *domains)
{
	free(domains->list);
	free(domains->slots);
	free(domains->uses);
	route_chains_deinit(&domains->chains);
	*domains = (struct route_domains){ 0 };
}

static uint32_t index_of(struct route_domains *domains, const char *name)
{
	size_t length = strlen(name);
	uint32_t hash = 0, *slot;

	for (size_t i = length; i--;)
		hash = hash_step(hash, name[i]);
	slot = slot_of(domains, name, length, hash);
	if (*slot == ROUTE_END) {
		*slot = domains->count++;
		domains->list[*slot] = (struct route_domain){ .name = name,
							      .length = (uint32_t)length,
							      .hash = hash };
	}
	return *slot;
}

static void use(struct route_domains *domains, uint32_t list, uint32_t id)
{
	domains->uses[domains->use_count++] = (struct route_domain_use){ list, id };
}

void route_domains_add(struct route_domains *domains, const char *name, uint32_t id)
{
	use(domains, index_of(domains, name) * LISTS + ITSELF, id);
}

void route_domains_add_suffix(struct route_domains *domains, const char *suffix, uint32_t id)
{
	bool only_below = suffix[0] == '.';
	uint32_t index = index_of(domains, suffix + only_below);

	use(domains, index * LISTS + BELOW, id);
	if (!only_below)
		use(domains, index * LISTS + ITSELF, id);
}

/* The list of the nearest name above, and the hash of the name. */
static uint32_t above(const struct route_domains *domains, const char *name, size_t length,
		      uint32_t *ret_hash)
{
	uint32_t list = ROUTE_END, hash = 0;

	for (size_t i = length; i--;) {
		if (name[i] == '.') {
			uint32_t index = *slot_of(domains, name + i + 1, length - i - 1, hash);

			if (index != ROUTE_END)
				list = index * LISTS + BELOW;
		}
		hash = hash_step(hash, name[i]);
	}
	*ret_hash = hash;
	return list;
}

/* Counts, then starts, then fills; the order of the uses stays. */
static void fill_chains(struct route_domains *domains)
{
	struct route_chains *chains = &domains->chains;
	uint32_t lists = domains->count * LISTS, end = 0;

	for (size_t i = 0; i < domains->use_count; i++)
		chains->start[domains->uses[i].list]++;
	for (uint32_t i = 0; i <= lists; i++) {
		end += chains->start[i];
		chains->start[i] = end;
	}
	for (size_t i = domains->use_count; i--;)
		chains->ids[--chains->start[domains->uses[i].list]] = domains->uses[i].id;
}

int route_domains_seal(struct route_domains *domains)
{
	int r = route_chains_init(&domains->chains, (size_t)domains->count * LISTS,
				  domains->use_count);

	if (r < 0)
		return r;
	fill_chains(domains);
	for (uint32_t i = 0; i < domains->count; i++) {
		const struct route_domain *domain = &domains->list[i];
		uint32_t *up = &domains->chains.up[(size_t)i * LISTS], hash;

		up[ITSELF] = up[BELOW] = above(domains, domain->name, domain->length, &hash);
	}
	free(domains->uses);
	domains->uses = NULL;
	return 0;
}

uint32_t route_domains_find(const struct route_domains *domains, const char *name)
{
	uint32_t list, index, hash;
	size_t length;

	if (!name || !domains->count)
		return ROUTE_END;
	length = strlen(name);
	list = above(domains, name, length, &hash);
	index = *slot_of(domains, name, length, hash);
	return index == ROUTE_END ? list : index * LISTS + ITSELF;
}
