#include "daemon/limits.h"
#include <sys/resource.h>
#include "base/log.h"

#define RESERVED_FILES 64ULL  /* maps, listeners, control clients */
#define FLOWS_MOST     65536U /* unless the configuration asks for more */

uint32_t limits_flows(uint32_t wanted)
{
	struct rlimit limit;
	uint64_t files, fit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return wanted ? wanted : FLOWS_MOST;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	files = limit.rlim_cur > 2 * RESERVED_FILES ? limit.rlim_cur - RESERVED_FILES
						    : limit.rlim_cur / 2;
	fit = files * 2 / 5; /* two sockets a flow, and a fifth for pipes and for dials */
	if (!wanted)
		return fit < FLOWS_MOST ? (uint32_t)fit : FLOWS_MOST;
	if (wanted > fit) {
		log_warn("daemon",
			 "limits.max_flows %u does not fit into %llu open files: %llu it is; raise "
			 "LimitNOFILE",
			 wanted, (unsigned long long)limit.rlim_cur, (unsigned long long)fit);
		return (uint32_t)fit;
	}
	return wanted;
}
