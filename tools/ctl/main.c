/* seamctl - asks a running seamd. */
#include "base/names.h"
#include "seam/ctl.h"
#include "session.h"
#include "show.h"
#include "verbs.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_USAGE 2

struct options {
	const char *path;
	bool json, pretty, help;
	json_t *request; /* filters are put in as they come */
	bool filters;
};

static int complain(const char *what, const char *word)
{
	show_complaint(what, word);
	return EXIT_USAGE;
}

static int take_filter(struct options *options, const char *name, const char *value)
{
	options->filters = true;
	if (json_object_set_new(options->request, name, json_string(value)))
		return complain("not UTF-8", value);
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
					       { 0 } };
	int opt, index, r = 0;

	while (!r && (opt = getopt_long(argc, argv, "s:jph", table, &index)) != -1) {
		if (opt == 's')
			options->path = optarg;
		else if (opt == 'f')
			r = take_filter(options, table[index].name, optarg);
		else if (opt == 'h')
			options->help = true;
		else if (opt == '?')
			r = EXIT_USAGE;
		options->json |= opt == 'j' || opt == 'p';
		options->pretty |= opt == 'p';
	}
	return r;
}

static int take_operand(const struct verb *verb, const char *word, json_t *request)
{
	json_t *value;
	char *end;

	if (verb->is_number) {
		errno = 0;
		value = json_integer(strtoll(word, &end, 10));
		if (errno || *end || end == word) {
			json_decref(value);
			return complain("not a number", word);
		}
	} else {
		value = json_string(word);
	}
	if (json_object_set_new(request, verb->argument, value))
		return complain("not UTF-8", word);
	return 0;
}

static int make_request(const struct verb *verb, char **words, const struct options *options)
{
	json_t *request = options->request;

	if (options->filters && !verb->filters)
		return complain("takes no filters", verb->name);
	if (verb->operand && !*words) {
		fprintf(stderr, "seamctl: %s takes the operand %s\n", verb->name, verb->operand);
		return EXIT_USAGE;
	}
	if (verb->operand) {
		int r = take_operand(verb, *words++, request);

		if (r)
			return r;
	}
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
