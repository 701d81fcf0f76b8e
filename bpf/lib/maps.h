/* maps - those of more than one program; user space sizes them at load time, and hands them from one
 * object to the next. */
#pragma once

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2); /* user space sizes the maps at load time */
	__type(key, __u32);
	__type(value, __u64);
} seam_socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32); /* slot */
	__type(value, struct seam_dir);
} seam_dirs SEC(".maps");
