/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Every map and every global, with who inserts, reads and deletes, and what happens when it is full. */
#pragma once
#include <bpf/bpf_helpers.h>
#include "kernel.h"
#include "events.h"

#define MAX_BINARIES 256
#define WAKE_BYTES (256 << 10)

/* Sections of their own, so that each is a map with this struct at offset 0. */
const volatile struct settings settings SEC(".rodata.settings") = { .first_id = 1 };
struct shared shared SEC(".data.shared") = { .consumer_asleep = 1 };

/* Events of both kinds in kernel order. Written by all hooks, read by the daemon. Full: the event is
 * dropped and counted by kind. The daemon may set another size before load. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} ring SEC(".maps");

/* Offsets of a probed executable. Written by the daemon before it attaches, read by all hooks. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_BINARIES);
	__type(key, __u32);
	__type(value, struct go_binary);
} binaries SEC(".maps");

/* The filter of the system-wide hooks. Inserted by the daemon for processes that it finds and by
 * request_start for those that start later; read by the socket hooks; deleted at process exit, and by
 * the daemon when the process runs another executable. Full: counted, the process's connections stay
 * unseen. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct target);
} targets SEC(".maps");

/* Keyed by goroutine id, which Go never re-uses in a process, while it re-uses the goroutine structures. */
struct goroutine {
	__u64 goid;
	__u32 tgid;
	__u32 _pad;
};

struct context {
	__u64 request_id;
	__u8 via;
	__u8 depth;
	__u8 _pad[6];
};

/* The request that a goroutine works for. Inserted at request start and at goroutine start (inherited),
 * read by the socket hooks, deleted at request end, goroutine exit and process exit. Full: the new context
 * is not stored and counted, and for a while the connections of that process that have none say `map_full`.
 * Not an LRU map: its evictions cannot be seen, so they could be neither counted nor told. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct goroutine);
	__type(value, struct context);
} contexts SEC(".maps");

/* enum counter. Added to by all hooks, read by the daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 which)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &which);

	if (value)
		__sync_fetch_and_add(value, 1);
}

/* How long after a context was lost a missing one may be due to that. */
#define CONTEXT_LOSS_NS (60ULL * 1000 * 1000 * 1000)

/* Goroutine id 0: no goroutine, or one whose id could not be read. It has no context and gets none. */
static __always_inline struct context *context_of(const struct goroutine *key)
{
	return key->goid ? bpf_map_lookup_elem(&contexts, key) : NULL;
}

static __always_inline bool set_context(const struct goroutine *key, const struct context *context)
{
	struct target *target;

	if (key->goid && !bpf_map_update_elem(&contexts, key, context, BPF_ANY))
		return true;
	count(COUNT_MAP_FULL);
	target = bpf_map_lookup_elem(&targets, &key->tgid);
	if (target)
		target->context_lost_ns = bpf_ktime_get_ns();
	return false;
}

static __always_inline __u64 new_id(void)
{
	return settings.first_id + __sync_fetch_and_add(&shared.ids_used, 1);
}

/* How to submit: wake the daemon if it sleeps or if much is waiting, else leave it to its tick. */
static __always_inline __u64 wake_flags(void)
{
	if (shared.consumer_asleep) {
		shared.consumer_asleep = 0;
		return BPF_RB_FORCE_WAKEUP;
	}
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > WAKE_BYTES)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}
