/* sniff - what seam's sniffers make of a client's first bytes. Each line of the input is a connection: "tcp" or
 * "udp", then its segments or datagrams in hex, in order; each line of the output is a protocol and a name or "-".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "proto/sniff.h"

/* 16: none */
static unsigned digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = strchr(digits, c);

	return at ? (unsigned)(at - digits) : 16;
}

/* Returns the bytes in @hex, which they replace; -1: it is none. */
static long unhex(char *hex)
{
	size_t digits = strlen(hex);

	for (size_t i = 0; i < digits; i++)
		if (digits % 2 || digit(hex[i]) > 15)
			return -1;
	for (size_t i = 0; i < digits / 2; i++)
		hex[i] = (char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
	return (long)(digits / 2);
}

/* As flow does it: over all that has come, until the answer is there. */
static enum sniff_result look_at_stream(char *words, struct sniff *ret)
{
	static uint8_t data[1 << 20];
	enum sniff_result result = SNIFF_MORE;
	size_t len = 0;

	for (char *word = strtok(words, " "); word && result == SNIFF_MORE;
	     word = strtok(NULL, " ")) {
		long bytes = unhex(word);

		if (bytes < 0 || (size_t)bytes > sizeof(data) - len)
			exit(2);
		memcpy(data + len, word, (size_t)bytes);
		len += (size_t)bytes;
		result = sniff_stream(data, len, 0, ret);
	}
	return result;
}

static enum sniff_result look_at_datagrams(char *words, struct sniff *ret)
{
	struct sniff_datagrams *state = NULL;
	enum sniff_result result = SNIFF_MORE;

	for (char *word = strtok(words, " "); word && result == SNIFF_MORE;
	     word = strtok(NULL, " ")) {
		long bytes = unhex(word);

		if (bytes < 0)
			exit(2);
		result = sniff_datagram(&state, (const uint8_t *)word, (size_t)bytes, 0, ret);
	}
	sniff_datagrams_free(state);
	return result;
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 4) {
		struct sniff sniff = { 0 };
		enum sniff_result result;

		line[strcspn(line, "\n")] = 0;
		result = strncmp(line, "udp ", 4) == 0 ? look_at_datagrams(line + 4, &sniff)
						       : look_at_stream(line + 4, &sniff);
		if (result == SNIFF_YES)
			printf("%s %s\n", protocol_names[sniff.protocol],
			       sniff.domain[0] ? sniff.domain : "-");
		else
			printf("%s -\n", result == SNIFF_MORE ? "more" : "unknown");
	}
	free(line);
	return 0;
}
