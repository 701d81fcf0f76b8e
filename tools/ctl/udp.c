/* udp list, udp kill */
#include "base/names.h"
#include "show.h"
#include "verbs.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const headings[] = { ">ID",      "STATE",  "SOURCE", "DESTINATION",
					"OUTBOUND", "METHOD", ">UP",    ">DOWN",
					">LOST",    ">AGE",   ">LEFT",  "NOTE" };

static void put_session(struct table *table, const json_t *session)
{
	uint64_t idle = show_number(session, "idle_ms"), limit = show_number(session, "timeout_ms");
	const char *protocol = show_string(session, "protocol");
	const char *domain = show_string(session, "domain");
	char text[512];

	table_put_number(table, show_number(session, "id"));
	table_put(table, show_string(session, "state"));
	table_put(table, show_string(session, "source"));
	table_put(table, show_string(session, "destination"));
	table_put(table, show_string(session, "outbound"));
	table_put(table, show_string(session, "method"));
	table_put_number(table, show_number(json_object_get(session, "up"), "datagrams"));
	table_put_number(table, show_number(json_object_get(session, "down"), "datagrams"));
	table_put_number(table, show_number(session, "dropped"));
	table_put(table, show_time(show_number(session, "age_ms"), text));
	table_put(table, show_time(limit > idle ? limit - idle : 0, text));
	snprintf(text, sizeof(text), "%s%s%s%s%s", protocol, *protocol && *domain ? " " : "",
		 domain, json_is_true(json_object_get(session, "bound")) ? " bound" : "",
		 json_is_true(json_object_get(session, "adopted")) ? " adopted" : "");
	table_put(table, text + (text[0] == ' '));
}

void show_udp(const json_t *data)
{
	struct table table;
	const json_t *session;
	size_t i;

	table_init(&table, headings, ARRAY_SIZE(headings));
	json_array_foreach (data, i, session)
		put_session(&table, session);
	table_print(&table);
}

void show_udp_killed(const json_t *data)
{
	printf("session %" PRIu64 " was ended\n", show_number(data, "flow"));
}
