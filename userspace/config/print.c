/* print - the schema for people. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "config/schema.h"

#define NAME_COLUMN 50
#define TYPE_COLUMN 44

static const char *const type_names[KEY_TYPE_COUNT] = {
	[KEY_BOOL] = "true|false",           [KEY_INTEGER] = "integer",
	[KEY_MARK] = "integer or \"0x...\"", [KEY_SIZE] = "size",
	[KEY_DURATION] = "duration",         [KEY_STRING] = "string",
	[KEY_ADDRESS] = "address",           [KEY_PREFIX_LIST] = "prefixes",
	[KEY_WG_KEY] = "WireGuard key",
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

/* The types of the section that have the key, where not all do. */
static void put_types(const struct schema_key *key, char *buf, size_t size)
{
	const struct schema_key *type = schema_find(key->section, "type");
	size_t used = 0;

	*buf = 0;
	for (size_t i = 0; key->only && i < type->word_count && used < size; i++)
		if (key->only & 1U << i)
			used += (size_t)snprintf(buf + used, size - used, "%s%s",
						 used ? ", " : "; ", type->words[i]);
}

static bool is_leaf(const struct schema_key *key)
{
	return key->type != KEY_OBJECT && key->type != KEY_ARRAY;
}

static void print_section(FILE *out, enum section section, const char *prefix)
{
	for (size_t i = 0; i < schema_key_count; i++) {
		const struct schema_key *key = &schema_keys[i];
		const char *end = key->type == KEY_ARRAY ? "[]." : ".";
		char name[64], type[64], initial[64], types[64];

		if (key->section != section)
			continue;
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
	return fflush(out) == EOF || ferror(out) ? -EIO : 0;
}
