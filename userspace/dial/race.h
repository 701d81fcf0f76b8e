/* race - a name to the first of its addresses that answers: resolution and Happy Eyeballs (RFC 8305). */
#pragma once
#include "dial/dial.h"

struct race_dialer {
	struct dialer base;
	const struct dialer *via; /* borrowed; dials each address */
	size_t server;            /* of the resolver */
	enum domain_strategy strategy;
	uint32_t attempt_delay_ms;    /* between attempts, RFC 8305 5: 250 */
	uint32_t fallback_delay_ms;   /* before the first attempt of the other family: 300 */
	uint32_t resolution_delay_ms; /* for the preferred family's answer, RFC 8305 3: 50 */
	bool serial; /* one attempt at a time: with fast open a connect says yes before it was asked */
};

extern const struct dialer_ops dial_race_ops;
