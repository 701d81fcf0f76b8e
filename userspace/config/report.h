/* report - collects what is wrong with one file, in the order of the file. */
#pragma once
#include "config/config.h"
#include "config/position.h"

#define REPORT_MAX 200 /* errors kept in a list; the rest is only counted */

struct report {
	struct config_errors *errors;
	size_t first;     /* of @errors; those before are of other files */
	const char *file; /* as shown */
	const struct text *text;
	struct position_memo memo; /* zeroed at first, as the next */
	struct text_place last;    /* that was shown */
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
/* Whether errors are only counted from here on, so that no one need look for what was meant. */
bool report_full(const struct report *report);
/* Moves all errors of @from behind those of @report. -ENOMEM is in the report. */
void report_append(struct report *report, struct config_errors *from);
/* Says how many were dropped. 0, -EINVAL or -ENOMEM. */
int report_finish(struct report *report);
/* How many bytes of @word to quote, for "%.*s". */
int report_quote(const char *word);
