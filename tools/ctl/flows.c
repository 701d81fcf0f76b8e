/* flows list, flows kill, flows watch */
#include "base/names.h"
#include "show.h"
#include "verbs.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const headings[] = { ">ID",      "STATE",  "SOURCE", "DESTINATION",
					"OUTBOUND", "METHOD", ">UP",    ">DOWN",
					">KERNEL",  ">AGE",   "NOTE" };

/* What is not as one would like it: why not by packet or sockmap, or which direction is back in user space. */
static const char *note(const json_t *flow, char *buf, size_t size)
{
	const char *refused = show_string(flow, "refused");
	const char *up = show_string(json_object_get(flow, "up"), "gate");
	const char *down = show_string(json_object_get(flow, "down"), "gate");
	const char *packet = show_string(flow, "packet"), *missed = show_string(flow, "missed");

	if (json_is_true(json_object_get(flow, "adopted")))
		snprintf(buf, size, "adopted");
	else if (*refused && *packet)
		snprintf(buf, size, "no packet: %s, no sockmap: %s", packet, refused);
	else if (*refused)
		snprintf(buf, size, "no sockmap: %s", refused);
	else if (*packet)
		snprintf(buf, size, "no packet: %s", packet);
	else if (*up && (strcmp(up, "open") != 0 || strcmp(down, "open") != 0))
		snprintf(buf, size, "up %s, down %s", up, down);
	else if (*missed)
		snprintf(buf, size, "packet missed: %s", missed);
	else
		buf[0] = 0;
	return buf;
}

static void put_flow(struct table *table, const json_t *flow)
{
	const json_t *up = json_object_get(flow, "up"), *down = json_object_get(flow, "down");
	uint64_t kernel = show_number(up, "kernel_bytes") + show_number(down, "kernel_bytes");
	char text[128];

	table_put_number(table, show_number(flow, "id"));
	table_put(table, show_string(flow, "state"));
	table_put(table, show_string(flow, "source"));
	table_put(table, show_string(flow, "destination"));
	table_put(table, show_string(flow, "outbound"));
	table_put(table, show_string(flow, "method"));
	table_put(table, show_bytes(show_number(up, "bytes"), text));
	table_put(table, show_bytes(show_number(down, "bytes"), text));
	table_put(table, show_bytes(kernel, text));
	table_put(table, show_time(show_number(flow, "age_ms"), text));
	table_put(table, note(flow, text, sizeof(text)));
}

void show_flows(const json_t *data)
{
	struct table table;
	const json_t *flow;
	size_t i;

	table_init(&table, headings, ARRAY_SIZE(headings));
	json_array_foreach (data, i, flow)
		put_flow(&table, flow);
	table_print(&table);
}

static void show_attempt(const json_t *attempt)
{
	const char *interface = show_string(attempt, "interface");
	bool connect = !strcmp(show_string(attempt, "step"), "connect");

	printf("  at %" PRIu64 " ms ", show_number(attempt, "start_ms"));
	show_text(connect ? show_string(attempt, "address") : show_string(attempt, "step"));
	if (*interface) {
		printf(" by ");
		show_text(interface);
	}
	printf(": ");
	show_text(show_string(attempt, "result"));
	printf(" after %" PRIu64 " ms\n", show_number(attempt, "took_ms"));
}

static void show_side(const json_t *flow, const char *name)
{
	const json_t *side = json_object_get(flow, name);
	const char *gate = show_string(side, "gate");
	char bytes[SHOW_MAX], kernel[SHOW_MAX];

	printf("  %s: %s, %s of it by the kernel", name,
	       show_bytes(show_number(side, "bytes"), bytes),
	       show_bytes(show_number(side, "kernel_bytes"), kernel));
	if (*gate)
		printf(", gate %s, %" PRIu64 " spills", gate, show_number(side, "spills"));
	putchar('\n');
}

void show_flow(const json_t *flow)
{
	static const char *const words[] = { "inbound", "outbound", "method",
					     "packet",  "missed",   "refused" };
	char age[SHOW_MAX];
	const json_t *attempt;
	size_t i;

	printf("flow %" PRIu64 " %s: ", show_number(flow, "id"), show_string(flow, "state"));
	show_text(show_string(flow, "source"));
	printf(" -> ");
	show_text(show_string(flow, "destination"));
	printf(", %s\n", show_time(show_number(flow, "age_ms"), age));
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		if (!*show_string(flow, words[i]))
			continue;
		printf("  %s: ", words[i]);
		show_text(show_string(flow, words[i]));
		putchar('\n');
	}
	show_side(flow, "up");
	show_side(flow, "down");
	json_array_foreach (json_object_get(flow, "attempts"), i, attempt)
		show_attempt(attempt);
}

void show_packet_removed(const json_t *data)
{
	printf("%" PRIu64 " flows were reset, the programs are detached, nothing is pinned\n",
	       show_number(data, "flows"));
}

void show_killed(const json_t *data)
{
	printf("flow %" PRIu64 " was reset\n", show_number(data, "flow"));
}

static void show_end(const json_t *event)
{
	char up[SHOW_MAX], down[SHOW_MAX], age[SHOW_MAX];

	putchar(' ');
	show_text(show_string(event, "reason"));
	printf(", up %s, down %s, %s",
	       show_bytes(show_number(json_object_get(event, "up"), "bytes"), up),
	       show_bytes(show_number(json_object_get(event, "down"), "bytes"), down),
	       show_time(show_number(event, "age_ms"), age));
}

void show_event(const json_t *event)
{
	const char *kind = show_string(event, "event");

	if (!strcmp(kind, "lost")) {
		printf("lost  %" PRIu64 " events\n", show_number(event, "count"));
		return;
	}
	show_text(kind);
	printf("%*s#%" PRIu64 " ", strcmp(kind, "open") ? 1 : 2, "", show_number(event, "id"));
	show_text(show_string(event, "source"));
	printf(" -> ");
	show_text(show_string(event, "destination"));
	putchar(' ');
	show_text(*show_string(event, "outbound") ? show_string(event, "outbound") : "-");
	if (*show_string(event, "method")) {
		putchar(' ');
		show_text(show_string(event, "method"));
	}
	if (!strcmp(kind, "close"))
		show_end(event);
	putchar('\n');
}
