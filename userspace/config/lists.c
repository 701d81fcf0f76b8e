#include "config/lists.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/names.h"
#include "config/form.h"
#include "config/value.h"

/* How one element of a list is read: @take fills in zeroed bytes. */
struct kind {
	enum key_type element; /* says what it must be */
	size_t size;           /* 0: element_size of the key */
	void (*take)(const struct item *element, void *field);
};

static void take_text(const struct item *element, void *field)
{
	const struct schema_key *key = element->key;
	const char *text = json_string_value(element->value);
	const char *reason = key->check ? key->check(text) : NULL;
	size_t len = strlen(text);
	char *copy;

	if (reason) {
		field_wrong(element, "%s", reason);
		return;
	}
	if (key->undot && len && text[len - 1] == '.')
		len--;
	copy = strndup(text, len);
	if (!copy) {
		element->report->result = -ENOMEM;
		return;
	}
	for (char *c = copy; key->lower && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	*(char **)field = copy;
}

static void take_tag(const struct item *element, void *field)
{
	const char *reason = element->key->check(json_string_value(element->value));

	*(size_t *)field = CONFIG_NONE;
	if (reason)
		field_wrong(element, "%s", reason);
}

static bool take_number(const struct item *element, const char *min, const char *max, uint64_t *ret)
{
	struct schema_key key = { .type = KEY_INTEGER, .min = min, .max = max };
	struct item number = *element;

	if (element->key->type == KEY_MARK_LIST)
		key.type = KEY_MARK;
	number.key = &key;
	return field_number(&number, ret);
}

static void put_ports(const struct schema_key *key, void *field, struct config_ports ports)
{
	if (key->element_size == sizeof(uint16_t))
		*(uint16_t *)field = ports.first;
	else
		*(struct config_ports *)field = ports;
}

static void take_port(const struct item *element, void *field)
{
	uint64_t n;

	if (take_number(element, "1", "65535", &n))
		put_ports(element->key, field, (struct config_ports){ (uint16_t)n, (uint16_t)n });
}

static void take_port_range(const struct item *element, void *field)
{
	const char *text = json_string_value(element->value);
	struct config_ports ports;
	int r = value_port_range(text, &ports);

	if (r == -ERANGE)
		field_wrong(element, "\"%.*s\" is no range of ports up to 65535",
			    report_quote(text), text);
	else if (r < 0)
		field_wrong(element,
			    "\"%.*s\" is not of the form \"1000:2000\", \":3000\" or \"4000:\"",
			    report_quote(text), text);
	else
		put_ports(element->key, field, ports);
}

static void take_mark(const struct item *element, void *field)
{
	uint64_t n;

	if (take_number(element, "0", "0xffffffff", &n))
		*(uint32_t *)field = (uint32_t)n;
}

static void take_mac(const struct item *element, void *field)
{
	const char *text = json_string_value(element->value);

	if (value_mac(text, field) < 0)
		field_wrong(element, "\"%.*s\" is not of the form \"aa:bb:cc:dd:ee:ff\"",
			    report_quote(text), text);
}

static const struct kind kinds[KEY_TYPE_COUNT] = {
	[KEY_STRING_LIST] = { KEY_STRING, sizeof(char *), take_text },
	[KEY_TAG_LIST] = { KEY_STRING, sizeof(size_t), take_tag },
	[KEY_PORT_LIST] = { KEY_INTEGER, 0, take_port },
	[KEY_PORT_RANGE_LIST] = { KEY_STRING, 0, take_port_range },
	[KEY_MARK_LIST] = { KEY_MARK, sizeof(uint32_t), take_mark },
	[KEY_MAC_LIST] = { KEY_STRING, sizeof(struct config_mac), take_mac },
};

static bool is_element(const struct kind *kind, const json_t *value)
{
	return (kind->element != KEY_INTEGER && json_is_string(value)) ||
	       (kind->element != KEY_STRING && json_is_integer(value));
}

/* Room for @added more elements at the end of the list; NULL: -ENOMEM is in the report. */
static char *grow(const struct item *item, size_t size, size_t added)
{
	char **list = (char **)(item->base + item->key->offset);
	size_t *count = (size_t *)(item->base + item->key->count_offset);
	size_t old = item->key->initial ? 0 : *count; /* a default is replaced */
	char *grown = reallocarray(*list, old + added ? old + added : 1, size);

	if (!grown) {
		item->report->result = -ENOMEM;
		return NULL;
	}
	memset(grown + old * size, 0, added * size);
	*list = grown;
	*count = old + added;
	return grown + old * size;
}

void lists_take(const struct item *item)
{
	const struct kind *kind = &kinds[item->key->type];
	size_t size = kind->size ? kind->size : item->key->element_size;
	size_t count = json_is_array(item->value) ? json_array_size(item->value) : 1;
	struct item element = *item;
	uint64_t min = 0, max = 0;
	char *list;

	(void)value_integer(item->key->min, &min);
	(void)value_integer(item->key->max, &max);
	if (!json_is_array(item->value) && !is_element(kind, item->value)) {
		field_wrong_type(item, item->key->type);
		return;
	}
	if (count < min || count > max) {
		field_wrong(item, "must have %s to %s elements, not %zu", item->key->min,
			    item->key->max, count);
		return;
	}
	list = grow(item, size, count);
	if (!list)
		return;
	if (!json_is_array(item->value)) {
		kind->take(item, list);
		return;
	}
	element.place = (struct place){ .up = &item->place };
	json_array_foreach (item->value, element.place.index, element.value) {
		if (is_element(kind, element.value))
			kind->take(&element, list + element.place.index * size);
		else
			field_wrong_type(&element, kind->element);
	}
}

static void add_to_mask(const struct item *element, uint64_t *mask)
{
	uint64_t n;

	if (take_number(element, element->key->min, element->key->max, &n))
		*mask |= UINT64_C(1) << n;
}

void lists_take_mask(const struct item *item)
{
	uint64_t *mask = (uint64_t *)(item->base + item->key->offset);
	struct item element = *item;

	if (json_is_integer(item->value)) {
		add_to_mask(item, mask);
	} else if (!json_is_array(item->value)) {
		field_wrong_type(item, KEY_NUMBER_MASK);
	} else if (!json_array_size(item->value)) {
		field_wrong(item, "must not be empty");
	} else {
		element.place = (struct place){ .up = &item->place };
		json_array_foreach (item->value, element.place.index, element.value)
			add_to_mask(&element, mask);
	}
}

static void take_header(const struct item *item, const char *name, struct config_header *header)
{
	bool is_list = json_is_array(item->value) && json_array_size(item->value) == 1;
	const json_t *first = is_list ? json_array_get(item->value, 0) : item->value;
	const char *value = json_string_value(first);
	const char *reason = form_header_name(name);

	if (reason) {
		report_error(item->report, AT_KEY(&item->place), "%s", reason);
		return;
	}
	if (!value) {
		field_wrong(item, "must be a string or a list of one string");
		return;
	}
	reason = form_header_value(value);
	if (reason) {
		field_wrong(item, "%s", reason);
		return;
	}
	header->name = strdup(name);
	header->value = strdup(value);
	if (!header->name || !header->value)
		item->report->result = -ENOMEM;
}

void lists_take_headers(const struct item *item)
{
	struct item member = *item;
	struct config_header *header;
	const char *name;

	if (!json_is_object(item->value)) {
		field_wrong_type(item, KEY_OBJECT);
		return;
	}
	header = (void *)grow(item, sizeof(*header), json_object_size(item->value));
	if (!header)
		return;
	json_object_foreach (item->value, name, member.value) {
		member.place = (struct place){ .up = &item->place, .key = name };
		take_header(&member, name, header++);
	}
}

static void free_headers(struct config_header *headers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(headers[i].name);
		free(headers[i].value);
	}
}

void lists_free(const struct schema_key *key, char *base)
{
	void **list = (void **)(base + key->offset);
	size_t *count = (size_t *)(base + key->count_offset);

	if (key->type == KEY_STRING_LIST)
		for (size_t i = 0; i < *count; i++)
			free(((char **)*list)[i]);
	else if (key->type == KEY_HEADERS)
		free_headers(*list, *count);
	free(*list);
	*list = NULL;
	*count = 0;
}
