/* sets - the files of route.rule_set. */
#pragma once
#include "config/report.h"

/* Reads the file of every rule set into it. @path is that of the configuration; paths that begin with
 * no slash are from its folder. A file that cannot be read is an error of @report, what is wrong in one
 * goes to @others. -ENOMEM is in @report. */
void sets_load(struct report *report, struct config *config, const char *path,
	       struct config_errors *others);
/* Frees what sets_load() put into @set. */
void sets_free(struct config_rule_set *set);
