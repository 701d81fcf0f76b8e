/* tcp - the few kernel fields that the programs read; CO-RE finds their offsets at load time. */
#pragma once

struct sock {
	int sk_sndbuf;      /* SO_SNDBUF: what sk_wmem_queued may reach */
	int sk_wmem_queued; /* memory of the send queue, overhead included */
} __attribute__((preserve_access_index));

struct inet_sock {
	struct sock sk;
} __attribute__((preserve_access_index));

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} __attribute__((preserve_access_index));

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 copied_seq; /* first byte that nobody has consumed yet */
	__u32 write_seq;  /* one past the last byte ever put into the send queue */
} __attribute__((preserve_access_index));
