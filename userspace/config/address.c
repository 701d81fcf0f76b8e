#include "config/address.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "config/form.h"
#include "config/value.h"

static const char *address_fault(const struct schema_key *key, const struct addr *addr)
{
	if (key->family == AF_INET && addr->family != AF_INET)
		return "must be an IPv4 address";
	if (key->family == AF_INET6 && addr->family != AF_INET6)
		return "must be an IPv6 address";
	if (key->remote && (addr_is_multicast(addr) || addr_is_unspecified(addr)))
		return "not the address of a server";
	if (addr_is_multicast(addr))
		return "a multicast or broadcast address is not one of this machine";
	return NULL;
}

void address_take(const struct item *item)
{
	const char *text = json_string_value(item->value);
	struct addr *field = (void *)(item->base + item->key->offset);
	const char *fault;
	struct addr addr;

	field->family = AF_UNSPEC;
	if (!text) {
		field_wrong_type(item, KEY_ADDRESS);
		return;
	}
	if (addr_parse(text, field->port, &addr) < 0) {
		if (item->key->remote && !form_host(text))
			field_wrong(item, "must be an IP address, not the name \"%.*s\"",
				    report_quote(text), text);
		else
			field_wrong(item, "\"%.*s\" is not an IP address", report_quote(text),
				    text);
		return;
	}
	fault = address_fault(item->key, &addr);
	if (fault)
		field_wrong(item, "%s", fault);
	else
		*field = addr;
}

static bool prefix_equal(const struct config_prefix *a, const struct config_prefix *b)
{
	return a->bits == b->bits && addr_equal(&a->addr, &b->addr);
}

/* @text with a length, or where the key says so without. */
static int read_prefix(const struct schema_key *key, const char *text, struct config_prefix *ret)
{
	struct config_prefix prefix = { 0 };

	if (!key->bare || strchr(text, '/'))
		return value_prefix(text, ret);
	if (addr_parse(text, 0, &prefix.addr) < 0)
		return -EINVAL;
	prefix.bits = prefix.addr.family == AF_INET ? 32 : 128;
	*ret = prefix;
	return 0;
}

static void refuse_prefix(const struct item *item, const char *text)
{
	struct addr addr;

	if (addr_parse(text, 0, &addr) < 0)
		field_wrong(item, "\"%.*s\" is not a prefix such as \"10.0.0.0/8\"",
			    report_quote(text), text);
	else
		field_wrong(item, "\"%s\" lacks a length (did you mean \"%s/%d\"?)", text, text,
			    addr.family == AF_INET ? 32 : 128);
}

static void refuse_host_bits(const struct item *item, const char *text,
			     const struct config_prefix *right)
{
	char address[INET6_ADDRSTRLEN] = "";

	(void)inet_ntop(right->addr.family, &right->addr.v6, address, sizeof(address));
	field_wrong(item, "\"%s\" has host bits set (did you mean \"%s/%u\"?)", text, address,
		    right->bits);
}

/* Adds what @item says to the @count prefixes of @list; false: reported. */
static bool take_prefix(const struct item *item, struct config_prefix *list, size_t count)
{
	const char *text = json_string_value(item->value);
	struct config_prefix prefix, masked;

	if (!text) {
		field_wrong_type(item, KEY_STRING);
		return false;
	}
	if (read_prefix(item->key, text, &prefix) < 0) {
		refuse_prefix(item, text);
		return false;
	}
	masked = prefix;
	value_prefix_mask(&masked);
	if (!item->key->host_bits && !prefix_equal(&prefix, &masked)) {
		refuse_host_bits(item, text, &masked);
		return false;
	}
	if (item->key->host_bits &&
	    (addr_is_multicast(&prefix.addr) || addr_is_unspecified(&prefix.addr))) {
		field_wrong(item, "\"%s\" is not an address of an interface", text);
		return false;
	}
	for (size_t i = 0; !item->key->bare && i < count; i++) { /* those lists are long */
		if (prefix_equal(&list[i], &prefix)) {
			field_wrong(item, "\"%s\" is here twice", text);
			return false;
		}
	}
	list[count] = prefix;
	return true;
}

void address_take_prefixes(const struct item *item)
{
	const struct schema_key *key = item->key;
	bool is_list = json_is_array(item->value);
	size_t count = is_list ? json_array_size(item->value) : 1, taken = 0;
	struct config_prefix *list;
	struct item element = *item;
	uint64_t min = 0, max = 0;

	(void)value_integer(key->min, &min);
	(void)value_integer(key->max, &max);
	if (!is_list && !json_is_string(item->value)) {
		field_wrong_type(item, KEY_PREFIX_LIST);
		return;
	}
	if (count < min || count > max) {
		field_wrong(item, "must have %s to %s elements, not %zu", key->min, key->max,
			    count);
		return;
	}
	list = calloc(count ? count : 1, sizeof(*list));
	if (!list) {
		item->report->result = -ENOMEM;
		return;
	}
	if (!is_list)
		taken += take_prefix(item, list, taken);
	element.place = (struct place){ .up = &item->place };
	json_array_foreach (item->value, element.place.index, element.value)
		taken += take_prefix(&element, list, taken);
	*(void **)(item->base + key->offset) = list;
	*(size_t *)(item->base + key->count_offset) = taken;
}

void address_take_key(const struct item *item)
{
	static const uint8_t zeroes[WIREGUARD_KEY_BYTES];
	const char *text = json_string_value(item->value);
	uint8_t key[WIREGUARD_KEY_BYTES];

	if (!text)
		field_wrong_type(item, KEY_WG_KEY);
	else if (value_key(text, key) < 0)
		field_wrong(item, "must be 32 bytes in base64, as `wg genkey` prints them");
	else if (!memcmp(key, zeroes, sizeof(key)))
		field_wrong(item, "a key of zeroes is none");
	else
		memcpy(item->base + item->key->offset, key, sizeof(key));
}

void address_take_uuid(const struct item *item)
{
	const char *text = json_string_value(item->value);

	if (!text)
		field_wrong_type(item, KEY_UUID);
	else if (value_uuid(text, (uint8_t *)item->base + item->key->offset) < 0)
		field_wrong(item, "must be of the form "
				  "\"01234567-89ab-cdef-0123-456789abcdef\"");
}
