/* metrics - counters as text for Prometheus: HELP and TYPE before each family, `# EOF` as the last line.
 *
 * Labels have bounded values: no address and no flow. Counters carry their _total in the TYPE line too, as
 * the text format 0.0.4 wants it: that is what promtool and node_exporter's textfile collector read.
 */
#pragma once
#include "ctl/out.h"
#include "ctl/server.h"

void metrics_put(const struct ctl_context *context, const struct worker_stats *sum,
		 struct out *out);
