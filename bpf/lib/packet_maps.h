/* packet_maps - the pairs; keys and values are in seam/abi.h. User space sizes them at load time. */
#pragma once

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct seam_tuple);
	__type(value, struct seam_half);
} seam_halves SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct seam_pair);
} seam_pairs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct seam_label);
} seam_labels SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct seam_offer);
} seam_offers SEC(".maps");

struct way {
	__u32 ifindex;
	struct bpf_redir_neigh next; /* nh_family 0: not told */
};

/* The way to the host of @s. User space may be changing it: a packet may go wrong then, as when a route
 * changes. */
static __always_inline void read_way(const struct seam_side *s, struct way *ret)
{
	ret->next.nh_family = *(volatile const __u32 *)&s->next_family;
	ret->ifindex = s->ifindex;
	for (int i = 0; i < 4; i++)
		ret->next.ipv6_nh[i] = s->next_hop[i];
}
