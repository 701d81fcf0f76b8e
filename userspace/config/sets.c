#include "config/sets.h"
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include "config/parse.h"
#include "config/match.h"
#include "config/tree.h"

static const struct place document, route = { .up = &document, .key = "route" };
static const struct place sets = { .up = &route, .key = "rule_set" };

/* Makes the path of @set one that can be opened. */
static int complete_path(struct config_rule_set *set, const char *config_path)
{
	const char *slash = strrchr(config_path, '/');
	char *path;

	if (*set->path == '/' || !slash)
		return 0;
	if (asprintf(&path, "%.*s/%s", (int)(slash - config_path), config_path, set->path) < 0)
		return -ENOMEM;
	free(set->path);
	set->path = path;
	return 0;
}

static void parse(struct report *own, struct text *text, struct config_rule_set *set)
{
	json_t *root = NULL;

	if (tree_load(own, text, &root) == -ENOMEM)
		own->result = -ENOMEM;
	if (!root)
		return;
	parse_document(own, root, SECTION_RULE_SET_FILE, set);
	if (own->result != -ENOMEM)
		match_check_set(own, root, set);
	json_decref(root);
}

static void load(struct report *report, struct config *config, size_t index, struct text *text,
		 struct config_errors *others)
{
	struct config_rule_set *set = &config->rule_sets.list[index];
	struct report own = {
		.errors = others, .first = others->count, .file = set->path, .text = text
	};
	struct place element = { .up = &sets, .index = index };
	struct place place = { .up = &element, .key = "path" };
	int r = text_read_file(text, set->path);

	if (r == -ENOMEM)
		report->result = r;
	else if (r == -EFBIG)
		report_error(report, AT_VALUE(&place), "larger than %u bytes", TEXT_BYTES_MAX);
	else if (r == -ESPIPE)
		report_error(report, AT_VALUE(&place), "not a file");
	else if (r < 0)
		report_error(report, AT_VALUE(&place), "cannot read: %s", strerror(-r));
	if (r < 0)
		return;
	parse(&own, text, set);
	r = report_finish(&own);
	if (r == -ENOMEM || (r < 0 && !report->result))
		report->result = r;
}

void sets_load(struct report *report, struct config *config, const char *path,
	       struct config_errors *others)
{
	for (size_t i = 0; i < config->rule_sets.count && report->result != -ENOMEM; i++) {
		struct text text = { 0 };

		if (!config->rule_sets.list[i].path)
			continue;
		if (complete_path(&config->rule_sets.list[i], path) < 0)
			report->result = -ENOMEM;
		else
			load(report, config, i, &text, others);
		text_deinit(&text);
	}
}

void sets_free(struct config_rule_set *set)
{
	parse_free(SECTION_RULE_SET_FILE, set);
}
