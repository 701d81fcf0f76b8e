#include "dial/owed.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"

/* The answers of two, one after the other: what *state of joined_answers points to. */
struct joined {
	struct dial_owed *below; /* NULL: its answer is over */
	struct dial_owed *above;
};

static enum handshake_result joined_answer(void *state, struct handshake_step *step)
{
	struct joined *joined = state;
	struct dial_owed *above = joined->above;
	struct handshake_step rest;
	enum handshake_result result;

	if (!joined->below)
		return above->ops->answer(above->state, step);
	result = joined->below->ops->answer(joined->below->state, step);
	if (result != HANDSHAKE_DONE)
		return result;
	dial_owed_free(TAKE_PTR(joined->below));
	rest = (struct handshake_step){ .in = step->in + step->eaten,
					.in_len = step->in_len - step->eaten };
	result = above->ops->answer(above->state, &rest);
	step->eaten += rest.eaten;
	step->why = rest.why;
	step->err = rest.err;
	return result;
}

static const struct handshake_ops joined_answers = {
	.name = "tunnels",
	.state_size = sizeof(struct joined),
	.deferred = true,
	.answer = joined_answer,
};

void dial_owed_free(struct dial_owed *owed)
{
	if (!owed)
		return;
	if (owed->ops == &joined_answers) {
		const struct joined *joined = owed->state;

		dial_owed_free(joined->below);
		dial_owed_free(joined->above);
	}
	free(owed->state);
	free(owed);
}

static void prepend(struct dial_owed *to, const struct dial_owed *from)
{
	memmove(to->header + from->header_len, to->header, to->header_len);
	memcpy(to->header, from->header, from->header_len);
	to->header_len += from->header_len;
}

static void append(struct dial_owed *to, const struct dial_owed *from)
{
	memcpy(to->header + to->header_len, from->header, from->header_len);
	to->header_len += from->header_len;
}

static struct dial_owed *join_answers(struct dial_owed *below, struct dial_owed *above)
{
	defer_free struct dial_owed *owed = calloc(1, sizeof(*owed));
	struct joined *joined = calloc(1, sizeof(*joined));

	if (!owed || !joined) {
		free(joined);
		return NULL;
	}
	*joined = (struct joined){ below, above };
	owed->ops = &joined_answers;
	owed->state = joined;
	append(owed, below);
	append(owed, above);
	return TAKE_PTR(owed);
}

int dial_owed_join(struct dial_owed **ret, struct dial_owed *below, struct dial_owed *above)
{
	struct dial_owed *joined;

	if (below->header_len + above->header_len > sizeof(joined->header))
		return -ENAMETOOLONG;
	if (!below->ops) {
		prepend(above, below);
		dial_owed_free(below);
		joined = above;
	} else if (!above->ops) {
		append(below, above);
		dial_owed_free(above);
		joined = below;
	} else {
		joined = join_answers(below, above);
		if (!joined)
			return -ENOMEM;
	}
	*ret = joined;
	return 0;
}
