/* local - clients on the router itself: what such a client sends goes straight into the upstream socket's
 * send queue, past the TCP connection over loopback that TPROXY made of it.
 *
 *   client's socket C -- loopback -- accepted socket A, upstream socket U
 *
 * seam_enrol, which user space runs (BPF_PROG_TEST_RUN of a tc program: the only kind that may look a
 * socket up and put it into a map), finds C by its addresses. seam_msg then sees every message that C
 * sends. Invariant: a message goes straight only when every byte that C has ever sent over loopback was
 * written to U by user space, which carries this direction alone (SEAM_GATE_LOCAL, see sockmap.bpf.c).
 * C's lock is held meanwhile, so no byte can join them, and the redirected message is in U's send queue
 * before send() returns: what is passed afterwards comes after it.
 *
 * A socket in a sockmap is not quite what it was. Blocked in recv(), it wakes up with EAGAIN for a signal
 * or a reset (tcp_bpf_recvmsg(), 6.1 to 6.18 at least), so only non-blocking sockets are taken. Redirected
 * to a full socket, send() says EAGAIN but poll() goes on saying POLLOUT, so a message goes straight only
 * if all of it fits.
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/stddef.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "seam/abi.h"
#include "lib/maps.h"
#include "lib/tcp.h"

#define SEND_SHUTDOWN 2    /* of sk_shutdown */
#define SKB_OVERHEAD  4096 /* of a message in the send queue, beside an eighth of its size */

const volatile __u32 seam_nonblock = 0; /* O_NONBLOCK, which differs between architectures */

/* Keyed by the flow's id, never used twice: unlike a slot it cannot lead to another flow's socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 2);
	__type(key, __u64);
	__type(value, __u64);
} seam_clients SEC(".maps"), seam_uplinks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct seam_local);
} seam_locals SEC(".maps");

static int is_nonblocking(struct tcp_sock *tp)
{
	struct socket *socket = tp->inet_conn.icsk_inet.sk.sk_socket;
	struct file *file = socket ? socket->file : NULL;

	return file && file->f_flags & seam_nonblock;
}

static int may_enter(struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;

	/* Whoever waits for the completions of MSG_ZEROCOPY would not get them. */
	if (sk->__sk_common.skc_flags & 1UL << bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY))
		return -EOPNOTSUPP;
	if (sk->sk_lock.owned) /* in a system call: not under its feet */
		return -EBUSY;
	return is_nonblocking(tp) ? 0 : -EOPNOTSUPP;
}

static int enrol(struct bpf_sock *sk, const struct seam_enrol *e, __u64 uplink)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct seam_local *local;
	__u64 id = e->id;
	int r = tp ? may_enter(tp) : -ENOTCONN;

	if (r)
		return r;
	local = bpf_sk_storage_get(&seam_locals, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!local)
		return -ENOMEM;
	local->id = id;
	local->uplink = uplink;
	local->slot = e->slot;
	local->start = e->start;
	return bpf_map_update_elem(&seam_clients, &id, sk, BPF_NOEXIST);
}

static struct bpf_sock *lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, int is_v6)
{
	struct bpf_sock *sk;

	if (is_v6)
		sk = bpf_sk_lookup_tcp(skb, tuple, sizeof(tuple->ipv6), BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_tcp(skb, tuple, sizeof(tuple->ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!sk || sk->state == BPF_TCP_ESTABLISHED)
		return sk;
	bpf_sk_release(sk); /* a listener, or an end that is about to close */
	return NULL;
}

static __u64 address_of_uplink(__u64 id)
{
	struct bpf_sock *sk = bpf_map_lookup_elem(&seam_uplinks, &id);
	__u64 address;

	if (!sk)
		return 0;
	address = (__u64)bpf_skc_to_tcp_sock(sk);
	bpf_sk_release(sk);
	return address;
}

static int find_start(struct __sk_buff *skb, struct seam_enrol *e)
{
	struct bpf_sock *sk = lookup(skb, &e->accepted, e->is_v6);
	struct tcp_sock *tp;

	if (!sk)
		return -ENOENT;
	tp = bpf_skc_to_tcp_sock(sk);
	e->start = tp ? tp->copied_seq : 0;
	bpf_sk_release(sk);
	return bpf_skb_store_bytes(skb, offsetof(struct seam_enrol, start), &e->start,
				   sizeof(e->start), 0);
}

/* The packet is a struct seam_enrol; 0 or -errno. */
SEC("tc")
int seam_enrol(struct __sk_buff *skb)
{
	struct seam_enrol e;
	struct bpf_sock *sk;
	__u64 uplink;
	int r = bpf_skb_load_bytes(skb, 0, &e, sizeof(e));

	if (r)
		return r;
	uplink = address_of_uplink(e.id);
	r = uplink ? find_start(skb, &e) : -ENOENT;
	if (r)
		return r;
	sk = lookup(skb, &e.client, e.is_v6);
	if (!sk)
		return -ENOENT;
	r = enrol(sk, &e, uplink);
	bpf_sk_release(sk);
	return r;
}

/* The upstream socket takes all of it at once: nobody has to wait for a socket that is not his. It may be
 * gone, and what is read here nonsense; then it is gone from seam_uplinks as well. */
static int has_room(const struct sock *sk, __u32 bytes)
{
	__s64 need = (__s64)bytes + bytes / 8 + SKB_OVERHEAD;

	if (BPF_CORE_READ(sk, sk_err) || BPF_CORE_READ(sk, sk_shutdown) & SEND_SHUTDOWN)
		return 0;
	return BPF_CORE_READ(sk, sk_wmem_queued) + need < BPF_CORE_READ(sk, sk_sndbuf);
}

/* Passes the message, over loopback, unless it redirects it. */
SEC("sk_msg")
int seam_msg(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
	struct seam_local *local = tp ? bpf_sk_storage_get(&seam_locals, sk, NULL, 0) : NULL;
	struct seam_dir *d;
	__u64 id;

	if (!local)
		return SK_PASS;
	d = bpf_map_lookup_elem(&seam_dirs, &local->slot);
	/* If the flow is gone and the slot has a new one, then the uplink is gone too. */
	if (!d || (__u32)d->written != tp->write_seq - local->start)
		return SK_PASS;
	id = local->id;
	if (is_nonblocking(tp) && has_room((void *)local->uplink, msg->size))
		bpf_msg_redirect_hash(msg, &seam_uplinks, &id, 0);
	return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
