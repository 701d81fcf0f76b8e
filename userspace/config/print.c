/* print - the schema for people. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "config/schema.h"

#define NAME_COLUMN 50
#define TYPE_COLUMN 44

static const char *const type_names[KEY_TYPE_COUNT] = {
	[KEY_BOOL] = "true|false",
	[KEY_INTEGER] = "integer",
	[KEY_AUTO_INTEGER] = "auto or integer",
	[KEY_MARK] = "integer or \"0x...\"",
	[KEY_SIZE] = "size",
	[KEY_DURATION] = "duration",
	[KEY_STRING] = "string",
	[KEY_ADDRESS] = "address",
	[KEY_MILLISECONDS] = "milliseconds or duration",
	[KEY_UUID] = "UUID",
	[KEY_WG_KEY] = "WireGuard key",
	[KEY_NUMBER_MASK] = "integers",
	[KEY_PREFIX_LIST] = "prefixes",
	[KEY_STRING_LIST] = "strings",
	[KEY_TAG_LIST] = "tags",
	[KEY_PORT_LIST] = "ports",
	[KEY_PORT_RANGE_LIST] = "ranges of ports",
	[KEY_MARK_LIST] = "integers or \"0x...\"",
	[KEY_MAC_LIST] = "MAC addresses",
	[KEY_HEADERS] = "object of strings",
	[KEY_ARRAY] = "objects",
};

static void put_type(const struct schema_key *key, char *buf, size_t size)
{
	size_t used = 0;

	*buf = 0;
	if (key->type == KEY_ADDRESS && key->family != AF_UNSPEC)
		snprintf(buf, size, "%s address", key->family == AF_INET ? "IPv4" : "IPv6");
	else if (key->min)
		snprintf(buf, size, "%s %s..%s", type_names[key->type], key->min, key->max);
	else if (!key->words)
		snprintf(buf, size, "%s", type_names[key->type]);
	for (size_t i = 0; key->words && i < key->word_count && used < size; i++)
		if (!(key->not_yet & 1U << i))
			used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? "|" : "",
						 key->words[i]);
}

static void put_default(const struct schema_key *key, char *buf, size_t size)
{
	if (key->required)
		snprintf(buf, size, "required%s%s", key->needs ? " with " : "",
			 key->needs ? key->needs : "");
	else
		snprintf(buf, size, "%s",
			 key->initial        ? key->initial
			 : key->initial_help ? key->initial_help
					     : "none");
}

static void put_words(const struct schema_key *key, unsigned mask, char *buf, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < key->word_count && used < size; i++)
		if (mask & 1U << i)
			used += (size_t)snprintf(buf + used, size - used, "%s%s",
						 used ? ", " : "; ", key->words[i]);
}

/* What of the section has the key, where not all does. Conditions are of type default. */
static void put_types(const struct schema_key *key, char *buf, size_t size)
{
	*buf = 0;
	if (key->actions)
		put_words(schema_find(key->section, "action"), key->actions, buf, size);
	else if (key->only && key->section != SECTION_MATCH)
		put_words(schema_find(key->section, "type"), key->only, buf, size);
	else if (key->not_in)
		snprintf(buf, size, "; not in %s",
			 key->not_in == SCOPE_DNS ? "dns.rules" : "rule sets");
}

/* Conditions in conditions are told of once. */
static bool is_leaf(const struct schema_key *key)
{
	return (key->type != KEY_OBJECT && key->type != KEY_ARRAY) || key->help;
}

static void print_section(FILE *out, enum section section, const char *prefix)
{
	schema_for_each(key, section)
	{
		const char *end = key->type == KEY_ARRAY ? "[]." : ".";
		char name[64], type[64], initial[64], types[96];

		if (section == SECTION_DNS_RULE && key->section == SECTION_MATCH)
			return; /* as in route.rules */
		snprintf(name, sizeof(name), "%s%s%s", prefix, key->name, is_leaf(key) ? "" : end);
		if (!is_leaf(key)) {
			print_section(out, key->child, name);
			continue;
		}
		put_type(key, type, sizeof(type));
		put_default(key, initial, sizeof(initial));
		put_types(key, types, sizeof(types));
		fprintf(out, "%-*s %-*s (%s%s)  %s\n", NAME_COLUMN, name, TYPE_COLUMN, type,
			initial, types, key->help);
	}
}

int config_schema_print(FILE *out)
{
	print_section(out, SECTION_ROOT, "");
	print_section(out, SECTION_RULE_SET_FILE, "file of a rule set: ");
	return fflush(out) == EOF || ferror(out) ? -EIO : 0;
}
