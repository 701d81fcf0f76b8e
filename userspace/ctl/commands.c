#include "ctl/commands.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/names.h"
#include "ctl/explain.h"
#include "ctl/flows.h"
#include "ctl/interfaces.h"
#include "ctl/metrics.h"
#include "ctl/outbounds.h"
#include "ctl/udp.h"
#include "ctl/watch.h"
#include "seam/ctl.h"
#include <inttypes.h>
#include <unistd.h>

static int put(struct call *call, struct out *out, json_t *data)
{
	if (!data)
		return call_fail(call, "out of memory");
	out_json(out, data);
	json_decref(data);
	return 0;
}

/* Rather nothing than half of it. */
static json_t *whole(json_t *value, int failed)
{
	if (!failed)
		return value;
	json_decref(value);
	return NULL;
}

/* By reason, from @first on. */
static json_t *counts_of(const char *const *names, const uint64_t *values, int first, int count)
{
	json_t *counts = json_object();
	int r = 0;

	for (int why = first; why < count; why++)
		r |= json_object_set_new(counts, names[why], json_integer((json_int_t)values[why]));
	return whole(counts, r);
}

static json_t *describe_packet(const struct ctl_context *context, const struct worker_stats *sum)
{
	struct packet *packet = context->packet;

	return json_pack("{s:b, s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:o}", "available",
			 (int)server_packet_takes(context), "reason", server_packet_reason(context),
			 "taken", (json_int_t)sum->taken, "missed", (json_int_t)sum->missed,
			 "missed_by",
			 counts_of(relay_missed_names, sum->missed_why, 0, RELAY_MISSED_COUNT),
			 "adopted", (json_int_t)sum->adopted, "pairs",
			 (json_int_t)(packet ? packet_pairs_used(packet) : 0), "pairs_max",
			 (json_int_t)(packet ? packet_pairs_max(packet) : 0), "refused",
			 counts_of(relay_untaken_names, sum->untaken, 1, UNTAKEN_COUNT));
}

static json_t *describe_relay(const struct ctl_context *context, const struct worker_stats *sum)
{
	return json_pack("{s:s, s:{s:b, s:s}, s:I, s:I, s:I, s:o, s:o}", "method",
			 relay_method_names[context->config->relay.method], "sockmap", "available",
			 (int)context->sockmap, "reason", context->sockmap_reason, "entered",
			 (json_int_t)sum->entered, "spilled", (json_int_t)sum->spilled, "broken",
			 (json_int_t)sum->broken, "refused",
			 counts_of(relay_refusal_names, sum->refused, 1, REFUSED_COUNT), "packet",
			 describe_packet(context, sum));
}

static int run_status(struct call *call, struct out *out)
{
	const struct ctl_context *context = call->context;
	struct worker_stats sum;

	ask_sum(call->ask, &sum);
	return put(call, out,
		   json_pack("{s:s, s:i, s:I, s:i, s:{s:I, s:I, s:I}, s:{s:I, s:I, s:I}, s:o, "
			     "s:{s:I, s:I}}",
			     "version", SEAM_VERSION, "pid", (int)getpid(), "uptime_ms",
			     (json_int_t)(clock_ms() - context->started_ms), "workers",
			     (int)context->worker_count, "flows", "active", (json_int_t)sum.active,
			     "max", (json_int_t)context->config->max_flows, "accepted",
			     (json_int_t)sum.accepted, "udp", "active", (json_int_t)sum.udp.active,
			     "max", (json_int_t)context->config->max_udp_sessions, "sessions",
			     (json_int_t)sum.udp.sessions, "relay", describe_relay(context, &sum),
			     "memory", "used", (json_int_t)sum.memory_used, "limit",
			     (json_int_t)sum.memory_limit));
}

static int run_metrics(struct call *call, struct out *out)
{
	struct out text = { 0 };
	struct worker_stats sum;
	int r;

	ask_sum(call->ask, &sum);
	metrics_put(call->context, &sum, &text);
	r = put(call, out, text.failed ? NULL : json_stringn(text.data, text.len));
	out_deinit(&text);
	return r;
}

static int run_kill(struct call *call, struct out *out)
{
	for (unsigned i = 0; i < call->ask->count; i++)
		if (!call->ask->parts[i].result)
			return put(call, out,
				   json_pack("{s:I}", "flow", call_number(call, "flow")));
	return call_fail(call, "no flow %" JSON_INTEGER_FORMAT, call_number(call, "flow"));
}

/* No worker has a pair any more. */
static int run_packet_remove(struct call *call, struct out *out)
{
	const struct ctl_context *context = call->context;
	json_int_t flows = 0;

	if (!context->packet)
		return call_fail(call, "packet is not loaded: %s", server_packet_reason(context));
	for (unsigned i = 0; i < call->ask->count; i++)
		flows += call->ask->parts[i].result;
	packet_detach(context->packet);
	return put(call, out, json_pack("{s:I}", "flows", flows));
}

static int run_watch(struct call *call, struct out *out)
{
	return put(call, out, json_pack("{s:b}", "watching", 1));
}

static int run_log(struct call *call, struct out *out)
{
	const char *word = call_string(call, "level");
	int level = names_find(log_level_names, LOG_LEVEL_COUNT, word), was = (int)log_threshold;

	if (level < 0)
		return call_no_such(call, "level", word, log_level_names, LOG_LEVEL_COUNT);
	log_set_level((enum log_level)level);
	return put(call, out, json_pack("{s:s, s:s}", "level", word, "was", log_level_names[was]));
}

static int run_version(struct call *call, struct out *out)
{
	return put(call, out,
		   json_pack("{s:s, s:i}", "version", SEAM_VERSION, "protocol", SEAM_CTL_VERSION));
}

static json_t *describe_argument(const struct argument *argument)
{
	return json_pack("{s:s, s:s, s:b, s:s}", "name", argument->name, "type",
			 argument->type == ARGUMENT_NUMBER ? "number" : "string", "required",
			 (int)argument->required, "help", argument->help);
}

static json_t *describe_command(const struct command *command)
{
	json_t *arguments = json_array();
	int r = 0;

	for (size_t i = 0; i < ARGUMENTS_MAX && command->arguments[i].name; i++)
		r |= json_array_append_new(arguments, describe_argument(&command->arguments[i]));
	return json_pack("{s:s, s:s, s:b, s:o}", "name", command->name, "help", command->help,
			 "mutating", (int)command->mutating, "arguments", whole(arguments, r));
}

static int run_help(struct call *call, struct out *out)
{
	json_t *list = json_array();
	int r = 0;

	for (size_t i = 0; i < command_count; i++)
		r |= json_array_append_new(list, describe_command(&commands[i]));
	return put(call, out, whole(list, r));
}

const struct command commands[] = {
	{ .name = "status",
	  .help = "what the daemon does, in numbers",
	  .work = ask_stats,
	  .run = run_status },
	{ .name = "flows list",
	  .help = "the flows that live, those of a worker by age",
	  .arguments = { { "method", "only those carried by copy, splice, sockmap or packet",
			   ARGUMENT_STRING, false },
			 { "source", "only those of this client address", ARGUMENT_STRING, false },
			 { "destination", "only those to this server address", ARGUMENT_STRING,
			   false },
			 { "outbound", "only those through the outbound of this tag",
			   ARGUMENT_STRING, false } },
	  .work = ask_flows,
	  .run = flows_list },
	{ .name = "flows show",
	  .help = "one flow, with what its dial tried",
	  .arguments = { { "flow", "its id, as listed", ARGUMENT_NUMBER, true } },
	  .work = ask_flows,
	  .run = flows_show },
	{ .name = "flows kill",
	  .help = "reset a flow",
	  .arguments = { { "flow", "its id, as listed", ARGUMENT_NUMBER, true } },
	  .mutating = true,
	  .work = ask_kill,
	  .run = run_kill },
	{ .name = "flows watch",
	  .help = "a line for each flow that begins or ends",
	  .watches = true,
	  .work = watch_begin,
	  .run = run_watch },
	{ .name = "udp list",
	  .help = "the UDP sessions that live, those of a worker by age",
	  .arguments = { { "source", "only those of this client address", ARGUMENT_STRING, false },
			 { "destination", "only those whose first datagram went to this address",
			   ARGUMENT_STRING, false },
			 { "outbound", "only those through the outbound of this tag",
			   ARGUMENT_STRING, false } },
	  .work = ask_udp,
	  .run = udp_list },
	{ .name = "udp kill",
	  .help = "end a UDP session",
	  .arguments = { { "flow", "its id, as listed", ARGUMENT_NUMBER, true } },
	  .mutating = true,
	  .work = ask_kill,
	  .run = run_kill },
	{ .name = "packet remove",
	  .help = "end the flows that tc carries, detach its programs and remove what is pinned",
	  .mutating = true,
	  .work = ask_leave_packet,
	  .run = run_packet_remove },
	{ .name = "interfaces",
	  .help = "the network interfaces as the daemon sees them",
	  .run = interfaces_list },
	{ .name = "outbounds list",
	  .help = "the outbounds, with what groups have selected and measured",
	  .run = outbounds_list },
	{ .name = "outbounds select",
	  .help = "choose the member that a selector uses, until the daemon ends",
	  .arguments = { { "group", "tag of the selector", ARGUMENT_STRING, true },
			 { "tag", "of the member", ARGUMENT_STRING, true } },
	  .mutating = true,
	  .run = outbounds_select },
	{ .name = "outbounds test",
	  .help = "how long a web server takes to answer through outbounds",
	  .arguments = { { "tag", "only this outbound", ARGUMENT_STRING, false },
			 { "url", "plain http, instead of that of urltest", ARGUMENT_STRING,
			   false } },
	  .begin = outbounds_test_begin,
	  .run = outbounds_test },
	{ .name = "explain",
	  .help = "what the rules would do with a connection, and why",
	  .arguments = { { "network", "tcp or udp", ARGUMENT_STRING, true },
			 { "source", "address of the client", ARGUMENT_STRING, true },
			 { "destination", "address of the server, with a port or 443",
			   ARGUMENT_STRING, true },
			 { "domain", "that sniffing would find", ARGUMENT_STRING, false },
			 { "protocol", "that sniffing would find", ARGUMENT_STRING, false },
			 { "inbound", "its tag; the first", ARGUMENT_STRING, false },
			 { "interface", "that it comes in by", ARGUMENT_STRING, false },
			 { "mark", "of its packets", ARGUMENT_NUMBER, false },
			 { "dscp", "of its packets", ARGUMENT_NUMBER, false } },
	  .begin = explain_begin,
	  .run = explain_run },
	{ .name = "metrics",
	  .help = "counters as text for Prometheus",
	  .work = ask_stats,
	  .run = run_metrics },
	{ .name = "log",
	  .help = "change what is logged, until the daemon ends",
	  .arguments = { { "level", "error, warn, info or debug", ARGUMENT_STRING, true } },
	  .mutating = true,
	  .run = run_log },
	{ .name = "version", .help = "of the daemon and of this protocol", .run = run_version },
	{ .name = "help", .help = "this table", .run = run_help },
};
const size_t command_count = ARRAY_SIZE(commands);
_Static_assert(ARRAY_SIZE(commands) <= COMMANDS_MAX, "room for the names");
