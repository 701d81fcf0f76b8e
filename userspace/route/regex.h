/* regex - caseless regular expressions that cannot run away: the only file that calls PCRE2.
 *
 * Compiled ones and the limits are only read when names are matched, by any thread.
 */
#pragma once
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stddef.h>

struct route_regex {
	pcre2_code *code;
};

/* What PCRE2 writes to while it matches: of one thread, made when it is first needed. */
struct route_regex_work {
	pcre2_match_data *data;
};

/* NULL: out of memory. */
pcre2_match_context *route_regex_limits(void);
/* -EINVAL: @reason (@size bytes) says what is wrong where. -ENOMEM. */
int route_regex_compile(const char *pattern, struct route_regex *ret, char *reason, size_t size);
/* False too where a limit was met or memory is out. */
bool route_regex_holds(const struct route_regex *regex, pcre2_match_context *limits,
		       struct route_regex_work *work, const char *text);
void route_regex_deinit(struct route_regex *regex);
void route_regex_work_deinit(struct route_regex_work *work);
