/* protocol - what a connection speaks, as sniffing tells and rules ask. */
#pragma once

enum protocol {
	PROTOCOL_UNKNOWN, /* not a word of the configuration */
	PROTOCOL_TLS,
	PROTOCOL_HTTP,
	PROTOCOL_SSH,
	PROTOCOL_BITTORRENT,
	PROTOCOL_RDP,
	PROTOCOL_DNS,
	PROTOCOL_QUIC,
	PROTOCOL_STUN,
	PROTOCOL_DTLS,
	PROTOCOL_NTP,
	PROTOCOL_COUNT
};
extern const char *const protocol_names[PROTOCOL_COUNT]; /* "unknown", "tls", ... */
