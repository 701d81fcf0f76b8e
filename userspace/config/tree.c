/* jansson 2.14 does not survive every failed allocation: where the buffer of its lexer cannot grow, a
 * byte is lost, and then an assertion fails (numbers and words), the end of the string may be missed,
 * or the wrong value is read. So numbers and words fit into what the buffer has at first (text.c),
 * and after one failed allocation all others fail, which it unwinds from.
 */
#include "config/tree.h"
#include <errno.h>
#include <string.h>

static json_malloc_t next_malloc;
static __thread bool out_of_memory;

static void *watched_malloc(size_t size)
{
	void *ret = out_of_memory ? NULL : next_malloc(size);

	if (!ret)
		out_of_memory = true;
	return ret;
}

int tree_parse(const char *json, size_t len, size_t flags, json_t **ret, json_error_t *error)
{
	json_free_t next_free;
	json_t *tree;

	json_get_alloc_funcs(&next_malloc, &next_free);
	json_set_alloc_funcs(watched_malloc, next_free);
	out_of_memory = false;
	tree = json_loadb(json, len, flags, error);
	json_set_alloc_funcs(next_malloc, next_free);
	if (out_of_memory) {
		json_decref(tree);
		return -ENOMEM;
	}
	if (!tree)
		return -EINVAL;
	*ret = tree;
	return 0;
}

/* The offset of a comma in front of the bracket at @offset, or -1. */
static ssize_t trailing_comma(const struct text *text, size_t offset)
{
	if (offset >= text->len || !strchr("]}", text->json[offset]))
		return -1;
	while (offset--)
		if (!strchr(" \t\r\n", text->json[offset]))
			return text->json[offset] == ',' ? (ssize_t)offset : -1;
	return -1;
}

static void report_syntax(struct report *report, const json_error_t *error)
{
	const struct text *text = report->text;
	size_t end = (size_t)error->position < text->len ? (size_t)error->position : text->len;
	enum json_error_code code = json_error_code(error);
	bool at_end = code == json_error_invalid_utf8 || code == json_error_premature_end_of_input;
	size_t offset = at_end ? end : position_token(text, end);
	ssize_t comma = trailing_comma(text, offset);

	if (!text->json[strspn(text->json, " \t\r\n")])
		report_error(report, AT_OFFSET(0), "there is no configuration in this file");
	else if (comma >= 0)
		report_error(report, AT_OFFSET((size_t)comma), "a comma with nothing after it");
	else
		report_error(report, AT_OFFSET(offset), "%s", error->text);
}

static void on_duplicate(void *arg, const struct place *place, size_t offset)
{
	report_error(arg, AT_FOUND(offset, place), "this key is here twice");
}

int tree_load(struct report *report, struct text *text, json_t **ret)
{
	json_error_t error;
	const char *reason;
	size_t offset;
	int r = text_blank(text, &reason, &offset);

	if (r == -EINVAL)
		report_error(report, AT_OFFSET(offset), "%s", reason);
	if (r < 0)
		return r;
	r = tree_parse(text->json, text->len, JSON_REJECT_DUPLICATES, ret, &error);
	if (r == -EINVAL && json_error_code(&error) == json_error_duplicate_key) {
		r = position_duplicates(text, on_duplicate, report);
		if (r < 0)
			return r;
		r = tree_parse(text->json, text->len, 0, ret, &error);
	}
	if (r == -EINVAL)
		report_syntax(report, &error);
	return r;
}
