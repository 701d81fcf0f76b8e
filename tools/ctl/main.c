/* seamctl - asks a running seamd. */
#include "base/names.h"
#include "seam/ctl.h"
#include "session.h"
#include "show.h"
#include "verbs.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_USAGE 2

struct options {
	const char *path;
	bool json, pretty, help;
	json_t *request; /* what --options say is put in as it comes */
};

static int complain(const char *what, const char *word)
{
	show_complaint(what, word);
	return EXIT_USAGE;
}

/* @base 0: also as 0x10. */
static int take_number(json_t *request, const char *name, const char *word, int base)
{
	long long number;
	char *end;

	errno = 0;
	number = strtoll(word, &end, base);
	if (errno || *end || end == word)
		return complain("not a number", word);
	json_object_set_new(request, name, json_integer(number));
	return 0;
}

static int take_word(json_t *request, const char *name, const char *word)
{
	if (json_object_set_new(request, name, json_string(word)))
		return complain("not UTF-8", word);
	return 0;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option table[] = { { "socket", required_argument, NULL, 's' },
					       { "json", no_argument, NULL, 'j' },
					       { "pretty", no_argument, NULL, 'p' },
					       { "help", no_argument, NULL, 'h' },
					       { "method", required_argument, NULL, 'f' },
					       { "source", required_argument, NULL, 'f' },
					       { "destination", required_argument, NULL, 'f' },
					       { "outbound", required_argument, NULL, 'f' },
					       { "url", required_argument, NULL, 'f' },
					       { "domain", required_argument, NULL, 'f' },
					       { "protocol", required_argument, NULL, 'f' },
					       { "inbound", required_argument, NULL, 'f' },
					       { "interface", required_argument, NULL, 'f' },
					       { "mark", required_argument, NULL, 'n' },
					       { "dscp", required_argument, NULL, 'n' },
					       { 0 } };
	int opt, index, r = 0;

	while (!r && (opt = getopt_long(argc, argv, "s:jph", table, &index)) != -1) {
		if (opt == 's')
			options->path = optarg;
		else if (opt == 'f')
			r = take_word(options->request, table[index].name, optarg);
		else if (opt == 'n')
			r = take_number(options->request, table[index].name, optarg, 0);
		else if (opt == 'h')
			options->help = true;
		else if (opt == '?')
			r = EXIT_USAGE;
		options->json |= opt == 'j' || opt == 'p';
		options->pretty |= opt == 'p';
	}
	return r;
}

static bool takes_option(const struct verb *verb, const char *name)
{
	for (size_t i = 0; i < OPTIONS_MAX && verb->options[i]; i++)
		if (!strcmp(verb->options[i], name))
			return true;
	return false;
}

static int check_options(const struct verb *verb, json_t *request)
{
	const char *name;
	json_t *value;

	json_object_foreach (request, name, value) {
		if (!verb->options[0])
			return complain("takes no filters", verb->name);
		if (!takes_option(verb, name)) {
			fprintf(stderr, "seamctl: %s does not take --%s\n", verb->name, name);
			return EXIT_USAGE;
		}
	}
	return 0;
}

/* Moves @words on. */
static int take_operands(const struct verb *verb, char ***words, json_t *request)
{
	for (size_t i = 0; i < OPERANDS_MAX && verb->operands[i].name; i++) {
		const struct operand *operand = &verb->operands[i];
		const char *word = **words;
		int r;

		if (!word && *operand->name == '[')
			return 0;
		if (!word) {
			fprintf(stderr, "seamctl: %s takes the operand %s\n", verb->name,
				operand->name);
			return EXIT_USAGE;
		}
		r = operand->is_number ? take_number(request, operand->argument, word, 10)
				       : take_word(request, operand->argument, word);
		if (r)
			return r;
		++*words;
	}
	return 0;
}

static int make_request(const struct verb *verb, char **words, const struct options *options)
{
	json_t *request = options->request;
	int r = check_options(verb, request);

	if (!r)
		r = take_operands(verb, &words, request);
	if (r)
		return r;
	if (*words)
		return complain("one word too many", *words);
	json_object_set_new(request, "v", json_integer(SEAM_CTL_VERSION));
	json_object_set_new(request, "cmd", json_string(verb->name));
	return 0;
}

/* Whoever read us is gone: that is its right. */
static int flush(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	if (errno != EPIPE)
		fprintf(stderr, "seamctl: standard output: %s\n", strerror(errno));
	return errno == EPIPE ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void show(const struct verb *verb, const struct options *options, const json_t *data)
{
	if (!options->json) {
		verb->show(data);
		return;
	}
	json_dumpf(data, stdout,
		   JSON_ENCODE_ANY | JSON_ENSURE_ASCII |
			   (options->pretty ? JSON_INDENT(2) : JSON_COMPACT));
	putchar('\n');
}

/* What the answer carries, borrowed; NULL: a refusal, which was printed. */
static const json_t *data_of(const json_t *answer)
{
	const json_t *data = json_object_get(answer, "data");

	if (json_is_true(json_object_get(answer, "ok")) && data)
		return data;
	show_complaint(show_string(answer, "error"), NULL);
	return NULL;
}

static int stream(struct session *session, const struct verb *verb, const struct options *options)
{
	int r;

	session_wait(session);
	for (;;) {
		json_t *event;

		r = session_receive(session, &event);
		if (r)
			return r;
		show(verb, options, event);
		json_decref(event);
		if (fflush(stdout))
			return flush();
	}
}

static int talk(struct session *session, const struct verb *verb, const struct options *options)
{
	json_t *answer;
	const json_t *data;
	int r = session_send(session, options->request);

	if (!r)
		r = session_receive(session, &answer);
	if (r)
		return r;
	data = data_of(answer);
	if (data && verb->streams)
		r = stream(session, verb, options);
	else if (data)
		show(verb, options, data);
	else
		r = EXIT_FAILURE;
	json_decref(answer);
	return r ? r : flush();
}

static int run(int argc, char **argv, struct options *options)
{
	int r = parse_options(argc, argv, options);
	const struct verb *verb;
	struct session session;
	char **words;

	if (r)
		return r;
	words = argv + optind;
	if (options->help)
		return verbs_usage(stdout, EXIT_SUCCESS);
	if (!*words)
		return verbs_usage(stderr, EXIT_USAGE);
	verb = verb_find(&words);
	if (!verb)
		return EXIT_USAGE;
	if (!verb->show)
		return verbs_usage(stdout, EXIT_SUCCESS);
	r = make_request(verb, words, options);
	if (r)
		return r;
	r = session_open(&session, options->path);
	if (!r)
		r = talk(&session, verb, options);
	session_close(&session);
	return r;
}

int main(int argc, char **argv)
{
	struct options options = { .path = SEAM_CTL_SOCKET, .request = json_object() };
	int r;

	signal(SIGPIPE, SIG_DFL);
	r = run(argc, argv, &options);
	json_decref(options.request);
	return r;
}
