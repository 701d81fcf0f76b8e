#include "ctl/metrics.h"
#include "base/clock.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static void family(struct out *out, const char *name, const char *type, const char *help)
{
	out_print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void sample(struct out *out, const char *type, const char *name, const char *help,
		   uint64_t value)
{
	family(out, name, type, help);
	out_print(out, "%s %" PRIu64 "\n", name, value);
}

#define gauge(out, name, help, value)   sample(out, "gauge", name, help, value)
#define counter(out, name, help, value) sample(out, "counter", name, help, value)

/* @names and @values from @first on. */
static void counters_by_reason(struct out *out, const char *name, const char *const *names,
			       const uint64_t *values, int first, int count)
{
	for (int i = first; i < count; i++)
		out_print(out, "%s{reason=\"%s\"} %" PRIu64 "\n", name, names[i], values[i]);
}

static void put_daemon(const struct ctl_context *context, struct out *out)
{
	uint64_t ms = clock_ms() - context->started_ms;

	family(out, "seam_build_info", "gauge", "Always 1; the version is in the label.");
	out_print(out, "seam_build_info{version=\"%s\"} 1\n", SEAM_VERSION);
	family(out, "seam_uptime_seconds", "gauge", "Time since the daemon was started.");
	out_print(out, "seam_uptime_seconds %" PRIu64 ".%03" PRIu64 "\n", ms / 1000, ms % 1000);
}

static void put_flows(const struct worker_stats *sum, struct out *out)
{
	gauge(out, "seam_flows_active", "Flows that live.", sum->active);
	counter(out, "seam_flows_accepted_total", "Connections that were accepted.", sum->accepted);
	family(out, "seam_flows_closed_total", "counter", "Flows that ended, by the reason.");
	counters_by_reason(out, "seam_flows_closed_total", flow_end_names, sum->ended, END_NONE + 1,
			   END_COUNT);
	counter(out, "seam_dial_failures_total", "Connections to a server that could not be made.",
		sum->dial_failures);
	counter(out, "seam_accept_pauses_total",
		"How often accepting paused for want of room or descriptors.", sum->accept_pauses);
}

static void put_bytes(const struct worker_stats *sum, struct out *out)
{
	static const char *const directions[SIDES] = { [CLIENT] = "up", [UPSTREAM] = "down" };

	family(out, "seam_bytes_total", "counter", "Bytes relayed, by who moved them.");
	for (int side = 0; side < SIDES; side++) {
		uint64_t kernel = sum->kernel_bytes[side];
		/* A flow's two counters are not read in one instant */
		uint64_t user = sum->bytes[side] > kernel ? sum->bytes[side] - kernel : 0;

		out_print(out, "seam_bytes_total{direction=\"%s\",path=\"kernel\"} %" PRIu64 "\n",
			  directions[side], kernel);
		out_print(out, "seam_bytes_total{direction=\"%s\",path=\"user\"} %" PRIu64 "\n",
			  directions[side], user);
	}
}

static void put_udp(const struct udp_stats *sum, struct out *out)
{
	static const char *const directions[SIDES] = { [CLIENT] = "up", [UPSTREAM] = "down" };

	gauge(out, "seam_udp_sessions", "UDP sessions that live.", sum->active);
	counter(out, "seam_udp_sessions_total", "UDP sessions that were begun.", sum->sessions);
	family(out, "seam_udp_sessions_closed_total", "counter",
	       "UDP sessions that ended, by the reason.");
	counters_by_reason(out, "seam_udp_sessions_closed_total", flow_end_names, sum->ended,
			   END_NONE + 1, END_COUNT);
	family(out, "seam_udp_datagrams_total", "counter", "Datagrams that were received.");
	for (int side = 0; side < SIDES; side++)
		out_print(out, "seam_udp_datagrams_total{direction=\"%s\"} %" PRIu64 "\n",
			  directions[side], sum->datagrams[side]);
	family(out, "seam_udp_bytes_total", "counter", "What was in them.");
	for (int side = 0; side < SIDES; side++)
		out_print(out, "seam_udp_bytes_total{direction=\"%s\"} %" PRIu64 "\n",
			  directions[side], sum->bytes[side]);
	family(out, "seam_udp_dropped_total", "counter",
	       "Datagrams that were lost, by the reason.");
	counters_by_reason(out, "seam_udp_dropped_total", udp_drop_names, sum->dropped, 0,
			   UDP_DROP_COUNT);
	counter(out, "seam_udp_unreachables_total", "ICMP port unreachables sent to clients.",
		sum->unreachables);
	gauge(out, "seam_udp_reply_sockets", "Sockets that clients are answered by.",
	      sum->replies.open);
	counter(out, "seam_udp_reply_sockets_opened_total", "Reply sockets that were opened.",
		sum->replies.opened);
	counter(out, "seam_udp_reply_sockets_evicted_total",
		"Reply sockets that were closed because there were too many.",
		sum->replies.evicted);
	counter(out, "seam_udp_reply_sockets_failed_total", "Reply sockets that were refused.",
		sum->replies.failed);
}

static void put_sockmap(const struct ctl_context *context, const struct worker_stats *sum,
			struct out *out)
{
	gauge(out, "seam_sockmap_available", "1 if flows may be carried by the kernel.",
	      context->sockmap);
	counter(out, "seam_sockmap_entered_total", "Flows that the kernel took over.",
		sum->entered);
	counter(out, "seam_sockmap_spills_total",
		"Directions that came back because the peer was slow.", sum->spilled);
	counter(out, "seam_sockmap_broken_total", "Directions whose flow had to be reset.",
		sum->broken);
	family(out, "seam_sockmap_refused_total", "counter",
	       "Flows that stayed outside, by the reason.");
	counters_by_reason(out, "seam_sockmap_refused_total", relay_refusal_names, sum->refused,
			   REFUSED_NOT + 1, REFUSED_COUNT);
}

static void put_packet(const struct ctl_context *context, const struct worker_stats *sum,
		       struct out *out)
{
	struct packet *packet = context->packet;

	gauge(out, "seam_packet_available", "1 if flows are taken over by tc.",
	      server_packet_takes(context));
	gauge(out, "seam_packet_pairs", "Pairs of connections known to the translation.",
	      packet ? packet_pairs_used(packet) : 0);
	gauge(out, "seam_packet_adopted", "Flows that an earlier daemon began.", sum->adopted);
	counter(out, "seam_packet_taken_total", "Flows whose packets are translated since.",
		sum->taken);
	counter(out, "seam_packet_missed_total", "Attempts that changed nothing.", sum->missed);
	family(out, "seam_packet_missed_reasons_total", "counter",
	       "Their reasons; one attempt may have several.");
	counters_by_reason(out, "seam_packet_missed_reasons_total", relay_missed_names,
			   sum->missed_why, 0, RELAY_MISSED_COUNT);
	family(out, "seam_packet_refused_total", "counter",
	       "Flows that are not taken, by the reason.");
	counters_by_reason(out, "seam_packet_refused_total", relay_untaken_names, sum->untaken,
			   UNTAKEN_NOT + 1, UNTAKEN_COUNT);
}

static uint64_t open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count > 3 ? count - 3 : 0; /* ".", ".." and this one */
}

static uint64_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	uint64_t total, pages = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%" SCNu64 " %" SCNu64, &total, &pages) != 2)
		pages = 0;
	(void)fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void metrics_put(const struct ctl_context *context, const struct worker_stats *sum, struct out *out)
{
	put_daemon(context, out);
	put_flows(sum, out);
	put_bytes(sum, out);
	put_sockmap(context, sum, out);
	put_udp(&sum->udp, out);
	put_packet(context, sum, out);
	gauge(out, "seam_relay_memory_bytes", "What relays hold.", sum->memory_used);
	gauge(out, "seam_relay_memory_limit_bytes", "What they may hold.", sum->memory_limit);
	gauge(out, "seam_open_files", "Open file descriptors.", open_files());
	gauge(out, "seam_resident_memory_bytes", "Resident memory of the daemon.",
	      resident_bytes());
	out_print(out, "# EOF\n");
}
