#include "config/field.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/names.h"
#include "config/address.h"
#include "config/lists.h"
#include "config/value.h"

static const char *const wanted[KEY_TYPE_COUNT] = {
	[KEY_BOOL] = "true or false",
	[KEY_INTEGER] = "an integer",
	[KEY_AUTO_INTEGER] = "an integer or \"auto\"",
	[KEY_MARK] = "an integer or a string such as \"0x5ea\"",
	[KEY_SIZE] = "a number of bytes or a string such as \"64KiB\"",
	[KEY_DURATION] = "a duration in a string, such as \"300ms\", \"5s\" or \"1h30m\"",
	[KEY_STRING] = "a string",
	[KEY_ENUM] = "a string",
	[KEY_ENUM_LIST] = "a string or a list of strings",
	[KEY_ADDRESS] = "an IP address in a string",
	[KEY_PREFIX_LIST] = "a string such as \"10.0.0.0/8\" or a list of such strings",
	[KEY_MILLISECONDS] = "a number of milliseconds or a string such as \"50ms\"",
	[KEY_UUID] = "a string",
	[KEY_WG_KEY] = "a string",
	[KEY_NUMBER_MASK] = "an integer or a list of integers",
	[KEY_STRING_LIST] = "a string or a list of strings",
	[KEY_TAG_LIST] = "a string or a list of strings",
	[KEY_PORT_LIST] = "an integer or a list of integers",
	[KEY_PORT_RANGE_LIST] = "a string such as \"1000:2000\" or a list of such strings",
	[KEY_MARK_LIST] = "an integer, a string such as \"0x5ea\" or a list of these",
	[KEY_MAC_LIST] = "a string such as \"aa:bb:cc:dd:ee:ff\" or a list of such strings",
	[KEY_HEADERS] = "an object",
	[KEY_OBJECT] = "an object",
	[KEY_ARRAY] = "a list of objects",
};

static const char *kind_of(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a number with a fraction or exponent";
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	case JSON_NULL:
	default:
		return "null";
	}
}

void field_wrong_type(const struct item *item, enum key_type type)
{
	bool brief = type == KEY_OBJECT && item->key->shorthand;

	field_wrong(item, "must be %s%s, not %s", brief ? "a string or " : "", wanted[type],
		    kind_of(item->value));
}

static void *field_of(const struct item *item)
{
	return item->base + item->key->offset;
}

static void take_bool(const struct item *item)
{
	if (!json_is_boolean(item->value))
		field_wrong_type(item, KEY_BOOL);
	else
		*(bool *)field_of(item) = json_is_true(item->value) != item->key->inverted;
}

static int number_in(const struct schema_key *key, const char *text, uint64_t *ret)
{
	switch (key->type) {
	case KEY_SIZE:
		return value_size(text, ret);
	case KEY_DURATION:
	case KEY_MILLISECONDS:
		return value_duration(text, ret);
	default:
		return value_integer(text, ret);
	}
}

static int number_from_string(const struct item *item, uint64_t *ret)
{
	const char *text = json_string_value(item->value);
	int r = number_in(item->key, text, ret);

	if (item->key->type == KEY_MARK && strncmp(text, "0x", 2) != 0)
		r = -EINVAL;
	if (r != -EINVAL)
		return r;
	if ((item->key->type == KEY_DURATION || item->key->type == KEY_MILLISECONDS) && *text &&
	    strspn(text, "0123456789") == strlen(text))
		field_wrong(item, "a duration has a unit (did you mean \"%.*s%s\"?)",
			    report_quote(text), text, item->key->type == KEY_DURATION ? "s" : "ms");
	else if (item->key->type == KEY_SIZE)
		field_wrong(item,
			    "\"%.*s\" is no size: units are KiB, MiB, GiB, TiB, kB, MB, GB, TB",
			    report_quote(text), text);
	else
		field_wrong(item, "must be %s, not \"%.*s\"", wanted[item->key->type],
			    report_quote(text), text);
	return r;
}

/* 0; -ERANGE: some number that no field holds; -EINVAL: reported. */
static int number_of(const struct item *item, uint64_t *ret)
{
	json_int_t n = json_integer_value(item->value);

	if (json_is_string(item->value) && item->key->type != KEY_INTEGER)
		return number_from_string(item, ret);
	if (!json_is_integer(item->value) || (n < 0 && item->key->type == KEY_DURATION)) {
		field_wrong_type(item, item->key->type);
		return -EINVAL;
	}
	if (item->key->type == KEY_DURATION) {
		field_wrong(item, "must be %s, not an integer (did you mean \"%llds\"?)",
			    wanted[KEY_DURATION], (long long)n);
		return -EINVAL;
	}
	if (n < 0)
		return -ERANGE;
	*ret = (uint64_t)n;
	return 0;
}

static void store_number(void *field, size_t size, uint64_t n)
{
	if (size == sizeof(uint16_t))
		*(uint16_t *)field = (uint16_t)n;
	else if (size == sizeof(uint32_t))
		*(uint32_t *)field = (uint32_t)n;
	else
		*(uint64_t *)field = n;
}

bool field_number(const struct item *item, uint64_t *ret)
{
	const struct schema_key *key = item->key;
	uint64_t n, min = 0, max = UINT64_MAX;
	int r = number_of(item, &n);

	if (r == -EINVAL)
		return false;
	(void)number_in(key, key->min, &min);
	(void)number_in(key, key->max, &max);
	if (r < 0 || n < min || n > max) {
		field_wrong(item, "must be between %s and %s", key->min, key->max);
		return false;
	}
	*ret = n;
	return true;
}

static void take_number(const struct item *item)
{
	uint64_t n;

	if (field_number(item, &n) && item->key->offset != SCHEMA_NO_FIELD)
		store_number(field_of(item), item->key->size, n);
}

static void take_auto_number(const struct item *item)
{
	const char *text = json_string_value(item->value);

	if (!text)
		take_number(item);
	else if (!strcmp(text, "auto"))
		store_number(field_of(item), item->key->size, 0);
	else
		field_wrong(item, "must be %s, not \"%.*s\"", wanted[KEY_AUTO_INTEGER],
			    report_quote(text), text);
}

static void take_string(const struct item *item)
{
	const char *text = json_string_value(item->value);
	const char *reason;
	char **field;
	char *copy;

	if (!text) {
		field_wrong_type(item, KEY_STRING);
		return;
	}
	reason = item->key->check ? item->key->check(text) : NULL;
	if (reason) {
		field_wrong(item, "%s", reason);
		return;
	}
	if (item->key->offset == SCHEMA_NO_FIELD)
		return;
	field = field_of(item);
	copy = strdup(text);
	if (!copy) {
		item->report->result = -ENOMEM;
		return;
	}
	free(*field);
	*field = copy;
}

/* The index of the word that @item is, or -1: reported. */
static int word_of(const struct item *item)
{
	const struct schema_key *key = item->key;
	const char *text = json_string_value(item->value);
	const char *near;
	char list[128] = "";
	int word;

	if (!text) {
		field_wrong_type(item, KEY_ENUM);
		return -1;
	}
	word = names_find(key->words, key->word_count, text);
	if (word >= 0) {
		if (!(key->not_yet & 1U << word))
			return word;
		field_wrong(item, "\"%s\" is not supported by this build yet", text);
		return -1;
	}
	for (size_t i = 0, used = 0; i < key->word_count && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "",
					 key->words[i]);
	near = names_near(key->words, key->word_count, text);
	field_wrong(item, "\"%.*s\" is not one of: %s%s%s%s", report_quote(text), text, list,
		    near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
	return -1;
}

static void take_enum(const struct item *item)
{
	int word = word_of(item);

	if (word < 0 || item->key->offset == SCHEMA_NO_FIELD)
		return;
	if (item->key->size == sizeof(bool))
		*(bool *)field_of(item) = word;
	else
		*(int *)field_of(item) = word;
}

static unsigned take_word(const struct item *item, unsigned mask)
{
	int word = word_of(item);
	unsigned bit;

	if (word < 0)
		return 0;
	bit = 1U << ((unsigned)word + item->key->first_bit);
	if (mask & bit)
		field_wrong(item, "\"%s\" is here twice", item->key->words[word]);
	return bit;
}

static void take_enum_list(const struct item *item)
{
	struct item element = *item;
	unsigned mask = 0;

	if (json_is_string(item->value)) {
		mask = take_word(item, 0);
	} else if (!json_is_array(item->value)) {
		field_wrong_type(item, KEY_ENUM_LIST);
	} else if (!json_array_size(item->value)) {
		field_wrong(item, "must not be empty");
	} else {
		element.place = (struct place){ .up = &item->place };
		json_array_foreach (item->value, element.place.index, element.value)
			mask |= take_word(&element, mask);
	}
	*(unsigned *)field_of(item) = mask;
}

static void (*const takers[KEY_TYPE_COUNT])(const struct item *item) = {
	[KEY_BOOL] = take_bool,
	[KEY_INTEGER] = take_number,
	[KEY_AUTO_INTEGER] = take_auto_number,
	[KEY_MARK] = take_number,
	[KEY_SIZE] = take_number,
	[KEY_DURATION] = take_number,
	[KEY_MILLISECONDS] = take_number,
	[KEY_STRING] = take_string,
	[KEY_ENUM] = take_enum,
	[KEY_ENUM_LIST] = take_enum_list,
	[KEY_ADDRESS] = address_take,
	[KEY_UUID] = address_take_uuid,
	[KEY_WG_KEY] = address_take_key,
	[KEY_NUMBER_MASK] = lists_take_mask,
	[KEY_PREFIX_LIST] = address_take_prefixes,
	[KEY_STRING_LIST] = lists_take,
	[KEY_TAG_LIST] = lists_take,
	[KEY_PORT_LIST] = lists_take,
	[KEY_PORT_RANGE_LIST] = lists_take,
	[KEY_MARK_LIST] = lists_take,
	[KEY_MAC_LIST] = lists_take,
	[KEY_HEADERS] = lists_take_headers,
};

void field_take(const struct item *item)
{
	takers[item->key->type](item);
}
