#include "dns/channel.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include "dns/cares.h"
#include "dns/file.h"
#include "dns/io.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define EDNS_SIZE   1232 /* crosses any path unfragmented (DNS flag day 2020) */
#define CLASS_IN    1
#define TYPE_A      1
#define TYPE_AAAA   28

struct dns_channel {
	struct dns_channel_options options;
	struct ares_channeldata *ares;
	struct dns_io io;
	struct timer timer;
	struct stat
		conf; /* of type local: the file as of when it was read; zeroed: there was none */
};

static void schedule(struct dns_channel *channel)
{
	struct timer_wheel *timers = &channel->options.loop->timers;
	struct timeval buf, *tv = ares_timeout(channel->ares, NULL, &buf);

	if (tv)
		timer_start(&channel->timer, timers,
			    (uint64_t)tv->tv_sec * 1000 + ((uint64_t)tv->tv_usec + 999) / 1000);
	else
		timer_stop(&channel->timer, timers);
}

static void work(struct dns_channel *channel, int readable, int writable)
{
	dns_io_turn(&channel->io);
	ares_process_fd(channel->ares, readable, writable);
	schedule(channel);
	channel->options.after(channel->options.after_ctx); /* @channel may be gone */
}

static void on_ready(void *ctx, int readable, int writable)
{
	work(ctx, readable, writable);
}

static void on_timer(struct timer *timer)
{
	work(container_of(timer, struct dns_channel, timer), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void init_library(void)
{
	(void)ares_library_init(ARES_LIB_INIT_ALL); /* on Linux it only counts */
}

/* c-ares always reads one, and fails if it may not; it has nothing to say of a configured server. */
static const char *conf_path(const struct dns_channel_options *options)
{
	if (options->type != DNS_SERVER_LOCAL)
		return "/dev/null";
	return options->tuning.resolv_conf ? options->tuning.resolv_conf : RESOLV_CONF;
}

static void look_at_conf(const struct dns_channel_options *options, struct stat *ret)
{
	*ret = (struct stat){ 0 };
	if (options->type == DNS_SERVER_LOCAL)
		dns_file_look(conf_path(options), ret);
}

static int to_errno(int status)
{
	if (status == ARES_SUCCESS)
		return 0;
	return status == ARES_ENOMEM ? -ENOMEM : -EIO;
}

static int init_ares(struct dns_channel *channel, int flags)
{
	const struct dns_channel_options *options = &channel->options;
	struct ares_options ares = { .flags = flags | ARES_FLAG_EDNS,
				     .timeout = options->tuning.timeout_ms,
				     .tries = options->tuning.tries,
				     .ednspsz = EDNS_SIZE,
				     .udp_port = options->tuning.local_port,
				     .tcp_port = options->tuning.local_port,
				     .resolvconf_path = (char *)conf_path(options),
				     .sock_state_cb = dns_io_on_state,
				     .sock_state_cb_data = &channel->io };
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
		   ARES_OPT_SOCK_STATE_CB | ARES_OPT_NOROTATE | ARES_OPT_RESOLVCONF;

	if (options->tuning.local_port)
		mask |= ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT;
#ifdef ARES_OPT_QUERY_CACHE /* 1.31 keeps answers itself unless told; @ares has 0 for it */
	mask |= ARES_OPT_QUERY_CACHE;
#endif
	return to_errno(ares_init_options(&channel->ares, &ares, mask));
}

static bool has_one_server(struct dns_channel *channel)
{
	struct ares_addr_node *servers = NULL;
	bool one = ares_get_servers(channel->ares, &servers) == ARES_SUCCESS && servers &&
		   !servers->next;

	ares_free_data(servers);
	return one;
}

/* A channel's only server has the last word. Of several, c-ares asks the next after SERVFAIL or
 * REFUSED. */
static int init_by_conf(struct dns_channel *channel)
{
	int r = init_ares(channel, 0);

	if (r < 0 || !has_one_server(channel))
		return r;
	ares_destroy(channel->ares);
	return init_ares(channel, ARES_FLAG_NOCHECKRESP);
}

static int init_by_config(struct dns_channel *channel)
{
	const struct addr *addr = &channel->options.addr;
	struct ares_addr_port_node node = { .family = addr->family,
					    .udp_port = addr->port,
					    .tcp_port = addr->port };
	int flags = ARES_FLAG_NOCHECKRESP, r;

	if (channel->options.type == DNS_SERVER_TCP)
		flags |= ARES_FLAG_USEVC;
	r = init_ares(channel, flags);
	if (r < 0)
		return r;
	if (addr->family == AF_INET)
		node.addr.addr4 = addr->v4;
	else
		memcpy(&node.addr.addr6, &addr->v6, sizeof(addr->v6));
	r = to_errno(ares_set_servers_ports(channel->ares, &node));
	if (r < 0)
		ares_destroy(channel->ares);
	return r;
}

int dns_channel_new(struct dns_channel **ret, const struct dns_channel_options *options)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct dns_channel *channel = calloc(1, sizeof(*channel));
	int r;

	if (!channel)
		return -ENOMEM;
	pthread_once(&once, init_library);
	channel->options = *options;
	timer_init(&channel->timer, on_timer);
	dns_io_init(&channel->io, &channel->options, on_ready, channel);
	look_at_conf(options, &channel->conf); /* before it is read: a change in between is seen */
	r = options->type == DNS_SERVER_LOCAL ? init_by_conf(channel) : init_by_config(channel);
	if (r < 0) {
		free(channel);
		return r;
	}
	dns_io_attach(&channel->io, channel->ares);
	*ret = channel;
	return 0;
}

void dns_channel_free(struct dns_channel *channel)
{
	if (!channel)
		return;
	ares_destroy(channel->ares);
	timer_stop(&channel->timer, &channel->options.loop->timers);
	assert(dns_io_idle(&channel->io));
	free(channel);
}

int dns_channel_renew(const struct dns_channel *channel, struct dns_channel **ret)
{
	struct stat now;
	int r;

	look_at_conf(&channel->options, &now);
	if (dns_file_same(&now, &channel->conf))
		return 0;
	r = dns_channel_new(ret, &channel->options);
	return r < 0 ? r : 1;
}

bool dns_channel_idle(const struct dns_channel *channel)
{
	return !timer_running(&channel->timer); /* every question has its timeout */
}

struct call {
	struct dns_channel *channel;
	dns_reply_fn *fn;
	void *arg;
};

/* When no server does better, 1.18 forgets what they said: the last of them just now, while it was read. */
static void on_reply(void *arg, int status, int timeouts, unsigned char *message, int size)
{
	struct call call = *(struct call *)arg;

	free(arg);
	if (status == ARES_ECONNREFUSED && call.channel->io.refusal)
		status = call.channel->io.refusal;
	call.fn(call.arg, status, timeouts, message, size);
}

static struct call *new_call(struct dns_channel *channel, dns_reply_fn *fn, void *arg)
{
	struct call *call = malloc(sizeof(*call));

	if (call)
		*call = (struct call){ .channel = channel, .fn = fn, .arg = arg };
	else
		fn(arg, ARES_ENOMEM, 0, NULL, 0);
	return call;
}

void dns_channel_ask(struct dns_channel *channel, const char *name, enum dns_type type,
		     dns_reply_fn *fn, void *arg)
{
	struct call *call = new_call(channel, fn, arg);

	if (!call)
		return;
	dns_io_turn(&channel->io);
	ares_query(channel->ares, name, CLASS_IN, type == DNS_A ? TYPE_A : TYPE_AAAA, on_reply,
		   call);
	schedule(channel);
}

void dns_channel_send(struct dns_channel *channel, const uint8_t *message, size_t size,
		      dns_reply_fn *fn, void *arg)
{
	struct call *call = new_call(channel, fn, arg);

	if (!call)
		return;
	dns_io_turn(&channel->io);
	ares_send(channel->ares, message, (int)size, on_reply, call);
	schedule(channel);
}
