#include "config/match.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/names.h"
#include "config/tags.h"

static const struct place document, route = { .up = &document, .key = "route" };
static const struct place dns = { .up = &document, .key = "dns" };

struct checker {
	struct report *report;
	struct tags inbounds, outbounds, servers, sets; /* in a file: none */
	bool no_sets;                                   /* their list was refused as a whole */
};

/* A list that is empty here was refused as a whole, unless it is that of rule sets. */

static void find_tag(struct checker *checker, const struct tags *tags, const json_t *tag,
		     const struct place *place, size_t *ret)
{
	if (json_is_string(tag) && tags->names &&
	    (tags->count || (tags == &checker->sets && !checker->no_sets)))
		*ret = tags_find(checker->report, tags, json_string_value(tag), place);
}

/* Fills in the @count indexes of @list, which was read from @key of @object. */
static void find_tags(struct checker *checker, const struct tags *tags, const json_t *object,
		      const struct place *place, size_t *list, size_t count)
{
	const json_t *value = json_object_get(object, place->key);
	struct place element = { .up = place };

	if (count && json_is_string(value))
		find_tag(checker, tags, value, place, list);
	for (; json_is_array(value) && element.index < count; element.index++)
		find_tag(checker, tags, json_array_get(value, element.index), &element,
			 &list[element.index]);
}

/* Whether @object has a condition, or something that is reported already and may be meant for one. */
static bool has_condition(enum section section, const json_t *object)
{
	const json_t *type = json_object_get(object, "type");
	const char *name = json_string_value(type);
	json_t *value;

	if (type && (!name || strcmp(name, schema_find(SECTION_MATCH, "type")->initial) != 0))
		return true;
	json_object_foreach ((json_t *)object, name, value) {
		const struct schema_key *key = schema_find(section, name);

		if (!key)
			return true;
		if (key->section == SECTION_MATCH && key->only &&
		    (key->type != KEY_BOOL || !json_is_false(value)))
			return true;
	}
	return false;
}

/* @instead: what to use in place of a rule that always matches; NULL: that is fine. */
static void check_condition(struct report *report, enum section section, const json_t *object,
			    const struct place *place, const char *instead)
{
	bool invert = json_is_true(json_object_get(object, "invert"));

	if (!json_is_object(object) || has_condition(section, object))
		return;
	if (invert)
		report_error(report, AT_VALUE(place), "matches nothing: invert has no condition");
	else if (instead)
		report_error(report, AT_VALUE(place), "matches everything: give a condition%s",
			     instead);
}

static void check_match(struct checker *checker, const json_t *object, struct config_match *match,
			const struct place *place)
{
	struct place inbounds = { .up = place, .key = "inbound" };
	struct place sets = { .up = place, .key = "rule_set" };
	struct place rules = { .up = place, .key = "rules" };
	const json_t *list = json_object_get(object, rules.key);

	find_tags(checker, &checker->inbounds, object, &inbounds, match->inbounds.list,
		  match->inbounds.count);
	find_tags(checker, &checker->sets, object, &sets, match->rule_sets.list,
		  match->rule_sets.count);
	for (size_t i = 0; i < match->rules.count; i++) {
		struct place element = { .up = &rules, .index = i };
		const json_t *nested = json_array_get(list, i);

		check_condition(checker->report, SECTION_MATCH, nested, &element, "");
		check_match(checker, nested, &match->rules.list[i], &element);
	}
}

static bool has_option(const json_t *object)
{
	const char *name;
	json_t *value;

	json_object_foreach ((json_t *)object, name, value) {
		const struct schema_key *key = schema_find(SECTION_RULE, name);

		if (!key || key->actions & 1U << ACTION_ROUTE_OPTIONS)
			return true;
	}
	return false;
}

static void check_action(struct checker *checker, const json_t *object, struct config_rule *rule,
			 const struct config *config, const struct place *place)
{
	struct place outbound = { .up = place, .key = "outbound" };
	struct place server = { .up = place, .key = "server" };
	const json_t *action = json_object_get(object, "action");
	bool last = rule->action == ACTION_ROUTE || rule->action == ACTION_REJECT;
	const char *word = action ? json_string_value(action) : rule_action_names[ACTION_ROUTE];

	rule->outbound = CONFIG_NONE;
	rule->resolve.server = config->dns.final;
	if (rule->resolve.strategy < 0)
		rule->resolve.strategy = (int)config->dns.strategy;
	if (!word || names_find(rule_action_names, ACTION_COUNT, word) < 0)
		return;
	if (rule->outbound_tag)
		find_tag(checker, &checker->outbounds, json_object_get(object, outbound.key),
			 &outbound, &rule->outbound);
	if (rule->resolve.server_tag)
		find_tag(checker, &checker->servers, json_object_get(object, server.key), &server,
			 &rule->resolve.server);
	if (rule->action == ACTION_ROUTE_OPTIONS && !has_option(object))
		report_error(checker->report, AT_VALUE(place), "sets no option");
	check_condition(checker->report, SECTION_RULE, object, place,
			last ? ", or use route.final" : NULL);
}

static void check_rules(struct checker *checker, const json_t *root, struct config *config)
{
	static const struct place rules = { .up = &route, .key = "rules" };
	const json_t *list = json_object_get(json_object_get(root, "route"), rules.key);

	for (size_t i = 0; i < config->rules.count; i++) {
		struct config_rule *rule = &config->rules.list[i];
		const json_t *object = json_array_get(list, i);
		struct place element = { .up = &rules, .index = i };

		check_action(checker, object, rule, config, &element);
		check_match(checker, object, &rule->match, &element);
	}
}

static void check_dns_rules(struct checker *checker, const json_t *root, struct config *config)
{
	static const struct place rules = { .up = &dns, .key = "rules" };
	const json_t *list = json_object_get(json_object_get(root, "dns"), rules.key);

	for (size_t i = 0; i < config->dns.rules.count; i++) {
		struct config_dns_rule *rule = &config->dns.rules.list[i];
		const json_t *object = json_array_get(list, i);
		struct place element = { .up = &rules, .index = i };
		struct place server = { .up = &element, .key = "server" };

		rule->server = CONFIG_NONE;
		if (rule->server_tag)
			find_tag(checker, &checker->servers, json_object_get(object, server.key),
				 &server, &rule->server);
		check_condition(checker->report, SECTION_DNS_RULE, object, &element,
				", or use dns.final");
		check_match(checker, object, &rule->match, &element);
	}
}

static void name_all(struct checker *checker, const struct config *config)
{
	struct tags *inbounds = &checker->inbounds, *outbounds = &checker->outbounds;
	struct tags *servers = &checker->servers, *sets = &checker->sets;

	tags_init(checker->report, inbounds, "/inbounds", config->inbound_count);
	tags_init(checker->report, outbounds, "/outbounds", config->outbound_count);
	tags_init(checker->report, servers, "/dns/servers", config->dns.server_count);
	tags_init(checker->report, sets, "/route/rule_set", config->rule_sets.count);
	for (size_t i = 0; i < inbounds->count; i++)
		inbounds->names[i] = config->inbounds[i].tag;
	for (size_t i = 0; i < outbounds->count; i++)
		outbounds->names[i] = config->outbounds[i].tag;
	for (size_t i = 0; i < servers->count; i++)
		servers->names[i] = config->dns.servers[i].tag;
	for (size_t i = 0; i < sets->count; i++)
		sets->names[i] = config->rule_sets.list[i].tag;
}

/* What is of another type or format is not read: its errors would say nothing. */
static void skip_refused(const json_t *list, struct config *config)
{
	for (size_t i = 0; i < config->rule_sets.count; i++) {
		struct config_rule_set *set = &config->rule_sets.list[i];
		const json_t *object = json_array_get(list, i);
		const json_t *type = json_object_get(object, "type");
		const json_t *format = json_object_get(object, "format");

		if ((!type || !strcmp(json_string_value(type) ?: "", "local")) &&
		    (!format || !strcmp(json_string_value(format) ?: "", "source")))
			continue;
		free(set->path);
		set->path = NULL;
	}
}

void match_check(struct report *report, const json_t *root, struct config *config)
{
	static const struct place sets = { .up = &route, .key = "rule_set" };
	const json_t *list = json_object_get(json_object_get(root, "route"), sets.key);
	struct checker checker = {
		.report = report,
		.inbounds = { .key = "tag", .what = "inbound" },
		.outbounds = { .key = "tag", .what = "outbound" },
		.servers = { .key = "tag", .what = "DNS server" },
		.sets = { .key = "tag", .what = "rule set" },
		.no_sets = list && (!json_is_array(list) ||
				    json_array_size(list) != config->rule_sets.count),
	};

	name_all(&checker, config);
	if (report->result != -ENOMEM) {
		tags_check(report, &checker.sets, &sets);
		skip_refused(list, config);
		check_rules(&checker, root, config);
		check_dns_rules(&checker, root, config);
	}
	tags_deinit(&checker.inbounds);
	tags_deinit(&checker.outbounds);
	tags_deinit(&checker.servers);
	tags_deinit(&checker.sets);
}

void match_check_set(struct report *report, const json_t *root, struct config_rule_set *set)
{
	static const struct place rules = { .up = &document, .key = "rules" };
	const json_t *list = json_object_get(root, rules.key);
	struct checker checker = { .report = report };

	for (size_t i = 0; i < set->rules.count; i++) {
		struct place element = { .up = &rules, .index = i };
		const json_t *object = json_array_get(list, i);

		check_condition(report, SECTION_MATCH, object, &element, "");
		check_match(&checker, object, &set->rules.list[i], &element);
	}
}
