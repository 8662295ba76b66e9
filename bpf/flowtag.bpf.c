// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/*
 * flowtag: which request caused this connection?
 *
 * request_start    uprobe  net/http.serverHandler.ServeHTTP     new context; event
 * goroutine_start  uprobe  runtime.newproc.func1 -> runqput      the child inherits the context
 * goroutine_exit   uprobe  runtime.goexit1                       context gone; event when a request ends so
 * request_end      uprobe  net/http.(*response).finishRequest    context gone; event
 * socket_connect   sockops TCP_CONNECT_CB (inside tcp_connect)   event with the goroutine's context
 * process_end      tp_btf  sched_process_exit, sched_process_exec  no longer a target; its contexts are gone
 *
 * Needs Linux 5.13 (bpf_for_each_map_elem), BTF. Sites and costs: README.md.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "events.h"
#include "maps.h"
#include "go.h"
#include "traceparent.h"
#include "socket.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keeps the contract's types in the object's BTF, where generate.ts reads them. */
const struct contract {
	struct request_start request_start;
	struct request_end request_end;
	struct socket_event socket_event;
	struct process_end process_end;
	struct go_binary go_binary;
	struct target target;
	struct settings settings;
	struct shared shared;
	enum event_type event_type;
	enum via via;
	enum event_flag event_flag;
	enum counter counter;
	enum hook hook;
} *contract __attribute__((unused));

static __always_inline __u32 current_tgid(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

static __always_inline struct goroutine goroutine_key(const struct go_binary *binary, __u64 g)
{
	return (struct goroutine){ .goid = goid_of(binary, g), .tgid = current_tgid() };
}

static __always_inline void remember_target(__u32 tgid, __u32 binary)
{
	struct target target = { .binary = binary };

	if (bpf_map_lookup_elem(&targets, &tgid))
		return;
	if (bpf_map_update_elem(&targets, &tgid, &target, BPF_ANY))
		count(COUNT_MAP_FULL);
}

static __always_inline void emit_end(__u64 request_id, __u64 goid, __u8 binary, __s16 status)
{
	struct request_end *end = bpf_ringbuf_reserve(&ring, sizeof(*end), 0);
	__u64 pid_tgid = bpf_get_current_pid_tgid();

	if (!end) {
		count(COUNT_RING_FULL_REQUEST_END);
		return;
	}
	*end = (struct request_end){
		.type = EVENT_REQUEST_END,
		.tgid = pid_tgid >> 32,
		.tid = pid_tgid,
		.request_id = request_id,
		.time_ns = bpf_ktime_get_ns(),
		.goid = goid,
		.status = status,
		.binary = binary,
	};
	bpf_ringbuf_submit(end, wake_flags());
	count(COUNT_REQUEST_END);
}

/* func (sh serverHandler) ServeHTTP(rw ResponseWriter, req *Request) */
static __always_inline void request_start(struct pt_regs *ctx, const struct go_binary *binary, __u8 index)
{
	struct goroutine key = goroutine_key(binary, GO_G(ctx));
	struct context context = { .request_id = new_id(), .via = VIA_DIRECT };
	__u64 request = GO_ARG4(ctx), url = 0, header = 0;
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct request_start *start;
	__u16 flags = 0;

	remember_target(key.tgid, index);
	if (!set_context(&key, &context))
		flags |= FLAG_MAP_FULL;
	start = bpf_ringbuf_reserve(&ring, sizeof(*start), 0);
	if (!start) {
		count(COUNT_RING_FULL_REQUEST_START);
		return;
	}
	start->type = EVENT_REQUEST_START;
	start->tgid = pid_tgid >> 32;
	start->tid = pid_tgid;
	start->request_id = context.request_id;
	start->time_ns = bpf_ktime_get_ns();
	start->goid = key.goid;
	start->binary = index;
	start->traceparent_len = 0;
	start->query_len = 0;
	if (READ_USER(url, request + REQUEST_URL) || READ_USER(header, request + REQUEST_HEADER))
		flags |= FLAG_READ_FAULT;
	start->method_len = copy_string_at(start->method, METHOD_MAX, request + REQUEST_METHOD, &flags);
	start->host_len = copy_string_at(start->host, HOST_MAX, request + REQUEST_HOST, &flags);
	start->peer_len = copy_string_at(start->peer, PEER_MAX, request + REQUEST_REMOTE_ADDR, &flags);
	start->path_len = copy_path(start, url + binary->url_path, &flags);
	if (settings.capture_query)
		start->query_len =
			copy_string_at(start->query, QUERY_MAX_BYTES, url + binary->url_raw_query, &flags);
	read_traceparent(binary, start, header);
	if (flags & FLAG_READ_FAULT)
		count(COUNT_READ_FAULT_REQUEST);
	start->flags = flags;
	bpf_ringbuf_submit(start, wake_flags());
	count(COUNT_REQUEST_START);
}

/* func (w *response) finishRequest() */
static __always_inline void request_end(struct pt_regs *ctx, const struct go_binary *binary, __u8 index)
{
	struct goroutine key = goroutine_key(binary, GO_G(ctx));
	struct context *context = context_of(&key);
	__u64 status = 0, request_id;

	if (!context)
		return;
	request_id = context->request_id;
	bpf_map_delete_elem(&contexts, &key);
	READ_USER(status, GO_ARG1(ctx) + binary->response_status);
	emit_end(request_id, key.goid, index, status);
}

/* In newproc.func1, on g0, at `call runtime.runqput`: the new g is the second argument. */
static __always_inline void goroutine_start(struct pt_regs *ctx, const struct go_binary *binary)
{
	__u64 child = GO_ARG2(ctx);
	struct goroutine key = { .tgid = current_tgid() };
	struct context *parent, inherited;

	if (!binary->parent_goid)
		key.goid = goid_of(binary, current_goroutine(binary, GO_G(ctx)));
	else if (READ_USER(key.goid, child + binary->parent_goid))
		count(COUNT_READ_FAULT_GOROUTINE);
	parent = context_of(&key);
	if (!parent)
		return;
	inherited = *parent;
	if (inherited.via != VIA_DIAL)
		inherited.via = VIA_LINEAGE;
	if (inherited.depth < 255)
		inherited.depth++;
	key.goid = goid_of(binary, child);
	set_context(&key, &inherited);
}

/* A request's own goroutine that exits without finishRequest: a panic, or an HTTP/2 stream (its normal end). */
static __always_inline void goroutine_exit(struct pt_regs *ctx, const struct go_binary *binary, __u8 index)
{
	struct goroutine key = goroutine_key(binary, GO_G(ctx));
	struct context *context = context_of(&key);
	struct context gone;

	if (!context)
		return;
	gone = *context;
	bpf_map_delete_elem(&contexts, &key);
	if (gone.via == VIA_DIRECT)
		emit_end(gone.request_id, key.goid, index, -1);
}

/* One program for all uprobes, so that one link attaches all sites of an executable at once. */
SEC("uprobe")
int on_uprobe(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 index = COOKIE_BINARY(cookie);
	const struct go_binary *binary = bpf_map_lookup_elem(&binaries, &index);

	if (!binary || (COOKIE_GUARDED(cookie) && GO_STACK_WILL_GROW(ctx)))
		return 0;
	switch (COOKIE_HOOK(cookie)) {
	case HOOK_REQUEST_START:
		request_start(ctx, binary, index);
		break;
	case HOOK_REQUEST_END:
		request_end(ctx, binary, index);
		break;
	case HOOK_GOROUTINE_START:
		goroutine_start(ctx, binary);
		break;
	case HOOK_GOROUTINE_EXIT:
		goroutine_exit(ctx, binary, index);
		break;
	}
	return 0;
}

/* Called from inside tcp_connect(), in the caller's task, with the source port already bound. Leaves
 * `reply` alone: another sockops program may have set it. */
SEC("sockops")
int on_sockops(struct bpf_sock_ops *ops)
{
	if (ops->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		struct bpf_sock *sock = ops->sk;
		struct tcp_sock *tcp = sock ? bpf_skc_to_tcp_sock(sock) : NULL;

		if (tcp)
			socket_event((struct sock *)tcp, EVENT_SOCKET_CONNECT, bpf_get_socket_cookie(ops));
	}
	return 1;
}

/*
 * Goroutine ids begin again in a new program, also under a pid that is used again: what is left of the old one
 * would attribute wrongly. A process that is killed or executes another program leaves all its contexts behind.
 */
static long forget_context(void *map, const struct goroutine *key, struct context *context, __u32 *tgid)
{
	if (key->tgid == *tgid)
		bpf_map_delete_elem(map, key);
	return 0;
}

static __always_inline void process_end(__u32 tgid)
{
	struct process_end *end;

	if (bpf_map_delete_elem(&targets, &tgid))
		return; /* no target */
	bpf_for_each_map_elem(&contexts, forget_context, &tgid, 0);
	end = bpf_ringbuf_reserve(&ring, sizeof(*end), 0);
	if (!end) {
		count(COUNT_RING_FULL_PROCESS_END);
		return;
	}
	end->type = EVENT_PROCESS_END;
	end->tgid = tgid;
	bpf_ringbuf_submit(end, wake_flags());
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_process_exit, struct task_struct *task)
{
	if (task->pid == task->tgid) /* not a mere thread */
		process_end(task->tgid);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_process_exec, struct task_struct *task)
{
	process_end(task->tgid);
	return 0;
}
