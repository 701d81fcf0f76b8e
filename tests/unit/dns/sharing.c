/* Who gets an answer that several want, what the cache spares the server, what callbacks may do. */
#include <pthread.h>
#include <sys/stat.h>
#include "kit.h"

static void test_cache(void **state)
{
	struct kit *kit = *state;
	struct asked asked = { 0 };

	assert_int_equal(status_of(kit, BY_UDP, "ok.test"), DNS_OK);
	assert_int_equal(ask(kit, &asked, BY_UDP, "OK.Test.", DNS_A), 1);
	assert_int_equal(asked.answer.status, DNS_OK);
	assert_true(asked.answer.cached);
	assert_is_host(&asked.answer.addrs[0], 1);
	assert_int_equal(kit->server.seen, 1);
	assert_int_equal(ask(kit, &asked, BY_TCP, "ok.test", DNS_A), 0); /* another server's */
	wait_for(kit, &asked, 1);
	assert_int_equal(kit->server.seen, 2);
	assert_int_equal(stats_of(kit).cache_hits, 1);
	assert_int_equal(stats_of(kit).questions, 2);
	assert_int_equal(stats_of(kit).cached, 2);
}

static void test_negative_answers_expire(void **state)
{
	struct kit *kit = *state;
	struct asked asked = { 0 };

	kit->server.soa_ttl_s = 1;
	assert_int_equal(status_of(kit, BY_UDP, "nx.test"), DNS_NO_NAME);
	assert_int_equal(status_of(kit, BY_UDP, "nosoa.test"), DNS_NO_NAME);
	assert_int_equal(ask(kit, &asked, BY_UDP, "nx.test", DNS_A), 1);
	assert_int_equal(asked.answer.status, DNS_NO_NAME);
	assert_true(asked.answer.cached);
	assert_int_equal(ask(kit, &asked, BY_UDP, "nosoa.test", DNS_A), 0);
	wait_for(kit, &asked, 1);
	turn(kit, 1100);
	assert_int_equal(kit->server.seen, 3);
	assert_int_equal(ask(kit, &asked, BY_UDP, "nx.test", DNS_A), 0);
	wait_for(kit, &asked, 2);
	assert_int_equal(kit->server.seen, 4);
}

static void test_failures_hold_a_second(void **state)
{
	static const char *const names[] = { "servfail.test", "silent.test", "strange.test" };
	struct kit *kit = *state;
	struct asked asked[3] = { 0 };
	unsigned seen;

	for (int i = 0; i < 3; i++)
		assert_true(status_of(kit, BY_TCP, names[i]) != DNS_OK);
	seen = kit->server.seen;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(kit, &asked[i], BY_TCP, names[i], DNS_A), 1);
		assert_true(asked[i].answer.cached);
	}
	assert_int_equal(kit->server.seen, seen);
	turn(kit, 1100);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask(kit, &asked[i], BY_TCP, names[i], DNS_A), 0);
	for (int i = 0; i < 3; i++)
		wait_for(kit, &asked[i], 1);
	assert_true(kit->server.seen >= seen + 3);
}

static void test_cache_is_bounded(void **state)
{
	struct kit *kit = *state;
	char name[32];

	kit->config.cache_capacity = 5;
	kit_again(kit);
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "ok%d.test", i);
		assert_int_equal(status_of(kit, BY_UDP, name), DNS_OK);
		assert_int_equal(status_of(kit, BY_UDP, "ok0.test"), DNS_OK);
		assert_true(stats_of(kit).cached <= 5);
	}
	assert_int_equal(kit->server.seen, 12); /* ok0 was always in use */
	assert_int_equal(status_of(kit, BY_UDP, "ok1.test"), DNS_OK);
	assert_int_equal(kit->server.seen, 13);
}

static void test_no_cache(void **state)
{
	struct kit *kit = *state;

	kit->config.cache_capacity = 0;
	kit_again(kit);
	for (int i = 0; i < 3; i++)
		assert_int_equal(status_of(kit, BY_UDP, "ok.test"), DNS_OK);
	assert_int_equal(kit->server.seen, 3);
	assert_int_equal(stats_of(kit).cached, 0);
}

static void test_one_question_for_many(void **state)
{
	struct kit *kit = *state;
	struct asked asked[50] = { 0 }, other = { 0 };

	for (int i = 0; i < 50; i++)
		assert_int_equal(ask(kit, &asked[i], BY_UDP, i % 2 ? "OK.test" : "ok.TEST.", DNS_A),
				 0);
	assert_int_equal(ask(kit, &other, BY_UDP, "ok.test", DNS_AAAA), 0);
	wait_for(kit, &other, 1);
	for (int i = 0; i < 50; i++) {
		wait_for(kit, &asked[i], 1);
		assert_int_equal(asked[i].calls, 1);
		assert_int_equal(asked[i].answer.count, 1);
		assert_int_equal(asked[i].answer.addrs[0].family, AF_INET);
	}
	assert_int_equal(kit->server.seen, 2);
	assert_int_equal(stats_of(kit).coalesced, 49);
	assert_int_equal(stats_of(kit).questions, 2);
}

static void test_cancel(void **state)
{
	struct kit *kit = *state;
	struct asked a = { 0 }, b = { 0 }, never = { 0 };

	resolver_cancel(&never.ask);
	assert_int_equal(ask(kit, &a, BY_UDP, "ok.test", DNS_A), 0);
	assert_int_equal(ask(kit, &b, BY_UDP, "ok.test", DNS_A), 0);
	resolver_cancel(&a.ask);
	resolver_cancel(&a.ask);
	wait_for(kit, &b, 1);
	resolver_cancel(&b.ask);
	assert_int_equal(a.calls, 0);
	assert_int_equal(ask(kit, &a, BY_UDP, "ok2.test", DNS_A), 0);
	resolver_cancel(&a.ask);
	turn(kit, 100);
	assert_int_equal(a.calls, 0);
	assert_int_equal(kit->server.seen, 2);
	assert_int_equal(ask(kit, &a, BY_UDP, "ok2.test", DNS_A), 1); /* went on for the cache */
	resolver_cancel(&a.ask);
}

static void cancel_other(struct asked *asked)
{
	resolver_cancel(&asked->other->ask);
}

static void test_cancel_in_a_callback(void **state)
{
	struct kit *kit = *state;
	struct asked a = { .then = cancel_other }, b = { 0 }, c = { 0 };

	a.other = &b;
	assert_int_equal(ask(kit, &a, BY_UDP, "ok.test", DNS_A), 0);
	assert_int_equal(ask(kit, &b, BY_UDP, "ok.test", DNS_A), 0);
	assert_int_equal(ask(kit, &c, BY_UDP, "ok.test", DNS_A), 0);
	wait_for(kit, &c, 1);
	turn(kit, 20);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 0);
	assert_int_equal(c.calls, 1);
}

static void ask_again(struct asked *asked)
{
	if (asked->calls < 3)
		assert_int_equal(ask(asked->kit, asked, BY_UDP, "ok.test", DNS_A), 0);
}

/* Without a cache it is a new question each time. */
static void test_ask_the_same_in_a_callback(void **state)
{
	struct kit *kit = *state;
	struct asked a = { .then = ask_again }, b = { .then = ask_again };

	kit->config.cache_capacity = 0;
	kit_again(kit);
	assert_int_equal(ask(kit, &a, BY_UDP, "ok.test", DNS_A), 0);
	assert_int_equal(ask(kit, &b, BY_UDP, "ok.test", DNS_A), 0);
	wait_for(kit, &a, 3);
	wait_for(kit, &b, 3);
	turn(kit, 50);
	assert_int_equal(a.calls, 3);
	assert_int_equal(b.calls, 3);
	assert_int_equal(kit->server.seen, 3);
	assert_int_equal(stats_of(kit).coalesced, 3);
}

static void ask_from_cache(struct asked *asked)
{
	assert_int_equal(ask(asked->kit, asked, BY_UDP, "ok.test", DNS_A), 1);
}

static void test_ask_the_cached_in_a_callback(void **state)
{
	struct kit *kit = *state;
	struct asked a = { .then = ask_from_cache }, b = { 0 };

	assert_int_equal(ask(kit, &a, BY_UDP, "ok.test", DNS_A), 0);
	assert_int_equal(ask(kit, &b, BY_UDP, "ok.test", DNS_A), 0);
	wait_for(kit, &b, 1);
	assert_int_equal(a.calls, 1);
	assert_int_equal(kit->server.seen, 1);
}

static void ask_anew_and_cancel(struct asked *asked)
{
	struct asked *other = asked->other;

	resolver_cancel(&other->ask);
	(void)ask(asked->kit, other, BY_TCP, "ok9.test", DNS_AAAA);
	asked->then = NULL;
	(void)ask(asked->kit, asked, BY_UDP, "servfail.test", DNS_A);
}

static void test_ask_others_in_a_callback(void **state)
{
	struct kit *kit = *state;
	struct asked a = { .then = ask_anew_and_cancel }, b = { 0 };

	a.other = &b;
	assert_int_equal(ask(kit, &a, BY_UDP, "ok.test", DNS_A), 0);
	assert_int_equal(ask(kit, &b, BY_UDP, "ok.test", DNS_A), 0);
	wait_for(kit, &a, 2);
	wait_for(kit, &b, 1);
	assert_int_equal(a.answer.status, DNS_SERVFAIL);
	assert_int_equal(b.answer.addrs[0].family, AF_INET6);
}

static void test_free_while_asking(void **state)
{
	struct kit *kit = *state;
	struct asked udp = { 0 }, tcp = { 0 };

	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(kit, &udp, BY_UDP, "silent.test", DNS_A), 0);
		assert_int_equal(ask(kit, &tcp, BY_TCP, "silent.test", DNS_A), 0);
		resolver_cancel(&udp.ask);
		resolver_cancel(&tcp.ask);
		turn(kit, i * 20); /* before the connection is made, and after */
		kit_again(kit);
	}
	turn(kit, 50);
	resolver_free(NULL);
	assert_int_equal(udp.calls + tcp.calls, 0);
}

static unsigned count_sockets(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		struct stat st;

		count += !fstatat(dirfd(dir), entry->d_name, &st, 0) && S_ISSOCK(st.st_mode);
	}
	closedir(dir);
	return count;
}

static void test_sockets_are_ours(void **state)
{
	struct kit *kit = *state;
	struct asked asked[2] = { 0 };
	unsigned before = count_sockets();

	assert_int_equal(ask(kit, &asked[0], BY_UDP, "silent.test", DNS_A), 0);
	assert_int_equal(ask(kit, &asked[1], BY_TCP, "silent.test", DNS_A), 0);
	assert_int_equal(count_sockets(), before + 2);
	assert_int_equal(kit->opened[0], 1);
	assert_int_equal(kit->opened[1], 1);
	for (int i = 0; i < 2; i++)
		wait_for(kit, &asked[i], 1);
	turn(kit, 20);
	assert_int_equal(count_sockets(), before); /* none stays open */
}

/* A question that is waited for costs no turns of the loop. */
static void test_waiting_is_idle(void **state)
{
	static const char *const names[] = { "silent.test", "nx.test" };
	struct kit *kit = *state;
	unsigned turns = 0;

	for (int i = 0; i < 4; i++) {
		struct asked asked = { 0 };

		assert_int_equal(ask(kit, &asked, (size_t)i % 2, names[i / 2], DNS_A), 0);
		while (!asked.calls) {
			assert_int_equal(loop_run_once(&kit->loop, 1000), 0);
			turns++;
		}
	}
	assert_true(turns < 200);
}

static void write_conf(const char *path, const char *server)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, "nameserver %s\n", server);
	assert_int_equal(fclose(file), 0);
}

/* Servers of resolv.conf, and those that it names after a change, also with a question under way. */
static void test_local(void **state)
{
	struct kit *kit = *state;
	struct asked asked = { 0 };
	char path[] = "/tmp/seam-dns-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	kit->tuning.resolv_conf = path;
	kit->tuning.local_port = kit->server.port;
	write_conf(path, "127.0.0.1");
	kit_again(kit);
	assert_int_equal(status_of(kit, BY_LOCAL, "ok.test"), DNS_OK);
	assert_int_equal(kit->opened_for, BY_LOCAL);
	assert_int_equal(status_of(kit, BY_LOCAL, "nx.test"), DNS_NO_NAME);
	assert_int_equal(status_of(kit, BY_LOCAL, "servfail.test"), DNS_SERVFAIL);
	assert_int_equal(status_of(kit, BY_LOCAL, "refused.test"), DNS_REFUSED);
	assert_int_equal(ask(kit, &asked, BY_LOCAL, "silent.test", DNS_A), 0);
	write_conf(path, "127.0.0.53");
	assert_int_equal(status_of(kit, BY_LOCAL, "ok1.test"), DNS_NO_SOCKET);
	write_conf(path, "127.0.0.1"); /* not read while the one before the last is in use */
	assert_int_equal(status_of(kit, BY_LOCAL, "ok3.test"), DNS_NO_SOCKET);
	assert_int_equal(asked.calls, 0);
	wait_for(kit, &asked, 1);
	assert_int_equal(asked.answer.status, DNS_TIMEOUT);
	turn(kit, 20);
	assert_int_equal(status_of(kit, BY_LOCAL, "ok2.test"), DNS_OK);
	unlink(path);
	turn(kit, 20);
	assert_int_equal(status_of(kit, BY_LOCAL, "ok2.test"), DNS_OK); /* cached */
	assert_int_equal(kit->opened[1], 0);
}

static void test_next_local_server(void **state)
{
	struct kit *kit = *state;
	char path[] = "/tmp/seam-dns-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	kit->tuning.resolv_conf = path;
	kit->tuning.local_port = kit->server.port;
	write_conf(path, "127.0.0.53\nnameserver 127.0.0.1");
	kit_again(kit);
	assert_int_equal(status_of(kit, BY_LOCAL, "ok.test"), DNS_OK);
	assert_true(status_of(kit, BY_LOCAL, "servfail.test") != DNS_OK);
	unlink(path);
}

/* None of several does better: what they say is told. */
static void test_local_servers_refuse(void **state)
{
	struct kit *kit = *state;
	char path[] = "/tmp/seam-dns-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	kit->tuning.resolv_conf = path;
	kit->tuning.local_port = kit->server.port;
	write_conf(path, "127.0.0.1\nnameserver 127.0.0.1");
	kit_again(kit);
	assert_int_equal(status_of(kit, BY_LOCAL, "servfail.test"), DNS_SERVFAIL);
	assert_int_equal(status_of(kit, BY_LOCAL, "refused.test"), DNS_REFUSED);
	assert_int_equal(status_of(kit, BY_LOCAL, "ok.test"), DNS_OK);
	assert_int_equal(status_of(kit, BY_LOCAL, "nx.test"), DNS_NO_NAME);
	kit->open_error = -ENETUNREACH;
	turn(kit, 20);
	assert_int_equal(status_of(kit, BY_LOCAL, "ok1.test"), DNS_NO_SOCKET);
	kit->open_error = 0;
	unlink(path);
}

static void *make_resolvers(void *arg)
{
	struct config_dns_server server = { .type = DNS_SERVER_LOCAL };
	struct config_dns config = { .servers = &server, .server_count = 1, .cache_capacity = 10 };
	struct loop loop;

	assert_int_equal(loop_init(&loop), 0);
	for (int i = 0; i < 20; i++) {
		struct resolver *resolver;

		assert_int_equal(resolver_new(&resolver, &loop, &config, on_open, NULL), 0);
		resolver_free(resolver);
	}
	loop_deinit(&loop);
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_resolvers, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_cache),
		TEST(test_negative_answers_expire),
		TEST(test_failures_hold_a_second),
		TEST(test_cache_is_bounded),
		TEST(test_no_cache),
		TEST(test_one_question_for_many),
		TEST(test_cancel),
		TEST(test_cancel_in_a_callback),
		TEST(test_ask_the_same_in_a_callback),
		TEST(test_ask_the_cached_in_a_callback),
		TEST(test_ask_others_in_a_callback),
		TEST(test_free_while_asking),
		TEST(test_sockets_are_ours),
		TEST(test_waiting_is_idle),
		TEST(test_local),
		TEST(test_next_local_server),
		TEST(test_local_servers_refuse),
		TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
