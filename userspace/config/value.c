#include "config/value.h"
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include "base/names.h"

struct unit {
	const char *name;
	uint64_t scale;
};

static const struct unit duration_units[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};

static const struct unit size_units[] = {
	{ "", 1 },
	{ "B", 1 },
	{ "KiB", 1ULL << 10 },
	{ "MiB", 1ULL << 20 },
	{ "GiB", 1ULL << 30 },
	{ "TiB", 1ULL << 40 },
	{ "kB", 1000 },
	{ "MB", 1000000 },
	{ "GB", 1000000000 },
	{ "TB", 1000000000000 },
};

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* Moves *@text over the digits, of which there must be one. */
static int eat_digits(const char **text, int base, uint64_t *ret)
{
	const char *p = *text;
	uint64_t n = 0;

	if (digit_of(*p) >= base)
		return -EINVAL;
	for (; digit_of(*p) < base; p++)
		if (__builtin_mul_overflow(n, (uint64_t)base, &n) ||
		    __builtin_add_overflow(n, (uint64_t)digit_of(*p), &n))
			return -ERANGE;
	*text = p;
	*ret = n;
	return 0;
}

int value_integer(const char *text, uint64_t *ret)
{
	bool hex = !strncmp(text, "0x", 2);
	uint64_t n;
	int r;

	if (hex)
		text += 2;
	r = eat_digits(&text, hex ? 16 : 10, &n);
	if (r < 0)
		return r;
	if (*text)
		return -EINVAL;
	*ret = n;
	return 0;
}

int value_duration(const char *text, uint64_t *ret_ms)
{
	const struct unit *unit = duration_units;
	uint64_t total = 0;

	do {
		uint64_t n;
		size_t len;
		int r = eat_digits(&text, 10, &n);

		if (r < 0)
			return r;
		len = strspn(text, "dhms");
		for (;; unit++) {
			if (unit == duration_units + ARRAY_SIZE(duration_units))
				return -EINVAL;
			if (strlen(unit->name) == len && !memcmp(unit->name, text, len))
				break;
		}
		if (__builtin_mul_overflow(n, unit->scale, &n) ||
		    __builtin_add_overflow(total, n, &total))
			return -ERANGE;
		text += len;
		unit++;
	} while (*text);
	*ret_ms = total;
	return 0;
}

int value_size(const char *text, uint64_t *ret_bytes)
{
	uint64_t n;
	int r = eat_digits(&text, 10, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(size_units); i++) {
		if (strcmp(size_units[i].name, text) != 0)
			continue;
		if (__builtin_mul_overflow(n, size_units[i].scale, &n))
			return -ERANGE;
		*ret_bytes = n;
		return 0;
	}
	return -EINVAL;
}
