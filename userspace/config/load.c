/* load - a file to a struct config: text, tree, values, checks. Read this first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "config/check.h"
#include "config/config.h"
#include "config/parse.h"
#include "config/text.h"
#include "config/tree.h"

void config_free(struct config *config)
{
	if (!config)
		return;
	parse_free(SECTION_ROOT, config); /* is the beginning of a struct draft */
	free(config);
}

/* The text of @path, without comments. */
static int read_text(struct report *report, struct text *text, const char *path)
{
	const char *reason;
	size_t offset;
	int r = text_read(text, path);

	if (r == -EFBIG)
		report_error(report, AT_FILE, "larger than %u bytes", TEXT_BYTES_MAX);
	else if (r < 0 && r != -ENOMEM)
		report_error(report, AT_FILE, "cannot read: %s", strerror(-r));
	if (r < 0)
		return r;
	r = text_blank(text, &reason, &offset);
	if (r == -EINVAL)
		report_error(report, AT_OFFSET(offset), "%s", reason);
	return r;
}

static int load(struct report *report, struct text *text, const char *path, struct draft *draft)
{
	json_t *root = NULL;
	int r = read_text(report, text, path);

	if (r >= 0)
		r = tree_load(report, &root);
	if (r < 0)
		return r;
	parse_document(report, root, draft);
	if (report->result != -ENOMEM && json_is_object(root))
		check_document(report, root, draft);
	json_decref(root);
	return 0;
}

int config_load(const char *path, struct config **ret, struct config_errors *errors)
{
	struct text text = { 0 };
	struct draft *draft = calloc(1, sizeof(*draft));
	struct report report = { .errors = errors, .text = &text };
	int r;

	if (!draft)
		return -ENOMEM;
	report.file = strcmp(path, "-") != 0 ? path : "<stdin>";
	if (load(&report, &text, path, draft) == -ENOMEM)
		report.result = -ENOMEM;
	r = report_finish(&report);
	if (!r)
		*ret = &draft->config;
	else
		config_free(&draft->config);
	text_deinit(&text);
	return r;
}
