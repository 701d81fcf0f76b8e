/* parked - flows whose packets tc translates past the sockets (FLOW_PARKED), begun here or left by an earlier
 * daemon: listed, aged and killed like any other. Of their sockets nothing is left but one that stands in for the
 * upstream's and holds its port; the client's port is the client's, and what comes from there untranslated
 * is answered by RST. They are the worker's whose list they are in, on its thread. */
#pragma once
#include "flow/flow.h"

struct worker;
struct packet;
struct packet_pair;
struct netif_list;
struct seam_label;

void parked_init(struct worker *worker);
/* @flow was taken (RELAY_TAKEN) and lives on without @flow, which is left without its pair and its
 * sockets. Without memory -ENOMEM, and nothing has changed. */
int parked_begin(struct tcp_flow *flow);
/* All that an earlier daemon has left, spread over @count @workers; what was not taken yet is removed. Before any
 * packet_add(), and before the workers run. Returns the highest id. */
uint64_t parked_adopt(struct worker *workers, unsigned count, struct packet *packet);

void parked_end_all(struct worker *worker, enum flow_end why);
int parked_kill(struct worker *worker, uint64_t id); /* -ENOENT */
/* Those that have lost address or interface end; the others' ways follow the routes. */
void parked_check_interfaces(struct worker *worker, const struct netif_list *interfaces);
/* As worker_describe(). */
size_t parked_describe(const struct worker *worker, struct flow_info *ret, size_t count);
/* Moved by tc, under this daemon, of those that live. */
void parked_bytes(const struct worker *worker, uint64_t ret[SIDES]);

/* The end of a pair that was taken: RST to both hosts, unless they have ended it or it goes on without us. */
void parked_release(const struct worker *worker, struct packet_pair *pair, enum flow_end why);
/* packet_env.tell: a line in the log, at debug */
void parked_tell(const struct relay *relay);
/* packet_env.describe */
void parked_label(const struct relay *relay, struct seam_label *ret);
