#include "ctl/verdict.h"
#include <string.h>
#include "dial/group.h"

/* A member that is set; what fails sticks in *@r. */
static void set(json_t *object, int *r, const char *name, json_t *value)
{
	*r |= json_object_set_new(object, name, value);
}

static void set_flag(json_t *object, int *r, const char *name, bool value)
{
	if (value)
		set(object, r, name, json_true());
}

static void set_number(json_t *object, int *r, const char *name, uint32_t value)
{
	if (value)
		set(object, r, name, json_integer(value));
}

static void set_text(json_t *object, int *r, const char *name, const char *value)
{
	if (value)
		set(object, r, name, json_string(value));
}

/* Without the port, which is 0. */
static void set_address(json_t *object, int *r, const char *name, const struct addr *addr)
{
	char text[ADDR_STRLEN];

	if (addr->family == AF_UNSPEC)
		return;
	addr_format(addr, text);
	if (addr->family == AF_INET)
		set(object, r, name, json_sprintf("%.*s", (int)strcspn(text, ":"), text));
	else
		set(object, r, name, json_sprintf("%.*s", (int)strcspn(text, "]") - 1, text + 1));
}

/* Rather nothing than half of it. */
static json_t *whole(json_t *value, int failed)
{
	if (!failed)
		return value;
	json_decref(value);
	return NULL;
}

json_t *verdict_options(const struct route_options *options)
{
	json_t *object = json_object();
	int r = 0;

	set_text(object, &r, "override_address", options->override_address);
	set_number(object, &r, "override_port", options->override_port);
	if (options->has_network_strategy)
		set_text(object, &r, "network_strategy",
			 network_strategy_names[options->network_strategy]);
	if (options->has_fallback_delay)
		set(object, &r, "fallback_delay_ms", json_integer(options->fallback_delay_ms));
	if (options->has_udp_timeout)
		set(object, &r, "udp_timeout_ms", json_integer(options->udp_timeout_ms));
	set_flag(object, &r, "udp_connect", options->udp_connect);
	set_flag(object, &r, "udp_disable_domain_unmapping", options->udp_disable_domain_unmapping);
	set_flag(object, &r, "tls_fragment", options->tls_fragment);
	set_flag(object, &r, "tls_record_fragment", options->tls_record_fragment);
	if (options->tls_fragment)
		set_number(object, &r, "tls_fragment_fallback_delay_ms",
			   options->tls_fragment_fallback_delay_ms);
	return whole(object, r);
}

/* What a dial through @outbound goes through next; CONFIG_NONE: nothing. */
static size_t next_of(const struct flow_config *config, size_t outbound)
{
	const struct config_outbound *c = &config->config->outbounds[outbound];
	const struct group_dialer *group = dialers_group(config->dialers, outbound);

	return group ? c->group.members.list[group_selected(group)] : c->detour;
}

json_t *verdict_chain(const struct flow_config *config, size_t outbound)
{
	json_t *list = json_array();
	int r = 0;

	/* the configuration has no cycles */
	for (; outbound != CONFIG_NONE; outbound = next_of(config, outbound))
		r |= json_array_append_new(list, json_string(config->outbounds[outbound].tag));
	return whole(list, r);
}

static void set_network_types(json_t *object, int *r, const char *name, unsigned types)
{
	json_t *list;

	if (!types)
		return;
	list = json_array();
	for (int type = 0; type < NETWORK_TYPE_COUNT; type++)
		if (types & 1U << type)
			*r |= json_array_append_new(list, json_string(network_type_names[type]));
	set(object, r, name, list);
}

static void set_way(json_t *object, int *r, const struct config *config,
		    const struct config_outbound *outbound)
{
	set_number(object, r, "routing_mark", outbound->routing_mark);
	set_text(object, r, "bind_interface",
		 outbound->type == OUTBOUND_WIREGUARD ? outbound->wireguard.name
						      : outbound->bind_interface);
	set_address(object, r, "inet4_bind_address", &outbound->bind4);
	set_address(object, r, "inet6_bind_address", &outbound->bind6);
	set_flag(object, r, "bind_address_no_port", outbound->bind_address_no_port);
	set_text(object, r, "netns", outbound->netns);
	set_text(object, r, "protect_path", outbound->protect_path);
	set_flag(object, r, "auto_detect_interface",
		 config->auto_detect_interface && !outbound->has_network_strategy &&
			 !outbound->netns);
	if (!outbound->has_network_strategy)
		return;
	set_text(object, r, "network_strategy", network_strategy_names[outbound->network_strategy]);
	set_network_types(object, r, "network_type", outbound->network_types);
	set_network_types(object, r, "fallback_network_type", outbound->fallback_network_types);
}

json_t *verdict_sockets(const struct flow_config *config, size_t outbound)
{
	json_t *object = json_object();
	const struct config_outbound *last;
	size_t next;
	int r = 0;

	while ((next = next_of(config, outbound)) != CONFIG_NONE)
		outbound = next;
	last = &config->config->outbounds[outbound];
	if (last->type == OUTBOUND_BLOCK)
		return object;
	set_way(object, &r, config->config, last);
	set_flag(object, &r, "reuse_addr", last->reuse_addr);
	set_flag(object, &r, "tcp_fast_open", last->tcp_fast_open);
	set_flag(object, &r, "tcp_multi_path", last->tcp_multi_path);
	set_flag(object, &r, "udp_fragment", last->udp_fragment);
	if (last->transparent_source)
		set_text(object, &r, "transparent_source",
			 transparent_source_names[last->transparent_source]);
	return whole(object, r);
}
