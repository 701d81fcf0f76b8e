/* load - the traffic of the benchmark: both ends of it, one thread and one epoll each.
 *
 *   load server PORT CLIENT                    serves until SIGTERM, then prints what it saw
 *   load bulk ADDR PORT FLOWS SECONDS          client to server
 *   load reverse ADDR PORT FLOWS SECONDS       server to client
 *   load pingpong ADDR PORT FLOWS SECONDS      64-byte messages, one under way on each flow
 *   load connect ADDR PORT FLOWS SECONDS       connect, 1 KiB each way, close; FLOWS at a time
 *   load idle ADDR PORT FLOWS SECONDS          one byte each way, then silence until stdin ends
 *   load parked ADDR PORT FLOWS SECONDS        the same after 30 exchanges, 100 ms apart
 *
 * Every command ends with one JSON line; after an error {"error": ...}, and the exit status is 1.
 */
#define _GNU_SOURCE
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	MESSAGE_MAX = 1024,
	OPENING_MAX = 64, /* flows that connect at the same time */
	PATIENCE_S = 10,  /* for what is still under way when the time is up */
	ERRORS_MAX = 100,
	ROUNDS = 30, /* of parked: a proxy may take so long to find out that a flow lives */
	ROUND_MS = 100,
	STEPS = 32, /* histogram buckets for each power of two: 3 % wide */
};

char chunk[CHUNK];
int epoll_fd;
volatile sig_atomic_t stopped;

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("{\"error\": \"");
	vprintf(format, args);
	printf("\"}\n");
	va_end(args);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

struct sockaddr_in address(const char *ip, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };

	if (inet_pton(AF_INET, ip, &a.sin_addr) != 1)
		die("%s is not an address", ip);
	return a;
}

void watch(int op, int fd, uint32_t events, void *owner)
{
	struct epoll_event event = { .events = events, .data.ptr = owner };

	if (epoll_ctl(epoll_fd, op, fd, &event) < 0)
		die("epoll_ctl: %s", strerror(errno));
}

void no_delay(int fd)
{
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
}

enum kind { BULK, REVERSE, PINGPONG, CONNECT, IDLE, PARKED, KIND_COUNT };

static const char *const kind_names[] = {
	"bulk", "reverse", "pingpong", "connect", "idle", "parked"
};
static const size_t message_bytes[] = { 0, 0, 64, 1024, 1, 1 };

struct flow {
	int fd;
	bool ended;
	uint64_t started_ns;
	size_t got;
	char message[MESSAGE_MAX];
};

static struct {
	enum kind kind;
	struct sockaddr_in to;
	unsigned flow_count, live, opened, errors;
	unsigned rounds;
	uint64_t round_ns; /* when the last one began */
	int first_error;
	uint64_t seconds_ns, end_ns;
	uint64_t begin_ns; /* 0 until every flow of a ping-pong has warmed up */
	uint64_t bytes, exchanges, sequence;
	uint64_t histogram[(64 - 5 + 1) * STEPS];
} job;

static unsigned bucket_of(uint64_t ns)
{
	unsigned shift;

	if (ns < STEPS)
		return ns;
	shift = 63 - __builtin_clzll(ns) - 5;
	return (shift + 1) * STEPS + ((ns >> shift) - STEPS);
}

static double percentile_us(double share)
{
	uint64_t left = job.exchanges * share;

	for (unsigned b = 0; b < sizeof(job.histogram) / sizeof(job.histogram[0]); b++) {
		unsigned shift = b < STEPS ? 0 : b / STEPS - 1;

		if (job.histogram[b] > left)
			return ((b < STEPS ? b : STEPS + b % STEPS) + 0.5) * (1ULL << shift) / 1000;
		left -= job.histogram[b];
	}
	return 0;
}

static bool is_idle(void)
{
	return job.kind == IDLE || job.kind == PARKED;
}

static bool time_is_up(void)
{
	return job.begin_ns && now_ns() >= job.begin_ns + job.seconds_ns;
}

static void flow_end(struct flow *f, int error)
{
	if (error && !job.errors++)
		job.first_error = error;
	if (job.errors >= ERRORS_MAX)
		die("%u errors, the first: %s", job.errors, strerror(job.first_error));
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	f->ended = true;
	job.live--;
}

static void flow_open(struct flow *f)
{
	f->ended = false;
	f->got = 0;
	f->started_ns = now_ns();
	job.live++;
	f->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (f->fd < 0)
		die("socket: %s", strerror(errno));
	no_delay(f->fd);
	if (connect(f->fd, (struct sockaddr *)&job.to, sizeof(job.to)) < 0 &&
	    errno != EINPROGRESS) {
		flow_end(f, errno);
		return;
	}
	watch(EPOLL_CTL_ADD, f->fd, EPOLLOUT, f);
}

/* Every message differs, so a byte that is late or from another flow is seen. */
static void message_send(struct flow *f)
{
	size_t len = message_bytes[job.kind];
	ssize_t n;

	f->message[0] = MODE_ECHO;
	if (len > sizeof(job.sequence)) {
		job.sequence++;
		memcpy(f->message + 1, &job.sequence, sizeof(job.sequence));
	}
	f->got = 0;
	n = send(f->fd, f->message, len, MSG_NOSIGNAL);
	if (n != (ssize_t)len)
		flow_end(f, n < 0 ? errno : EMSGSIZE);
}

static void pingpong_begin(struct flow *flows)
{
	job.begin_ns = now_ns();
	for (unsigned i = 0; i < job.flow_count; i++) {
		flows[i].started_ns = now_ns();
		message_send(&flows[i]);
	}
}

static void exchange_done(struct flow *f, struct flow *flows)
{
	uint64_t now = now_ns();
	bool warm_up = job.kind == PINGPONG && !job.begin_ns;

	if (!warm_up) {
		job.exchanges++;
		job.histogram[bucket_of(now - f->started_ns)]++;
		job.end_ns = now;
	}
	if (warm_up) {
		if (++job.opened == job.flow_count)
			pingpong_begin(flows);
	} else if (job.kind == PINGPONG && !time_is_up()) {
		f->started_ns = now;
		message_send(f);
	} else if (is_idle()) {
		if (job.opened < job.flow_count)
			flow_open(&flows[job.opened++]);
	} else {
		flow_end(f, 0);
		if (job.kind == CONNECT && !time_is_up())
			flow_open(f);
	}
}

static void message_receive(struct flow *f, struct flow *flows)
{
	char answer[MESSAGE_MAX];
	size_t len = message_bytes[job.kind];
	ssize_t n = recv(f->fd, answer, len - f->got, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || f->got == len) { /* idle flows have nothing to say any more */
		flow_end(f, n < 0 ? errno : ECONNRESET);
		return;
	}
	if (memcmp(answer, f->message + f->got, n))
		die("wrong bytes came back");
	f->got += n;
	if (f->got == len)
		exchange_done(f, flows);
}

static void bulk_event(struct flow *f)
{
	bool reverse = job.kind == REVERSE;
	ssize_t n = reverse || f->ended ? recv(f->fd, chunk, sizeof(chunk), 0)
					: send(f->fd, chunk, sizeof(chunk), MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN)
			flow_end(f, errno);
	} else if (n == 0) {
		flow_end(f, f->ended ? 0 : ECONNRESET);
		job.end_ns = now_ns();
	} else {
		job.bytes += n;
	}
}

/* Half-close: the server ends in its turn once it has read everything, and then the clock stops. */
static void bulk_finish(struct flow *flows)
{
	for (unsigned i = 0; i < job.flow_count; i++) {
		if (flows[i].fd < 0 || flows[i].ended)
			continue;
		flows[i].ended = true;
		shutdown(flows[i].fd, SHUT_WR);
		watch(EPOLL_CTL_MOD, flows[i].fd, EPOLLIN, &flows[i]);
	}
}

static bool is_bulk(void)
{
	return job.kind == BULK || job.kind == REVERSE;
}

static void flow_connected(struct flow *f)
{
	socklen_t len = sizeof(int);
	int error = 0;

	getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		flow_end(f, error);
		return;
	}
	if (job.kind == BULK)
		chunk[0] = MODE_SINK;
	else if (job.kind == REVERSE && send(f->fd, "R", 1, MSG_NOSIGNAL) != 1)
		die("send: %s", strerror(errno));
	watch(EPOLL_CTL_MOD, f->fd, job.kind == BULK ? EPOLLOUT : EPOLLIN, f);
	if (!is_bulk())
		message_send(f);
}

static void client_event(struct flow *f, uint32_t events, struct flow *flows)
{
	if (f->fd < 0)
		return;
	if (is_bulk() && f->message[0]) {
		bulk_event(f);
	} else if (events & EPOLLOUT) {
		f->message[0] = MODE_ECHO; /* connected */
		flow_connected(f);
	} else {
		message_receive(f, flows);
	}
}

/* Flows are open, and every answer has come. */
static void next_round(struct flow *flows)
{
	if (job.kind != PARKED || job.rounds + 1 >= ROUNDS ||
	    job.exchanges < (uint64_t)job.flow_count * (job.rounds + 1) ||
	    now_ns() < job.round_ns + ROUND_MS * 1000000ULL)
		return;
	job.rounds++;
	job.round_ns = now_ns();
	for (unsigned i = 0; i < job.flow_count; i++) {
		flows[i].started_ns = now_ns();
		message_send(&flows[i]);
	}
}

static bool idle_is_held(void)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	static bool told;

	if (job.exchanges < (uint64_t)job.flow_count * (job.kind == PARKED ? ROUNDS : 1))
		return !job.errors;
	if (!told) {
		printf("{\"ready\": %" PRIu64 "}\n", job.exchanges);
		fflush(stdout);
		told = true;
	}
	return !poll(&input, 1, 0) && now_ns() < job.begin_ns + job.seconds_ns;
}

/* Runs until everything has ended; whatever has not by its time is an error. */
static void client_loop(struct flow *flows)
{
	uint64_t give_up = now_ns() + job.seconds_ns + PATIENCE_S * 1000000000ULL;
	struct epoll_event events[EVENTS];
	bool finishing = false;

	while (job.live) {
		int n = epoll_wait(epoll_fd, events, EVENTS, 50);

		for (int i = 0; i < n; i++)
			client_event(events[i].data.ptr, events[i].events, flows);
		next_round(flows);
		if (is_idle() && !idle_is_held())
			return;
		if (is_bulk() && !finishing && time_is_up()) {
			finishing = true;
			bulk_finish(flows);
		}
		if (now_ns() > give_up)
			die("%u of %u flows did not end in time", job.live, job.flow_count);
	}
}

static void report(void)
{
	double seconds = (job.end_ns - job.begin_ns) / 1e9;

	if (job.errors)
		die("%u errors in %" PRIu64 " exchanges, the first: %s", job.errors, job.exchanges,
		    strerror(job.first_error));
	printf("{\"seconds\": %.3f, \"bytes\": %" PRIu64 ", \"exchanges\": %" PRIu64
	       ", \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
	       seconds, job.bytes, job.exchanges, percentile_us(0.5), percentile_us(0.99));
}

static int client(enum kind kind, char **args)
{
	unsigned at_once;
	struct flow *flows;

	job.kind = kind;
	job.to = address(args[0], args[1]);
	job.flow_count = atoi(args[2]);
	job.seconds_ns = atof(args[3]) * 1e9;
	flows = calloc(job.flow_count, sizeof(*flows));
	if (!flows)
		die("out of memory");
	if (kind != PINGPONG)
		job.begin_ns = now_ns();
	at_once = is_idle() && job.flow_count > OPENING_MAX ? OPENING_MAX : job.flow_count;
	for (unsigned i = 0; i < at_once; i++)
		flow_open(&flows[i]);
	if (is_idle())
		job.opened = at_once;
	client_loop(flows);
	report();
	return 0;
}

static void on_term(int signal)
{
	(void)signal;
	stopped = 1;
}

int main(int argc, char **argv)
{
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_term }, NULL);
	epoll_fd = epoll_create1(0);
	if (argc == 4 && !strcmp(argv[1], "server"))
		return serve(argv[2], argv[3]);
	for (int kind = 0; argc == 6 && kind < KIND_COUNT; kind++) {
		if (!strcmp(argv[1], kind_names[kind]))
			return client(kind, argv + 2);
	}
	fprintf(stderr,
		"usage: load server PORT CLIENT\n"
		"       load bulk|reverse|pingpong|connect|idle|parked ADDR PORT FLOWS SECONDS\n");
	return 2;
}
