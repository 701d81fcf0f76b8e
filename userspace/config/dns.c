#include "config/dns.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "config/detour.h"
#include "config/parse.h"

static const struct place document, dns = { .up = &document, .key = "dns" };
static const struct place servers = { .up = &dns, .key = "servers" };

void dns_complete(struct report *report, const json_t *root, struct config *config)
{
	const json_t *object = json_object_get(root, "dns");
	const json_t *list = json_object_get(object, "servers");
	struct config_dns_server *server;

	if (config->dns.server_count || json_array_size(list) || (list && !json_is_array(list)))
		return;
	server = calloc(1, sizeof(*server));
	free(config->dns.servers); /* of an empty list */
	config->dns.servers = server;
	if (!server) {
		report->result = -ENOMEM;
		return;
	}
	config->dns.server_count = 1;
	parse_defaults(report, SECTION_DNS_SERVER, server);
	server->type = DNS_SERVER_LOCAL;
	server->tag = strdup(dns_server_type_names[DNS_SERVER_LOCAL]);
	if (!server->tag)
		report->result = -ENOMEM;
}

/* The first outbound from @index on whose sockets another one opens; NULL: there is none. */
static const struct config_outbound *indirect(const struct config *config, size_t index)
{
	for (; index != CONFIG_NONE; index = config->outbounds[index].detour) {
		const struct config_outbound *outbound = &config->outbounds[index];

		if (outbound->type != OUTBOUND_DIRECT && outbound->type != OUTBOUND_WIREGUARD &&
		    outbound->type != OUTBOUND_BLOCK)
			return outbound;
	}
	return NULL;
}

static void check_detour(struct report *report, struct config *config, const struct tags *tags,
			 size_t index)
{
	struct config_dns_server *server = &config->dns.servers[index];
	struct place element = { .up = &servers, .index = index };
	struct place place = { .up = &element, .key = "detour" };
	const struct config_outbound *end, *by;

	server->detour = CONFIG_NONE;
	if (!server->detour_tag || !tags->count)
		return;
	server->detour = tags_find(report, tags, server->detour_tag, &place);
	if (server->detour == CONFIG_NONE)
		return;
	end = &config->outbounds[detour_end(config, server->detour)];
	by = indirect(config, server->detour);
	if (by)
		report_error(report, AT_VALUE(&place),
			     "\"%s\" is of type %s: questions leave by direct and wireguard only",
			     by->tag, outbound_type_names[by->type]);
	else if (end->type == OUTBOUND_BLOCK)
		report_error(report, AT_VALUE(&place),
			     "\"%s\" is of type block: nothing gets through it", end->tag);
	else if (end->protect_path)
		report_error(report, AT_VALUE(&place),
			     "\"%s\" has protect_path, and DNS sockets cannot be handed over",
			     end->tag);
}

static bool has_named_peer(const struct config_wireguard *wireguard)
{
	struct addr addr;

	for (size_t i = 0; i < wireguard->peer_count; i++)
		if (wireguard->peers[i].address &&
		    addr_parse(wireguard->peers[i].address, 0, &addr) < 0)
			return true;
	return false;
}

/* That no tunnel on the way to the server is up only when the server has named its peers. */
static void check_tunnels(struct report *report, const struct config *config, size_t index)
{
	const struct config_outbound *outbounds = config->outbounds;
	struct place element = { .up = &servers, .index = index };
	struct place place = { .up = &element, .key = "detour" };
	size_t server = index;

	for (size_t step = 0; step <= config->dns.server_count; step++) {
		size_t detour = config->dns.servers[server].detour;
		size_t end = detour == CONFIG_NONE ? detour : detour_end(config, detour);

		if (end == CONFIG_NONE || !has_named_peer(&outbounds[end].wireguard))
			return;
		server = outbounds[end].domain_resolver.server;
		if (server == index) {
			report_error(report, AT_VALUE(&place),
				     "\"%s\" needs this server to find its own peers",
				     outbounds[end].tag);
			return;
		}
		if (server == CONFIG_NONE)
			return;
	}
}

static void check_resolver(struct report *report, const json_t *root, struct config *config,
			   const struct tags *tags, size_t index)
{
	static const struct place outbounds = { .up = &document, .key = "outbounds" };
	struct config_domain_resolver *resolver = &config->outbounds[index].domain_resolver;
	struct place element = { .up = &outbounds, .index = index };
	struct place object = { .up = &element, .key = "domain_resolver" };
	struct place place = { .up = &object, .key = "server" };
	const json_t *outbound = json_array_get(json_object_get(root, "outbounds"), index);
	bool is_object = json_is_object(json_object_get(outbound, object.key));

	resolver->server = config->dns.final;
	if (resolver->strategy < 0)
		resolver->strategy = (int)config->dns.strategy;
	if (resolver->server_tag && tags->count)
		resolver->server = tags_find(report, tags, resolver->server_tag,
					     is_object ? &place : &object);
}

void dns_check(struct report *report, const json_t *root, struct draft *draft,
	       const struct tags *tags)
{
	struct place final = { .up = &dns, .key = "final" };
	struct config *config = &draft->config;
	struct tags own = { .key = "tag", .what = "DNS server" };

	tags_init(report, &own, "/dns/servers", config->dns.server_count);
	for (size_t i = 0; i < own.count; i++) {
		own.names[i] = config->dns.servers[i].tag;
		check_detour(report, config, tags, i);
	}
	tags_check(report, &own, &servers);
	if (draft->dns_final && own.count)
		config->dns.final = tags_find(report, &own, draft->dns_final, &final);
	for (size_t i = 0; i < config->outbound_count; i++)
		check_resolver(report, root, config, &own, i);
	for (size_t i = 0; i < own.count; i++)
		check_tunnels(report, config, i);
	tags_deinit(&own);
}
