/* status, metrics, log, version */
#include "show.h"
#include "verbs.h"
#include <inttypes.h>
#include <stdio.h>

/* "  refused  3 mss, 1 sack" */
static void show_reasons(const char *label, const json_t *refused)
{
	const char *reason, *separator = "";
	json_t *count;

	printf("  %-8s ", label);
	json_object_foreach ((json_t *)refused, reason, count) {
		if (!json_integer_value(count))
			continue;
		printf("%s%" JSON_INTEGER_FORMAT " ", separator, json_integer_value(count));
		show_text(reason);
		separator = ", ";
	}
	puts(*separator ? "" : "0");
}

static void show_packet(const json_t *packet)
{
	printf("packet     ");
	if (json_is_true(json_object_get(packet, "available"))) {
		printf("available");
	} else {
		printf("not used: ");
		show_text(show_string(packet, "reason"));
	}
	printf("\n  taken    %" PRIu64 "\n  adopted  %" PRIu64 "\n  pairs    %" PRIu64
	       " of at most %" PRIu64 "\n",
	       show_number(packet, "taken"), show_number(packet, "adopted"),
	       show_number(packet, "pairs"), show_number(packet, "pairs_max"));
	show_reasons("missed", json_object_get(packet, "missed_by"));
	show_reasons("refused", json_object_get(packet, "refused"));
}

static void show_relay(const json_t *relay)
{
	const json_t *sockmap = json_object_get(relay, "sockmap");

	printf("relay      ");
	show_text(show_string(relay, "method"));
	printf("\nsockmap    ");
	if (json_is_true(json_object_get(sockmap, "available"))) {
		printf("available");
	} else {
		printf("not used: ");
		show_text(show_string(sockmap, "reason"));
	}
	printf("\n  entered  %" PRIu64 "\n  spilled  %" PRIu64 "\n  broken   %" PRIu64 "\n",
	       show_number(relay, "entered"), show_number(relay, "spilled"),
	       show_number(relay, "broken"));
	show_reasons("refused", json_object_get(relay, "refused"));
	show_packet(json_object_get(relay, "packet"));
}

void show_status(const json_t *data)
{
	const json_t *flows = json_object_get(data, "flows"), *udp = json_object_get(data, "udp"),
		     *memory = json_object_get(data, "memory");
	char used[SHOW_MAX], limit[SHOW_MAX], uptime[SHOW_MAX];

	printf("version    ");
	show_text(show_string(data, "version"));
	printf("\npid        %" PRIu64 "\nuptime     %s\nworkers    %" PRIu64 "\n",
	       show_number(data, "pid"), show_time(show_number(data, "uptime_ms"), uptime),
	       show_number(data, "workers"));
	printf("flows      %" PRIu64 " of at most %" PRIu64 ", %" PRIu64 " accepted\n",
	       show_number(flows, "active"), show_number(flows, "max"),
	       show_number(flows, "accepted"));
	printf("udp        %" PRIu64 " of at most %" PRIu64 " sessions, %" PRIu64 " begun\n",
	       show_number(udp, "active"), show_number(udp, "max"), show_number(udp, "sessions"));
	show_relay(json_object_get(data, "relay"));
	printf("memory     %s of at most %s\n", show_bytes(show_number(memory, "used"), used),
	       show_bytes(show_number(memory, "limit"), limit));
}

void show_metrics(const json_t *data)
{
	const char *text = json_string_value(data);

	show_lines(text ? text : "");
}

void show_log(const json_t *data)
{
	printf("log level ");
	show_text(show_string(data, "level"));
	printf(", was ");
	show_text(show_string(data, "was"));
	puts("");
}

void show_version(const json_t *data)
{
	printf("seamctl " SEAM_VERSION "\nseamd ");
	show_text(show_string(data, "version"));
	puts("");
}
