/* Neither a failed allocation nor a damaged file may crash, leak, or be taken for a good one. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include "common.h"

#define MUTANTS   3000
#define CALLS_MAX 100000

static bool armed, fail_once;
static unsigned long calls, fail_at;

#ifdef __GLIBC__
/* These take the place of the allocators of the C library, or of the sanitizer if there is one, which
 * has a strdup() of its own that does not come by here. */
#define REAL(name, params)          \
	void *__libc_##name params; \
	__attribute__((weak)) void *__interceptor_##name params
REAL(malloc, (size_t));
REAL(calloc, (size_t, size_t));
REAL(realloc, (void *, size_t));

/* A sanitizer allocates before it is ready to check anything. */
#ifdef __clang__
#define UNCHECKED __attribute__((disable_sanitizer_instrumentation))
#else
#define UNCHECKED __attribute__((no_sanitize("address", "thread", "undefined")))
#endif

UNCHECKED static bool fails(void)
{
	if (!armed)
		return false;
	calls++;
	return calls == fail_at || (calls > fail_at && !fail_once);
}

UNCHECKED void *malloc(size_t size)
{
	if (fails())
		return NULL;
	return __interceptor_malloc ? __interceptor_malloc(size) : __libc_malloc(size);
}

UNCHECKED void *calloc(size_t count, size_t size)
{
	if (fails())
		return NULL;
	return __interceptor_calloc ? __interceptor_calloc(count, size)
				    : __libc_calloc(count, size);
}

UNCHECKED void *realloc(void *old, size_t size)
{
	if (fails())
		return NULL;
	return __interceptor_realloc ? __interceptor_realloc(old, size) : __libc_realloc(old, size);
}
#else
static void *failing_malloc(size_t size)
{
	calls++;
	return calls == fail_at || (calls > fail_at && !fail_once) ? NULL : malloc(size);
}
#endif

/* What fails: every allocation, or only those of jansson where the C library's cannot be replaced. */
static void arm(bool on)
{
	armed = on;
	calls = on ? 0 : calls;
#ifndef __GLIBC__
	json_set_alloc_funcs(on ? failing_malloc : malloc, free);
#endif
}

struct outcome {
	struct config *config;
	struct config_errors errors;
	int result;
};

static void outcome_deinit(struct outcome *outcome)
{
	config_free(outcome->config);
	config_errors_deinit(&outcome->errors);
}

/* The C library does without some allocations: then nothing may be missing. */
static void assert_same(const struct outcome *a, const struct outcome *b)
{
	assert_int_equal(a->result, b->result);
	assert_int_equal(a->errors.count, b->errors.count);
	for (size_t i = 0; i < a->errors.count; i++) {
		assert_string_equal(a->errors.list[i].pointer, b->errors.list[i].pointer);
		assert_string_equal(a->errors.list[i].reason, b->errors.list[i].reason);
	}
	if (!a->config)
		return;
	assert_string_equal(a->config->control_socket, b->config->control_socket);
	for (size_t i = 0; i < a->config->outbound_count; i++)
		assert_string_equal(a->config->outbounds[i].tag, b->config->outbounds[i].tag);
}

/* Loads @path with the n-th allocation failing, and with @once no later one, until none fails. */
static void fail_each(const char *path, bool once)
{
	struct outcome good = { 0 };

	good.result = config_load(path, &good.config, &good.errors);
	fail_once = once;
	for (fail_at = 1; fail_at < CALLS_MAX; fail_at++) {
		struct outcome outcome = { 0 };

		arm(true);
		outcome.result = config_load(path, &outcome.config, &outcome.errors);
		arm(false);
		assert_true((outcome.result == 0) == (outcome.config != NULL));
		if (outcome.result != -ENOMEM)
			assert_same(&outcome, &good);
		outcome_deinit(&outcome);
		if (calls < fail_at)
			break;
	}
	assert_true(fail_at > 20 && fail_at < CALLS_MAX);
	outcome_deinit(&good);
}

static void test_allocation_good(void **state)
{
	fail_each(TEST_DATA "/full.json", true);
	fail_each(TEST_DATA "/full.json", false);
	fail_each(TEST_DATA "/rules.json", true);
	fail_each(TEST_DATA "/rules.json", false);
}

static void test_allocation_broken(void **state)
{
	fail_each(TEST_DATA "/broken/duplicate-many.json", true);
	fail_each(TEST_DATA "/broken/duplicate-escaped.json", false);
	fail_each(TEST_DATA "/broken/unknown-escapes.json", true);
	fail_each(TEST_DATA "/broken/one-line.json", false);
	fail_each(TEST_DATA "/broken/keepalive-conflict.json", true);
	fail_each(TEST_DATA "/broken/detour-circle.json", true);
	fail_each(TEST_DATA "/broken/wg-same.json", true);
	fail_each(TEST_DATA "/broken/dns-references.json", false);
	fail_each(TEST_DATA "/broken/group-circle.json", true);
	fail_each(TEST_DATA "/broken/rule-tags.json", true);
	fail_each(TEST_DATA "/broken/set-values.json", true);
	fail_each(TEST_DATA "/broken/set-syntax.json", false);
}

/* xorshift64: the same mutants every time. */
static uint64_t random_state = 0x9e3779b97f4a7c15;

static size_t random_below(size_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return bound ? (size_t)(random_state % bound) : 0;
}

/* One step of damage to @text of *@len bytes in room for @room. */
static void damage(char *text, size_t *len, size_t room)
{
	static const char bytes[] = "{}[]\",:\\/*0-9eE.\n\t\x80\xff\x01tfnu ";
	size_t at = random_below(*len), n = 1 + random_below(24), from = random_below(*len);

	if (n > *len - at)
		n = *len - at;
	switch (random_below(5)) {
	case 0:
		text[at] = bytes[random_below(sizeof(bytes))];
		break;
	case 1:
		text[at] = (char)random_below(256);
		break;
	case 2: /* cut out */
		if (n == *len)
			break;
		memmove(text + at, text + at + n, *len - at - n);
		*len -= n;
		break;
	case 3: /* say again */
		if (*len + n > room)
			break;
		memmove(text + at + n, text + at, *len - at);
		*len += n;
		break;
	default: /* copy from elsewhere */
		if (n <= *len - from)
			memmove(text + at, text + from, n);
	}
}

/* Loads @text as the configuration, or with @set as the only rule set of one. */
static int load_text(const char *text, size_t len, bool set, struct config **ret,
		     struct config_errors *errors)
{
	char path[256];
	int fd = memfd_create("set", MFD_CLOEXEC), r;

	if (set) {
		snprintf(path, sizeof(path),
			 "{\"inbounds\": [{\"type\": \"tproxy\", \"listen_port\": 1}], \"route\": "
			 "{\"rule_set\": [{\"tag\": \"a\", \"path\": \"/proc/self/fd/%d\"}]}}",
			 fd);
		assert_int_equal(write(fd, text, len), (ssize_t)len);
		r = load_bytes(path, strlen(path), ret, errors);
	} else {
		r = load_bytes(text, len, ret, errors);
	}
	close(fd);
	return r;
}

/* Takes over @full of @full_len bytes. */
static void load_mutants(char *full, size_t full_len, bool set)
{
	size_t room = 2 * full_len + 1;
	char *text = malloc(room);
	unsigned good = 0, bad = 0;

	assert_non_null(text);
	for (unsigned i = 0; i < MUTANTS; i++) {
		struct config_errors errors = { 0 };
		struct config *config = NULL;
		size_t len = full_len;
		int r;

		memcpy(text, full, len);
		for (size_t steps = 1 + random_below(4); steps; steps--)
			damage(text, &len, room);
		r = load_text(text, len, set, &config, &errors);
		assert_true(r == 0 || r == -EINVAL);
		assert_true((r == 0) == (config != NULL) && (r == 0) == !errors.count);
		good += r == 0;
		bad += r != 0;
		config_free(config);
		config_errors_deinit(&errors);
	}
	assert_true(good > MUTANTS / 200 && bad > MUTANTS / 2);
	free(text);
	free(full);
}

static void test_mutants(void **state)
{
	size_t len;
	char *full = read_file(TEST_DATA "/full.json", &len);

	load_mutants(full, len, false);
}

static void test_rule_mutants(void **state)
{
	size_t len;
	char *text = read_file(TEST_DATA "/rules.json", &len);
	char *path = strstr(text, "\"rules-names.json\""), *full = NULL;

	assert_non_null(path);
	assert_true(asprintf(&full, "%.*s\"" TEST_DATA "/%s", (int)(path - text), text, path + 1) >
		    0);
	free(text);
	load_mutants(full, strlen(full), false);
}

static void test_set_mutants(void **state)
{
	size_t len;
	char *full = read_file(TEST_DATA "/rules-names.json", &len);

	load_mutants(full, len, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allocation_good), cmocka_unit_test(test_allocation_broken),
		cmocka_unit_test(test_mutants),         cmocka_unit_test(test_rule_mutants),
		cmocka_unit_test(test_set_mutants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
