#include "config/peers.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct place document, outbounds = { .up = &document, .key = "outbounds" };

/* An allowed prefix, and whose it is. */
struct route {
	const struct config_prefix *prefix;
	size_t peer, index;
};

static int order_prefixes(const struct config_prefix *a, const struct config_prefix *b)
{
	if (a->bits != b->bits)
		return a->bits < b->bits ? -1 : 1;
	if (a->addr.family != b->addr.family)
		return a->addr.family < b->addr.family ? -1 : 1;
	return memcmp(&a->addr.v6, &b->addr.v6,
		      a->addr.family == AF_INET ? sizeof(a->addr.v4) : sizeof(a->addr.v6));
}

/* By prefix; equal ones in the order of the file. */
static int order_routes(const void *left, const void *right)
{
	const struct route *a = left, *b = right;
	int order = order_prefixes(a->prefix, b->prefix);

	if (order)
		return order;
	return a->peer < b->peer ? -1 : a->peer > b->peer;
}

static void report_route(struct report *report, const struct place *peers,
			 const struct route *route, size_t owner)
{
	struct place peer = { .up = peers, .index = route->peer };
	struct place list = { .up = &peer, .key = "allowed_ips" };
	struct place place = { .up = &list, .index = route->index };
	char address[INET6_ADDRSTRLEN] = "";

	(void)inet_ntop(route->prefix->addr.family, &route->prefix->addr.v6, address,
			sizeof(address));
	report_error(report, AT_VALUE(&place), "%s/%u is already sent to peer %zu", address,
		     route->prefix->bits, owner);
}

/* The kernel would move the prefix to the last peer and say nothing. */
static void check_routes(struct report *report, const struct config_wireguard *wireguard,
			 const struct place *peers)
{
	struct route *routes;
	size_t count = 0;

	for (size_t i = 0; i < wireguard->peer_count; i++)
		count += wireguard->peers[i].allowed_ip_count;
	routes = calloc(count + 1, sizeof(*routes));
	if (!routes) {
		report->result = -ENOMEM;
		return;
	}
	count = 0;
	for (size_t i = 0; i < wireguard->peer_count; i++)
		for (size_t j = 0; j < wireguard->peers[i].allowed_ip_count; j++)
			routes[count++] = (struct route){ &wireguard->peers[i].allowed_ips[j], i,
							  j };
	qsort(routes, count, sizeof(*routes), order_routes);
	for (size_t i = 1; i < count; i++)
		if (!order_prefixes(routes[i].prefix, routes[i - 1].prefix))
			report_route(report, peers, &routes[i], routes[i - 1].peer);
	free(routes);
}

static void check_public_key(struct report *report, const struct config_wireguard *wireguard,
			     const struct place *peers, size_t index)
{
	static const uint8_t refused[WIREGUARD_KEY_BYTES];
	const uint8_t *key = wireguard->peers[index].public_key;
	struct place peer = { .up = peers, .index = index };
	struct place place = { .up = &peer, .key = "public_key" };

	if (!memcmp(key, refused, sizeof(refused)))
		return;
	for (size_t i = 0; i < index; i++) {
		if (memcmp(wireguard->peers[i].public_key, key, sizeof(refused)) != 0)
			continue;
		report_error(report, AT_VALUE(&place), "this key is already that of peer %zu", i);
		return;
	}
}

/* Many outbounds may use an interface, one makes it. */
static void check_name(struct report *report, const struct config *config,
		       const struct place *element)
{
	const struct config_wireguard *wireguard = &config->outbounds[element->index].wireguard;
	struct place place = { .up = element, .key = "name" };

	if (!wireguard->name || !wireguard->create)
		return;
	for (size_t i = 0; i < element->index; i++) {
		const struct config_wireguard *other = &config->outbounds[i].wireguard;

		if (!other->create || !other->name || strcmp(other->name, wireguard->name) != 0)
			continue;
		report_error(report, AT_VALUE(&place),
			     "/outbounds/%zu makes an interface of this name already", i);
		return;
	}
}

void peers_check(struct report *report, struct config *config)
{
	static const uint8_t none[WIREGUARD_KEY_BYTES];

	for (size_t i = 0; i < config->outbound_count; i++) {
		struct config_wireguard *wireguard = &config->outbounds[i].wireguard;
		struct place element = { .up = &outbounds, .index = i };
		struct place peers = { .up = &element, .key = "peers" };

		wireguard->create = memcmp(wireguard->private_key, none, sizeof(none)) != 0;
		check_name(report, config, &element);
		for (size_t j = 0; j < wireguard->peer_count; j++)
			check_public_key(report, wireguard, &peers, j);
		if (wireguard->peer_count)
			check_routes(report, wireguard, &peers);
	}
}
