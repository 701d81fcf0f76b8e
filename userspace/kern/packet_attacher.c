/* packet_attacher - attaches in the background. The kernel waits for a grace period of RCU each time, some 10 ms in
 * which no worker is to stand still. */
#include <errno.h>
#include "kern/packet_object.h"

static void attach_next(struct packet *p)
{
	int interface = p->attacher.wanted[--p->attacher.count];
	int r = packet_hook_add(p, interface, PACKET_INGRESS);

	if (r)
		packet_hook_failed(p, interface, r);
}

static void *run(void *arg)
{
	struct packet *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->attacher.stops) {
		if (p->attacher.count)
			attach_next(p);
		else
			pthread_cond_wait(&p->attacher.wake, &p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static int start(struct packet *p)
{
	int r = pthread_cond_init(&p->attacher.wake, NULL);

	if (!r)
		r = pthread_create(&p->attacher.thread, NULL, run, p);
	p->attacher.runs = !r;
	return -r;
}

static int want(struct packet *p, int interface)
{
	const struct packet_hook *hook = packet_hook_find(p, interface, PACKET_INGRESS);
	int r;

	if (hook)
		return hook->err;
	r = packet_hook_fits(p, interface);
	if (!r && !p->attacher.runs)
		r = start(p);
	if (r)
		return r;
	for (size_t i = 0; i < p->attacher.count; i++)
		if (p->attacher.wanted[i] == interface)
			return -EAGAIN;
	if (p->attacher.count < PACKET_WANTED_MAX)
		p->attacher.wanted[p->attacher.count++] = interface;
	pthread_cond_signal(&p->attacher.wake);
	return -EAGAIN;
}

int packet_prepare(struct packet *p, const struct packet_spec *spec)
{
	int result = 0;

	if (pthread_mutex_trylock(&p->lock)) /* the attacher has it, or somebody for a moment */
		return -EAGAIN;
	for (int side = 0; side < 2; side++) {
		int r = want(p, spec->end[side].interface);

		if (r && (!result || result == -EAGAIN))
			result = r;
	}
	pthread_mutex_unlock(&p->lock);
	return result;
}

void packet_attacher_stop(struct packet *p)
{
	if (!p->attacher.runs)
		return;
	pthread_mutex_lock(&p->lock);
	p->attacher.stops = true;
	pthread_cond_signal(&p->attacher.wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->attacher.thread, NULL);
	pthread_cond_destroy(&p->attacher.wake);
	p->attacher.runs = false;
}
