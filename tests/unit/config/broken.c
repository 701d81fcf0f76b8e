/* Every broken/NAME.json is refused with exactly the lines of broken/NAME.expect: what follows the
 * name of that file, and errors of others with their names; "$" ends a line that is complete, any other is a beginning.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include "common.h"

#define FEWEST 220

/* Of a line the part that is compared: errors in other files keep their names. */
static const char *shown_part(const char *line, const char *path)
{
	size_t len = strlen(path);

	if (!strncmp(line, path, len) && line[len] == ':')
		return line + len + 1;
	len = strlen(TEST_DATA "/broken/");
	return !strncmp(line, TEST_DATA "/broken/", len) ? line + len : line;
}

static int is_json(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot && !strcmp(dot, ".json");
}

static bool line_fits(const char *want, const char *got)
{
	size_t len = strlen(want);

	if (len && want[len - 1] == '$')
		return strlen(got) == len - 1 && !memcmp(want, got, len - 1);
	return !strncmp(want, got, len);
}

/* The number of lines that differ. */
static unsigned compare(const char *name, char *want, char *got, const char *path)
{
	char *want_rest = NULL, *got_rest = NULL;
	unsigned wrong = 0;

	want = strtok_r(want, "\n", &want_rest);
	got = strtok_r(got, "\n", &got_rest);
	while (want || got) {
		const char *shown = got ? shown_part(got, path) : got;

		if (!want || !got || !line_fits(want, shown)) {
			print_error("%s\n  want %s\n  got  %s\n", name,
				    want ? want : "nothing more", shown ? shown : "nothing more");
			wrong++;
		}
		want = want ? strtok_r(NULL, "\n", &want_rest) : NULL;
		got = got ? strtok_r(NULL, "\n", &got_rest) : NULL;
	}
	return wrong;
}

static unsigned check_file(const char *name)
{
	struct config_errors errors = { 0 };
	struct config *config = NULL;
	char path[512], expect[512];
	char *got = NULL, *want;
	unsigned wrong = 0;
	size_t len;
	FILE *out = open_memstream(&got, &len);

	snprintf(path, sizeof(path), TEST_DATA "/broken/%s", name);
	snprintf(expect, sizeof(expect), "%.*s.expect", (int)strlen(path) - 5, path);
	if (config_load(path, &config, &errors) != -EINVAL || config) {
		print_error("%s was not refused\n", name);
		wrong++;
	}
	config_errors_print(&errors, out, false);
	fclose(out);
	want = read_file(expect, &len);
	wrong += compare(name, want, got, path);
	free(want);
	free(got);
	config_errors_deinit(&errors);
	return wrong;
}

static void test_broken(void **state)
{
	struct dirent **entries;
	int count = scandir(TEST_DATA "/broken", &entries, is_json, alphasort);
	unsigned wrong = 0;

	assert_true(count >= FEWEST);
	for (int i = 0; i < count; i++) {
		wrong += check_file(entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_broken) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
