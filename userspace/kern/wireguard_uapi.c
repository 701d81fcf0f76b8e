/* wireguard_uapi - wireguard-go's configuration protocol: lines of key=value on a Unix socket, an
 * empty line at the end, errno=N as the answer. Numbers are decimal, keys are hexadecimal. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include "base/cleanup.h"
#include "kern/wireguard_backend.h"

#define ANSWER_MAX   4096
/* More than the longest of its kind takes: an allowed IP is one line, all else of a peer six. */
#define DEVICE_BYTES 512
#define PEER_BYTES   512
#define IP_BYTES     80

/* Of a fixed size, so that no copy of a key stays behind in memory that was freed. */
struct text {
	char *start;
	size_t used, size;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->start + text->used, text->size - text->used, format, args);
	va_end(args);
	text->used += n > 0 ? (size_t)n : 0;
	if (text->used >= text->size)
		text->used = text->size - 1;
}

static void put_key(struct text *text, const char *name, const uint8_t *key)
{
	put(text, "%s=", name);
	for (size_t i = 0; i < WIREGUARD_KEY_BYTES; i++)
		put(text, "%02x", key[i]);
	put(text, "\n");
}

int wireguard_uapi_connect(const char *name, pid_t pid)
{
	static const struct timeval patience = { .tv_sec = 1 };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	defer_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (fd < 0)
		return -errno;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/var/run/wireguard/%s.sock", name);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) ||
	    connect(fd, (struct sockaddr *)&sa, sizeof(sa)) ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return -errno;
	/* The path is that of all network namespaces; ours may be somebody else's there. */
	return peer.pid == pid ? TAKE_FD(fd) : -EPERM;
}

static int send_all(int fd, const struct text *text)
{
	for (size_t sent = 0; sent < text->used;) {
		ssize_t n = send(fd, text->start + sent, text->used - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		sent += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* The number of "errno=N", which wireguard-go writes with its sign. */
static int read_answer(int fd)
{
	char answer[ANSWER_MAX] = "";
	size_t used = 0;
	const char *line;

	while (!strstr(answer, "\n\n")) {
		ssize_t n = recv(fd, answer + used, sizeof(answer) - 1 - used, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? -EPIPE : errno == EAGAIN ? -ETIMEDOUT : -errno;
		used += (size_t)n;
	}
	line = strstr(answer, "errno=");
	if (!line)
		return -EPROTO;
	return -abs((int)strtol(line + strlen("errno="), NULL, 10));
}

static int ask(int fd, struct text *text)
{
	int r;

	put(text, "\n");
	r = send_all(fd, text);
	return r ? r : read_answer(fd);
}

static void put_peer(struct text *text, const struct config_peer *peer)
{
	static const uint8_t none[WIREGUARD_KEY_BYTES];
	char address[ADDR_STRLEN];
	struct addr endpoint;

	put_key(text, "public_key", peer->public_key);
	if (wireguard_endpoint_of(peer, &endpoint))
		put(text, "endpoint=%s\n", addr_format(&endpoint, address));
	if (memcmp(peer->pre_shared_key, none, sizeof(none)) != 0)
		put_key(text, "preshared_key", peer->pre_shared_key);
	put(text, "persistent_keepalive_interval=%u\nreplace_allowed_ips=true\n",
	    peer->keepalive_s);
	for (size_t i = 0; i < peer->allowed_ip_count; i++) {
		const struct config_prefix *prefix = &peer->allowed_ips[i];
		char ip[INET6_ADDRSTRLEN] = "";

		inet_ntop(prefix->addr.family, &prefix->addr.v6, ip, sizeof(ip));
		put(text, "allowed_ip=%s/%u\n", ip, prefix->bits);
	}
}

int wireguard_uapi_configure(int fd, const struct config_wireguard *config, uint32_t mark)
{
	struct text text = { .size = DEVICE_BYTES + config->peer_count * PEER_BYTES };
	int r;

	for (size_t i = 0; i < config->peer_count; i++)
		text.size += config->peers[i].allowed_ip_count * IP_BYTES;
	text.start = malloc(text.size);
	if (!text.start)
		return -ENOMEM;
	put(&text, "set=1\n");
	put_key(&text, "private_key", config->private_key);
	put(&text, "listen_port=%u\nfwmark=%u\nreplace_peers=true\n", config->listen_port, mark);
	for (size_t i = 0; i < config->peer_count; i++)
		put_peer(&text, &config->peers[i]);
	r = ask(fd, &text);
	explicit_bzero(text.start, text.size);
	free(text.start);
	return r;
}

int wireguard_uapi_set_endpoint(int fd, const uint8_t *public_key, const struct addr *endpoint)
{
	char buf[PEER_BYTES], address[ADDR_STRLEN];
	struct text text = { .start = buf, .size = sizeof(buf) };

	put(&text, "set=1\n");
	put_key(&text, "public_key", public_key);
	put(&text, "update_only=true\nendpoint=%s\n", addr_format(endpoint, address));
	return ask(fd, &text);
}
