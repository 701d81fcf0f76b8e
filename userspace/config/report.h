/* report - collects what is wrong with one file, in the order of the file. */
#pragma once
#include "config/config.h"
#include "config/position.h"

#define REPORT_MAX 200 /* errors kept; the rest is only counted */

struct report {
	struct config_errors *errors; /* empty at first */
	const char *file;             /* as shown */
	const struct text *text;
	size_t dropped;
	int result; /* -EINVAL: there is an error; -ENOMEM: and not all could be kept */
};

struct spot {
	enum { SPOT_FILE, SPOT_OFFSET, SPOT_KEY, SPOT_VALUE } kind;
	const struct place *place; /* NULL: no pointer */
	size_t offset;
};

#define AT_FILE        ((struct spot){ .kind = SPOT_FILE })
#define AT_OFFSET(o)   ((struct spot){ .kind = SPOT_OFFSET, .offset = (o) })
#define AT_FOUND(o, p) ((struct spot){ .kind = SPOT_OFFSET, .offset = (o), .place = (p) })
#define AT_KEY(p)      ((struct spot){ .kind = SPOT_KEY, .place = (p) })
#define AT_VALUE(p)    ((struct spot){ .kind = SPOT_VALUE, .place = (p) })

__attribute__((format(printf, 3, 4))) void report_error(struct report *report, struct spot spot,
							const char *format, ...);
/* Says how many were dropped. 0, -EINVAL or -ENOMEM. */
int report_finish(struct report *report);
/* How many bytes of @word to quote, for "%.*s". */
int report_quote(const char *word);
