/* link - a cable between two namespaces that is long and bad: makes a TAP device (--tun: a TUN device) in each and
 * carries what one sends to the other, late, not at all, twice or out of order. Both vanish when it ends.
 *
 *     link [--tun] [--seed N] NETNS-PATH INTERFACE NETNS-PATH INTERFACE
 *
 * Each line of its input sets a direction, 0 from the first to the second or 1 back, and is answered by "ok":
 *     DIRECTION DELAY-US LOSS% DUPLICATE% REORDER% REORDER-US KBIT/S QUEUE
 * REORDER% of the packets wait REORDER-US more; at KBIT/S (0: no limit) at most QUEUE packets wait or are under
 * way, what comes then is lost. It ends with its input, and then tells for each direction what it has
 *     carried lost duplicated reordered overflowed
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define PACKETS      8192U /* of both directions */
#define PACKET_BYTES 9600U
#define TURN         64 /* packets that are read before the other direction has its turn */
#define NS           1000000000ULL

struct packet {
	uint64_t due_ns,
		number; /* the earlier one first, and of two at once the one that came first */
	uint32_t length;
	uint8_t bytes[PACKET_BYTES];
};

struct direction {
	int from, to;
	struct packet *heap[PACKETS]; /* the next one is heap[0] */
	uint32_t count;
	uint64_t free_ns; /* when the cable has sent all that it was given */
	uint64_t delay_us, reorder_us, kbit, queue;
	double loss, duplicate, reorder;
	uint64_t carried, lost, duplicated, reordered, overflowed;
};

struct cable {
	struct direction way[2];
	struct packet *spare[PACKETS];
	uint32_t spares;
	uint64_t numbers, seed;
	int epoll, timer;
};

static void die(const char *what)
{
	fprintf(stderr, "link: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

/* xorshift64*; @percent of the calls are true. */
static bool chance(struct cable *c, double percent)
{
	c->seed ^= c->seed >> 12;
	c->seed ^= c->seed << 25;
	c->seed ^= c->seed >> 27;
	return (double)(c->seed * 0x2545f4914f6cdd1dULL >> 11) / (double)(1ULL << 53) * 100 <
	       percent;
}

static bool is_before(const struct packet *a, const struct packet *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static void heap_push(struct direction *d, struct packet *p)
{
	uint32_t i = d->count++;

	for (; i && is_before(p, d->heap[(i - 1) / 2]); i = (i - 1) / 2)
		d->heap[i] = d->heap[(i - 1) / 2];
	d->heap[i] = p;
}

static struct packet *heap_pop(struct direction *d)
{
	struct packet *first = d->heap[0], *last = d->heap[--d->count];
	uint32_t i = 0, child;

	while ((child = 2 * i + 1) < d->count) {
		if (child + 1 < d->count && is_before(d->heap[child + 1], d->heap[child]))
			child++;
		if (!is_before(d->heap[child], last))
			break;
		d->heap[i] = d->heap[child];
		i = child;
	}
	d->heap[i] = last;
	return first;
}

/* A device that is down or does not take the packet has lost it. */
static void deliver(struct cable *c, struct direction *d, uint64_t now)
{
	while (d->count && d->heap[0]->due_ns <= now) {
		struct packet *p = heap_pop(d);

		if (write(d->to, p->bytes, p->length) == (ssize_t)p->length)
			d->carried++;
		else
			d->overflowed++;
		c->spare[c->spares++] = p;
	}
}

static void enqueue(struct cable *c, struct direction *d, struct packet *p, uint64_t now)
{
	uint64_t busy = d->kbit ? (uint64_t)p->length * 8 * 1000000 / d->kbit : 0;

	d->free_ns = (d->free_ns > now ? d->free_ns : now) + busy;
	p->due_ns = d->free_ns + d->delay_us * 1000;
	p->number = c->numbers++;
	if (chance(c, d->reorder)) {
		p->due_ns += d->reorder_us * 1000;
		d->reordered++;
	}
	heap_push(d, p);
}

/* @p holds a packet of @d: it is queued, maybe twice, or dropped. */
static void accept_packet(struct cable *c, struct direction *d, struct packet *p, uint64_t now)
{
	struct packet *copy;

	if (chance(c, d->loss)) {
		d->lost++;
	} else if (d->count >= d->queue) {
		d->overflowed++;
	} else {
		enqueue(c, d, p, now);
		if (!c->spares || !chance(c, d->duplicate))
			return;
		copy = c->spare[--c->spares];
		copy->length = p->length;
		memcpy(copy->bytes, p->bytes, p->length);
		enqueue(c, d, copy, now);
		d->duplicated++;
		return;
	}
	c->spare[c->spares++] = p;
}

static void pick_up(struct cable *c, struct direction *d)
{
	for (int i = 0; i < TURN; i++) {
		static uint8_t waste[PACKET_BYTES];
		struct packet *p = c->spares ? c->spare[c->spares - 1] : NULL;
		ssize_t n = read(d->from, p ? p->bytes : waste, PACKET_BYTES);

		if (n <= 0)
			return;
		if (!p) {
			d->overflowed++;
			continue;
		}
		c->spares--;
		p->length = (uint32_t)n;
		accept_packet(c, d, p, now_ns());
	}
}

static void set_timer(struct cable *c)
{
	struct itimerspec t = { 0 };
	uint64_t due = UINT64_MAX;

	for (int i = 0; i < 2; i++)
		if (c->way[i].count && c->way[i].heap[0]->due_ns < due)
			due = c->way[i].heap[0]->due_ns;
	if (due != UINT64_MAX)
		t.it_value = (struct timespec){ (time_t)(due / NS), (long)(due % NS) };
	if (timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &t, NULL))
		die("timerfd_settime");
}

static int make_device(const char *netns, const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)(flags | IFF_NO_PI) };
	int ns = open(netns, O_RDONLY | O_CLOEXEC), fd;

	if (ns < 0 || setns(ns, CLONE_NEWNET))
		die(netns);
	close(ns);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		die("/dev/net/tun");
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr))
		die(name);
	return fd;
}

static void watch(const struct cable *c, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

static struct cable *make_cable(char **argv, int flags, uint64_t seed)
{
	static struct packet packets[PACKETS];
	static struct cable cable;
	struct cable *c = &cable;
	int fd[2];

	for (; c->spares < PACKETS; c->spares++)
		c->spare[c->spares] = &packets[c->spares];
	c->seed = seed * 2 + 1;
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	for (int i = 0; i < 2; i++)
		fd[i] = make_device(argv[2 * i], argv[2 * i + 1], flags);
	for (int i = 0; i < 2; i++) {
		c->way[i] = (struct direction){ .from = fd[i], .to = fd[!i], .queue = PACKETS };
		watch(c, fd[i]);
	}
	watch(c, c->timer);
	watch(c, STDIN_FILENO);
	return c;
}

static bool set_direction(struct cable *c, const char *line)
{
	unsigned way;
	unsigned long long delay, reorder_us, kbit, queue;
	double loss, duplicate, reorder;

	if (sscanf(line, "%u %llu %lf %lf %lf %llu %llu %llu", &way, &delay, &loss, &duplicate,
		   &reorder, &reorder_us, &kbit, &queue) != 8 ||
	    way > 1)
		return false;
	c->way[way].delay_us = delay;
	c->way[way].loss = loss;
	c->way[way].duplicate = duplicate;
	c->way[way].reorder = reorder;
	c->way[way].reorder_us = reorder_us;
	c->way[way].kbit = kbit;
	c->way[way].queue = queue;
	return true;
}

/* Lines come whole, one at a time: each is answered before the next. False at the end. */
static bool obey(struct cable *c)
{
	char line[256];
	ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);

	if (n <= 0)
		return false;
	line[n] = '\0';
	puts(set_direction(c, line) ? "ok" : "?");
	fflush(stdout);
	return true;
}

static void run(struct cable *c)
{
	struct epoll_event events[4];

	for (;;) {
		int n = epoll_wait(c->epoll, events, 4, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == STDIN_FILENO && !obey(c))
				return;
			for (int way = 0; way < 2; way++)
				if (events[i].data.fd == c->way[way].from)
					pick_up(c, &c->way[way]);
		}
		for (int way = 0; way < 2; way++)
			deliver(c, &c->way[way], now_ns());
		set_timer(c);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "tun", no_argument, NULL, 't' },
						 { "seed", required_argument, NULL, 's' },
						 { 0 } };
	uint64_t seed = 1;
	int flags = IFF_TAP, o;
	struct cable *c;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 't')
			flags = IFF_TUN;
		else if (o == 's')
			seed = strtoull(optarg, NULL, 10);
		else
			return 2;
	}
	if (argc - optind != 4)
		return 2;
	c = make_cable(argv + optind, flags, seed);
	puts("ok");
	fflush(stdout);
	run(c);
	for (int way = 0; way < 2; way++) {
		const struct direction *d = &c->way[way];

		printf("%llu %llu %llu %llu %llu\n", (unsigned long long)d->carried,
		       (unsigned long long)d->lost, (unsigned long long)d->duplicated,
		       (unsigned long long)d->reordered, (unsigned long long)d->overflowed);
	}
	return 0;
}
