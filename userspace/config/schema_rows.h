/* schema_rows - how rows of the schema are written; for keys_*.c only. */
#pragma once
#include <stddef.h>
#include "base/names.h"
#include "config/schema.h"

#define FIELD(type, member) \
	.offset = offsetof(struct type, member), .size = sizeof(((struct type *)0)->member)
#define NO_FIELD        .offset = SCHEMA_NO_FIELD
#define OBJECT(section) .child = SECTION_##section
#define LIST(type, list, count) \
	.offset = offsetof(struct type, list), .count_offset = offsetof(struct type, count)
#define ARRAY(section, type) .child = SECTION_##section, .element_size = sizeof(struct type)
#define RANGE(low, high)     .min = (low), .max = (high)
#define WORDS(table)         .words = (table), .word_count = ARRAY_SIZE(table)
#define CONFLICTS(...)                     \
	.conflicts = (const char *const[]) \
	{                                  \
		__VA_ARGS__, NULL          \
	}

#define ROOT               SECTION_ROOT
#define INBOUND            SECTION_INBOUND
#define OUTBOUND           SECTION_OUTBOUND
#define RESOLVER           SECTION_RESOLVER
#define PEER               SECTION_PEER
#define ROUTE              SECTION_ROUTE
#define MATCH              SECTION_MATCH
#define RULE               SECTION_RULE
#define RULE_SET           SECTION_RULE_SET
#define SET_FILE           SECTION_RULE_SET_FILE
#define DNS_RULE           SECTION_DNS_RULE
#define DNS                SECTION_DNS
#define DNS_SERVER         SECTION_DNS_SERVER
#define INTERFACE          SECTION_INTERFACE
#define RELAY              SECTION_RELAY
#define LIMITS             SECTION_LIMITS

/* Outbounds are read again by a reload, as a whole. */
#define OUTBOUND_BIT(type) (1U << OUTBOUND_##type)
#define PROXY_BITS         (OUTBOUND_BIT(SOCKS) | OUTBOUND_BIT(HTTP) | OUTBOUND_BIT(VLESS))
#define ONLY(bits)         .only = (bits), .reload = true
#define OF_DIRECT          ONLY(OUTBOUND_BIT(DIRECT))
#define OF_WIREGUARD       ONLY(OUTBOUND_BIT(WIREGUARD))
#define OF_TARGET          ONLY(OUTBOUND_BIT(DIRECT) | OUTBOUND_BIT(WIREGUARD))
#define OF_SOCKET          ONLY(OUTBOUND_BIT(DIRECT) | PROXY_BITS) /* whose sockets are chosen freely */
#define OF_DIAL            ONLY(OUTBOUND_BIT(DIRECT) | OUTBOUND_BIT(WIREGUARD) | PROXY_BITS)
#define OF_PROXY           ONLY(PROXY_BITS)
#define OF_LOGIN           ONLY(OUTBOUND_BIT(SOCKS) | OUTBOUND_BIT(HTTP))
#define OF_GROUP           ONLY(OUTBOUND_BIT(SELECTOR) | OUTBOUND_BIT(URLTEST))
#define OF_URLTEST         ONLY(OUTBOUND_BIT(URLTEST))
#define OF_REMOTE          ONLY(1U << DNS_SERVER_UDP | 1U << DNS_SERVER_TCP)

extern const char *const network_names[2]; /* bits of CONFIG_NETWORK_* */
