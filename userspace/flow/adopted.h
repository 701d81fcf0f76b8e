/* adopted - pairs that an earlier daemon had taken over: listed, aged and killed like flows of our own. Their
 * sockets are gone; one that stands in holds the port of each upstream connection. They are the worker's whose
 * list they are in, on its thread. Those of UDP become sessions again (udp_adopt.h). */
#pragma once
#include "flow/park.h"

struct worker;
struct adopted;

/* All that are taken; what was not yet is removed. Before any packet_add(), and before the workers run, of whom
 * the first gets those of TCP. Returns the highest id. */
uint64_t adopt_all(struct worker *workers, struct packet *packet);
void adopted_end_all(struct worker *worker, enum flow_end why);
int adopted_kill(struct worker *worker, uint64_t id); /* -ENOENT */
/* The addresses of gone interfaces carry nothing any more; other ways follow. */
void adopted_check_interfaces(struct worker *worker, const struct netif_list *interfaces);
/* As worker_describe(). */
size_t adopted_describe(const struct worker *worker, struct flow_info *ret, size_t count);
/* Moved since they were adopted, of those that live. */
void adopted_bytes(const struct worker *worker, uint64_t ret[SIDES]);
