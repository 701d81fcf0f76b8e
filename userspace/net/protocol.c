#include "net/protocol.h"
#include "base/names.h"

NAME_TABLE(protocol_names, PROTOCOL_COUNT, "unknown", "tls", "http", "ssh", "bittorrent", "rdp",
	   "dns", "quic", "stun", "dtls", "ntp");
