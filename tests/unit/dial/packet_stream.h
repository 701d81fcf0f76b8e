/* packet_stream - datagrams through VLESS: the test is the proxy, and the target behind it. */
#pragma once
#include "packet_scene.h"
#include "proto/frames.h"

#define UUID    "0123456789abcdef"
#define TO_NAME "\0" UUID "\0\2\1\273\2\6a.test"
#define TO_ADDR "\0" UUID "\0\2\0\65\1\12\1\2\3"    /* 10.1.2.3:53 */
#define TO_PEER "\0" UUID "\0\1\4\70\1\12\11\11\11" /* 10.9.9.9:1080, a stream */
#define PROXY_1 "PROXY TCP4 10.0.0.1 10.1.2.3 40000 443\r\n"

static const struct target name = { .domain = "a.test", .addr.port = 443 };
static const struct handshake_config config = { .uuid = (const uint8_t *)UUID };

static inline struct target target4(void)
{
	return (struct target){ .addr = address("10.1.2.3", 53) };
}

static inline void build(struct packet_scene *p, const char *host,
			 const struct handshake_ops *const *ops)
{
	const struct target upper = { .addr = address("10.9.9.9", 1080) };

	packet_scene_init(p, host);
	for (; *ops; ops++)
		add_layer(&p->s, *ops, &config,
			  p->s.layer_count && ((*ops)->answer || !(*ops)->deferred) ? &upper
										    : NULL);
}

static inline void dial_to(struct packet_scene *p, const struct target *target)
{
	assert_int_equal(scene_start(&p->s, target), 0);
	assert_true(proxy_accept(&p->s));
	(void)way_made(p);
}

static inline void begin(struct packet_scene *p, const struct target *target)
{
	static const struct handshake_ops *const ops[] = { &vless_handshake, NULL };

	build(p, "127.0.0.1", ops);
	dial_to(p, target);
}

static inline void end(struct packet_scene *p)
{
	scene_over(&p->s, false);
	packet_scene_deinit(p);
}

static inline void hears(struct packet_scene *p, const void *text, size_t len)
{
	assert_true(proxy_expect(&p->s, &(struct said){ text, len }));
	assert_false(readable(p->s.proxy));
}
#define HEARS(p, literal) hears(p, literal, sizeof(literal) - 1)
#define SAYS(p, literal)  proxy_say(&(p)->s, literal, sizeof(literal) - 1)
