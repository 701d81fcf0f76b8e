/* load - a file to a struct config: text, tree, values, checks. Read this first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "config/check.h"
#include "config/config.h"
#include "config/parse.h"
#include "config/sets.h"
#include "config/text.h"
#include "config/tree.h"

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->rule_sets.count; i++)
		sets_free(&config->rule_sets.list[i]);
	for (size_t i = 0; i < config->outbound_count; i++)
		free(config->outbounds[i].group.members.list);
	parse_free(SECTION_ROOT, config); /* is the beginning of a struct draft */
	free(config);
}

static int load(struct report *report, struct text *text, const char *path, struct draft *draft)
{
	json_t *root = NULL;
	int r = text_read(text, path);

	if (r == -EFBIG)
		report_error(report, AT_FILE, "larger than %u bytes", TEXT_BYTES_MAX);
	else if (r < 0 && r != -ENOMEM)
		report_error(report, AT_FILE, "cannot read: %s", strerror(-r));
	if (r >= 0)
		r = tree_load(report, text, &root);
	if (r < 0)
		return r;
	parse_document(report, root, SECTION_ROOT, draft);
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
	struct config_errors others = { 0 }; /* of other files */
	int r;

	if (!draft)
		return -ENOMEM;
	report.file = strcmp(path, "-") != 0 ? path : "<stdin>";
	if (load(&report, &text, path, draft) == -ENOMEM)
		report.result = -ENOMEM;
	if (report.result != -ENOMEM)
		sets_load(&report, &draft->config, path, &others);
	r = report_finish(&report);
	if (r == -EINVAL) {
		report_append(&report, &others);
		r = report.result;
	}
	config_errors_deinit(&others);
	if (!r)
		*ret = &draft->config;
	else
		config_free(&draft->config);
	text_deinit(&text);
	return r;
}
