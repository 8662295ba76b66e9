/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* What becomes of a TCP socket, and the context of the goroutine that acts on it. The same bodies serve every backend. */
#pragma once
#include "stack.h"

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

/* The socket comes from a tracepoint: most fields are read directly, without a call each. */
static __always_inline void copy_addresses(struct socket_event *event, struct sock *sk)
{
	struct sock_common *common = &sk->__sk_common;

	event->family = common->skc_family;
	event->local_port = __builtin_bswap16(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	event->peer_port = __builtin_bswap16(common->skc_dport);
	if (event->family == AF_INET6) {
		BPF_CORE_READ_INTO(&event->local_address, common, skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&event->peer_address, common, skc_v6_daddr.in6_u.u6_addr8);
	} else {
		*(__u32 *)event->local_address = common->skc_rcv_saddr;
		*(__u32 *)event->peer_address = common->skc_daddr;
	}
}

static __always_inline __u32 netns_of(struct sock *sk)
{
	return sk->__sk_common.skc_net.net->ns.inum;
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
				 const struct fact *fact)
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
	event->netns = netns_of(sk);
	event->flags = fact->flags;
	event->error = fact->error;
	event->via = who->via;
	event->depth = who->depth;
	event->binary = connection->binary;
	copy_addresses(event, sk);
	bpf_ringbuf_submit(event, wake_flags());
	count(COUNT_SOCKET);
}

/* In the thread that connects; the port may not be bound yet. What comes of it is told when it is decided. */
static __always_inline void connect_begins(struct sock *sk)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u32 tgid = pid_tgid >> 32;
	struct target *target = bpf_map_lookup_elem(&targets, &tgid);
	struct connection *connection;

	if (!target)
		return;
	connection = bpf_sk_storage_get(&connections, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection) {
		count(COUNT_MAP_FULL);
		return;
	}
	identify(&connection->opener, target, task);
	add_stack(&connection->opener, target);
	connection->user = connection->opener.request_id;
	connection->cookie = bpf_get_socket_cookie(sk);
	connection->opened_ns = bpf_ktime_get_ns();
	connection->tgid = tgid;
	connection->tid = pid_tgid;
	connection->binary = target->binary;
	connection->flags = flags_of(&connection->opener, target, connection->opened_ns);
	connection->opening = true;
}

static __always_inline void connect_decided(struct sock *sk, struct connection *connection, __u16 error)
{
	struct fact fact = {
		.type = EVENT_SOCKET_CONNECT,
		.error = error,
		.flags = connection->flags,
		.time_ns = connection->opened_ns,
		.duration_ns = bpf_ktime_get_ns() - connection->opened_ns,
	};

	connection->opening = false;
	emit(sk, connection, &connection->opener, &fact);
}

static __always_inline void closed(struct sock *sk, struct connection *connection)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct fact fact = {
		.type = EVENT_SOCKET_CLOSE,
		.flags = connection->flags,
		.time_ns = now_ns,
		.duration_ns = connection->opened_ns ? now_ns - connection->opened_ns : 0,
	};

	emit(sk, connection, &connection->opener, &fact);
}

static __always_inline void listens(struct sock *sk)
{
	struct listener key = { .netns = netns_of(sk), .port = sk->__sk_common.skc_num };
	__u8 value = 1;

	if (key.port && bpf_map_update_elem(&listeners, &key, &value, BPF_ANY)) {
		shared.listeners_full = 1;
		count(COUNT_LISTENERS_FULL);
	}
}

/* A socket that we did not see connecting: an inbound one, unless nobody has listened on its port. */
static __always_inline bool is_outbound(struct sock *sk)
{
	struct listener key;

	/* Most that is sent is a response: not worth a look-up. */
	if (sk->sk_max_ack_backlog)
		return false;
	key = (struct listener){ .netns = netns_of(sk), .port = sk->__sk_common.skc_num };
	if (shared.listeners_full || bpf_map_lookup_elem(&listeners, &key))
		return false;
	key.port = 0;
	return bpf_map_lookup_elem(&listeners, &key);
}

static __always_inline struct connection *older_connection(struct sock *sk, __u32 tgid, const struct target *target)
{
	struct connection *connection;

	if (!is_outbound(sk))
		return NULL;
	connection = bpf_sk_storage_get(&connections, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection) {
		count(COUNT_MAP_FULL);
		return NULL;
	}
	connection->cookie = bpf_get_socket_cookie(sk);
	connection->tgid = tgid;
	connection->binary = target->binary;
	connection->flags = FLAG_PREDATES_CAPTURE;
	return connection;
}

/* In the thread that sends. */
static __always_inline void sends(struct sock *sk)
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
	connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
	if (!connection) {
		connection = older_connection(sk, tgid, target);
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
	emit(sk, connection, &who, &fact);
}
