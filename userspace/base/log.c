#include "base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/names.h"

#define LINE_MAX_BYTES 1024

NAME_TABLE(log_level_names, LOG_LEVEL_COUNT, "error", "warn", "info", "debug");

enum log_level log_threshold = LOG_INFO;

void log_set_level(enum log_level level)
{
	__atomic_store_n(&log_threshold, level, __ATOMIC_RELAXED);
}

/* systemd names the device and inode of the journal's stream (systemd.exec(5), JOURNAL_STREAM). */
static bool on_journal(void)
{
	static int known = -1;
	unsigned long long dev, ino;
	const char *stream;
	struct stat st;

	if (known < 0) {
		stream = getenv("JOURNAL_STREAM");
		known = stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
			!fstat(STDERR_FILENO, &st) && st.st_dev == dev && st.st_ino == ino;
	}
	return known;
}

static int put_prefix(char *line, size_t size, enum log_level level, const char *module)
{
	static const int priority[LOG_LEVEL_COUNT] = { 3, 4, 6, 7 };
	struct timespec now;
	struct tm tm;

	if (on_journal())
		return snprintf(line, size, "<%d>%s: ", priority[level], module);
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	return snprintf(line, size, "%02d:%02d:%02d.%03ld %s %s: ", tm.tm_hour, tm.tm_min,
			tm.tm_sec, now.tv_nsec / 1000000, log_level_names[level], module);
}

void log_vwrite(enum log_level level, const char *module, const char *format, va_list args)
{
	char line[LINE_MAX_BYTES];
	int used = put_prefix(line, sizeof(line) - 1, level, module);
	int n = vsnprintf(line + used, sizeof(line) - 1 - (size_t)used, format, args);

	used += n > 0 ? n : 0;
	if (used > (int)sizeof(line) - 2)
		used = sizeof(line) - 2;
	while (used && line[used - 1] == '\n')
		used--;
	for (int i = 0; i < used;
	     i++) /* no outsider's byte may start a new line or colour a terminal */
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)used) < 0)
		return; /* nowhere left to say it */
}

void log_write(enum log_level level, const char *module, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_vwrite(level, module, format, args);
	va_end(args);
}

bool log_allow(struct log_limit *limit)
{
	long long now = (long long)clock_ms();

	if (now < limit->next_ms)
		return false;
	limit->next_ms = now + 1000;
	return true;
}
