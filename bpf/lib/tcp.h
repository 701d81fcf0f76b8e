/* tcp - the few kernel fields that the programs read; CO-RE finds their offsets at load time. */
#pragma once

struct skb_shared_info {
	unsigned int gso_type;
} __attribute__((preserve_access_index));

struct sk_buff {
	unsigned char *head;
	unsigned int end; /* of what @head points to: there is struct skb_shared_info */
} __attribute__((preserve_access_index));

struct file {
	unsigned int f_flags;
} __attribute__((preserve_access_index));

struct socket {
	struct file *file;
} __attribute__((preserve_access_index));

struct sock_common {
	unsigned long skc_flags; /* bits of enum sock_flags */
	volatile unsigned char skc_state;
} __attribute__((preserve_access_index));

enum sock_flags {
	SOCK_ZEROCOPY = 18, /* here; the kernel's own value is asked for */
};

struct sock {
	struct sock_common __sk_common;
	struct {
		int owned; /* a system call is at it */
	} sk_lock;
	struct socket *sk_socket;
	int sk_err;
	int sk_sndbuf;      /* SO_SNDBUF: what sk_wmem_queued may reach */
	int sk_wmem_queued; /* memory of the send queue, overhead included */
	__u8 sk_shutdown;
} __attribute__((preserve_access_index));

struct inet_sock {
	struct sock sk;
} __attribute__((preserve_access_index));

struct tcp_ulp_ops;

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	__u32 icsk_pmtu_cookie; /* path MTU */
	const struct tcp_ulp_ops *icsk_ulp_ops;
} __attribute__((preserve_access_index));

struct rb_node;

struct rb_root {
	struct rb_node *rb_node;
} __attribute__((preserve_access_index));

struct tcp_options_received {
	__u32 ts_recent; /* TSval that the host sent last */
	__u16 tstamp_ok : 1, sack_ok : 3;
	__u16 snd_wscale : 4; /* of windows that the host announces */
	__u16 rcv_wscale : 4; /* of windows that this socket announces */
	__u16 mss_clamp;      /* what the host accepts */
} __attribute__((preserve_access_index));

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 copied_seq; /* first byte that nobody has consumed yet */
	__u32 write_seq;  /* one past the last byte ever put into the send queue */
	__u32 snd_una;    /* first byte that is not acknowledged yet */
	__u32 snd_wnd;
	__u32 rcv_nxt;
	__u64 bytes_acked;
	__u64 bytes_received;
	__u32 tsoffset;       /* added to the clock for TSval */
	__u8 tcp_usec_ts : 1; /* 6.7: the clock counts microseconds */
	__u8 repair : 1;
	__u16 advmss; /* what the host was told that it may send */
	__u8 ecn_flags;
	_Bool is_mptcp;
	struct rb_root out_of_order_queue;
	struct tcp_options_received rx_opt;
} __attribute__((preserve_access_index));
