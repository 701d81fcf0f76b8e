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
	char *base;       /* the struct of the key's section */
	unsigned variant; /* bit of the "type" of that section; 0: it has none, or a wrong one */
};

/* Any type but KEY_OBJECT and KEY_ARRAY. What is wrong is reported. */
void field_take(const struct item *item);
/* Reports that the value is of another JSON type than @type. */
void field_wrong_type(const struct item *item, enum key_type type);

#define field_wrong(item, ...) report_error((item)->report, AT_VALUE(&(item)->place), __VA_ARGS__)
