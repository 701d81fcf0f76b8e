/* tcp - the few kernel fields that the programs read; CO-RE finds their offsets at load time. */
#pragma once

struct file {
	unsigned int f_flags;
} __attribute__((preserve_access_index));

struct socket {
	struct file *file;
} __attribute__((preserve_access_index));

struct sock_common {
	unsigned long skc_flags; /* bits of enum sock_flags */
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

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} __attribute__((preserve_access_index));

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 copied_seq; /* first byte that nobody has consumed yet */
	__u32 write_seq;  /* one past the last byte ever put into the send queue */
} __attribute__((preserve_access_index));
