/* Who is found, who has to leave, and that 100 000 random operations do what a naive model does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "flow/udp_table.h"

#define CORPUS TEST_DATA "/../../fuzz/corpus/udp_table"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct addr none;

static struct addr at(const char *text, uint16_t port)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, port, &addr), 0);
	return addr;
}

static int add(struct udp_table *table, struct udp_entry *entry, const char *source, uint16_t port)
{
	*entry = (struct udp_entry){ .source = at(source, port) };
	return udp_table_add(table, entry);
}

static const struct udp_entry *victim(const struct udp_table *table, const char *source)
{
	struct addr addr = at(source, 9);

	return udp_table_victim(table, &addr);
}

static const struct udp_entry *find(const struct udp_table *table, const char *source,
				    uint16_t port, const char *destination)
{
	struct addr from = at(source, port), to = at(destination, 53);

	return udp_table_find(table, &from, &to);
}

static void remove_all(struct udp_table *table, struct udp_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		udp_table_remove(table, &entries[i]);
	assert_int_equal(table->count, 0);
	assert_int_equal(table->host_count, 0);
	udp_table_deinit(table);
	udp_table_deinit(table);
}

static void test_find(void **state)
{
	struct addr to = at("192.0.2.1", 53), elsewhere = at("192.0.2.2", 53);
	struct udp_entry e[3];
	struct udp_table table;

	assert_int_equal(udp_table_init(&table, 10, 0), 0);
	assert_null(find(&table, "10.0.0.1", 1, "192.0.2.1"));
	assert_int_equal(add(&table, &e[0], "10.0.0.1", 1), 0);
	assert_int_equal(add(&table, &e[1], "10.0.0.1", 2), 0);
	assert_ptr_equal(find(&table, "10.0.0.1", 1, "192.0.2.1"), &e[0]);
	assert_ptr_equal(find(&table, "10.0.0.1", 1, "192.0.2.2"), &e[0]);
	assert_ptr_equal(find(&table, "10.0.0.1", 2, "192.0.2.1"), &e[1]);
	assert_null(find(&table, "10.0.0.2", 1, "192.0.2.1"));
	assert_null(find(&table, "10.0.0.1", 3, "192.0.2.1"));
	udp_table_bind(&table, &e[0], &to);
	assert_ptr_equal(find(&table, "10.0.0.1", 1, "192.0.2.1"), &e[0]);
	assert_null(find(&table, "10.0.0.1", 1, "192.0.2.2"));
	assert_null(udp_table_find(&table, &e[0].source, &none));
	assert_int_equal(add(&table, &e[2], "10.0.0.1", 1), 0); /* for all the rest */
	assert_ptr_equal(find(&table, "10.0.0.1", 1, "192.0.2.1"), &e[0]);
	assert_ptr_equal(find(&table, "10.0.0.1", 1, "192.0.2.2"), &e[2]);
	assert_ptr_equal(udp_table_find(&table, &e[0].source, &none), &e[2]);
	udp_table_bind(&table, &e[0], &elsewhere);
	assert_ptr_equal(find(&table, "10.0.0.1", 1, "192.0.2.1"), &e[2]);
	assert_ptr_equal(find(&table, "10.0.0.1", 1, "192.0.2.2"), &e[0]);
	udp_table_remove(&table, &e[0]);
	udp_table_remove(&table, &e[0]);
	assert_ptr_equal(find(&table, "10.0.0.1", 1, "192.0.2.2"), &e[2]);
	remove_all(&table, e, 3);
}

static void test_full(void **state)
{
	struct udp_entry e[3], more;
	struct udp_table table;

	assert_int_equal(udp_table_init(&table, 3, 0), 0);
	for (uint16_t i = 0; i < 3; i++) {
		assert_null(victim(&table, "10.0.0.1"));
		assert_int_equal(add(&table, &e[i], i ? "10.0.0.1" : "fd00::1", i), 0);
	}
	assert_ptr_equal(victim(&table, "10.0.0.1"), &e[0]);
	assert_int_equal(add(&table, &more, "10.0.0.9", 1), -ENOSPC);
	assert_null(more.host);
	assert_int_equal(table.host_count, 2);
	udp_table_use(&table, &e[0], false);
	assert_ptr_equal(victim(&table, "10.0.0.1"), &e[1]);
	udp_table_use(&table, &e[1], true);
	udp_table_use(&table, &e[0], true);
	assert_ptr_equal(victim(&table, "10.0.0.1"), &e[2]); /* the only unanswered one */
	udp_table_use(&table, &e[2], true);
	assert_ptr_equal(victim(&table, "10.0.0.1"), &e[1]);
	udp_table_use(&table, &e[1], false); /* answered once, answered for good */
	assert_ptr_equal(victim(&table, "10.0.0.1"), &e[0]);
	udp_table_remove(&table, &e[0]);
	assert_null(victim(&table, "10.0.0.1"));
	assert_int_equal(add(&table, &more, "10.0.0.9", 1), 0);
	assert_ptr_equal(victim(&table, "10.0.0.1"), &more);
	udp_table_remove(&table, &more);
	remove_all(&table, e, 3);
}

static void test_host_full(void **state)
{
	struct udp_entry e[6];
	struct udp_table table;

	assert_int_equal(udp_table_init(&table, 5, 2), 0);
	assert_int_equal(add(&table, &e[0], "10.0.0.9", 1),
			 0); /* the oldest of all, never answered */
	assert_int_equal(add(&table, &e[1], "10.0.0.1", 1), 0);
	assert_int_equal(add(&table, &e[2], "10.0.0.1", 2), 0);
	udp_table_use(&table, &e[1], true);
	assert_ptr_equal(victim(&table, "10.0.0.1"), &e[2]); /* its own, not that of others */
	assert_int_equal(add(&table, &e[5], "10.0.0.1", 3), -ENOSPC);
	udp_table_use(&table, &e[2], true);
	assert_ptr_equal(victim(&table, "10.0.0.1"), &e[1]);
	/* All of a /64 are one host, which is not its neighbour. */
	assert_int_equal(add(&table, &e[3], "fd00:0:0:1::1", 1), 0);
	assert_int_equal(add(&table, &e[4], "fd00:0:0:1:ffff::1", 1), 0);
	assert_int_equal(table.host_count, 3);
	assert_ptr_equal(victim(&table, "fd00::1:8000:0:0:1"), &e[3]);
	assert_ptr_equal(victim(&table, "fd00::1"), &e[0]); /* the table is full */
	assert_int_equal(add(&table, &e[5], "fd00::1", 3), -ENOSPC);
	assert_int_equal(table.host_count, 3);
	udp_table_remove(&table, &e[0]);
	assert_null(victim(&table, "fd00::1"));
	assert_ptr_equal(victim(&table, "10.0.0.1"), &e[1]);
	remove_all(&table, e, 5);
}

static void test_no_capacity(void **state)
{
	struct udp_table table = { 0 };
	struct udp_entry e = { 0 };

	assert_null(find(&table, "10.0.0.1", 1, "192.0.2.1"));
	udp_table_deinit(&table);
	assert_int_equal(udp_table_init(&table, 0, 0), 0);
	assert_null(victim(&table, "10.0.0.1"));
	assert_int_equal(add(&table, &e, "10.0.0.1", 1), -ENOSPC);
	udp_table_use(&table, &e, true);
	udp_table_bind(&table, &e, &none);
	remove_all(&table, &e, 1);
}

/* A source that is bound to very many destinations makes nothing slower. */
static void test_chains(void **state)
{
	const size_t count = 20000;
	struct udp_entry *e = calloc(count, sizeof(*e));
	struct udp_table table;
	size_t longest = 0;

	assert_non_null(e);
	assert_int_equal(udp_table_init(&table, count, 0), 0);
	for (size_t i = 0; i < count; i++) {
		e[i].source = at("10.0.0.1", 1);
		e[i].destination = at("192.0.2.1", 53);
		e[i].destination.v4.s_addr += htonl((uint32_t)i);
		assert_int_equal(udp_table_add(&table, &e[i]), 0);
	}
	assert_true(table.mask + 1 >= 2 * count && table.mask + 1 < 4 * count);
	for (size_t i = 0; i <= table.mask; i++) {
		size_t length = 0;

		for (const struct udp_entry *entry = table.buckets[i]; entry; entry = entry->next)
			length++;
		longest = length > longest ? length : longest;
	}
	assert_true(longest < 16); /* 1 in 10^9 */
	remove_all(&table, e, count);
	free(e);
}

static void test_random(void **state)
{
	static uint8_t bytes[2 + 4 * 5000];

	for (unsigned round = 0; round < 20; round++) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)(rand() >> 7);
		if (round % 2)
			bytes[1] = 0; /* no limit for a host */
		else
			bytes[0] |= 0x80;
		(void)LLVMFuzzerTestOneInput(bytes, sizeof(bytes));
	}
}

static void test_corpus(void **state)
{
	static uint8_t bytes[65536];
	const struct dirent *file;
	DIR *dir = opendir(CORPUS);
	unsigned count = 0;

	assert_non_null(dir);
	while ((file = readdir(dir))) {
		char path[1024];
		FILE *from;

		if (file->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), CORPUS "/%s", file->d_name);
		from = fopen(path, "re");
		assert_non_null(from);
		(void)LLVMFuzzerTestOneInput(bytes, fread(bytes, 1, sizeof(bytes), from));
		fclose(from);
		count++;
	}
	closedir(dir);
	assert_true(count >= 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),      cmocka_unit_test(test_full),
		cmocka_unit_test(test_host_full), cmocka_unit_test(test_no_capacity),
		cmocka_unit_test(test_chains),    cmocka_unit_test(test_random),
		cmocka_unit_test(test_corpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
