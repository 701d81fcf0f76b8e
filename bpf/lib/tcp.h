/* tcp - the few kernel fields that the programs read; CO-RE finds their offsets at load time. */
#pragma once

struct tcp_sock {
	__u32 copied_seq;	/* first byte that nobody has consumed yet */
	__u32 write_seq;	/* one past the last byte ever put into the send queue */
} __attribute__((preserve_access_index));
