/* config - the configuration as plain data, made by config_load() and never changed after.
 *
 * Only *_init() and *_build() functions read it; steady-state code works on what they made of it.
 * Times are in milliseconds, sizes in bytes, strings are owned by the struct.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "net/addr.h"

enum relay_method { RELAY_AUTO, RELAY_SOCKMAP, RELAY_SPLICE, RELAY_COPY, RELAY_METHOD_COUNT };
extern const char *const relay_method_names[RELAY_METHOD_COUNT]; /* as written in the file */

enum outbound_type { OUTBOUND_DIRECT, OUTBOUND_BLOCK, OUTBOUND_TYPE_COUNT };
extern const char *const outbound_type_names[OUTBOUND_TYPE_COUNT];

#define CONFIG_NETWORK_TCP 1U
#define CONFIG_NETWORK_UDP 2U

struct config_log {
	int level; /* enum log_level of base/log.h */
};

struct config_inbound {
	char *tag;
	struct addr listen; /* address and port; "::" listens on both families */
	unsigned network;   /* CONFIG_NETWORK_* */
};

struct config_outbound {
	enum outbound_type type;
	char *tag;
	uint32_t routing_mark;    /* 0: none */
	char *bind_interface;     /* NULL: none */
	struct addr bind4, bind6; /* family AF_UNSPEC: not given */
	uint32_t connect_timeout_ms;
	bool keep_alive; /* false: disable_tcp_keep_alive */
	uint32_t keep_alive_idle_ms, keep_alive_interval_ms;
	uint32_t keep_alive_count;
};

struct config_relay {
	enum relay_method method;
	bool force; /* use the sockmap although the version table says no */
	bool local_clients;
	uint32_t enter_after;  /* user-space reads of a flow before it enters the sockmap */
	uint64_t buffer_limit; /* bytes a direction of a flow may hold */
	uint64_t memory_limit; /* bytes all flows together may hold */
	uint32_t half_close_timeout_ms; /* 0: off */
	uint32_t idle_timeout_ms;       /* 0: off */
};

struct config_limits {
	uint32_t max_flows; /* 0: from the limit on open files */
	uint32_t drain_timeout_ms;
};

struct config {
	struct config_log log;
	uint32_t workers; /* 0: one a core */
	struct config_inbound *inbounds;
	size_t inbound_count;
	struct config_outbound *outbounds;
	size_t outbound_count;
	size_t final_outbound; /* index: route.final, else the first */
	struct config_relay relay;
	struct config_limits limits;
	char *control_socket;
};

/* One thing wrong with a configuration. */
struct config_error {
	char *file;
	unsigned line, column; /* from 1; 0: the file as a whole (cannot be read) */
	char *pointer;         /* RFC 6901, "" for the document */
	char *reason;          /* with "did you mean" where a near name exists */
};

struct config_errors {
	struct config_error *list;
	size_t count;
};

/* Reads @path ("-": standard input). 0 and *@ret, to be freed by config_free(); or -EINVAL, with *@ret
 * untouched and every error, in the order of the file, in @errors; or -ENOMEM. @errors may be given
 * zeroed and is to be freed by config_errors_deinit() in every case. */
int config_load(const char *path, struct config **ret, struct config_errors *errors);
void config_free(struct config *config); /* NULL is fine */
void config_errors_deinit(struct config_errors *errors);

/* Lines of `file:line:column: /pointer: reason`, or one JSON array of objects with these names. */
void config_errors_print(const struct config_errors *errors, FILE *out, bool json);
/* One line a key: its name, type with range, (default), help. 0, or -EIO: @out took no more. */
int config_schema_print(FILE *out);
