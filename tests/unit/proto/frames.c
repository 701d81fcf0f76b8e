/* Frames come out of a stream as they went in, however it is cut; the longest and the empty ones too. */
#include "codec.h"
#include "proto/frames.h"

#define STREAM_MAX ((size_t)3 * FRAME_MAX)

struct stream {
	size_t len;
	uint8_t data[STREAM_MAX];
};

static void append(struct stream *s, size_t len)
{
	assert_true(s->len + FRAME_HEAD + len <= sizeof(s->data));
	frame_head(s->data + s->len, len);
	s->len += FRAME_HEAD;
	for (size_t i = 0; i < len; i++)
		s->data[s->len + i] = (uint8_t)(i * 31 + len);
	s->len += len;
}

static void expect_next(struct frames *frames, size_t want)
{
	const uint8_t *data;
	size_t len;

	assert_true(frames_next(frames, &data, &len));
	assert_int_equal(len, want);
	for (size_t i = 0; i < len; i++)
		if (data[i] != (uint8_t)(i * 31 + len))
			fail_msg("byte %zu of %zu", i, len);
}

/* How much of @s was put in. */
static size_t feed(struct frames *frames, const struct stream *s, size_t at, size_t most)
{
	size_t space, part;
	uint8_t *to = frames_space(frames, &space);

	assert_true(space > 0);
	part = s->len - at < space ? s->len - at : space;
	part = part < most ? part : most;
	memcpy(to, s->data + at, part);
	frames_add(frames, part);
	return part;
}

static void read_cut(const struct stream *s, const size_t *lengths, size_t count, size_t first,
		     size_t piece)
{
	struct frames *frames = malloc(sizeof(*frames));
	const uint8_t *data;
	size_t at = 0, seen = 0, end = 0, len;

	assert_non_null(frames);
	frames->at = frames->end = 0;
	while (at < s->len) {
		at += feed(frames, s, at, at ? piece : first ? first : 1);
		while (seen < count && end + FRAME_HEAD + lengths[seen] <= at) {
			end += FRAME_HEAD + lengths[seen];
			expect_next(frames, lengths[seen++]);
		}
		assert_false(frames_next(frames, &data, &len));
		assert_int_equal(frames_left(frames), at - end);
	}
	assert_int_equal(seen, count);
	free(frames);
}

static void test_every_split(void **state)
{
	static const size_t lengths[] = { 0, 1, 0, 0, 255, 256, 300, 2, 0 };
	struct stream *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		append(s, lengths[i]);
	for (size_t cut = 0; cut <= s->len; cut++) {
		read_cut(s, lengths, ARRAY_SIZE(lengths), cut, s->len);
		read_cut(s, lengths, ARRAY_SIZE(lengths), cut, 1);
		read_cut(s, lengths, ARRAY_SIZE(lengths), cut, 3);
	}
	free(s);
}

static void test_longest(void **state)
{
	static const size_t lengths[] = { 65535, 1, 65535 };
	static const size_t pieces[] = { 1, 2, 1460, 65534, 65535, 65536, 65537, STREAM_MAX };
	struct stream *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		append(s, lengths[i]);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
		read_cut(s, lengths, ARRAY_SIZE(lengths), 3, pieces[i]);
	free(s);
}

/* What comes before the first frame is passed over. */
static void test_skip(void **state)
{
	struct stream *s = calloc(1, sizeof(*s));
	struct frames *frames = malloc(sizeof(*frames));

	assert_non_null(s);
	assert_non_null(frames);
	s->len = 7;
	append(s, 9);
	frames->at = frames->end = 0;
	assert_int_equal(feed(frames, s, 0, 10), 10);
	frames_skip(frames, 7);
	assert_int_equal(feed(frames, s, 10, 100), 8);
	expect_next(frames, 9);
	assert_int_equal(frames_left(frames), 0);
	free(frames);
	free(s);
}

static void test_corpus(void **state)
{
	replay("frames", LLVMFuzzerTestOneInput);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_skip),
		cmocka_unit_test(test_corpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
