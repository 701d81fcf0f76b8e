#include "daemon/limits.h"
#include <sys/resource.h>
#include "base/log.h"

#define RESERVED_FILES 64ULL  /* maps, listeners, control clients */
#define FLOWS_MOST     65536U /* unless the configuration asks for more */
#define SESSIONS_MOST  65536U
#define REPLIES_MOST \
	4096U /* addresses that answer UDP clients at a time without a socket made anew */

static uint32_t least(uint64_t a, uint64_t b)
{
	return (uint32_t)(a < b ? a : b);
}

static uint64_t open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 1024; /* what there is at least */
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur > 2 * RESERVED_FILES ? limit.rlim_cur - RESERVED_FILES
						   : limit.rlim_cur / 2;
}

static uint32_t fit(const char *name, uint32_t wanted, uint32_t most, uint64_t room)
{
	if (!wanted)
		return least(room, most);
	if (wanted > room)
		log_warn("daemon",
			 "limits.%s %u does not fit into the limit on open files: %llu it is; "
			 "raise LimitNOFILE",
			 name, wanted, (unsigned long long)room);
	return least(wanted, room);
}

void limits_fit(struct config_limits *limits, bool udp)
{
	uint64_t files = open_files(), left = files;

	limits->udp_replies = udp ? least(files / 16, REPLIES_MOST) : 0;
	left -= limits->udp_replies;
	if (udp) /* a socket each, and unless more is asked for, as many as there are flows */
		limits->max_udp_sessions = fit(
			"max_udp_sessions", limits->max_udp_sessions, SESSIONS_MOST,
			limits->max_udp_sessions ? left * 3 / 4 : left * 2 / 7);
	else
		limits->max_udp_sessions = 0;
	left -= limits->max_udp_sessions;
	/* two sockets a flow, and a fifth for pipes and for dials */
	limits->max_flows = fit("max_flows", limits->max_flows, FLOWS_MOST, left * 2 / 5);
}
