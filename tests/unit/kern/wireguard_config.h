/* Configurations of WireGuard interfaces, with as many peers and allowed IPs as a test wants. */
#pragma once
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/names.h"
#include "kern/wireguard_backend.h"

#define MARK 0x5eaU
#define MTU  1380
#define PORT 51999

static char name[IFNAMSIZ]; /* of the interface, for the test to set */

static struct config_prefix prefix(const char *text, uint8_t bits)
{
	struct config_prefix prefix = { .bits = bits };

	assert_int_equal(addr_parse(text, 0, &prefix.addr), 0);
	return prefix;
}

static const char *const addresses[] = { "192.0.2.7", "2001:db8::7", NULL, "peer.example" };

/* @peers peers of @ips allowed IPs each, of both families in turn, no two the same. */
static struct config_wireguard *make_config(size_t peers, size_t ips)
{
	struct config_wireguard *c = calloc(1, sizeof(*c));

	c->name = name;
	c->create = true;
	c->mtu = MTU;
	c->addresses = calloc(2, sizeof(*c->addresses));
	c->addresses[c->address_count++] = prefix("10.99.0.2", 24);
	c->addresses[c->address_count++] = prefix("fd99::2", 64);
	memset(c->private_key, 0x42, sizeof(c->private_key));
	c->peers = calloc(peers + 1, sizeof(*c->peers));
	c->peer_count = peers;
	for (size_t i = 0; i < peers; i++) {
		struct config_peer *peer = &c->peers[i];

		memset(peer->public_key, (int)i + 1, sizeof(peer->public_key));
		memset(peer->pre_shared_key, i % 2 ? 0 : 0x77, sizeof(peer->pre_shared_key));
		peer->keepalive_s = 25 + (uint32_t)i;
		peer->address = (char *)addresses[i % ARRAY_SIZE(addresses)];
		peer->port = (uint16_t)(PORT + i);
		peer->allowed_ips = calloc(ips + 1, sizeof(*peer->allowed_ips));
		peer->allowed_ip_count = ips;
		for (size_t j = 0; j < ips; j++) {
			char text[64];

			if (j % 2)
				snprintf(text, sizeof(text), "fd98:%zx:%zx::", i, j);
			else
				snprintf(text, sizeof(text), "10.%zu.%zu.%zu", i, j / 2 % 256,
					 j / 512 * 16);
			peer->allowed_ips[j] = prefix(text, j % 2 ? 64 : 28);
		}
	}
	return c;
}

static void free_config(struct config_wireguard *c)
{
	for (size_t i = 0; i < c->peer_count; i++)
		free(c->peers[i].allowed_ips);
	free(c->peers);
	free(c->addresses);
	free(c);
}
