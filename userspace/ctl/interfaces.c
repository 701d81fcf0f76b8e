#include "ctl/interfaces.h"
#include "kern/interfaces.h"
#include <arpa/inet.h>
#include <stdio.h>

/* The kernel takes any bytes for a name but '/', ':' and white space; JSON is UTF-8. */
static json_t *name_text(const char *name)
{
	char text[IFNAMSIZ];
	json_t *string = json_string(name);

	if (string)
		return string;
	snprintf(text, sizeof(text), "%s", name);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(text);
}

static json_t *describe_address(const struct netif_address *address)
{
	char text[INET6_ADDRSTRLEN];
	const struct addr *addr = &address->addr;
	const void *bytes = addr->family == AF_INET ? (const void *)&addr->v4 : &addr->v6;

	if (!inet_ntop(addr->family, bytes, text, sizeof(text)))
		return NULL;
	return json_sprintf("%s/%u", text, (unsigned)address->bits);
}

/* NULL: out of memory. */
static json_t *describe_addresses(const struct netif *netif)
{
	json_t *list = json_array();
	int r = 0;

	for (size_t i = 0; i < netif->address_count; i++)
		r |= json_array_append_new(list, describe_address(&netif->addresses[i]));
	if (!r)
		return list;
	json_decref(list);
	return NULL;
}

/* NULL: out of memory. The names of the members are frozen: scripts read them. */
static json_t *describe_interface(const struct netif *netif)
{
	return json_pack("{s:o, s:i, s:s, s:s, s:b, s:b, s:I, s:b, s:b, s:o}", "name",
			 name_text(netif->name), "index", netif->index, "kind", netif->kind, "type",
			 network_type_names[netif->type], "up", (int)netif->up, "running",
			 (int)netif->running, "mtu", (json_int_t)netif->mtu, "default4",
			 (int)netif->default4, "default6", (int)netif->default6, "addresses",
			 describe_addresses(netif));
}

int interfaces_list(struct call *call, struct out *out)
{
	const struct ctl_context *context = call->context;
	const struct netif_list *list;

	if (!context->interfaces)
		return call_fail(call, "the interfaces are not known");
	list = context->interfaces(context->interfaces_owner);
	out_put(out, "[", 1);
	for (size_t i = 0; i < list->count; i++) {
		json_t *interface = describe_interface(&list->list[i]);

		if (i)
			out_put(out, ",", 1);
		out_json(out, interface);
		json_decref(interface);
	}
	out_put(out, "]", 1);
	return 0;
}
