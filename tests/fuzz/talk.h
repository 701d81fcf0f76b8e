/* talk - what a codec of proto/handshake.h makes of an answer that comes in pieces; each look at it is at a
 * buffer of its size. */
#pragma once
#include <stdlib.h>
#include <string.h>
#include "proto/handshake.h"

struct talk {
	enum handshake_result result;
	uint8_t said[4 * HANDSHAKE_OUT_MAX];
	size_t said_len, taken;
	int err;
	const char *why;
};

typedef enum handshake_result talk_step_fn(void *state, struct handshake_step *step);

static inline void talk_look(struct talk *talk, talk_step_fn *fn, void *state, const uint8_t *data,
			     size_t len)
{
	uint8_t *window = malloc(len ? len : 1);
	struct handshake_step step = { .in = window, .in_len = len };

	if (!window)
		abort();
	if (len)
		memcpy(window, data, len);
	talk->result = fn(state, &step);
	if (step.eaten > len || step.out_len > sizeof(talk->said) - talk->said_len)
		abort();
	memcpy(talk->said + talk->said_len, step.out, step.out_len);
	talk->said_len += step.out_len;
	talk->taken += step.eaten;
	talk->err = step.err;
	talk->why = step.why;
	free(window);
}

/* @first bytes of @data come, then @chunk at a time; @state is as after init. @fn: step, or answer. */
static inline struct talk talk_to(talk_step_fn *fn, void *state, const uint8_t *data, size_t len,
				  size_t first, size_t chunk)
{
	struct talk talk = { .result = HANDSHAKE_MORE };
	size_t come = 0, before;

	talk_look(&talk, fn, state, NULL, 0);
	for (come = first < len ? first : len; talk.result == HANDSHAKE_MORE;) {
		before = talk.taken;
		talk_look(&talk, fn, state, data + talk.taken, come - talk.taken);
		if (talk.taken != before)
			continue;
		if (come == len)
			break;
		come = chunk < len - come ? come + chunk : len;
	}
	return talk;
}

static inline bool talk_same(const struct talk *a, const struct talk *b)
{
	return a->result == b->result && a->taken == b->taken && a->err == b->err &&
	       a->why == b->why && a->said_len == b->said_len &&
	       !memcmp(a->said, b->said, a->said_len);
}
