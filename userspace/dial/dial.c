#include "dial/dial.h"
#include <errno.h>
#include <stdlib.h>

static const struct dialer *first_with_work(const struct dialer *dialer,
					    const struct dial_request *request)
{
	const struct dialer *below;

	while (dialer->ops->skip && (below = dialer->ops->skip(dialer, request)) != dialer)
		dialer = below;
	return dialer;
}

int dial_start(struct dial **ret, const struct dialer *dialer, const struct dial_request *request,
	       const char **ret_call)
{
	struct dial *dial;
	int r;

	dialer = first_with_work(dialer, request);
	dial = calloc(1, dialer->ops->dial_size);
	*ret_call = "malloc";
	if (!dial)
		return -ENOMEM;
	*dial = (struct dial){ .dialer = dialer, .request = *request };
	r = dialer->ops->start(dial);
	if (r < 0) {
		*ret_call = dial->call;
		free(dial);
		return r;
	}
	*ret = dial;
	return 0;
}

void dial_cancel(struct dial *dial, bool reset)
{
	if (!dial)
		return;
	dial->dialer->ops->cancel(dial, reset);
	free(dial);
}

void dial_finish(struct dial *dial, const struct dial_result *result)
{
	dial->request.done(dial->request.owner, result);
	dial_cancel(dial, true); /* closes what was not taken */
}
