/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * What becomes of a TCP socket, and the context of the goroutine that acts on it. The same bodies serve every backend:
 * to tracepoints and fentry a socket is typed, its fields are read directly and things are kept in it; to a kprobe it is
 * an address. `typed` is constant, so that each program contains one of the two.
 */
#pragma once
#include "stack.h"

#define SK_READ(field) (typed ? sk->field : BPF_CORE_READ(sk, field))

/* Who acts in the current thread; the stack is still that of the context. `target` is that of its process. */
static __always_inline void identify(struct context *who, const struct target *target, struct task_struct *task)
{
	struct goroutine goroutine;
	__u32 index = target->binary;
	struct go_binary *binary = bpf_map_lookup_elem(&binaries, &index);
	struct context *context;

	__builtin_memset(who, 0, sizeof(*who));
	/* An io_uring worker is a thread of the process, but runs none of its code. */
	if (!binary || task->flags & PF_IO_WORKER)
		return;
	goroutine = goroutine_of_thread(binary);
	if (binary->not_instrumented) {
		who->unknown = FLAG_NOT_INSTRUMENTED;
		return;
	}
	context = context_of(&goroutine);
	if (context)
		*who = *context;
	if (!is_handed_over(who))
		who->goid = goroutine.goid;
}

static __always_inline void add_stack(struct context *who, const struct target *target)
{
	if (who->request_id && !is_handed_over(who))
		who->stack = system_call_stack(who->stack, target->binary);
}

static __always_inline __u16 flags_of(const struct context *who, const struct target *target, __u64 now_ns)
{
	if (who->unknown)
		return who->unknown;
	if (!who->request_id && target->context_lost_ns && now_ns - target->context_lost_ns < CONTEXT_LOSS_NS)
		return FLAG_MAP_FULL;
	return 0;
}

static __always_inline void copy_addresses(struct socket_event *event, struct sock *sk, const bool typed)
{
	event->family = SK_READ(__sk_common.skc_family);
	event->local_port = __builtin_bswap16(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	event->peer_port = __builtin_bswap16(SK_READ(__sk_common.skc_dport));
	if (event->family == AF_INET6) {
		BPF_CORE_READ_INTO(&event->local_address, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&event->peer_address, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	} else {
		*(__u32 *)event->local_address = SK_READ(__sk_common.skc_rcv_saddr);
		*(__u32 *)event->peer_address = SK_READ(__sk_common.skc_daddr);
	}
}

static __always_inline __u32 netns_of(struct sock *sk, const bool typed)
{
	return typed ? sk->__sk_common.skc_net.net->ns.inum : BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

/* The kernel's socket cookie, as `ss -e` shows it; where it has none yet and cannot be asked to make one, our own. */
static __always_inline __u64 cookie_of(struct sock *sk, const bool typed)
{
	return typed ? bpf_get_socket_cookie(sk) : BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) ?: new_id();
}

static __always_inline struct connection *connection_of(struct sock *sk, const bool typed)
{
	__u64 address = (__u64)sk;

	return typed ? bpf_sk_storage_get(&connections, sk, NULL, 0) :
		       bpf_map_lookup_elem(&connections_by_address, &address);
}

static const struct connection NO_CONNECTION; /* too large for the stack */

static __always_inline struct connection *new_connection(struct sock *sk, const bool typed)
{
	struct connection *connection;
	__u64 address = (__u64)sk;

	if (typed) {
		connection = bpf_sk_storage_get(&connections, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	} else {
		bpf_map_update_elem(&connections_by_address, &address, &NO_CONNECTION, BPF_ANY);
		connection = bpf_map_lookup_elem(&connections_by_address, &address);
	}
	if (!connection)
		count(COUNT_MAP_FULL);
	return connection;
}

static __always_inline void forget_connection(struct sock *sk, const bool typed)
{
	__u64 address = (__u64)sk;

	if (!typed)
		bpf_map_delete_elem(&connections_by_address, &address);
}

struct fact {
	__u32 type;
	__u16 error;
	__u16 flags;
	__u64 time_ns;
	__u64 duration_ns;
};

/* `connection`: names the process that opened the socket. */
static __always_inline void emit(struct sock *sk, const struct connection *connection, const struct context *who,
				 const struct fact *fact, const bool typed)
{
	struct socket_event *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

	if (!event) {
		count(COUNT_RING_FULL_SOCKET);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->type = fact->type;
	event->tgid = connection->tgid;
	event->tid = connection->tid;
	event->event_id = new_id();
	event->request_id = who->request_id;
	event->time_ns = fact->time_ns;
	event->goid = who->goid;
	event->cookie = connection->cookie;
	event->duration_ns = fact->duration_ns;
	event->stack = who->stack;
	event->netns = netns_of(sk, typed);
	event->flags = fact->flags;
	event->error = fact->error;
	event->via = who->via;
	event->depth = who->depth;
	event->binary = connection->binary;
	copy_addresses(event, sk, typed);
	bpf_ringbuf_submit(event, wake_flags());
	count(COUNT_SOCKET);
}

/* In the thread that connects; the port may not be bound yet. What comes of it is told when it is decided. */
static __always_inline void connect_begins(struct sock *sk, const bool typed)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u32 tgid = pid_tgid >> 32;
	struct target *target = bpf_map_lookup_elem(&targets, &tgid);
	struct connection *connection;

	if (!target)
		return;
	connection = new_connection(sk, typed);
	if (!connection)
		return;
	identify(&connection->opener, target, task);
	add_stack(&connection->opener, target);
	connection->user = connection->opener.request_id;
	connection->cookie = cookie_of(sk, typed);
	connection->opened_ns = bpf_ktime_get_ns();
	connection->tgid = tgid;
	connection->tid = pid_tgid;
	connection->binary = target->binary;
	connection->flags = flags_of(&connection->opener, target, connection->opened_ns);
	connection->opening = true;
}

static __always_inline void connect_decided(struct sock *sk, struct connection *connection, __u16 error,
					    const bool typed)
{
	struct fact fact = {
		.type = EVENT_SOCKET_CONNECT,
		.error = error,
		.flags = connection->flags,
		.time_ns = connection->opened_ns,
		.duration_ns = bpf_ktime_get_ns() - connection->opened_ns,
	};

	connection->opening = false;
	emit(sk, connection, &connection->opener, &fact, typed);
}

static __always_inline void closed(struct sock *sk, struct connection *connection, const bool typed)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct fact fact = {
		.type = EVENT_SOCKET_CLOSE,
		.flags = connection->flags,
		.time_ns = now_ns,
		.duration_ns = connection->opened_ns ? now_ns - connection->opened_ns : 0,
	};

	emit(sk, connection, &connection->opener, &fact, typed);
}

static __always_inline void listens(struct sock *sk, const bool typed)
{
	struct listener key = { .netns = netns_of(sk, typed), .port = SK_READ(__sk_common.skc_num) };
	__u8 value = 1;

	if (key.port && bpf_map_update_elem(&listeners, &key, &value, BPF_ANY)) {
		shared.listeners_full = 1;
		count(COUNT_LISTENERS_FULL);
	}
}

/* A socket that we did not see connecting: an inbound one, unless nobody has listened on its port. */
static __always_inline bool is_outbound(struct sock *sk, const bool typed)
{
	struct listener key;

	/* Most that is sent is a response: not worth a look-up. */
	if (SK_READ(sk_max_ack_backlog))
		return false;
	key = (struct listener){ .netns = netns_of(sk, typed), .port = SK_READ(__sk_common.skc_num) };
	if (shared.listeners_full || bpf_map_lookup_elem(&listeners, &key))
		return false;
	key.port = 0;
	return bpf_map_lookup_elem(&listeners, &key);
}

static __always_inline struct connection *older_connection(struct sock *sk, __u32 tgid, const struct target *target,
							     const bool typed)
{
	struct connection *connection;

	if (!is_outbound(sk, typed))
		return NULL;
	connection = new_connection(sk, typed);
	if (!connection)
		return NULL;
	connection->cookie = cookie_of(sk, typed);
	connection->tgid = tgid;
	connection->binary = target->binary;
	connection->flags = FLAG_PREDATES_CAPTURE;
	return connection;
}

/* In the thread that sends. */
static __always_inline void sends(struct sock *sk, const bool typed)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u32 tgid = pid_tgid >> 32;
	struct target *target = bpf_map_lookup_elem(&targets, &tgid);
	struct fact fact = { .type = EVENT_SOCKET_USE };
	struct connection *connection;
	struct context who;
	bool first = false;

	if (!target)
		return;
	connection = connection_of(sk, typed);
	if (!connection) {
		connection = older_connection(sk, tgid, target, typed);
		first = true;
	}
	if (!connection)
		return;
	identify(&who, target, task);
	fact.time_ns = bpf_ktime_get_ns();
	fact.flags = flags_of(&who, target, fact.time_ns);
	/* Handshakes and acknowledgements of the goroutines that opened it, or of none, are no use. */
	if (who.via == VIA_DIAL || (who.via == VIA_NONE && !fact.flags)) {
		if (!first)
			return;
		who.request_id = 0;
	}
	if (who.request_id == connection->user && !first)
		return;
	add_stack(&who, target);
	connection->user = who.request_id;
	connection->tgid = tgid; /* a socket may be passed on */
	connection->tid = pid_tgid;
	connection->binary = target->binary;
	fact.flags |= connection->flags & FLAG_PREDATES_CAPTURE;
	emit(sk, connection, &who, &fact, typed);
}

static __always_inline void changes_state(struct sock *sk, int from, int to, const bool typed)
{
	struct connection *connection;

	if (SK_READ(sk_protocol) != IPPROTO_TCP || from == to)
		return;
	if (to == TCP_LISTEN)
		listens(sk, typed);
	else if (to == TCP_SYN_SENT)
		connect_begins(sk, typed);
	else if (to == TCP_ESTABLISHED && from == TCP_SYN_RECV)
		forget_connection(sk, typed); /* an inbound one, where another socket was */
	else if (to == TCP_ESTABLISHED || to == TCP_CLOSE) {
		connection = connection_of(sk, typed);
		if (!connection)
			return;
		if (to == TCP_CLOSE && !connection->opening)
			closed(sk, connection, typed);
		else if (connection->opening) /* closed without an error: the program gave up waiting */
			connect_decided(sk, connection, to == TCP_ESTABLISHED ? 0 : SK_READ(sk_err) ?: ECANCELED, typed);
		if (to == TCP_CLOSE)
			forget_connection(sk, typed);
	}
}
