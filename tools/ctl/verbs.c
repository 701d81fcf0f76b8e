#include "verbs.h"
#include "base/names.h"
#include "seam/ctl.h"
#include "show.h"
#include <string.h>

static const struct verb verbs[] = {
	{ .name = "status", .help = "what the daemon does, in numbers", .show = show_status },
	{ .name = "flows list",
	  .help = "the flows that live; filters below",
	  .filters = true,
	  .show = show_flows },
	{ .name = "flows show",
	  .help = "one flow, with what its dial tried",
	  .operand = "ID",
	  .argument = "flow",
	  .is_number = true,
	  .show = show_flow },
	{ .name = "flows kill",
	  .help = "reset a flow",
	  .operand = "ID",
	  .argument = "flow",
	  .is_number = true,
	  .show = show_killed },
	{ .name = "flows watch",
	  .help = "a line for each flow that begins or ends, until interrupted",
	  .streams = true,
	  .show = show_event },
	{ .name = "interfaces",
	  .help = "the network interfaces as the daemon sees them",
	  .show = show_interfaces },
	{ .name = "metrics", .help = "counters as text for Prometheus", .show = show_metrics },
	{ .name = "log",
	  .help = "change what is logged: error, warn, info or debug",
	  .operand = "LEVEL",
	  .argument = "level",
	  .show = show_log },
	{ .name = "version", .help = "of this program and of the daemon", .show = show_version },
	{ .name = "help", .help = "this text" },
};

int verbs_usage(FILE *out, int code)
{
	fprintf(out, "usage: seamctl [-s SOCKET] [-j | -p] COMMAND ...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		char words[32];

		snprintf(words, sizeof(words), "%s %s", verbs[i].name,
			 verbs[i].operand ? verbs[i].operand : "");
		fprintf(out, "  %-15s %s\n", words, verbs[i].help);
	}
	fprintf(out, "\n  -s, --socket PATH   where the daemon listens (" SEAM_CTL_SOCKET ")\n"
		     "  -j, --json          the answer as JSON, an event a line\n"
		     "  -p, --pretty        the same, indented\n"
		     "  -h, --help          this text\n\n"
		     "  --method METHOD     flows carried by copy, splice or sockmap\n"
		     "  --source IP         flows of this client\n"
		     "  --destination IP    flows to this server\n"
		     "  --outbound TAG      flows through this outbound\n\n"
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
	const char *names[ARRAY_SIZE(verbs) + 1], *near;
	char typed[128];

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		names[i] = verbs[i].name;
	names[ARRAY_SIZE(verbs)] = "flows";
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
