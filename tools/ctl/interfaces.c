/* interfaces */
#include "base/names.h"
#include "show.h"
#include "verbs.h"
#include <stdio.h>
#include <stdlib.h>

static const char *const headings[] = { "NAME", ">INDEX",  "TYPE",     "STATE",
					">MTU", "DEFAULT", "ADDRESSES" };

static bool is_set(const json_t *interface, const char *name)
{
	return json_is_true(json_object_get(interface, name));
}

static const char *state(const json_t *interface)
{
	if (!is_set(interface, "up"))
		return "DOWN";
	return is_set(interface, "running") ? "UP" : "NO-CARRIER";
}

/* The families whose routes to the internet lead there. */
static const char *families(const json_t *interface)
{
	if (is_set(interface, "default4"))
		return is_set(interface, "default6") ? "v4 v6" : "v4";
	return is_set(interface, "default6") ? "v6" : "-";
}

/* All in one cell, the last of the row. */
static void put_addresses(struct table *table, const json_t *addresses)
{
	char *text = NULL;
	size_t size, i;
	FILE *cell = open_memstream(&text, &size);
	const json_t *address;

	if (cell) {
		json_array_foreach (addresses, i, address)
			fprintf(cell, "%s%s", i ? " " : "",
				json_is_string(address) ? json_string_value(address) : "?");
		fclose(cell);
	}
	table_put(table, text ? text : "?");
	free(text);
}

void show_interfaces(const json_t *data)
{
	struct table table;
	const json_t *interface;
	size_t i;

	table_init(&table, headings, ARRAY_SIZE(headings));
	json_array_foreach (data, i, interface) {
		table_put(&table, show_string(interface, "name"));
		table_put_number(&table, show_number(interface, "index"));
		table_put(&table, show_string(interface, "type"));
		table_put(&table, state(interface));
		table_put_number(&table, show_number(interface, "mtu"));
		table_put(&table, families(interface));
		put_addresses(&table, json_object_get(interface, "addresses"));
	}
	table_print(&table);
}
