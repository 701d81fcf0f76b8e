/* out - text that grows at its end and is taken from its front: what waits for a client.
 *
 * An allocation that fails sticks: what was put since is lost, and @failed tells whoever sends it.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct out {
	char *data;
	size_t at, len, size; /* [at, len) waits */
	bool failed;
};

void out_deinit(struct out *out); /* zeroed is fine; is zeroed after */
void out_put(struct out *out, const void *data, size_t bytes);
__attribute__((format(printf, 2, 3))) void out_print(struct out *out, const char *format, ...);
void out_json(struct out *out, const json_t *value); /* compact; NULL: fails */
/* The next element of a list that is too long to be one tree, with its comma; takes @value over. Returns what
 * @first is for the one after it. */
bool out_element(struct out *out, json_t *value, bool first);
/* Back to an earlier @len, when nothing was taken meanwhile. */
void out_cut(struct out *out, size_t len);
void out_eat(struct out *out, size_t bytes);
static inline size_t out_waits(const struct out *out)
{
	return out->len - out->at;
}
