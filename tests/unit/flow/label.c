/* What a pair tells of its flow, and who of another configuration is meant by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "flow/label.h"
#include "flow/worker.h"

#define LONG "a-tag-that-is-longer-than-what-a-label-has-room-for"

static struct inbound inbounds[] = { { .tag = "in" }, { .tag = LONG }, { .tag = "in-2" } };
static struct outbound outbounds[] = { { .tag = "out-2" }, { .tag = LONG }, { .tag = "out" } };
static const struct flow_config config = {
	.inbounds = inbounds, .inbound_count = 3, .outbounds = outbounds, .outbound_count = 3
};

static void names(void **state)
{
	for (int i = 0; i < 3; i++) {
		const struct label_names of = { &inbounds[i], &outbounds[i], NULL, CONFIG_NONE };
		struct seam_label label = label_make(7, 0, &of);

		assert_ptr_equal(label_inbound(&config, &label), &inbounds[i]);
		assert_ptr_equal(label_outbound(&config, &label), &outbounds[i]);
		assert_int_equal(label.rule, -1);
		assert_string_equal(label.host, "");
	}
}

static void of_another_configuration(void **state)
{
	struct inbound in = { .tag = "i" };
	struct outbound out = { .tag = "out-23" };
	const struct label_names of = { &in, &out, "example.org", 3 },
				 none = { &in, NULL, NULL, 0 };
	struct seam_label label = label_make(7, 0, &of);

	assert_null(label_inbound(&config, &label));
	assert_null(label_outbound(&config, &label));
	assert_int_equal(label.rule, 3);
	assert_int_equal(label.id, 7);
	assert_string_equal(label.host, "example.org");
	label = label_make(7, 0, &none);
	assert_null(label_outbound(&config, &label));
}

static void age(void **state)
{
	const struct label_names of = { &inbounds[0], &outbounds[0], NULL, 0 };
	struct seam_label label = label_make(7, 5000, &of);

	assert_in_range(label_age_ms(&label), 5000, 6000);
	label.started_ms += 100000; /* the clock was set back */
	assert_int_equal(label_age_ms(&label), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(of_another_configuration),
		cmocka_unit_test(age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
