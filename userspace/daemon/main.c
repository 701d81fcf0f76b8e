/* seamd - the command line of the daemon. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include "base/log.h"
#include "base/names.h"
#include "config/config.h"
#include "daemon/app.h"
#include "daemon/method.h"
#include "daemon/packets.h"
#include "loop/signals.h"

#define DEFAULT_CONFIG "/etc/seam/config.json"

struct options {
	const char *config;
	bool json;
};

static int load(const struct options *options, struct config **ret)
{
	struct config_errors errors = { 0 };
	int r = config_load(options->config, ret, &errors);

	if (r == -ENOMEM)
		fprintf(stderr, "seamd: out of memory\n");
	else if (r)
		config_errors_print(&errors, options->json ? stdout : stderr, options->json);
	config_errors_deinit(&errors);
	return r ? EX_CONFIG : 0;
}

static int cmd_run(const struct options *options)
{
	struct config *config;
	int r = load(options, &config);

	if (r)
		return r;
	log_set_level((enum log_level)config->log.level);
	r = app_run(config);
	config_free(config);
	return r;
}

static int cmd_check(const struct options *options)
{
	struct config *config;
	int r = load(options, &config);

	if (r)
		return r;
	config_free(config);
	puts(options->json ? "[]" : "ok");
	return 0;
}

static int cmd_selftest(const struct options *options)
{
	log_set_level(LOG_ERROR);
	signals_block(); /* SIGPIPE */
	return method_selftest(options->json);
}

static int cmd_cleanup(const struct options *options)
{
	char text[PACKET_REASON_MAX];
	int r = packets_remove(text);

	(void)options;
	if (r)
		fprintf(stderr, "seamd: %s\n", text);
	else
		puts(text);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int cmd_schema(const struct options *options)
{
	(void)options;
	return config_schema_print(stdout) ? EXIT_FAILURE : 0;
}

static int cmd_version(const struct options *options)
{
	if (options->json)
		printf("{\"version\":\"%s\"}\n", SEAM_VERSION);
	else
		puts("seamd " SEAM_VERSION);
	return 0;
}

static const struct command {
	const char *name, *help;
	int (*run)(const struct options *options);
} commands[] = {
	{ "run", "carry traffic, in the foreground, until SIGTERM", cmd_run },
	{ "check", "read the configuration and report everything that is wrong with it",
	  cmd_check },
	{ "selftest", "try what the kernel does with a sockmap, case by case", cmd_selftest },
	{ "cleanup", "reset the flows that tc carries without a daemon, and remove its programs",
	  cmd_cleanup },
	{ "schema", "print every key of the configuration with its type, default and meaning",
	  cmd_schema },
	{ "version", "print the version", cmd_version },
};

static int usage(FILE *out, int code)
{
	fprintf(out, "usage: seamd COMMAND [-c FILE] [-j]\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\n  -c FILE   configuration, - for standard input (" DEFAULT_CONFIG ")\n"
		     "  -j        JSON on standard output\n"
		     "  -h        this text\n");
	return code;
}

static int unknown_command(const char *word)
{
	const char *words[ARRAY_SIZE(commands)], *near;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		words[i] = commands[i].name;
	near = names_near(words, ARRAY_SIZE(words), word);
	if (near)
		fprintf(stderr, "seamd: no command \"%s\" (did you mean \"%s\"?)\n", word, near);
	else
		fprintf(stderr, "seamd: no command \"%s\"\n", word);
	return usage(stderr, 2);
}

int main(int argc, char **argv)
{
	struct options options = { .config = DEFAULT_CONFIG };
	int opt;

	while ((opt = getopt(argc, argv, "c:jh")) != -1) {
		if (opt == 'c')
			options.config = optarg;
		else if (opt == 'j')
			options.json = true;
		else
			return opt == 'h' ? usage(stdout, 0) : usage(stderr, 2);
	}
	if (optind + 1 != argc)
		return usage(stderr, 2);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[optind], commands[i].name))
			return commands[i].run(&options);
	return unknown_command(argv[optind]);
}
