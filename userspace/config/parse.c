#include "config/parse.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/names.h"
#include "config/field.h"
#include "config/lists.h"
#include "config/value.h"

#define RULE_DEPTH_MAX 8U

static void take_members(const struct item *parent);

static void take_object(const struct item *item)
{
	const struct schema_key *key = item->key;
	struct item object = *item;

	object.base += key->offset;
	if (key->shorthand && json_is_string(item->value)) {
		object.key = schema_find(key->child, key->shorthand);
		field_take(&object);
	} else {
		take_members(&object);
	}
}

/* "25,465" or "tcp,udp": an element each. */
static json_t *initial_list(const struct schema_key *key)
{
	json_t *list = json_array();
	const char *text = key->initial;
	uint64_t n = 0;

	for (; *text; text += *text == ',') {
		char word[16] = "";
		size_t len = strcspn(text, ",");
		json_t *element;

		memcpy(word, text, len < sizeof(word) ? len : sizeof(word) - 1);
		if (key->type == KEY_PORT_LIST)
			(void)value_integer(word, &n);
		element = key->type == KEY_PORT_LIST ? json_integer((json_int_t)n)
						     : json_string(word);
		if (json_array_append_new(list, element) < 0) {
			json_decref(list);
			return NULL;
		}
		text += len;
	}
	return list;
}

static json_t *initial_value(const struct schema_key *key)
{
	uint64_t n = 0;

	if (key->type == KEY_PORT_LIST || key->type == KEY_ENUM_LIST)
		return initial_list(key);
	if (key->type == KEY_BOOL)
		return json_boolean(!strcmp(key->initial, "true"));
	if (key->type != KEY_INTEGER)
		return json_string(key->initial);
	(void)value_integer(key->initial, &n);
	return json_integer((json_int_t)n);
}

/* Defaults go the way of values that were read. */
void parse_defaults(struct report *report, enum section section, void *base)
{
	schema_for_each(key, section)
	{
		struct item item = { .report = report, .key = key, .base = base };

		if (key->type == KEY_OBJECT)
			parse_defaults(report, key->child, (char *)base + key->offset);
		if (key->type == KEY_ENUM && !key->initial && !key->required)
			*(int *)((char *)base + key->offset) = -1;
		if (!key->initial)
			continue;
		item.value = initial_value(key);
		if (item.value)
			field_take(&item);
		else
			report->result = -ENOMEM;
		json_decref(item.value);
	}
}

static void take_array(const struct item *item)
{
	const struct schema_key *key = item->key;
	size_t count = json_array_size(item->value);
	uint64_t min = 0, max = 0;
	struct item element = *item;
	char *list;

	(void)value_integer(key->min, &min);
	(void)value_integer(key->max, &max);
	if (!json_is_array(item->value)) {
		field_wrong_type(item, KEY_ARRAY);
		return;
	}
	if (count < min || count > max) {
		field_wrong(item, "must have %s to %s elements, not %zu", key->min, key->max,
			    count);
		return;
	}
	if (element.depth == RULE_DEPTH_MAX && key->section == SECTION_MATCH) {
		field_wrong(item, "rules are nested more than %u deep", RULE_DEPTH_MAX);
		return;
	}
	list = calloc(count ? count : 1, key->element_size);
	if (!list) {
		item->report->result = -ENOMEM;
		return;
	}
	*(void **)(item->base + key->offset) = list;
	*(size_t *)(item->base + key->count_offset) = count;
	element.depth += key->section == SECTION_MATCH;
	element.place = (struct place){ .up = &item->place };
	json_array_foreach (item->value, element.place.index, element.value) {
		element.base = list + element.place.index * key->element_size;
		parse_defaults(item->report, key->child, element.base);
		take_members(&element);
	}
}

/* The bit of the word that @name has in @object, or has without being there. */
static unsigned word_bit(enum section section, const json_t *object, const char *name)
{
	const struct schema_key *key = schema_find(section, name);
	const json_t *value = json_object_get(object, name);
	const char *word = key && !value ? key->initial : json_string_value(value);
	int type = key && word ? names_find(key->words, key->word_count, word) : -1;

	return type < 0 ? 0 : 1U << type;
}

static struct variant variant_of(enum section section, const json_t *object, unsigned scope)
{
	struct variant variant = { .scope = scope };

	variant.type = word_bit(section, object, "type");
	variant.action = word_bit(section, object, "action");
	if (section == SECTION_RULE)
		variant.scope = SCOPE_RULE;
	else if (section == SECTION_DNS_RULE)
		variant.scope = SCOPE_DNS;
	else if (section == SECTION_RULE_SET_FILE)
		variant.scope = SCOPE_SET;
	return variant;
}

static void unknown_key(const struct item *item, enum section section)
{
	const char *hint = schema_hint(section, item->place.key);
	const char *near = NULL;

	if (!hint && !report_full(item->report))
		near = schema_near(section, &item->variant, item->place.key);
	if (hint)
		report_error(item->report, AT_KEY(&item->place), "unknown key (%s)", hint);
	else if (near)
		report_error(item->report, AT_KEY(&item->place),
			     "unknown key (did you mean \"%s\"?)", near);
	else
		report_error(item->report, AT_KEY(&item->place), "unknown key");
}

/* Whether the value is one that has an effect: a switch or a word at its default has none. */
static bool is_set(const struct schema_key *key, const json_t *value)
{
	const char *word = json_string_value(value);

	if (key && key->initial && key->type == KEY_BOOL && json_is_boolean(value))
		return json_is_true(value) != !strcmp(key->initial, "true");
	if (key && key->initial && key->type == KEY_ENUM && word)
		return strcmp(word, key->initial) != 0;
	return value != NULL;
}

static void find_conflicts(const struct item *item, enum section section, const json_t *object)
{
	const char *const *name = item->key->conflicts;

	if (!name || !is_set(item->key, item->value))
		return;
	for (; *name; name++)
		if (is_set(schema_find(section, *name), json_object_get(object, *name)))
			report_error(item->report, AT_KEY(&item->place),
				     "cannot be used together with %s", *name);
}

static void does_not_apply(const struct item *item, const json_t *object)
{
	const struct schema_key *key = item->key;
	bool by_type = key->only && !(key->only & item->variant.type);
	const char *name = by_type ? "type" : "action";
	const char *word = json_string_value(json_object_get(object, name));

	if (key->not_in & item->variant.scope)
		report_error(item->report, AT_KEY(&item->place), "does not apply to %s",
			     item->variant.scope == SCOPE_DNS ? "DNS rules" : "rule sets");
	else
		report_error(item->report, AT_KEY(&item->place), "does not apply to %s \"%s\"",
			     name, word ? word : schema_find(key->section, name)->initial);
}

/* Whether what stands around the key leaves it a meaning. */
static bool has_meaning(const struct item *item, const json_t *object)
{
	const struct schema_key *key = item->key;

	if (!schema_applies(key, &item->variant))
		does_not_apply(item, object);
	else if (key->unless && json_is_true(json_object_get(object, key->unless)))
		report_error(item->report, AT_KEY(&item->place), "has no effect while %s is true",
			     key->unless);
	else if (key->needs && !json_object_get(object, key->needs))
		report_error(item->report, AT_KEY(&item->place), "only with %s", key->needs);
	else
		return true;
	return false;
}

static void take_member(const struct item *item, enum section section, const json_t *object)
{
	const struct schema_key *key = item->key;

	if (!key) {
		unknown_key(item, section);
		return;
	}
	if (!has_meaning(item, object))
		return;
	find_conflicts(item, section, object);
	if (key->given_offset)
		*(bool *)(item->base + key->given_offset) = true;
	if (key->type == KEY_OBJECT)
		take_object(item);
	else if (key->type == KEY_ARRAY)
		take_array(item);
	else
		field_take(item);
}

static bool is_missing(const struct schema_key *key, const json_t *object,
		       const struct variant *variant)
{
	if (!key->required || json_object_get(object, key->name))
		return false;
	if ((key->only && !variant->type) || (key->actions && !variant->action))
		return false; /* of a type that is missing itself */
	return !key->needs || json_object_get(object, key->needs);
}

static void find_missing(const struct item *parent, const struct variant *variant)
{
	schema_for_each(key, parent->key->child) if (schema_applies(key, variant) &&
						     is_missing(key, parent->value, variant))
		field_wrong(parent, "\"%s\" is missing", key->name);
}

static void take_members(const struct item *parent)
{
	enum section section = parent->key->child;
	struct item item = *parent;
	const char *name;

	if (!json_is_object(parent->value)) {
		field_wrong_type(parent, KEY_OBJECT);
		return;
	}
	item.variant = variant_of(section, parent->value, parent->variant.scope);
	json_object_foreach (parent->value, name, item.value) {
		item.place = (struct place){ .up = &parent->place, .key = name };
		item.key = schema_find(section, name);
		take_member(&item, section, parent->value);
	}
	find_missing(parent, &item.variant);
}

void parse_document(struct report *report, const json_t *root, enum section section, void *base)
{
	struct schema_key document = { .child = section };
	struct item item = { .report = report, .key = &document, .value = (json_t *)root };

	item.base = base;
	parse_defaults(report, section, base);
	take_members(&item);
}

static void free_array(const struct schema_key *key, char *base)
{
	char **list = (char **)(base + key->offset);
	size_t *count = (size_t *)(base + key->count_offset);

	for (size_t i = 0; i < *count; i++)
		parse_free(key->child, *list + i * key->element_size);
	free(*list);
	*list = NULL;
	*count = 0;
}

void parse_free(enum section section, void *base)
{
	schema_for_each(key, section)
	{
		if (key->offset == SCHEMA_NO_FIELD)
			continue;
		if (key->type == KEY_OBJECT)
			parse_free(key->child, (char *)base + key->offset);
		else if (key->type == KEY_ARRAY)
			free_array(key, base);
		else if (key->type == KEY_STRING)
			free(*(void **)((char *)base + key->offset));
		else if (key->count_offset)
			lists_free(key, base);
	}
}
