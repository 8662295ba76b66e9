/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* A fact about a TCP socket, with the context of the goroutine that acts on it. The same body serves
 * every backend (sockops, kprobe, fentry). Runs in the acting thread. */
#pragma once
#include "go.h"

static __always_inline void copy_addresses(struct socket_event *event, struct sock *sk)
{
	struct sock_common *common = &sk->__sk_common;

	event->family = BPF_CORE_READ(common, skc_family);
	event->local_port = BPF_CORE_READ(common, skc_num);
	event->peer_port = __builtin_bswap16(BPF_CORE_READ(common, skc_dport));
	if (event->family == AF_INET6) {
		BPF_CORE_READ_INTO(&event->local_address, common, skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&event->peer_address, common, skc_v6_daddr.in6_u.u6_addr8);
	} else {
		BPF_CORE_READ_INTO((__u32 *)event->local_address, common, skc_rcv_saddr);
		BPF_CORE_READ_INTO((__u32 *)event->peer_address, common, skc_daddr);
	}
}

static __always_inline void socket_event(struct sock *sk, __u32 type, __u64 cookie)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct target *target = bpf_map_lookup_elem(&targets, &tgid);
	struct goroutine key = { .tgid = tgid };
	struct go_binary *binary;
	struct context *context;
	struct socket_event *event;
	__u32 which;

	if (!target)
		return;
	which = target->binary;
	binary = bpf_map_lookup_elem(&binaries, &which);
	if (!binary)
		return;
	key.goid = goid_from_thread(binary);
	context = context_of(&key);
	event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);
	if (!event) {
		count(COUNT_RING_FULL_SOCKET);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->type = type;
	event->tgid = tgid;
	event->tid = BPF_CORE_READ(task, pid);
	event->event_id = new_id();
	event->time_ns = bpf_ktime_get_ns();
	event->goid = key.goid;
	event->cookie = cookie;
	event->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	event->binary = which;
	if (context) {
		event->request_id = context->request_id;
		event->via = context->via;
		event->depth = context->depth;
	} else if (target->context_lost_ns && event->time_ns - target->context_lost_ns < CONTEXT_LOSS_NS) {
		event->flags = FLAG_MAP_FULL;
	}
	copy_addresses(event, sk);
	bpf_ringbuf_submit(event, wake_flags());
	count(COUNT_SOCKET);
}
