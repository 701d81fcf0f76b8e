#include "route/layout.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int add(struct route_rules *rules, const struct config_match *config, uint32_t parent,
	       size_t place)
{
	if (rules->count == rules->capacity) {
		uint32_t capacity = rules->capacity ? rules->capacity * 2 : 64;
		struct route_match *matches = reallocarray(rules->matches, capacity,
							   sizeof(*matches));

		if (!matches)
			return -ENOMEM;
		rules->matches = matches;
		rules->capacity = capacity;
	}
	rules->matches[rules->count++] = (struct route_match){ .config = config,
							       .parent = parent,
							       .place = (uint32_t)place };
	return 0;
}

static int add_list(struct route_rules *rules, const struct config_match *list, size_t count,
		    uint32_t parent)
{
	int r = 0;

	for (size_t i = 0; !r && i < count; i++)
		r = add(rules, &list[i], parent, i);
	return r;
}

static int add_route_and_dns(struct route_rules *rules)
{
	const struct config *config = rules->config;
	int r = 0;

	for (size_t i = 0; !r && i < config->rules.count; i++)
		r = add(rules, &config->rules.list[i].match, ROUTE_END, i);
	rules->routes.end = rules->dns.first = rules->count;
	for (size_t i = 0; !r && i < config->dns.rules.count; i++)
		r = add(rules, &config->dns.rules.list[i].match, ROUTE_END, i);
	rules->dns.end = rules->count;
	return r;
}

static int add_sets(struct route_rules *rules)
{
	const struct config *config = rules->config;
	int r = 0;

	rules->sets = calloc(config->rule_sets.count + 1, sizeof(*rules->sets));
	if (!rules->sets)
		return -ENOMEM;
	for (size_t i = 0; !r && i < config->rule_sets.count; i++) {
		const struct config_rule_set *set = &config->rule_sets.list[i];

		rules->sets[i].first = rules->count;
		r = add_list(rules, set->rules.list, set->rules.count, ROUTE_END);
		rules->sets[i].end = rules->count;
	}
	return r;
}

/* What is in a logical one is put at the end, where its turn comes too. */
static int add_nested(struct route_rules *rules)
{
	int r = 0;

	for (uint32_t id = 0; !r && id < rules->count; id++) {
		const struct config_match *config = rules->matches[id].config;

		rules->matches[id].rules = rules->count;
		if (config->logical)
			r = add_list(rules, config->rules.list, config->rules.count, id);
	}
	return r;
}

/* Sets in sets could go round in a circle. */
static int refuse_sets_in_sets(const struct route_rules *rules, char *reason, size_t size)
{
	for (uint32_t id = rules->dns.end; id < rules->count; id++) {
		uint32_t top = id;
		size_t used;

		while (rules->matches[top].parent != ROUTE_END)
			top = rules->matches[top].parent;
		if (top < rules->dns.end || !rules->matches[id].config->rule_sets.count)
			continue;
		used = route_layout_name(rules, id, reason, size);
		snprintf(reason + used, size - used, ".rule_set: not in a rule set");
		return -EINVAL;
	}
	return 0;
}

int route_layout(struct route_rules *rules, char *reason, size_t size)
{
	int r = add_route_and_dns(rules);

	if (!r)
		r = add_sets(rules);
	if (!r)
		r = add_nested(rules);
	return r ? r : refuse_sets_in_sets(rules, reason, size);
}

static int name_top(const struct route_rules *rules, uint32_t id, char *buf, size_t size)
{
	uint32_t place = rules->matches[id].place;
	size_t set = 0;

	if (id < rules->routes.end)
		return snprintf(buf, size, "route.rules[%u]", place);
	if (id < rules->dns.end)
		return snprintf(buf, size, "dns.rules[%u]", place);
	while (id >= rules->sets[set].end)
		set++;
	return snprintf(buf, size, "route.rule_set[%zu].rules[%u]", set, place);
}

size_t route_layout_name(const struct route_rules *rules, uint32_t id, char *buf, size_t size)
{
	const struct route_match *match = &rules->matches[id];
	size_t used = 0;
	int length;

	if (match->parent == ROUTE_END) {
		length = name_top(rules, id, buf, size);
	} else {
		used = route_layout_name(rules, match->parent, buf, size);
		length = snprintf(buf + used, size - used, ".rules[%u]", match->place);
	}
	used += (size_t)length;
	return used < size ? used : size - 1;
}
