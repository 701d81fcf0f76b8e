#include "kern/interfaces_read.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "kern/interfaces_dump.h"
#include "kern/interfaces_list.h"
#include "kern/netlink.h"

#define ANSWER_TIMEOUT_S 1
int netif_reader_init(struct netif_reader *reader, const struct config *config, uint32_t mark)
{
	struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	int r;

	*reader = (struct netif_reader){ .fd = -1, .routes.fd = -1, .mark = mark };
	reader->types = calloc(config->interface_count, sizeof(*reader->types));
	if (!reader->types && config->interface_count)
		return -ENOMEM;
	for (; reader->type_count < config->interface_count; reader->type_count++) {
		struct config_interface *type = &reader->types[reader->type_count];

		*type = config->interfaces[reader->type_count];
		type->name = strdup(type->name);
		if (!type->name)
			return -ENOMEM;
	}
	r = netlink_open(0);
	if (r < 0)
		return r;
	reader->fd = r;
	if (setsockopt(reader->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	return route_socket_init(&reader->routes);
}

void netif_reader_deinit(struct netif_reader *reader)
{
	for (size_t i = 0; i < reader->type_count; i++)
		free(reader->types[i].name);
	free(reader->types);
	if (reader->fd >= 0)
		close(reader->fd);
	route_socket_deinit(&reader->routes);
	*reader = (struct netif_reader){ .fd = -1, .routes.fd = -1 };
}

static struct netif *find(const struct netif_list *list, int index)
{
	return (struct netif *)netif_by_index(list, index); /* not published yet: still ours */
}

static struct netif_list *make_list(const struct netif_dump *dump)
{
	struct netif_address *room;
	struct netif_list *list = netif_list_new(dump->links, dump->link_count, dump->address_count,
						 &room);

	if (!list)
		return NULL;
	for (size_t i = 0; i < dump->address_count; i++) {
		struct netif *netif = find(list, dump->addresses[i].index);

		if (netif)
			netif->address_count++;
	}
	for (size_t i = 0; i < list->count; i++) {
		list->list[i].addresses = room;
		room += list->list[i].address_count;
		list->list[i].address_count = 0;
	}
	for (size_t i = 0; i < dump->address_count; i++) {
		struct netif *netif = find(list, dump->addresses[i].index);

		if (netif)
			netif->addresses[netif->address_count++] = dump->addresses[i].address;
	}
	return list;
}

/* The way to an address on the internet (a.root-servers.net; nothing is sent), not the "default" entry of
 * the main table: with policy routing that is another table's, or two halves (0.0.0.0/1) instead. */
static struct netif *default_of(struct netif_reader *reader, const struct netif_list *list,
				const char *internet)
{
	struct route_question question = { .mark = reader->mark };
	struct route_answer answer;

	if (addr_parse(internet, 0, &question.destination) ||
	    route_ask(&reader->routes, &question, &answer))
		return NULL;
	return find(list, answer.interface);
}

static void mark_defaults(struct netif_reader *reader, struct netif_list *list)
{
	struct netif *default4 = default_of(reader, list, "198.41.0.4");
	struct netif *default6 = default_of(reader, list, "2001:503:ba3e::2:30");

	if (default4)
		default4->default4 = true;
	if (default6)
		default6->default6 = true;
}

int netif_read(struct netif_reader *reader, const struct netif_list *old, struct netif_list **ret)
{
	struct netif_dump dump = { .fd = reader->fd,
				   .seq = reader->seq,
				   .known = old,
				   .types = reader->types,
				   .type_count = reader->type_count };
	struct netif_list *list = NULL;
	int r = netif_dump_read(&dump);

	reader->seq = dump.seq;
	if (!r) {
		list = make_list(&dump);
		r = list ? 0 : -ENOMEM;
	}
	netif_dump_deinit(&dump);
	if (r)
		return r;
	mark_defaults(reader, list);
	*ret = list;
	return 0;
}
