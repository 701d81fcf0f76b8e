/* log - one line an event on standard error; under systemd with its <priority> prefix.
 *
 * Modules base, loop, net, proto, route and the relay methods return errors and do not log.
 * Safe from any thread: a line is one write().
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVEL_COUNT };
extern const char *const log_level_names[LOG_LEVEL_COUNT];

extern enum log_level log_threshold; /* read without a lock: a stale value costs a line */

void log_set_level(enum log_level level);
__attribute__((format(printf, 3, 4))) void log_write(enum log_level level, const char *module,
						     const char *format, ...);
void log_vwrite(enum log_level level, const char *module, const char *format, va_list args);

/* For warnings that an outsider can cause: true at most once a second a call site. */
struct log_limit {
	long long next_ms;
};
bool log_allow(struct log_limit *limit);

static inline bool log_enabled(enum log_level level)
{
	return level <= log_threshold;
}

#define log_at(level, module, ...)                             \
	do {                                                   \
		if (log_enabled(level))                        \
			log_write(level, module, __VA_ARGS__); \
	} while (0)
#define log_error(module, ...) log_at(LOG_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...)  log_at(LOG_WARN, module, __VA_ARGS__)
#define log_info(module, ...)  log_at(LOG_INFO, module, __VA_ARGS__)
#define log_debug(module, ...) log_at(LOG_DEBUG, module, __VA_ARGS__)
