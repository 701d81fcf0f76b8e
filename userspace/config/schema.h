/* schema - the table of all keys. Reading, checking, suggesting and printing all follow it; a new key
 * is a field in config.h and a row in schema.c.
 */
#pragma once
#include "config/config.h"

enum key_type {
	KEY_BOOL,
	KEY_INTEGER,
	KEY_MARK,     /* integer, or "0x..." */
	KEY_SIZE,     /* bytes */
	KEY_DURATION, /* milliseconds */
	KEY_STRING,
	KEY_ENUM,      /* index of the word */
	KEY_ENUM_LIST, /* bit mask of words; one word may stand without a list */
	KEY_ADDRESS,   /* of struct addr; leaves its port */
	KEY_OBJECT,    /* @child, its fields from @offset on */
	KEY_ARRAY,     /* of objects: pointer at @offset, number at @count_offset */
	KEY_TYPE_COUNT
};

enum section {
	SECTION_ROOT,
	SECTION_LOG,
	SECTION_INBOUND,
	SECTION_OUTBOUND,
	SECTION_ROUTE,
	SECTION_RELAY,
	SECTION_CONTROL,
	SECTION_LIMITS,
	SECTION_COUNT
};

/* What the root section is read into. */
struct draft {
	struct config config;
	char *route_final; /* a tag, until all outbounds are known */
};

#define SCHEMA_NO_FIELD SIZE_MAX

struct schema_key {
	enum section section;
	const char *name;
	enum key_type type;
	enum section child;  /* of KEY_OBJECT and KEY_ARRAY */
	size_t offset, size; /* of the field in the struct of its section, or SCHEMA_NO_FIELD */
	const char *initial; /* default, as in the file but without quotes; NULL: none */
	const char *initial_help; /* shown as default when it is worked out */
	const char *min, *max;    /* numbers; for KEY_ARRAY of elements */
	const char *const *words; /* KEY_ENUM* */
	size_t word_count;
	unsigned not_yet; /* mask of words that this build knows and cannot do */
	unsigned only;    /* mask of the section's "type" words it belongs to; 0: all */
	const char *(*check)(const char *text); /* KEY_STRING: what is wrong with it, or NULL */
	size_t count_offset, element_size;
	const char *unless; /* a flag of the section that, when true, makes this key pointless */
	sa_family_t family; /* KEY_ADDRESS; AF_UNSPEC: both */
	bool required, inverted;
	bool reload; /* takes effect without a restart */
	const char *help;
};

extern const struct schema_key schema_keys[];
extern const size_t schema_key_count;

/* NULL: @section has no such key. */
const struct schema_key *schema_find(enum section section, const char *name);
/* The key of @section that was meant by @name, or NULL. @variant: one bit of schema_key.only. */
const char *schema_near(enum section section, unsigned variant, const char *name);
bool schema_applies(const struct schema_key *key, enum section section, unsigned variant);
