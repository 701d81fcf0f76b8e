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
	KEY_ENUM,        /* index of the word */
	KEY_ENUM_LIST,   /* bit mask of words; one word may stand without a list */
	KEY_ADDRESS,     /* of struct addr; leaves its port */
	KEY_PREFIX_LIST, /* of struct config_prefix: as KEY_ARRAY; one may stand without a list */
	KEY_WG_KEY,      /* 32 bytes in base64; never shown */
	KEY_OBJECT,      /* @child, its fields from @offset on */
	KEY_ARRAY,       /* of objects: pointer at @offset, number at @count_offset */
	KEY_TYPE_COUNT
};

enum section {
	SECTION_ROOT,
	SECTION_LOG,
	SECTION_INBOUND,
	SECTION_OUTBOUND,
	SECTION_RESOLVER,
	SECTION_PEER,
	SECTION_ROUTE,
	SECTION_DNS,
	SECTION_DNS_SERVER,
	SECTION_INTERFACE,
	SECTION_RELAY,
	SECTION_CONTROL,
	SECTION_LIMITS,
	SECTION_COUNT
};

/* What the root section is read into; a struct config that config_load() gives is the first field of
 * one, so that the schema can free it. */
struct draft {
	struct config config;
	char *route_final, *dns_final; /* tags, until all elements are known */
};

#define SCHEMA_NO_FIELD SIZE_MAX

struct schema_key {
	enum section section;
	const char *name;
	enum key_type type;
	enum section child;  /* of KEY_OBJECT and KEY_ARRAY */
	size_t offset, size; /* of the field in the struct of its section, or SCHEMA_NO_FIELD */
	/* default, as in the file but without quotes; NULL: none (KEY_ENUM: -1, unless required) */
	const char *initial;
	const char *initial_help; /* shown as default when it is worked out */
	const char *min, *max;    /* numbers; for KEY_ARRAY and KEY_PREFIX_LIST of elements */
	const char *const *words; /* KEY_ENUM* */
	size_t word_count;
	unsigned not_yet; /* mask of words that this build knows and cannot do */
	unsigned only;    /* mask of the section's "type" words it belongs to; 0: all */
	const char *(*check)(const char *text); /* KEY_STRING: what is wrong with it, or NULL */
	size_t count_offset, element_size;
	const char *unless; /* a flag of the section that, when true, makes this key pointless */
	const char
		*needs; /* a key of the section without which this one is not read, nor required */
	const char *const
		*conflicts; /* keys of the section that it cannot stand beside; ends with NULL */
	const char
		*shorthand; /* KEY_OBJECT: the string key of @child that may stand for the object */
	sa_family_t family; /* KEY_ADDRESS; AF_UNSPEC: both */
	bool remote;        /* KEY_ADDRESS: of a server, not of this machine */
	bool host_bits;     /* KEY_PREFIX_LIST: addresses of an interface */
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
/* What is said about a key that sing-box has or had under another name, or NULL. */
const char *schema_hint(enum section section, const char *name);
