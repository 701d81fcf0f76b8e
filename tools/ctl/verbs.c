#include "verbs.h"
#include "base/names.h"
#include "seam/ctl.h"
#include "show.h"
#include <string.h>

static const struct verb verbs[] = {
	{ .name = "status", .help = "what the daemon does, in numbers", .show = show_status },
	{ .name = "flows list",
	  .help = "the flows that live; filters below",
	  .options = { "method", "source", "destination", "outbound" },
	  .show = show_flows },
	{ .name = "flows show",
	  .help = "one flow, with what its dial tried",
	  .operands = { { "ID", "flow", true } },
	  .show = show_flow },
	{ .name = "flows kill",
	  .help = "reset a flow",
	  .operands = { { "ID", "flow", true } },
	  .show = show_killed },
	{ .name = "flows watch",
	  .help = "a line for each flow that begins or ends, until interrupted",
	  .streams = true,
	  .show = show_event },
	{ .name = "udp list",
	  .help = "the UDP sessions that live; filters below",
	  .options = { "source", "destination", "outbound" },
	  .show = show_udp },
	{ .name = "udp kill",
	  .help = "end a UDP session",
	  .operands = { { "ID", "flow", true } },
	  .show = show_udp_killed },
	{ .name = "packet remove",
	  .help = "reset the flows that tc carries and detach its programs, until the daemon is "
		  "started again",
	  .show = show_packet_removed },
	{ .name = "interfaces",
	  .help = "the network interfaces as the daemon sees them",
	  .show = show_interfaces },
	{ .name = "outbounds list",
	  .help = "the outbounds, with what groups have selected and measured",
	  .show = show_outbounds },
	{ .name = "outbounds select",
	  .help = "choose the member that a selector uses, until the daemon ends",
	  .operands = { { "GROUP", "group", false }, { "TAG", "tag", false } },
	  .show = show_selected },
	{ .name = "outbounds test",
	  .help = "how long a web server takes to answer through outbounds",
	  .operands = { { "[TAG]", "tag", false } },
	  .options = { "url" },
	  .show = show_tests },
	{ .name = "explain",
	  .help = "what the rules would do with a connection",
	  .operands = { { "tcp", "network", false },
			{ "SRC", "source", false },
			{ "DST[:PORT]", "destination", false } },
	  .options = { "domain", "protocol", "inbound", "interface", "mark", "dscp" },
	  .show = show_explain },
	{ .name = "metrics", .help = "counters as text for Prometheus", .show = show_metrics },
	{ .name = "log",
	  .help = "change what is logged: error, warn, info or debug",
	  .operands = { { "LEVEL", "level", false } },
	  .show = show_log },
	{ .name = "version", .help = "of this program and of the daemon", .show = show_version },
	{ .name = "help", .help = "this text" },
};

int verbs_usage(FILE *out, int code)
{
	fprintf(out, "usage: seamctl [-s SOCKET] [-j | -p] COMMAND ...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		char words[64];
		int len = snprintf(words, sizeof(words), "%s", verbs[i].name);

		for (size_t j = 0; j < OPERANDS_MAX && verbs[i].operands[j].name; j++)
			len += snprintf(words + len, sizeof(words) - (size_t)len, " %s",
					verbs[i].operands[j].name);
		fprintf(out, "  %-26s %s\n", words, verbs[i].help);
	}
	fprintf(out, "\n  -s, --socket PATH   where the daemon listens (" SEAM_CTL_SOCKET ")\n"
		     "  -j, --json          the answer as JSON, an event a line\n"
		     "  -p, --pretty        the same, indented\n"
		     "  -h, --help          this text\n\n"
		     "  --method METHOD     flows carried by copy, splice or sockmap\n"
		     "  --source IP         flows of this client\n"
		     "  --destination IP    flows to this server\n"
		     "  --outbound TAG      flows through this outbound\n\n"
		     "  --url URL           what outbounds test asks for, plain http\n\n"
		     "  --domain NAME       explain: what sniffing would find\n"
		     "  --protocol NAME     explain: the same\n"
		     "  --inbound TAG       explain: where the connection came in (the first)\n"
		     "  --interface NAME    explain: the interface that it came in by\n"
		     "  --mark N            explain: of its packets, also as 0x10\n"
		     "  --dscp N            explain: of its packets\n\n"
		     "Exit status: 0 done, 1 the daemon refused, 2 wrong usage, 69 no daemon "
		     "answers.\n");
	return code;
}

/* How many words of @words are @name, all of it; 0: it is another. */
static size_t match(const char *name, char **words)
{
	size_t first = strcspn(name, " ");

	if (strlen(words[0]) != first || strncmp(words[0], name, first) != 0)
		return 0;
	if (!name[first])
		return 1;
	return words[1] && !strcmp(words[1], name + first + 1) ? 2 : 0;
}

static void say_unknown(char **words)
{
	const char *names[ARRAY_SIZE(verbs) + 4], *near;
	char typed[128];

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		names[i] = verbs[i].name;
	names[ARRAY_SIZE(verbs)] = "flows";
	names[ARRAY_SIZE(verbs) + 1] = "outbounds";
	names[ARRAY_SIZE(verbs) + 2] = "udp";
	names[ARRAY_SIZE(verbs) + 3] = "packet";
	snprintf(typed, sizeof(typed), "%s%s%s", words[0], words[1] ? " " : "",
		 words[1] ? words[1] : "");
	near = names_near(names, ARRAY_SIZE(names), typed);
	if (!near)
		near = names_near(names, ARRAY_SIZE(names), words[0]);
	show_complaint("no command", typed);
	if (near && strcmp(near, words[0]) != 0)
		fprintf(stderr, "did you mean \"%s\"? ", near);
	fprintf(stderr, "There are:");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(stderr, "%s %s", i ? "," : "", verbs[i].name);
	fprintf(stderr, "\n");
}

const struct verb *verb_find(char ***words)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		size_t taken = match(verbs[i].name, *words);

		if (!taken)
			continue;
		*words += taken;
		return &verbs[i];
	}
	say_unknown(*words);
	return NULL;
}
