/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * THE contract between kernel and daemon: every record of the ring buffer, every counter, every
 * value that the daemon writes into a map. `generate.ts` reads these types from the BTF of the
 * compiled object and writes services/capture/bpf/layout.gen.ts; the daemon compares the object that it
 * is about to load with that file. Change a struct here, run `npm run build`, commit both.
 */
#pragma once

#define METHOD_MAX 16
#define PATH_MAX_BYTES 256
#define QUERY_MAX_BYTES 256
#define HOST_MAX 64
#define PEER_MAX 56 /* "[ffff:…:ffff%zone]:65535" */
#define TRACEPARENT_MAX 56 /* W3C: 55 characters */

enum event_type {
	EVENT_REQUEST_START = 1,
	EVENT_REQUEST_END = 2,
	EVENT_SOCKET_CONNECT = 3,
	EVENT_SOCKET_USE = 4,
	EVENT_SOCKET_CLOSE = 5,
	EVENT_PROCESS_END = 6, /* for the daemon alone */
};

/* How a request's context reached the goroutine that acted. */
enum via {
	VIA_NONE = 0,
	VIA_DIRECT = 1, /* the request's own goroutine */
	VIA_LINEAGE = 2, /* a goroutine that it started, at any depth */
	VIA_POOLED = 3, /* handed to the writer goroutine of a pooled connection */
	VIA_DIAL = 4, /* handed to a dialling goroutine */
	VIA_THREAD = 5,
	VIA_CHANNEL = 6, /* handed to a worker through a channel */
};

enum event_flag {
	FLAG_PATH_TRUNCATED = 1,
	FLAG_READ_FAULT = 2, /* a fact could not be read from user memory: it is empty */
	FLAG_MAP_FULL = 4, /* a context was lost because a map was full */
	FLAG_PREDATES_CAPTURE = 8, /* the connection was open before we looked */
	FLAG_NOT_INSTRUMENTED = 16, /* the process's probes were taken off again */
	/* Set by the daemon, which reads the code that the stack leads through. */
	FLAG_FROM_CHANNEL = 32,
	FLAG_IN_LOOP = 64,
};

/* A request as it enters the server. Strings are not terminated: *_len says how much is there. */
struct request_start {
	__u32 type;
	__u32 tgid;
	__u64 request_id; /* the causal key: unique on this host for this boot, below 2^53 */
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 goid;
	__u32 tid;
	__u16 flags;
	__u8 binary; /* which entry of `binaries` */
	__u8 method_len;
	__u16 path_len;
	__u16 query_len;
	__u8 host_len;
	__u8 peer_len;
	__u8 traceparent_len;
	__u8 _pad;
	/* The short ones first: what is written then lies close together. */
	char method[METHOD_MAX];
	char traceparent[TRACEPARENT_MAX];
	char peer[PEER_MAX];
	char host[HOST_MAX];
	char path[PATH_MAX_BYTES];
	char query[QUERY_MAX_BYTES]; /* last, where it is seldom written */
};

struct request_end {
	__u32 type;
	__u32 tgid;
	__u64 request_id;
	__u64 time_ns;
	__u64 goid;
	__u32 tid;
	__s16 status; /* HTTP status, 0 unknown, -1 the handler did not return */
	__u8 binary;
	__u8 _pad;
};

/*
 * connect: sent when it has succeeded or failed; time_ns is when it began, duration_ns how long it took.
 * use: a request's bytes go out on a connection whose last user was another one. close: duration_ns is its life.
 */
struct socket_event {
	__u32 type;
	__u32 tgid;
	__u64 event_id; /* same counter as request_id */
	__u64 request_id; /* 0: no causal chain seen */
	__u64 time_ns;
	__u64 goid; /* of the goroutine that made the call, also when another one wrote or dialled */
	__u64 cookie; /* socket cookie: the connection, across re-use of ports */
	__u64 duration_ns;
	__u64 stack; /* key in `stacks`, 0: not taken */
	__u32 tid;
	__u32 netns; /* inode of the network namespace */
	__u16 flags;
	__u16 family; /* AF_INET, AF_INET6 */
	__u16 local_port;
	__u16 peer_port;
	__u16 error; /* errno of a failed connect */
	__u8 via;
	__u8 depth; /* goroutines between the request's and this one */
	__u8 binary;
	__u8 _pad[3];
	__u8 local_address[16]; /* IPv4 in the first 4 bytes */
	__u8 peer_address[16];
};

/* A probed process ended, or runs another program from now on: what is known of its pid is void. */
struct process_end {
	__u32 type;
	__u32 tgid;
};

#define STACK_FRAMES 64

/* Call stack of a goroutine; the daemon reads it from the map when an event first names it. */
struct stack {
	__u64 parent; /* of the `go` statement that began this goroutine, or 0 */
	__u32 count;
	/* Return addresses, innermost first, from the start of the executable's first code segment. */
	__u32 offsets[STACK_FRAMES];
	__u32 _pad;
};

/* Where Go keeps what the probes read; one per probed executable, by Go version (attach writes it). */
struct go_binary {
	__u32 goid; /* runtime.g */
	__u32 curg; /* runtime.m */
	__s32 tls_g; /* of g, relative to the thread pointer */
	__u32 url_path; /* net/url.URL */
	__u32 url_raw_query;
	__u32 response_status; /* net/http.response */
	__u32 max_conns_per_host; /* net/http.Transport */
	__u32 swiss_map; /* http.Header is a Swiss map (Go 1.24 and later) */
	__u32 hchan_elemtype; /* runtime.hchan */
	__u32 sudog_is_select; /* runtime.sudog */
	__u32 sched_bp; /* runtime.g */
	__u32 not_instrumented; /* its uprobes were taken off: contexts that are left of it are stale */
};

/* A probed process. */
struct target {
	__u64 context_lost_ns; /* when a context of it was last lost because a map was full; 0: never */
	__u64 swept_ns; /* when what its dead goroutines left was last deleted */
	__u32 binary; /* which entry of `binaries` */
	__u32 _pad;
};

/* A TCP port that somebody listens on: connections with it as local port are inbound. */
struct listener {
	__u32 netns; /* inode */
	__u16 port; /* 0: the listeners that this namespace had before us are known */
	__u16 _pad;
};

/* Cumulative, per CPU. Everything seen is captured or counted here with the reason. */
enum counter {
	COUNT_REQUEST_START,
	COUNT_REQUEST_END,
	COUNT_SOCKET,
	COUNT_RING_FULL_REQUEST_START,
	COUNT_RING_FULL_REQUEST_END,
	COUNT_RING_FULL_SOCKET,
	COUNT_RING_FULL_PROCESS_END,
	COUNT_READ_FAULT_REQUEST, /* a start with at least one unreadable fact */
	COUNT_READ_FAULT_GOROUTINE, /* no goroutine id: the event has no context */
	COUNT_MAP_FULL, /* a context, target or connection that could not be stored */
	COUNT_LISTENERS_FULL, /* from the first on, uses of connections older than capture are not seen */
	COUNTERS,
};

/* uprobe cookie: which hook was hit, in which executable, and whether the flag guard applies. */
enum hook {
	HOOK_REQUEST_START = 1,
	HOOK_REQUEST_END = 2,
	HOOK_GOROUTINE_START = 3,
	HOOK_SERVE_END = 4,
	HOOK_ROUND_TRIP = 5,
	HOOK_REQUEST_WRITE = 6,
	HOOK_DIAL_QUEUED = 7,
	HOOK_DIAL = 8,
	/* Where profile-guided builds have inlined the one of the same purpose above. */
	HOOK_REQUEST_READ = 9,
	HOOK_RESPONSE_CLOSE = 10,
	HOOK_GOROUTINE_CREATED = 11,
	/* Only where asked for. */
	HOOK_CHANNEL_PUT = 16,
	HOOK_CHANNEL_GET = 17,
	HOOK_CHANNEL_SEND = 18,
	HOOK_CHANNEL_RECEIVE = 19,
	HOOK_SELECT_GET = 20,
	HOOK_SELECT_RECEIVE = 21,
};
#define HOOKS 32
#define COOKIE_HOOK(cookie) ((cookie) & (HOOKS - 1))
#define COOKIE_BINARY(cookie) (((cookie) >> 8) & 0xff)
#define COOKIE_GUARDED(cookie) ((cookie) & (1 << 16))

/* How often each hook of an executable was hit, per CPU: what the probes cost, and the budget's measure. */
struct hits {
	__u64 of[HOOKS];
};

/* Written by the daemon before load. */
struct settings {
	/*
	 * Requests and socket events are numbered by one counter that starts at the monotonic clock in
	 * units of 100 ns: a later run on the same boot starts above every id of an earlier one as long
	 * as a host makes fewer than ten million events a second, and ids stay below 2^53 for 28 years.
	 */
	__u64 first_id;
	__u32 capture_query;
};

/* Memory that both sides write (mmapped). */
struct shared {
	__u64 ids_used;
	/* Non-zero while the daemon sleeps in poll(). The first event then wakes it and clears the flag;
	 * while it drains on a tick, nobody pays for wake-ups. */
	__u32 consumer_asleep;
	__u32 listeners_full;
};
