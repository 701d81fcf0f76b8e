/* Functions that other threads run on a loop: each once, on its thread, in the order of their sender. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "loop/post.h"

#define SENDERS 3
#define EACH    20000

struct message {
	struct post post;
	int sender, number;
};

static struct loop loop;
static struct post_box box;
static int seen[SENDERS], total, expected;
static pthread_t loop_thread;

static void on_message(struct post *post)
{
	struct message *message = container_of(post, struct message, post);

	assert_true(pthread_equal(pthread_self(), loop_thread));
	assert_int_equal(message->number, seen[message->sender]);
	seen[message->sender]++;
	free(message);
	if (++total == expected)
		loop_stop(&loop);
}

static void send_one(int sender, int number)
{
	struct message *message = malloc(sizeof(*message));

	message->sender = sender;
	message->number = number;
	post_send(&box, &message->post, on_message);
}

static void *run_sender(void *arg)
{
	for (int i = 0; i < EACH; i++)
		send_one((int)(intptr_t)arg, i);
	return NULL;
}

static void start(int messages)
{
	loop_thread = pthread_self();
	expected = messages;
	total = 0;
	for (int i = 0; i < SENDERS; i++)
		seen[i] = 0;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(post_box_init(&box, &loop), 0);
}

static void stop(void)
{
	post_box_deinit(&box);
	post_box_deinit(&box);
	loop_deinit(&loop);
}

static void test_from_other_threads(void **state)
{
	pthread_t thread[SENDERS];

	start(SENDERS * EACH);
	for (int i = 0; i < SENDERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, run_sender, (void *)(intptr_t)i),
				 0);
	assert_int_equal(loop_run(&loop), 0);
	for (int i = 0; i < SENDERS; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(seen[i], EACH);
	}
	assert_int_equal(loop_run_once(&loop, 0), 0);
	assert_int_equal(total, SENDERS * EACH);
	stop();
}

static void *run_late_sender(void *arg)
{
	usleep(20000);
	return run_sender(arg);
}

static void test_wakes_a_sleeping_loop(void **state)
{
	pthread_t thread;

	start(EACH);
	assert_int_equal(pthread_create(&thread, NULL, run_late_sender, (void *)0), 0);
	assert_int_equal(loop_run(&loop), 0);
	pthread_join(thread, NULL);
	assert_int_equal(seen[0], EACH);
	stop();
}

static void on_again(struct post *post)
{
	struct message *message = container_of(post, struct message, post);

	if (++message->number < 5)
		post_send(&box, post, on_again);
}

/* A message may be sent again from its own function. */
static void test_again(void **state)
{
	struct message message = { .number = 0 };

	start(0);
	post_send(&box, &message.post, on_again);
	for (int i = 0; i < 10; i++)
		assert_int_equal(loop_run_once(&loop, 0), 0);
	assert_int_equal(message.number, 5);
	stop();
}

static void test_what_waits_is_run_at_the_end(void **state)
{
	start(0);
	for (int i = 0; i < 10; i++)
		send_one(0, i);
	stop();
	assert_int_equal(seen[0], 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_other_threads),
		cmocka_unit_test(test_wakes_a_sleeping_loop),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_what_waits_is_run_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
