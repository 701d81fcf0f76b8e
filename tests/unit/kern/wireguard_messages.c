/* The messages for a kernel that has WireGuard, taken apart again: whatever the number of peers and
 * allowed IPs, each of them is there once, in messages that fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include "wireguard_config.h"

struct parsed {
	const struct config_wireguard *config;
	size_t messages, peer, ip; /* seen so far, and of which peer all IPs up to where */
	size_t pieces;             /* of a peer that began in an earlier message */
	const struct nlattr *device[WGDEVICE_A_MAX + 1], *part[WGPEER_A_MAX + 1];
	const struct nlattr *allowed[WGALLOWEDIP_A_MAX + 1];
};

static int take_device(const struct nlattr *attr, void *data)
{
	struct parsed *p = data;

	assert_in_range(mnl_attr_get_type(attr), 1, WGDEVICE_A_MAX);
	p->device[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

static int take_part(const struct nlattr *attr, void *data)
{
	struct parsed *p = data;

	assert_in_range(mnl_attr_get_type(attr), 1, WGPEER_A_MAX);
	p->part[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

static int take_allowed(const struct nlattr *attr, void *data)
{
	struct parsed *p = data;

	assert_in_range(mnl_attr_get_type(attr), 1, WGALLOWEDIP_A_MAX);
	p->allowed[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

static void assert_payload(const struct nlattr *attr, const void *bytes, size_t size)
{
	assert_non_null(attr);
	assert_int_equal(mnl_attr_get_payload_len(attr), size);
	assert_memory_equal(mnl_attr_get_payload(attr), bytes, size);
}

static int check_ip(const struct nlattr *attr, void *data)
{
	struct parsed *p = data;
	const struct config_peer *peer = &p->config->peers[p->peer];
	const struct config_prefix *want = &peer->allowed_ips[p->ip++];

	assert_true(p->ip <= peer->allowed_ip_count);
	memset(p->allowed, 0, sizeof(p->allowed));
	assert_int_equal(mnl_attr_parse_nested(attr, take_allowed, p), MNL_CB_OK);
	assert_int_equal(mnl_attr_get_u16(p->allowed[WGALLOWEDIP_A_FAMILY]), want->addr.family);
	assert_int_equal(mnl_attr_get_u8(p->allowed[WGALLOWEDIP_A_CIDR_MASK]), want->bits);
	assert_payload(p->allowed[WGALLOWEDIP_A_IPADDR], &want->addr.v6,
		       want->addr.family == AF_INET ? 4 : 16);
	return MNL_CB_OK;
}

static int check_peer(const struct nlattr *attr, void *data)
{
	struct parsed *p = data;
	const struct config_peer *peer = &p->config->peers[p->peer];
	struct sockaddr_storage sa;
	struct addr endpoint;

	if (p->ip == peer->allowed_ip_count && p->pieces) { /* the last one is complete */
		peer = &p->config->peers[++p->peer];
		p->ip = 0;
	}
	assert_true(p->peer < p->config->peer_count);
	memset(p->part, 0, sizeof(p->part));
	assert_int_equal(mnl_attr_parse_nested(attr, take_part, p), MNL_CB_OK);
	assert_payload(p->part[WGPEER_A_PUBLIC_KEY], peer->public_key, WG_KEY_LEN);
	if (p->ip) {
		assert_null(p->part[WGPEER_A_FLAGS]);
		assert_null(p->part[WGPEER_A_PRESHARED_KEY]);
		assert_null(p->part[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL]);
	} else {
		assert_int_equal(mnl_attr_get_u32(p->part[WGPEER_A_FLAGS]),
				 WGPEER_F_REPLACE_ALLOWEDIPS);
		assert_payload(p->part[WGPEER_A_PRESHARED_KEY], peer->pre_shared_key, WG_KEY_LEN);
		assert_int_equal(mnl_attr_get_u16(p->part[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL]),
				 peer->keepalive_s);
	}
	if (!p->ip && wireguard_endpoint_of(peer, &endpoint))
		assert_payload(p->part[WGPEER_A_ENDPOINT], &sa, addr_to_sockaddr(&endpoint, &sa));
	else
		assert_null(p->part[WGPEER_A_ENDPOINT]);
	assert_int_equal(mnl_attr_parse_nested(p->part[WGPEER_A_ALLOWEDIPS], check_ip, p),
			 MNL_CB_OK);
	p->pieces++;
	return MNL_CB_OK;
}

static void check_message(struct parsed *p, const char *buf)
{
	const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf;
	const struct genlmsghdr *header = mnl_nlmsg_get_payload(nlh);

	assert_int_equal(nlh->nlmsg_type, 29);
	assert_int_equal(header->cmd, WG_CMD_SET_DEVICE);
	assert_int_equal(header->version, WG_GENL_VERSION);
	memset(p->device, 0, sizeof(p->device));
	assert_int_equal(mnl_attr_parse(nlh, sizeof(*header), take_device, p), MNL_CB_OK);
	assert_int_equal(mnl_attr_get_u32(p->device[WGDEVICE_A_IFINDEX]), 7);
	assert_null(p->device[WGDEVICE_A_IFNAME]);
	if (p->messages) {
		assert_null(p->device[WGDEVICE_A_PRIVATE_KEY]);
		assert_null(p->device[WGDEVICE_A_LISTEN_PORT]);
		assert_null(p->device[WGDEVICE_A_FWMARK]);
		assert_null(p->device[WGDEVICE_A_FLAGS]);
	} else {
		assert_payload(p->device[WGDEVICE_A_PRIVATE_KEY], p->config->private_key,
			       WG_KEY_LEN);
		assert_int_equal(mnl_attr_get_u16(p->device[WGDEVICE_A_LISTEN_PORT]), PORT);
		assert_int_equal(mnl_attr_get_u32(p->device[WGDEVICE_A_FWMARK]), MARK);
		assert_int_equal(mnl_attr_get_u32(p->device[WGDEVICE_A_FLAGS]),
				 WGDEVICE_F_REPLACE_PEERS);
	}
	assert_int_equal(mnl_attr_parse_nested(p->device[WGDEVICE_A_PEERS], check_peer, p),
			 MNL_CB_OK);
	p->messages++;
}

static const struct {
	size_t peers, ips, size, messages; /* 0: any number above 1 */
} splits[] = {
	{ 0, 0, 8192, 1 },   { 1, 0, 8192, 1 },   { 1, 1, 8192, 1 },   { 3, 0, 8192, 1 },
	{ 3, 2, 8192, 1 },   { 1, 200, 8192, 1 }, { 1, 500, 8192, 0 }, { 40, 30, 8192, 0 },
	{ 200, 0, 8192, 0 }, { 7, 13, 512, 0 },   { 5, 100, 600, 0 },  { 2, 1000, 8192, 0 },
};

static void test_messages(void **state)
{
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(splits); i++) {
		struct config_wireguard *config = make_config(splits[i].peers, splits[i].ips);
		struct wireguard_messages messages = {
			.config = config, .mark = MARK, .index = 7, .family = 29
		};
		struct parsed parsed = { .config = config };

		config->listen_port = PORT;
		while (wireguard_messages_next(&messages, buf, splits[i].size)) {
			assert_in_range(((struct nlmsghdr *)buf)->nlmsg_len, 1, splits[i].size);
			check_message(&parsed, buf);
			assert_true(parsed.messages < 1000);
		}
		if (splits[i].peers) { /* the last peer's last IP */
			assert_int_equal(parsed.peer, splits[i].peers - 1);
			assert_int_equal(parsed.ip, splits[i].ips);
		}
		if (splits[i].messages)
			assert_int_equal(parsed.messages, splits[i].messages);
		else
			assert_true(parsed.messages > 1);
		free_config(config);
	}
}

static int check_endpoint(const struct nlattr *attr, void *data)
{
	struct parsed *p = data;

	memset(p->part, 0, sizeof(p->part));
	assert_int_equal(mnl_attr_parse_nested(attr, take_part, p), MNL_CB_OK);
	return MNL_CB_OK;
}

static void test_endpoint_message(void **state)
{
	static const char *const endpoints[] = { "192.0.2.7", "2001:db8::7" };
	static const uint8_t key[WG_KEY_LEN] = { 1, 2, 3 };
	struct wireguard w = { .family = 29, .link.index = 7 };
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		struct parsed p = { .messages = 0 };
		struct sockaddr_storage sa;
		struct addr addr;
		socklen_t len;

		assert_int_equal(addr_parse(endpoints[i], PORT, &addr), 0);
		len = addr_to_sockaddr(&addr, &sa);
		wireguard_messages_endpoint(buf, &w, key, &addr);
		assert_int_equal(mnl_attr_parse((struct nlmsghdr *)buf, sizeof(struct genlmsghdr),
						take_device, &p),
				 MNL_CB_OK);
		assert_null(p.device[WGDEVICE_A_FLAGS]);
		assert_null(p.device[WGDEVICE_A_PRIVATE_KEY]);
		assert_int_equal(
			mnl_attr_parse_nested(p.device[WGDEVICE_A_PEERS], check_endpoint, &p),
			MNL_CB_OK);
		assert_payload(p.part[WGPEER_A_PUBLIC_KEY], key, sizeof(key));
		assert_payload(p.part[WGPEER_A_ENDPOINT], &sa, len);
		assert_int_equal(mnl_attr_get_u32(p.part[WGPEER_A_FLAGS]), WGPEER_F_UPDATE_ONLY);
		assert_null(p.part[WGPEER_A_ALLOWEDIPS]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_endpoint_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
