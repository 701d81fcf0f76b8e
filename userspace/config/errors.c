#include <jansson.h>
#include <stdlib.h>
#include "config/config.h"

void config_errors_deinit(struct config_errors *errors)
{
	for (size_t i = 0; i < errors->count; i++) {
		free(errors->list[i].file);
		free(errors->list[i].pointer);
		free(errors->list[i].reason);
	}
	free(errors->list);
	*errors = (struct config_errors){ 0 };
}

/* What came out of a file may not colour a terminal or begin a line. */
static void put_clean(const char *text, FILE *out)
{
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, out);
}

static void print_text(const struct config_error *error, FILE *out)
{
	put_clean(error->file, out);
	if (error->line)
		fprintf(out, ":%u:%u", error->line, error->column);
	fputs(": ", out);
	if (*error->pointer) {
		put_clean(error->pointer, out);
		fputs(": ", out);
	}
	put_clean(error->reason, out);
	fputc('\n', out);
}

static void print_json(const struct config_error *error, FILE *out)
{
	json_t *object = json_pack("{s:s, s:I, s:I, s:s, s:s}", "file", error->file, "line",
				   (json_int_t)error->line, "column", (json_int_t)error->column,
				   "pointer", error->pointer, "reason", error->reason);

	if (!object || json_dumpf(object, out, JSON_COMPACT) < 0)
		fputs("{}", out); /* out of memory: at least their number is right */
	json_decref(object);
}

void config_errors_print(const struct config_errors *errors, FILE *out, bool json)
{
	if (!json) {
		for (size_t i = 0; i < errors->count; i++)
			print_text(&errors->list[i], out);
		return;
	}
	fputc('[', out);
	for (size_t i = 0; i < errors->count; i++) {
		if (i)
			fputs(",\n ", out);
		print_json(&errors->list[i], out);
	}
	fputs("]\n", out);
}
