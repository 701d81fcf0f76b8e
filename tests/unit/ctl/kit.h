/* kit - a control server on a temporary path and clients of it, all on the test's own thread. */
#pragma once
#include "base/clock.h"
#include "ctl/server.h"
#include "kern/interfaces.h"
#include "seam/ctl.h"
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h> /* needs setjmp.h and stdarg.h before it */

#define KIT_LIMIT_MS 20000

struct kit {
	char folder[64], path[96];
	struct loop loop;
	struct post_box box;
	struct flow_config *config;
	struct ctl_context context;
	struct ctl_server *server;
};

/* A router with one uplink, and something whose name is not UTF-8. */
static inline struct netif_list *kit_interfaces(void *owner)
{
	static struct netif_address addresses[2] = { { .bits = 24 }, { .bits = 64 } };
	static struct netif interfaces[] = {
		{ .index = 2,
		  .name = "wan0",
		  .type = TYPE_ETHERNET,
		  .up = true,
		  .running = true,
		  .default4 = true,
		  .mtu = 1500,
		  .addresses = addresses,
		  .address_count = 2 },
		{ .index = 3,
		  .name = "wg\xff",
		  .kind = "wireguard",
		  .type = TYPE_OTHER,
		  .up = true,
		  .default6 = true,
		  .mtu = 1420 },
		{ .index = 17, .name = "lan0", .type = TYPE_ETHERNET, .mtu = 65536 },
	};
	static struct netif_list list = { .count = 3, .list = interfaces };

	assert_non_null(owner);
	assert_int_equal(addr_parse("10.0.0.1", 0, &addresses[0].addr), 0);
	assert_int_equal(addr_parse("fe80::1", 0, &addresses[1].addr), 0);
	return &list;
}

/* @config outlives the kit. */
static inline void kit_open_with(struct kit *kit, const struct config *config,
				 struct worker *workers, unsigned count)
{
	char reason[256];

	*kit = (struct kit){ .box.io = LOOP_IO_NULL };
	strcpy(kit->folder, "/tmp/seam-ctl-XXXXXX");
	assert_non_null(mkdtemp(kit->folder));
	snprintf(kit->path, sizeof(kit->path), "%s/run/ctl.sock", kit->folder);
	assert_int_equal(loop_init(&kit->loop), 0);
	assert_int_equal(post_box_init(&kit->box, &kit->loop), 0);
	assert_int_equal(flow_config_build(config, &kit->config, reason), 0);
	kit->context = (struct ctl_context){ .loop = &kit->loop,
					     .post = &kit->box,
					     .workers = workers,
					     .worker_count = count,
					     .config = kit->config,
					     .started_ms = clock_ms(),
					     .sockmap_reason = "relay.method is copy",
					     .interfaces = kit_interfaces,
					     .interfaces_owner = kit };
}

static inline void kit_open(struct kit *kit, struct worker *workers, unsigned count)
{
	static struct config_outbound outbounds[] = {
		{ .type = OUTBOUND_DIRECT,
		  .tag = (char *)"direct",
		  .detour = CONFIG_NONE,
		  .connect_timeout_ms = 2000,
		  .dial_timeout_ms = 5000 },
		{ .type = OUTBOUND_BLOCK, .tag = (char *)"stopped", .detour = CONFIG_NONE },
	};
	static struct config_dns_server server = { .type = DNS_SERVER_LOCAL,
						   .tag = (char *)"local",
						   .detour = CONFIG_NONE };
	static struct config config;

	config = (struct config){ .workers = count ? count : 1,
				  .outbounds = outbounds,
				  .outbound_count = 2,
				  .dns = { .servers = &server, .server_count = 1 },
				  .relay = { .method = RELAY_COPY,
					     .enter_after = 4,
					     .buffer_limit = 1 << 20,
					     .memory_limit = 64 << 20 },
				  .limits = { .max_flows = 1000 } };
	kit_open_with(kit, &config, workers, count);
}

static inline void kit_serve(struct kit *kit)
{
	char reason[256] = "";
	int r = ctl_server_new(&kit->server, kit->path, &kit->context, reason);

	if (r)
		fail_msg("ctl_server_new: %d, %s", r, reason);
}

/* In the order of the daemon. */
static inline void kit_close(struct kit *kit)
{
	char folder[80];

	ctl_server_free(kit->server);
	flow_config_free(kit->config);
	post_box_deinit(&kit->box);
	loop_deinit(&kit->loop);
	(void)unlink(kit->path);
	snprintf(folder, sizeof(folder), "%s/run", kit->folder);
	(void)rmdir(folder);
	assert_int_equal(rmdir(kit->folder), 0);
}

static inline void kit_turn(struct kit *kit)
{
	assert_int_equal(loop_run_once(&kit->loop, 5), 0);
}

/* Long enough for all that is pending between this thread and the sockets. */
static inline void kit_settle(struct kit *kit)
{
	for (int i = 0; i < 8; i++)
		kit_turn(kit);
}

static inline int kit_connect(struct kit *kit)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(sa.sun_path, kit->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* All of it, while the server runs. -errno of send(). */
static inline int kit_send(struct kit *kit, int fd, const char *data, size_t bytes)
{
	uint64_t end = clock_ms() + KIT_LIMIT_MS;

	while (bytes) {
		ssize_t n = send(fd, data, bytes, MSG_NOSIGNAL);

		assert_true(clock_ms() < end);
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0)
			kit_turn(kit);
		data += n > 0 ? n : 0;
		bytes -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* The next line as JSON; NULL: the connection has ended. */
static inline json_t *kit_receive(struct kit *kit, int fd)
{
	uint64_t end = clock_ms() + KIT_LIMIT_MS;
	size_t len = 0, size = 1 << 16;
	char *line = malloc(size), *newline = NULL;
	json_t *value = NULL;

	while (!newline) {
		ssize_t n = recv(fd, line + len, size - len, MSG_PEEK);

		assert_true(clock_ms() < end);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		if (n < 0) {
			kit_turn(kit);
			continue;
		}
		newline = memchr(line + len, '\n', (size_t)n);
		n = newline ? newline - (line + len) + 1 : n;
		assert_int_equal(recv(fd, line + len, (size_t)n, 0), n);
		len += (size_t)n;
		if (len == size)
			line = realloc(line, size *= 2);
	}
	if (newline) {
		value = json_loadb(line, len, 0, NULL);
		assert_non_null(value);
	}
	free(line);
	return value;
}

static inline json_t *kit_ask(struct kit *kit, int fd, const char *request)
{
	assert_int_equal(kit_send(kit, fd, request, strlen(request)), 0);
	assert_int_equal(kit_send(kit, fd, "\n", 1), 0);
	return kit_receive(kit, fd);
}

/* The data of a good answer, a new reference. */
static inline json_t *kit_data(struct kit *kit, int fd, const char *request)
{
	json_t *answer = kit_ask(kit, fd, request), *data;

	assert_non_null(answer);
	if (!json_is_true(json_object_get(answer, "ok")))
		fail_msg("%s: refused: %s", request,
			 json_string_value(json_object_get(answer, "error")));
	assert_int_equal(json_integer_value(json_object_get(answer, "v")), SEAM_CTL_VERSION);
	data = json_incref(json_object_get(answer, "data"));
	assert_non_null(data);
	json_decref(answer);
	return data;
}

/* @request is refused with an error that has @part in it. */
static inline void kit_refused(struct kit *kit, int fd, const char *request, const char *part)
{
	json_t *answer = kit_ask(kit, fd, request);
	const char *error = json_string_value(json_object_get(answer, "error"));

	assert_non_null(answer);
	assert_true(json_is_false(json_object_get(answer, "ok")));
	assert_null(json_object_get(answer, "data"));
	if (!error || !strstr(error, part))
		fail_msg("%s: \"%s\" is not in: %s", request, part, error ? error : "(no error)");
	json_decref(answer);
}

static inline void kit_expect_end(struct kit *kit, int fd)
{
	assert_null(kit_receive(kit, fd));
}

static inline const char *kit_string(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	assert_non_null(text);
	return text;
}
