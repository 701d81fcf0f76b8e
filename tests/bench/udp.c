/* udp - the datagrams of the benchmark: both ends, one thread and one socket each.
 *
 *   udp server ADDR PORT                        echoes until SIGTERM, then prints what it saw
 *   udp echo ADDR PORT SESSIONS SIZE SECONDS    WINDOW datagrams under way, of all sessions in turn
 *
 * Sessions differ by their source address, 10.80.0.0 and up: the client's namespace has a local route for them, so
 * that one socket serves all, and the load costs little beside the proxy. An answer counts if it is from ADDR and
 * PORT, to the session that asked, and whole. What is not answered for PATIENCE_MS is lost.
 * Ends with one JSON line; after an error {"error": ...}, and the exit status is 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
	BATCH = 64,
	WINDOW = 64, /* fits the receive buffer that sockets have by default */
	SIZE_MAX_ = 2048,
	PATIENCE_MS = 10,
	SOURCES = 0x0a500000, /* 10.80.0.0 */
	SOURCES_MASK = 0xffff0000,
};

struct slot {
	char data[SIZE_MAX_];
	char control[CMSG_SPACE(sizeof(struct in_pktinfo))];
	struct sockaddr_in peer;
	struct iovec iov;
};

/* What a datagram begins with. */
struct label {
	uint32_t session, sequence;
};

static struct slot slots[BATCH];
static struct mmsghdr messages[BATCH];
static volatile sig_atomic_t stopped;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("{\"error\": \"");
	vprintf(format, args);
	printf("\"}\n");
	va_end(args);
	exit(1);
}

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static struct sockaddr_in address(const char *ip, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };

	if (inet_pton(AF_INET, ip, &a.sin_addr) != 1)
		die("%s is not an address", ip);
	return a;
}

static int open_socket(const struct sockaddr_in *local)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	int room = 8 << 20;

	if (fd < 0 || bind(fd, (const struct sockaddr *)local, sizeof(*local)) < 0)
		die("bind: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	return fd;
}

/* Empty messages to receive into. */
static void prepare(void)
{
	for (int i = 0; i < BATCH; i++) {
		struct slot *slot = &slots[i];

		slot->iov = (struct iovec){ slot->data, sizeof(slot->data) };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &slot->peer,
						       .msg_namelen = sizeof(slot->peer),
						       .msg_iov = &slot->iov,
						       .msg_iovlen = 1,
						       .msg_control = slot->control,
						       .msg_controllen = sizeof(slot->control) };
	}
}

/* Nothing for @ms: 0. */
static int receive(int fd, int ms)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	int n;

	prepare();
	n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0 && errno == EAGAIN) {
		if (poll(&wait, 1, ms) <= 0)
			return 0;
		n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
	}
	if (n < 0 && errno != EAGAIN && errno != ECONNREFUSED)
		die("recvmmsg: %s", strerror(errno));
	return n < 0 ? 0 : n;
}

static void send_all(int fd, int count)
{
	for (int done = 0; done < count;) {
		int n = sendmmsg(fd, messages + done, count - done, 0);

		if (n < 0 && errno != ECONNREFUSED && errno != ENOBUFS && errno != EPERM)
			die("sendmmsg: %s", strerror(errno));
		done += n < 0 ? 1 : n;
	}
}

static int serve(const struct sockaddr_in *local)
{
	uint64_t direct = 0, relayed = 0;
	int fd = open_socket(local);

	printf("{\"listening\": %d}\n", ntohs(local->sin_port));
	fflush(stdout);
	while (!stopped) {
		int n = receive(fd, 100);

		for (int i = 0; i < n; i++) {
			uint32_t from = ntohl(slots[i].peer.sin_addr.s_addr);

			if ((from & SOURCES_MASK) == SOURCES)
				direct++;
			else
				relayed++;
			slots[i].iov.iov_len = messages[i].msg_len;
			messages[i].msg_hdr.msg_controllen = 0;
		}
		send_all(fd, n);
	}
	printf("{\"direct\": %" PRIu64 ", \"relayed\": %" PRIu64 "}\n", direct, relayed);
	return 0;
}

static struct {
	struct sockaddr_in to;
	uint32_t sessions, sequence;
	size_t size;
	uint64_t sent, answered, wrong, lost, wrong_at_start;
	uint32_t reached; /* sessions that have had an answer */
	bool *was_reached;
	unsigned under_way;
	int fd;
} job;

static void question(int i)
{
	struct label label = { job.sequence % job.sessions, job.sequence };
	struct in_pktinfo info = { .ipi_spec_dst.s_addr = htonl(SOURCES + 1 + label.session) };
	struct msghdr *message = &messages[i].msg_hdr;
	struct cmsghdr *control;

	job.sequence++;
	slots[i].peer = job.to;
	slots[i].iov.iov_len = job.size;
	memcpy(slots[i].data, &label, sizeof(label));
	control = CMSG_FIRSTHDR(message);
	*control = (struct cmsghdr){ CMSG_LEN(sizeof(info)), IPPROTO_IP, IP_PKTINFO };
	memcpy(CMSG_DATA(control), &info, sizeof(info));
}

/* Not before half the window is free: batches, as busy clients send them. */
static void ask(void)
{
	int count = WINDOW - (int)job.under_way;

	if (count < WINDOW / 2)
		return;
	prepare();
	for (int i = 0; i < count; i++)
		question(i);
	send_all(job.fd, count);
	job.under_way += count;
	job.sent += count;
}

/* To the session that asked, from where it wrote to. */
static bool is_answer(int i)
{
	const struct slot *slot = &slots[i];
	const struct cmsghdr *control = CMSG_FIRSTHDR(&messages[i].msg_hdr);
	struct label label;
	struct in_pktinfo info;

	if (messages[i].msg_len != job.size || !control || control->cmsg_type != IP_PKTINFO)
		return false;
	memcpy(&label, slot->data, sizeof(label));
	memcpy(&info, CMSG_DATA(control), sizeof(info));
	if (slot->peer.sin_addr.s_addr != job.to.sin_addr.s_addr ||
	    slot->peer.sin_port != job.to.sin_port || label.session >= job.sessions ||
	    ntohl(info.ipi_addr.s_addr) != SOURCES + 1 + label.session)
		return false;
	job.reached += !job.was_reached[label.session];
	job.was_reached[label.session] = true;
	return true;
}

/* One turn. */
static void turn(void)
{
	int n;

	ask();
	n = receive(job.fd, PATIENCE_MS);
	if (!n) {
		job.lost += job.under_way;
		job.under_way = 0;
	}
	for (int i = 0; i < n; i++) {
		if (is_answer(i))
			job.answered++;
		else
			job.wrong++;
		if (job.under_way)
			job.under_way--;
	}
}

/* Until each session has had an answer. */
static void warm_up(uint64_t ns)
{
	uint64_t end = now_ns() + ns;

	while (job.reached < job.sessions && now_ns() < end)
		turn();
	if (job.reached < job.sessions)
		die("%u of %u sessions had an answer in time; %" PRIu64 " lost, %" PRIu64 " wrong",
		    job.reached, job.sessions, job.lost, job.wrong);
	job.wrong_at_start = job.wrong;
	job.sent = job.answered = job.lost = job.wrong = 0;
	printf("{\"ready\": %u}\n", job.sessions);
	fflush(stdout);
}

static int echo(const char *sessions, const char *size, const char *seconds)
{
	struct sockaddr_in any = address("0.0.0.0", "20000");
	uint64_t ns = (uint64_t)(atof(seconds) * 1e9), start;

	job.sessions = atoi(sessions);
	job.size = atoi(size);
	if (!job.sessions || job.size < sizeof(struct label) || job.size > SIZE_MAX_)
		die("bad arguments");
	job.fd = open_socket(&any);
	job.was_reached = calloc(job.sessions, sizeof(*job.was_reached));
	if (!job.was_reached)
		die("out of memory");
	setsockopt(job.fd, IPPROTO_IP, IP_PKTINFO, &(int){ 1 }, sizeof(int));
	warm_up(20000000000ULL);
	start = now_ns();
	while (!stopped && now_ns() - start < ns)
		turn();
	printf("{\"seconds\": %.3f, \"sent\": %" PRIu64 ", \"answered\": %" PRIu64
	       ", \"lost\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"wrong_at_start\": %" PRIu64
	       "}\n",
	       (now_ns() - start) / 1e9, job.sent, job.answered, job.lost, job.wrong,
	       job.wrong_at_start);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = stop };

	sigaction(SIGTERM, &action, NULL);
	if (argc == 4 && !strcmp(argv[1], "server")) {
		struct sockaddr_in local = address(argv[2], argv[3]);

		return serve(&local);
	}
	if (argc != 7 || strcmp(argv[1], "echo"))
		die("usage: udp server ADDR PORT | udp echo ADDR PORT SESSIONS SIZE SECONDS");
	job.to = address(argv[2], argv[3]);
	return echo(argv[4], argv[5], argv[6]);
}
