/* fake_resolver - stands for the resolver of the main thread: answers at once, or by answer_all(). */
#pragma once
#include "dns/forward.h"
#include "kit.h"

struct resolver {
	struct dns_ask *asks[DNS_TYPE_COUNT]; /* under way */
	bool later;                           /* answers by answer_all() */
	enum dns_status status;
	unsigned cancelled;
};

static struct fixture {
	struct kit kit;
	struct resolver resolver;
	struct dial_env env;
	unsigned delays[2];
} fix;

static struct dns_answer answer_of(const struct resolver *resolver)
{
	struct dns_answer answer = { .status = resolver->status };

	if (!answer.status) {
		answer.count = 1;
		assert_int_equal(addr_parse("198.51.100.7", 0, &answer.addrs[0]), 0);
	}
	return answer;
}

int resolver_new(struct resolver **ret, struct loop *loop, const struct config_dns *config,
		 dns_socket_fn *open, void *ctx)
{
	return -ENOTSUP;
}

void resolver_free(struct resolver *resolver) {}

/* No flow runs here: nobody comes to these. */
void resolver_set_reverse(struct resolver *resolver, struct dns_reverse *reverse) {}

bool resolver_name_of(struct resolver *resolver, const struct addr *addr, char *ret_name)
{
	return false;
}

int resolver_forward(struct resolver *resolver, struct dns_forward *forward, size_t server,
		     struct dns_raw *ret_now)
{
	return -ENOTSUP;
}

int resolver_ask(struct resolver *resolver, struct dns_ask *ask, size_t server, const char *name,
		 enum dns_type type, struct dns_answer *ret_now)
{
	assert_ptr_equal(resolver, &fix.resolver);
	assert_int_equal(server, 1);
	assert_string_equal(name, "name.test");
	assert_int_equal(type, DNS_A);
	if (resolver->later) {
		resolver->asks[type] = ask;
		return 0;
	}
	*ret_now = answer_of(resolver);
	return 1;
}

void resolver_cancel(struct dns_ask *ask)
{
	for (int type = 0; type < DNS_TYPE_COUNT; type++)
		if (fix.resolver.asks[type] == ask)
			fix.resolver.asks[type] = NULL;
	fix.resolver.cancelled++;
}

static void answer_all(void)
{
	const struct dns_answer answer = answer_of(&fix.resolver);
	struct dns_ask *ask = fix.resolver.asks[DNS_A];

	assert_non_null(ask);
	fix.resolver.asks[DNS_A] = NULL;
	ask->done(ask, &answer);
}
