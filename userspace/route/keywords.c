#include "route/keywords.h"
#include <string.h>

static uint16_t pair_of(const char *text)
{
	return (uint16_t)(((unsigned char)text[0] * 37U + (unsigned char)text[1]) % ROUTE_PAIRS);
}

struct route_keyword route_keyword_of(const char *text)
{
	size_t length = strlen(text);

	return (struct route_keyword){ .text = text,
				       .length = (uint32_t)length,
				       .first = length < 2 ? ROUTE_PAIRS : pair_of(text),
				       .last = length < 2 ? ROUTE_PAIRS
							  : pair_of(text + length - 2) };
}

static void set_seen(struct route_pairs *pairs, unsigned pair)
{
	pairs->seen[pair / 64] |= 1ULL << pair % 64;
}

static bool seen(const struct route_pairs *pairs, unsigned pair)
{
	return pairs->seen[pair / 64] >> pair % 64 & 1;
}

void route_pairs_init(struct route_pairs *pairs, const char *name)
{
	*pairs = (struct route_pairs){ .name = name, .length = strlen(name) };
	set_seen(pairs, ROUTE_PAIRS);
	for (size_t i = 1; i < pairs->length; i++)
		set_seen(pairs, pair_of(&name[i - 1]));
}

bool route_keywords_hold(const struct route_keyword *list, size_t count,
			 const struct route_pairs *pairs)
{
	for (const struct route_keyword *keyword = list; keyword < list + count; keyword++)
		if (seen(pairs, keyword->first) && seen(pairs, keyword->last) &&
		    memmem(pairs->name, pairs->length, keyword->text, keyword->length))
			return true;
	return false;
}
