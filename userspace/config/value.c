#include "config/value.h"
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include "base/names.h"

#define KEY_CHARS 44U /* of 32 bytes in base64, with the padding */

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

int value_prefix(const char *text, struct config_prefix *ret)
{
	const char *slash = strchr(text, '/');
	struct config_prefix prefix;
	char address[INET6_ADDRSTRLEN];
	size_t len = slash ? (size_t)(slash - text) : sizeof(address);
	uint64_t bits;

	if (len >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, len);
	address[len] = 0;
	if (addr_parse(address, 0, &prefix.addr) < 0)
		return -EINVAL;
	if (prefix.addr.family == AF_INET && strchr(address, ':')) /* its length would be another */
		return -EINVAL;
	text = slash + 1;
	if ((text[0] == '0' && text[1]) || eat_digits(&text, 10, &bits) < 0 || *text ||
	    bits > (prefix.addr.family == AF_INET ? 32 : 128))
		return -EINVAL;
	prefix.bits = (uint8_t)bits;
	*ret = prefix;
	return 0;
}

void value_prefix_mask(struct config_prefix *prefix)
{
	bool v4 = prefix->addr.family == AF_INET;
	uint8_t *bytes = v4 ? (uint8_t *)&prefix->addr.v4 : prefix->addr.v6.s6_addr;

	for (unsigned i = 0; i < (v4 ? 4 : 16); i++) {
		unsigned kept = prefix->bits > 8 * i ? prefix->bits - 8 * i : 0;

		if (kept < 8)
			bytes[i] &= (uint8_t)(0xff00 >> kept);
	}
}

/* Two hexadecimal digits. */
static int eat_byte(const char **text, uint8_t *ret)
{
	int high = digit_of((*text)[0]), low = high < 16 ? digit_of((*text)[1]) : 16;

	if (low >= 16)
		return -EINVAL;
	*ret = (uint8_t)(high << 4 | low);
	*text += 2;
	return 0;
}

int value_mac(const char *text, struct config_mac *ret)
{
	struct config_mac mac;

	for (size_t i = 0; i < sizeof(mac.bytes); i++) {
		if (i && *text++ != ':')
			return -EINVAL;
		if (eat_byte(&text, &mac.bytes[i]) < 0)
			return -EINVAL;
	}
	if (*text)
		return -EINVAL;
	*ret = mac;
	return 0;
}

int value_uuid(const char *text, uint8_t *ret)
{
	uint8_t uuid[VLESS_UUID_BYTES];

	for (size_t i = 0; i < sizeof(uuid); i++) {
		if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
			return -EINVAL;
		if (eat_byte(&text, &uuid[i]) < 0)
			return -EINVAL;
	}
	if (*text)
		return -EINVAL;
	memcpy(ret, uuid, sizeof(uuid));
	return 0;
}

int value_port_range(const char *text, struct config_ports *ret)
{
	uint64_t first = 0, last = UINT16_MAX;
	bool bare = *text == ':';

	if (!bare && eat_digits(&text, 10, &first) < 0)
		return -EINVAL;
	if (*text++ != ':' || (bare && !*text))
		return -EINVAL;
	if (*text && (eat_digits(&text, 10, &last) < 0 || *text))
		return -EINVAL;
	if (first > last || last > UINT16_MAX)
		return -ERANGE;
	*ret = (struct config_ports){ (uint16_t)first, (uint16_t)last };
	return 0;
}

int value_key(const char *text, uint8_t *ret)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t key[WIREGUARD_KEY_BYTES];
	uint32_t bits = 0;

	if (strlen(text) != KEY_CHARS || text[KEY_CHARS - 1] != '=')
		return -EINVAL;
	for (size_t i = 0, pending = 0, used = 0; i < KEY_CHARS - 1; i++) {
		const char *at = strchr(alphabet, text[i]);

		if (!at)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		pending += 6;
		if (pending >= 8) {
			pending -= 8;
			key[used++] = (uint8_t)(bits >> pending);
		}
	}
	if (bits & 3) /* 43 characters carry 258 bits */
		return -EINVAL;
	memcpy(ret, key, sizeof(key));
	return 0;
}
