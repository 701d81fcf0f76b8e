/* schema - the table of all keys. Reading, checking, suggesting and printing all follow it; a new key
 * is a field in config.h and a row in schema.c.
 */
#pragma once
#include "config/config.h"

enum key_type {
	KEY_BOOL,
	KEY_INTEGER,
	KEY_AUTO_INTEGER, /* integer, or "auto", which is 0 */
	KEY_MARK,         /* integer, or "0x..." */
	KEY_SIZE,         /* bytes */
	KEY_DURATION,     /* milliseconds */
	KEY_STRING,
	KEY_ENUM,         /* index of the word, in an int or a bool */
	KEY_ENUM_LIST,    /* bit mask of words; one word may stand without a list */
	KEY_ADDRESS,      /* of struct addr; leaves its port */
	KEY_MILLISECONDS, /* as KEY_DURATION, or an integer */
	KEY_UUID,         /* 16 bytes */
	KEY_WG_KEY,       /* 32 bytes in base64; never shown */
	KEY_NUMBER_MASK,  /* bit mask of numbers; one may stand without a list */
	/* lists: pointer at @offset, number at @count_offset; one element may stand without a list */
	KEY_PREFIX_LIST,     /* of struct config_prefix */
	KEY_STRING_LIST,     /* of char * */
	KEY_TAG_LIST,        /* of size_t: CONFIG_NONE until the tags are looked up */
	KEY_PORT_LIST,       /* of struct config_ports, or of uint16_t; is added to what is there */
	KEY_PORT_RANGE_LIST, /* as KEY_PORT_LIST, "1000:2000" */
	KEY_MARK_LIST,       /* of uint32_t */
	KEY_MAC_LIST,        /* of struct config_mac */
	KEY_HEADERS,         /* of struct config_header, from an object of strings */
	KEY_OBJECT,          /* @child, its fields from @offset on */
	KEY_ARRAY,           /* of objects: as the lists */
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
	SECTION_MATCH,
	SECTION_RULE,          /* and SECTION_MATCH */
	SECTION_DNS_RULE,      /* and SECTION_MATCH */
	SECTION_RULE_SET,      /* of the configuration */
	SECTION_RULE_SET_FILE, /* the document that one names */
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
#define SCHEMA_KEYS_MAX 96 /* of a section */

/* Where conditions stand; not all mean something everywhere. */
#define SCOPE_RULE      1U
#define SCOPE_DNS       2U
#define SCOPE_SET       4U

/* What the keys of an object depend on. */
struct variant {
	unsigned type,
		action; /* the bit of its word; 0: the section has no such key, or a wrong word */
	unsigned scope; /* SCOPE_*; 0: none */
};

struct schema_key {
	enum section section;
	const char *name;
	enum key_type type;
	enum section child;  /* of KEY_OBJECT and KEY_ARRAY */
	size_t offset, size; /* of the field in the struct of its section, or SCHEMA_NO_FIELD */
	/* default, as in the file but without quotes; NULL: none (KEY_ENUM: -1, unless required) */
	const char *initial;
	const char *initial_help; /* shown as default when it is worked out */
	const char *min, *max;    /* numbers; for lists and KEY_ARRAY: of elements */
	const char *const *words; /* KEY_ENUM* */
	size_t word_count;
	unsigned first_bit; /* KEY_ENUM_LIST: of words[0] */
	unsigned not_yet;   /* mask of words that this build knows and cannot do */
	unsigned only;      /* mask of the section's "type" words it belongs to; 0: all */
	unsigned actions;   /* mask of the section's "action" words it belongs to; 0: all */
	const char *(*check)(const char *text); /* KEY_STRING*: what is wrong with it, or NULL */
	size_t count_offset, element_size;
	size_t given_offset; /* of a bool that tells whether the key was there; 0: none */
	const char *unless;  /* a flag of the section that, when true, makes this key pointless */
	const char
		*needs; /* a key of the section without which this one is not read, nor required */
	const char *const
		*conflicts; /* keys of the section that it cannot stand beside; ends with NULL */
	const char
		*shorthand; /* KEY_OBJECT: the string key of @child that may stand for the object */
	unsigned not_in;    /* SCOPE_* it has no meaning in */
	sa_family_t family; /* KEY_ADDRESS; AF_UNSPEC: both */
	bool remote;        /* KEY_ADDRESS: of a server, not of this machine */
	bool host_bits;     /* KEY_PREFIX_LIST: addresses of an interface */
	bool bare;          /* KEY_PREFIX_LIST: an address is the prefix of itself */
	bool lower, undot;  /* KEY_STRING_LIST: kept in lower case; without a last dot */
	bool required, inverted;
	bool reload; /* takes effect without a restart */
	const char *help;
};

struct schema_table {
	const struct schema_key *keys;
	size_t count;
};

extern const struct schema_table schema_general, schema_outbounds, schema_rules;

/* The first key of @section if @key is NULL, else the one after it; NULL: no more. */
const struct schema_key *schema_next(const struct schema_key *key, enum section section);
#define schema_for_each(key, section) \
	for (const struct schema_key *key = NULL; (key = schema_next(key, section));)

/* NULL: @section has no such key. */
const struct schema_key *schema_find(enum section section, const char *name);
/* The key of @section that was meant by @name, or NULL. */
const char *schema_near(enum section section, const struct variant *variant, const char *name);
bool schema_applies(const struct schema_key *key, const struct variant *variant);
/* What is said about a key that sing-box has or had under another name, or NULL. */
const char *schema_hint(enum section section, const char *name);
