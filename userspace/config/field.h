/* field - one value of the tree into the field that its row of the schema names. */
#pragma once
#include <jansson.h>
#include "config/report.h"
#include "config/schema.h"

struct item {
	struct report *report;
	const struct schema_key *key;
	json_t *value;
	struct place place;
	char *base;             /* the struct of the key's section */
	struct variant variant; /* of the object around it */
	unsigned depth;         /* how many SECTION_MATCH are around it */
};

/* Any type but KEY_OBJECT and KEY_ARRAY. What is wrong is reported. */
void field_take(const struct item *item);
/* The number that the value is, in the range of its key. False: reported. */
bool field_number(const struct item *item, uint64_t *ret);
/* Reports that the value is of another JSON type than @type. */
void field_wrong_type(const struct item *item, enum key_type type);

#define field_wrong(item, ...) report_error((item)->report, AT_VALUE(&(item)->place), __VA_ARGS__)
