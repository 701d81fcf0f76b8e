/* However the answer of a proxy is cut, it comes to the same: an odd first byte has a password, its bit 2
 * asks for datagrams, the next says where to cut. */
#include "talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct talk hear(const struct handshake_ops *ops, const uint8_t *data, size_t size,
			size_t first, size_t chunk)
{
	const struct handshake_config config = { .username = data[0] & 1 ? "user" : NULL };
	const struct handshake_target target = { .domain = "a.test",
						 .addr.port = 443,
						 .datagrams = data[0] & 4 };
	void *state = malloc(ops->state_size);
	struct talk talk;

	if (!state || ops->init(state, &target, &config))
		abort();
	talk = talk_to(ops->step, state, data + 2, size - 2, first, chunk);
	free(state);
	return talk;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct handshake_ops *ops;
	struct talk whole, cut;

	if (size < 2)
		return 0;
	ops = data[0] & 2 ? &socks4_handshake : &socks5_handshake;
	whole = hear(ops, data, size, size, size);
	cut = hear(ops, data, size, data[1], 1);
	if (!talk_same(&whole, &cut) || ((whole.result == HANDSHAKE_REFUSED) != (whole.err < 0)) ||
	    ((whole.result >= HANDSHAKE_REFUSED) != (whole.why != NULL)))
		abort();
	return 0;
}
