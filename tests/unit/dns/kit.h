/* kit - a resolver with a server to ask, and the answers that came. */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/clock.h"
#include "dns/tuned.h"
#include "server.h"

#define PATIENCE_MS 5000

enum { BY_UDP, BY_TCP, BY_LOCAL, WAYS };

/* An ask with what it got. */
struct asked {
	struct dns_ask ask;
	struct dns_answer answer;
	int calls;
	void (*then)(struct asked *asked); /* in the callback */
	struct asked *other;
	struct kit *kit;
};

struct kit {
	struct loop loop;
	struct server server;
	struct config_dns_server servers[WAYS];
	struct config_dns config;
	struct dns_tuning tuning;
	struct resolver *resolver;
	unsigned opened[2]; /* UDP, TCP */
	size_t opened_for;
	sa_family_t family; /* of the last */
	int open_error;
	unsigned fds;
	bool asking; /* within resolver_ask() */
};

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static int on_open(void *ctx, size_t server, sa_family_t family, int type)
{
	struct kit *kit = ctx;
	int fd;

	assert_true(type == SOCK_DGRAM || type == SOCK_STREAM);
	kit->opened_for = server;
	kit->family = family;
	if (kit->open_error)
		return kit->open_error;
	fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	kit->opened[type == SOCK_STREAM]++;
	return fd;
}

static void kit_resolver(struct kit *kit)
{
	assert_int_equal(resolver_new_tuned(&kit->resolver, &kit->loop, &kit->config, on_open, kit,
					    &kit->tuning),
			 0);
}

static int kit_setup(void **state)
{
	struct kit *kit = calloc(1, sizeof(*kit));

	assert_non_null(kit);
	kit->fds = count_fds();
	assert_int_equal(loop_init(&kit->loop), 0);
	server_start(&kit->server, &kit->loop);
	kit->config = (struct config_dns){ .servers = kit->servers,
					   .server_count = WAYS,
					   .cache_capacity = 100 };
	for (int i = 0; i < WAYS; i++)
		kit->servers[i] = (struct config_dns_server){
			.type = i == BY_UDP   ? DNS_SERVER_UDP
				: i == BY_TCP ? DNS_SERVER_TCP
					      : DNS_SERVER_LOCAL,
			.server = { .family = AF_INET,
				    .port = kit->server.port,
				    .v4.s_addr = htonl(INADDR_LOOPBACK) },
		};
	kit->tuning = (struct dns_tuning){
		.tries = 2, .timeout_ms = 200, .resolv_conf = "/dev/null", .hosts = "/dev/null"
	};
	kit_resolver(kit);
	*state = kit;
	return 0;
}

static int kit_teardown(void **state)
{
	struct kit *kit = *state;

	resolver_free(kit->resolver);
	server_stop(&kit->server);
	loop_deinit(&kit->loop);
	assert_int_equal(count_fds(), kit->fds);
	free(kit);
	return 0;
}

static inline void kit_again(struct kit *kit)
{
	resolver_free(kit->resolver);
	kit_resolver(kit);
}

static void turn(struct kit *kit, int ms)
{
	uint64_t until = clock_ms() + (uint64_t)ms;

	do
		assert_int_equal(loop_run_once(&kit->loop, 5), 0);
	while (clock_ms() < until);
}

static void on_done(struct dns_ask *ask, const struct dns_answer *answer)
{
	struct asked *asked = container_of(ask, struct asked, ask);

	assert_false(asked->kit->asking);
	asked->calls++;
	asked->answer = *answer;
	if (asked->then)
		asked->then(asked);
}

static int ask(struct kit *kit, struct asked *asked, size_t server, const char *name,
	       enum dns_type type)
{
	bool before = kit->asking;
	int r;

	asked->kit = kit;
	asked->ask.done = on_done;
	kit->asking = true;
	r = resolver_ask(kit->resolver, &asked->ask, server, name, type, &asked->answer);
	kit->asking = before;
	return r;
}

static void wait_for(struct kit *kit, const struct asked *asked, int calls)
{
	uint64_t until = clock_ms() + PATIENCE_MS;

	while (asked->calls < calls) {
		assert_true(clock_ms() < until);
		assert_int_equal(loop_run_once(&kit->loop, 100), 0);
	}
}

/* The answer, whenever it comes. */
static struct dns_answer answer_to(struct kit *kit, size_t server, const char *name,
				   enum dns_type type)
{
	struct asked asked = { .calls = 0 };

	if (!ask(kit, &asked, server, name, type))
		wait_for(kit, &asked, 1);
	return asked.answer;
}

static inline enum dns_status status_of(struct kit *kit, size_t server, const char *name)
{
	return answer_to(kit, server, name, DNS_A).status;
}

static inline struct resolver_stats stats_of(const struct kit *kit)
{
	struct resolver_stats stats;

	resolver_stats(kit->resolver, &stats);
	return stats;
}

static inline void assert_is_host(const struct addr *addr, uint8_t last)
{
	assert_int_equal(addr->port, 0);
	if (addr->family == AF_INET) {
		assert_int_equal(ntohl(addr->v4.s_addr), 0xc0000200U | last);
		return;
	}
	assert_int_equal(addr->family, AF_INET6);
	assert_int_equal(addr->v6.s6_addr[0], 0x20);
	assert_int_equal(addr->v6.s6_addr[15], last);
}
