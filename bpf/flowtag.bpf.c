// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/*
 * flowtag: which request caused this connection?
 *
 * request_start     uprobe  net/http.serverHandler.ServeHTTP     new context; event
 * request_read      uprobe  net/http.(*conn).serve <- readRequest the same, where ServeHTTP is inlined
 * goroutine_start   uprobe  runtime.newproc.func1 -> runqput      the child inherits the context
 * goroutine_created uprobe  runtime.newproc.func1 <- newproc1     the same, where runqput is inlined
 * request_end       uprobe  net/http.(*response).finishRequest    context gone; event
 * response_close    uprobe  net/http.(*chunkWriter).close         the same, where finishRequest is inlined
 * serve_end         uprobe  deferred function of (*conn).serve    the same, after a panic and the like; HTTP/2: runHandler
 * round_trip        uprobe  net/http.(*persistConn).roundTrip     leaves the context for the connection's writer
 * request_write     uprobe  net/http.(*Request).write             the writer takes it over
 * dial_queued       uprobe  net/http.(*Transport).queueForDial    where connections are limited: leaves it for the dialling one
 * dial              uprobe  net/http.(*Transport).dialConnFor     the goroutine's context is now that of a dial
 * channel_*, select_* uprobe  runtime.{chansend,chanrecv,selectgo}  opt-in: a worker takes over with its job (channel.h)
 * *_state, *_listen inet_sock_set_state, tcp_set_state            connects, when decided, and closes; listeners
 * *_send            tcp_sendmsg_locked                            uses of connections by another request
 * process_end       tp_btf  sched_process_exit, sched_process_exec  no longer a target; its contexts are gone
 *
 * Needs Linux 5.15 (bpf_task_pt_regs), BTF. Sites and costs: README.md.
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
#include "channel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keeps the contract's types in the object's BTF, where generate.ts reads them. */
const struct contract {
	struct request_start request_start;
	struct request_end request_end;
	struct socket_event socket_event;
	struct process_end process_end;
	struct go_binary go_binary;
	struct target target;
	struct listener listener;
	struct stack stack;
	struct hits hits;
	struct settings settings;
	struct shared shared;
	enum event_type event_type;
	enum via via;
	enum event_flag event_flag;
	enum counter counter;
	enum hook hook;
} *contract __attribute__((unused));

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

static __always_inline void request_start(struct pt_regs *ctx, const struct go_binary *binary, __u8 index,
					  __u64 request)
{
	struct goroutine goroutine = goroutine_at(binary, GO_G(ctx));
	struct context *present = bpf_map_lookup_elem(&contexts, &goroutine.place);
	struct context context = { .request_id = new_id(), .origin = goroutine.place.g, .via = VIA_DIRECT };
	struct http_request *http;
	__u64 pid_tgid = bpf_get_current_pid_tgid(), url, header;
	struct request_start *start;
	__u16 flags = 0;

	if (!present) /* else this goroutine has served a request before */
		remember_target(goroutine.place.tgid, index);
	if (!set_context_at(present, &goroutine, &context))
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
	start->goid = goroutine.goid;
	start->binary = index;
	start->traceparent_len = 0;
	start->query_len = 0;
	http = (void *)start->query; /* before the query gets there: the stack has no room for it */
	if (READ_USER(*http, request)) {
		__builtin_memset(http, 0, sizeof(*http));
		flags |= FLAG_READ_FAULT;
	}
	start->method_len = copy_string(start->method, METHOD_MAX, STRING_OF(http, REQUEST_METHOD), &flags);
	start->host_len = copy_string(start->host, HOST_MAX, STRING_OF(http, REQUEST_HOST), &flags);
	start->peer_len = copy_string(start->peer, PEER_MAX, STRING_OF(http, REQUEST_REMOTE_ADDR), &flags);
	url = WORD_OF(http, REQUEST_URL);
	header = WORD_OF(http, REQUEST_HEADER);
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

/* `response`: the *response that has the status, or 0: it is `status`. */
static __always_inline void request_end(struct pt_regs *ctx, const struct go_binary *binary, __u8 index,
					__s16 status, __u64 response)
{
	struct place place = { .g = GO_G(ctx), .tgid = current_tgid() };
	/* Whose request that is need not be asked: were it that of a goroutine before, it would be over, too. */
	struct context *context = bpf_map_lookup_elem(&contexts, &place);
	__u64 goid, read = 0;

	if (!context || !context->owner || context->via != VIA_DIRECT)
		return;
	goid = context->owner;
	context->owner = 0;
	if (response && !READ_USER(read, response + binary->response_status))
		status = read;
	emit_end(context->request_id, goid, index, status);
}

/* On g0, whose frame pointers lead on to the goroutine that executes the `go` statement. */
static __always_inline void goroutine_start(struct pt_regs *ctx, const struct go_binary *binary, __u8 index,
					    __u64 child)
{
	struct goroutine goroutine = { .place = { .tgid = current_tgid() } };
	struct context *parent, inherited;

	goroutine.place.g = current_goroutine(binary, GO_G(ctx)); /* none: a timer */
	parent = bpf_map_lookup_elem(&contexts, &goroutine.place);
	if (!parent || !parent->owner || !parent->request_id)
		return; /* before its id is read: most start for no request */
	goroutine.goid = goid_of(binary, goroutine.place.g);
	if (!owned_by(&goroutine, parent))
		return;
	inherited = *parent;
	/* A goroutine of a dial goes on to belong to the call that asked for it. */
	if (!is_handed_over(&inherited)) {
		inherited.stack = record_stack(0, FRAME_POINTER(ctx), inherited.stack, index);
		inherited.goid = goroutine.goid;
	}
	if (inherited.via != VIA_DIAL)
		inherited.via = VIA_LINEAGE;
	if (inherited.depth < 255)
		inherited.depth++;
	goroutine = goroutine_at(binary, child);
	set_context(&goroutine, &inherited);
}

/* The current goroutine's context, or that it has none, for the goroutine that will ask for `pointer`. */
static __always_inline void hand_over(struct pt_regs *ctx, const struct go_binary *binary, __u8 index, __u64 pointer)
{
	struct goroutine goroutine = goroutine_at(binary, GO_G(ctx));
	struct handover to = { .pointer = pointer, .tgid = goroutine.place.tgid };
	struct context *context = context_of(&goroutine);
	struct context handed = {}, *before;

	if (context)
		handed = *context;
	handed.goid = goroutine.goid;
	if (handed.request_id)
		handed.stack = callers_of(ctx, handed.stack, index);
	before = bpf_map_lookup_elem(&handovers, &to);
	if (before) {
		handed.owner = 0;
		*before = handed;
		barrier(); /* the map may give its memory to another entry at any time: the owner last */
		before->owner = pointer;
		return;
	}
	handed.owner = pointer;
	bpf_map_update_elem(&handovers, &to, &handed, BPF_ANY);
}

/* False when nothing was handed over; then `taken` is of no use. */
static __always_inline bool take(struct context *taken, const struct handover *from)
{
	struct context *handed = bpf_map_lookup_elem(&handovers, from);

	if (!handed || handed->owner != from->pointer)
		return false;
	*taken = *handed;
	barrier();
	if (handed->owner != from->pointer)
		return false; /* another entry meanwhile */
	handed->owner = 0;
	return true;
}

/* Replaces whatever lineage gave: a dialling goroutine may have been started by another request's, and the writer
 * of a pooled connection works for one request after the other. */
static __always_inline void take_over(struct pt_regs *ctx, const struct go_binary *binary, __u64 pointer, __u8 via)
{
	struct goroutine goroutine = goroutine_at(binary, GO_G(ctx));
	struct handover from = { .pointer = pointer, .tgid = goroutine.place.tgid };
	struct context *present = bpf_map_lookup_elem(&contexts, &goroutine.place);
	struct context *current = owned_by(&goroutine, present);
	struct context taken;

	/* No connection's writer, but Request.Write or a proxy's CONNECT. */
	if (via == VIA_POOLED && current && (current->via == VIA_DIRECT || current->via == VIA_LINEAGE))
		return;
	if (take(&taken, &from)) {
		if (via == VIA_DIAL && taken.depth < 255)
			taken.depth++;
	} else {
		if (via == VIA_POOLED && (!current || current->via != VIA_POOLED))
			return;
		__builtin_memset(&taken, 0, sizeof(taken));
		taken.unknown = via == VIA_POOLED ? FLAG_MAP_FULL : 0;
	}
	taken.via = via;
	set_context_at(present, &goroutine, &taken);
}

/* Of a *net/http.Transport: whether a call may wait until another one's connection is gone, whose goroutine then
 * starts the dial. */
static __always_inline bool limits_connections(const struct go_binary *binary, __u64 transport)
{
	return (__s64)read_word(transport + binary->max_conns_per_host) > 0;
}

/* Without a limit, the goroutine that makes the call starts the one that dials. */
static __always_inline void dial(struct pt_regs *ctx, const struct go_binary *binary)
{
	struct goroutine goroutine;
	struct context *context;

	if (limits_connections(binary, GO_ARG1(ctx))) {
		take_over(ctx, binary, GO_ARG2(ctx), VIA_DIAL);
		return;
	}
	goroutine = goroutine_at(binary, GO_G(ctx));
	context = context_of(&goroutine);
	if (context)
		context->via = VIA_DIAL;
}

/* One program for all uprobes, so that one link attaches all sites of an executable at once. */
SEC("uprobe")
int on_uprobe(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), pointer;
	__u32 index = COOKIE_BINARY(cookie), hook = COOKIE_HOOK(cookie);
	const struct go_binary *binary = bpf_map_lookup_elem(&binaries, &index);
	struct hits *hit = bpf_map_lookup_elem(&hits, &index);

	if (!binary || !hit)
		return 0;
	__sync_fetch_and_add(&hit->of[hook], 1);
	if (COOKIE_GUARDED(cookie) && GO_STACK_WILL_GROW(ctx))
		return 0;
	switch (hook) {
	case HOOK_REQUEST_START: /* func (sh serverHandler) ServeHTTP(rw ResponseWriter, req *Request) */
	case HOOK_REQUEST_READ: /* after func (c *conn) readRequest(ctx context.Context) (w *response, err error) */
		pointer = hook == HOOK_REQUEST_START ? GO_ARG4(ctx) : read_word(GO_ARG1(ctx) + RESPONSE_REQUEST);
		if (pointer) /* 0: readRequest failed */
			request_start(ctx, binary, index, pointer);
		break;
	case HOOK_REQUEST_END: /* func (w *response) finishRequest() */
		request_end(ctx, binary, index, 0, GO_ARG1(ctx));
		break;
	case HOOK_RESPONSE_CLOSE: /* func (cw *chunkWriter) close() */
		request_end(ctx, binary, index, 0, read_word(GO_ARG1(ctx) + CHUNK_WRITER_RESPONSE));
		break;
	case HOOK_GOROUTINE_START: /* call of func runqput(pp *p, gp *g, next bool) */
		goroutine_start(ctx, binary, index, GO_ARG2(ctx));
		break;
	case HOOK_GOROUTINE_CREATED: /* after func newproc1(…) *g, or where it is complete */
		goroutine_start(ctx, binary, index, GO_ARG1(ctx));
		break;
	case HOOK_SERVE_END: /* a request's own goroutine that has not been through finishRequest: a panic, or HTTP/2 */
		request_end(ctx, binary, index, -1, 0);
		break;
	case HOOK_ROUND_TRIP: /* func (pc *persistConn) roundTrip(req *transportRequest) (resp *Response, err error) */
		hand_over(ctx, binary, index, GO_ARG1(ctx));
		break;
	case HOOK_REQUEST_WRITE: /* func (r *Request) write(w io.Writer, …) error: w is the connection's *bufio.Writer, which
				  * writes to a persistConnWriter, whose only field is the *persistConn */
		take_over(ctx, binary, read_word(GO_ARG3(ctx) + BUFIO_WRITER_WR + 8), VIA_POOLED);
		break;
	case HOOK_DIAL_QUEUED: /* func (t *Transport) queueForDial(w *wantConn) */
		if (limits_connections(binary, GO_ARG1(ctx)))
			hand_over(ctx, binary, index, GO_ARG2(ctx));
		break;
	case HOOK_DIAL: /* func (t *Transport) dialConnFor(w *wantConn) */
		dial(ctx, binary);
		break;
	case HOOK_CHANNEL_PUT: /* call of func typedmemmove(typ *abi.Type, dst, src unsafe.Pointer) */
		channel_put(ctx, binary, index);
		break;
	case HOOK_CHANNEL_GET: /* call of func typedmemclr(typ *abi.Type, ptr unsafe.Pointer) */
	case HOOK_SELECT_GET:
		channel_get(ctx, index, hook == HOOK_SELECT_GET);
		break;
	case HOOK_CHANNEL_SEND: /* call of func send(c *hchan, sg *sudog, …) */
		channel_send(ctx, binary, index);
		break;
	case HOOK_CHANNEL_RECEIVE: /* call of func recv(c *hchan, sg *sudog, …) */
	case HOOK_SELECT_RECEIVE:
		channel_receive(ctx, binary, index, hook == HOOK_SELECT_RECEIVE);
		break;
	}
	return 0;
}

/* Three ways to the same socket facts; the daemon loads one of them, the first that the kernel lets it have. */

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tp_state, struct sock *sk, int from, int to)
{
	changes_state(sk, from, to, true);
	return 0;
}

SEC("tp_btf/tcp_sendmsg_locked")
int BPF_PROG(tp_send, struct sock *sk)
{
	sends(sk, true);
	return 0;
}

/*
 * Linux 6.3. After the send, still in its thread, for sockets of every kind: the request that caused it may be over by
 * now, and its time is that of the end. A send that fails is not told, where the other hooks tell that it was tried;
 * one that would block is told when it goes on. Before Linux 6.5 sendfile and splice do not come by.
 */
SEC("tp_btf/sock_send_length")
int BPF_PROG(tp_sent, struct sock *sk, int sent)
{
	/* Protocol numbers are each family's own: netlink has a 6, too. */
	if (sent > 0 && sk->sk_type == SOCK_STREAM && sk->sk_protocol == IPPROTO_TCP)
		sends(sk, true);
	return 0;
}

SEC("fentry/tcp_set_state")
int BPF_PROG(fentry_state, struct sock *sk, int to)
{
	changes_state(sk, sk->__sk_common.skc_state, to, true);
	return 0;
}

/* It alone does not come by tcp_set_state. */
SEC("fentry/inet_csk_listen_start")
int BPF_PROG(fentry_listen, struct sock *sk)
{
	changes_state(sk, TCP_CLOSE, TCP_LISTEN, true);
	return 0;
}

SEC("fentry/tcp_sendmsg_locked")
int BPF_PROG(fentry_send, struct sock *sk)
{
	sends(sk, true);
	return 0;
}

SEC("kprobe/tcp_set_state")
int kprobe_state(struct pt_regs *ctx)
{
	struct sock *sk = (void *)KERNEL_ARG1(ctx);

	changes_state(sk, BPF_CORE_READ(sk, __sk_common.skc_state), KERNEL_ARG2(ctx), false);
	return 0;
}

SEC("kprobe/inet_csk_listen_start")
int kprobe_listen(struct pt_regs *ctx)
{
	changes_state((void *)KERNEL_ARG1(ctx), TCP_CLOSE, TCP_LISTEN, false);
	return 0;
}

SEC("kprobe/tcp_sendmsg_locked")
int kprobe_send(struct pt_regs *ctx)
{
	sends((void *)KERNEL_ARG1(ctx), false);
	return 0;
}

/*
 * Goroutine ids begin again in a new program, also under a pid that is used again: what is left of the old one
 * would attribute wrongly. A process that is killed or executes another program leaves all its contexts behind.
 */
static long forget_context(void *map, const struct place *key, struct context *context, __u32 *tgid)
{
	if (key->tgid == *tgid)
		bpf_map_delete_elem(map, key);
	return 0;
}

/* A new program has other things at the same addresses. */
static long forget_handover(void *map, const struct handover *key, struct context *context, __u32 *tgid)
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
	bpf_for_each_map_elem(&handovers, forget_handover, &tgid, 0);
	bpf_for_each_map_elem(&channel_slots, forget_handover, &tgid, 0);
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
