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

/* Go's structure of a goroutine, which it uses again for other goroutines. */
struct place {
	__u64 g;
	__u32 tgid;
	__u32 _pad;
};

struct goroutine {
	struct place place;
	__u64 goid; /* never used again in a process; 0: no goroutine, or one whose id could not be read */
};

struct context {
	__u64 owner; /* goroutine id: void for another goroutine in its place. Handed over: the pointer. 0: void */
	__u64 request_id; /* 0: for no request, whatever lineage would say */
	__u64 stack; /* of the call or `go` statement that brought it here, key in `stacks` */
	__u64 goid; /* pooled, dial: of the goroutine that made the call; lineage: that started this one */
	__u64 origin; /* g of the request's own goroutine */
	/* channel: where the worker takes its jobs. lineage, request_id 0: the request that it may still work for */
	__u64 site;
	__u8 via;
	__u8 depth;
	__u8 unknown; /* enum event_flag: why request_id is 0 although there may be a request */
	__u8 _pad[5];
};

/* The request that a goroutine works for. Inserted at request start, at goroutine start (inherited) and where one is
 * handed over, read by uprobes and socket hooks, void from request end on. A goroutine that ends leaves its
 * entry behind, for the next one in its place to write over: no probe on each end, and the entries of a process are
 * as many as its goroutines at their most. Deleted at process exit and exec, and when the map is full: those of the
 * inserting process that are void. For a while the connections of that process that have none say `map_full` then;
 * a context that finds no room all the same is not stored, and counted.
 * Not an LRU map: its evictions cannot be seen, so they could be neither counted nor told. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct place);
	__type(value, struct context);
} contexts SEC(".maps");

/* What one goroutine leaves for another: at roundTrip for the one that writes the request, at queueForDial for
 * the one that dials. Inserted by the former and written over for the next request on that connection; void once
 * the latter has taken it. Connections go away and requests are cancelled: what is not used again has to be pushed
 * out, hence LRU. One that was pushed out too early leaves the writer with `unknown`, never with the request before. */
struct handover {
	__u64 pointer; /* of the net/http.persistConn, of the wantConn */
	__u32 tgid;
	__u32 _pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct handover);
	__type(value, struct context);
} handovers SEC(".maps");

/* Who opened a connection and whose bytes it carried last. Created by the socket hooks for outbound connections
 * of targets, gone with the socket. */
struct connection {
	struct context opener;
	__u64 user; /* request id */
	__u64 cookie;
	__u64 opened_ns; /* 0: before us */
	__u32 tgid;
	__u32 tid;
	__u16 flags;
	__u8 binary;
	__u8 opening;
	__u8 _pad[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct connection);
} connections SEC(".maps");

/* The same where a socket is only an address (kprobes). Deleted when the socket closes. Full: counted, the connection
 * stays unseen. The daemon makes it small where it is not used. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct connection);
} connections_by_address SEC(".maps");

/* Tells inbound connections that are older than capture from outbound ones. Inserted when a socket begins to
 * listen, and by the daemon from /proc/<pid>/net/tcp; never deleted, because accepted connections outlive their
 * listener. Full: flagged in `shared`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct listener);
	__type(value, __u8);
} listeners SEC(".maps");

/* Call stacks by a hash of their contents, below 2^53. Inserted by the uprobes and socket hooks, read by the
 * daemon, which remembers what it has read. Pushed out too early: that event shows no caller. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct stack);
} stacks SEC(".maps");

/* By executable. Added to by on_uprobe, read by the daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_BINARIES);
	__type(key, __u32);
	__type(value, struct hits);
} hits SEC(".maps");

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

static __always_inline __u32 current_tgid(void)
{
	return bpf_get_current_pid_tgid() >> 32;
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
