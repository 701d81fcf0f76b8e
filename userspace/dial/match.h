/* match - a connection is made like the client's, which is there already: the SYN offers nothing that that one lacks.
 * Then tc can translate the one into the other (kern/packet.h). What the server lacks cannot be made up for. */
#pragma once
#include "dial/dial.h"

/* For dial_request.syn: nothing, unless env->packet. @client: its accepted socket. */
struct syn_limits match_client(const struct dial_env *env, int client);
/* Before connect() of @fd, which has all its options. What fails only costs the translation. */
void match_syn(const struct dial_request *request, int fd);
