/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Opt-in: a worker that takes a job from a channel works for the request of the goroutine that put it there.
 *
 * Channels also carry results, connections, tokens, ticks and signals. So a value counts as a job only where nothing
 * speaks against it, and whatever is uncertain leaves the goroutine without a request, never with an old one:
 * - A request's own goroutine (direct), a connection's writer (pooled) and a dialling goroutine never take over.
 * - A worker takes its jobs near the bottom of its stack, in one of the MAX_DEPTH outermost functions of its
 *   goroutine. What is received further up (net/http waits for a response, database/sql for a connection) is part
 *   of the job.
 * - Where a goroutine that works for nobody first receives somebody's value, it takes its jobs. There every value
 *   counts: one that is nobody's, a token or a tick ends the job before. A value of another request or of nobody
 *   that comes to another place, no deeper, casts doubt on the job and ends it, too.
 * - A value without pointers is a token, one that a timer sends is a tick: neither brings a job.
 * - A goroutine that a request started (lineage) may be a worker of a pool that is started lazily, or may wait for
 *   something that requests share. While its request lives, a value of another leaves it without one; after that it
 *   is a worker.
 * Not seen, so that the job before seems to last: work that comes by closing a channel, by a condition variable or
 * under a mutex.
 *
 * All hooks sit on calls that the runtime makes under the channel's lock (runtime/chan.go, runtime/select.go).
 */
#pragma once
#include "stack.h"

#define TYPE_POINTER_BYTES 8 /* internal/abi.Type.PtrBytes, runtime._type.ptrdata before Go 1.21 */
#define HCHAN_BUFFER_LENGTH 8 /* runtime.hchan */
#define HCHAN_BUFFER 16
#define HCHAN_ELEMENT_SIZE 24
#define HCHAN_ELEMTYPE_TO_RECVX 16
#define SUDOG_G 0 /* runtime.sudog */

#define MAX_DEPTH 3

/*
 * Whose value is in a slot of a channel's buffer. Inserted, or deleted when it is nobody's, by the goroutine that puts
 * a value in; deleted by the one that takes it out. A tick: request_id 0. Channels that are given up leave some behind,
 * hence LRU; a value whose record was pushed out is nobody's. The daemon makes it small where it is not used.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct handover); /* pointer: of the slot */
	__type(value, struct context);
} channel_slots SEC(".maps");

static __always_inline bool has_pointers(__u64 type)
{
	return read_word(type + TYPE_POINTER_BYTES) != 0;
}

/* What a value brings with it: `request_id` 0 when its sender works for no request, or is none. */
static __always_inline void sender_of(struct context *from, const struct go_binary *binary, __u64 g,
				      __u64 frame_pointer, __u8 index)
{
	struct goroutine sender = goroutine_at(binary, g);
	struct context *context = context_of(&sender);

	__builtin_memset(from, 0, sizeof(*from));
	/* The transport's goroutines pass on connections and responses, no jobs. */
	if (!context || context->via == VIA_POOLED || context->via == VIA_DIAL)
		return;
	*from = *context;
	if (from->request_id)
		from->stack = record_stack(0, frame_pointer, from->stack, index);
}

/* g0, on which timers run, has goroutine id 0. */
static __always_inline bool is_timer(const struct go_binary *binary, __u64 g)
{
	return !read_word(g + binary->goid);
}

static __always_inline void put(__u64 slot, const struct context *from, bool tick)
{
	struct handover key = { .pointer = slot, .tgid = current_tgid() };

	if (from->request_id || tick)
		bpf_map_update_elem(&channel_slots, &key, from, BPF_ANY);
	else
		bpf_map_delete_elem(&channel_slots, &key);
}

/* False: a tick. */
static __always_inline bool take_out(__u64 slot, struct context *from)
{
	struct handover key = { .pointer = slot, .tgid = current_tgid() };
	struct context *found = bpf_map_lookup_elem(&channel_slots, &key);

	__builtin_memset(from, 0, sizeof(*from));
	if (!found)
		return true;
	*from = *found;
	bpf_map_delete_elem(&channel_slots, &key);
	return from->request_id != 0;
}

/* Puts one in and takes the other out, without room for both on the stack. False: a tick comes out. */
static __always_inline bool exchange(__u64 slot, struct context *context)
{
	struct handover key = { .pointer = slot, .tgid = current_tgid() };
	__u64 *found = bpf_map_lookup_elem(&channel_slots, &key), *words = (__u64 *)context, word;

	if (!found) {
		put(slot, context, false);
		__builtin_memset(context, 0, sizeof(*context));
		return true;
	}
	for (__u32 i = 0; i < sizeof(*context) / sizeof(word); i++) {
		word = found[i];
		found[i] = words[i];
		words[i] = word;
	}
	if (!((struct context *)found)->request_id)
		bpf_map_delete_elem(&channel_slots, &key);
	return context->request_id != 0;
}

/*
 * Where a goroutine receives: a hash of the calls that led there from its first function, and in the top byte how many
 * functions these are. `frame_pointer`: of selectgo, or of chanrecv, whose caller is a wrapper (chanrecv1).
 * A goroutine begins with frame pointer 0 (gogo).
 */
#define SITE_DEPTH(site) ((site) >> 56)
#define SITE_TOO_DEEP ~0ULL
#define SITE_UNREADABLE 0

static __noinline __u64 site_of(__u64 frame_pointer, bool in_select)
{
	struct frame frame;
	__u64 site = 0, depth = 0;

	if (!in_select)
		frame_pointer = read_word(frame_pointer);
	for (__u32 i = 0; i <= MAX_DEPTH; i++) {
		if (READ_USER(frame, frame_pointer))
			return SITE_UNREADABLE;
		if (!frame.caller)
			return depth << 56 | (site & ((1ULL << 56) - 1));
		site = (site ^ frame.return_address) * FNV_PRIME;
		depth++;
		frame_pointer = frame.caller;
	}
	return SITE_TOO_DEEP;
}

/* Of a goroutine that a request started and that received another's value; false when the request has ended. */
static __always_inline bool leave_living_request(const struct go_binary *binary, struct context *context)
{
	struct goroutine origin = goroutine_at(binary, context->origin);
	__u64 request_id = context->request_id ?: context->site;
	struct context *root = context_of(&origin);

	if (!root || root->via != VIA_DIRECT || root->request_id != request_id)
		return false;
	context->request_id = 0;
	context->site = request_id;
	return true;
}

static __always_inline void work_for(const struct goroutine *goroutine, const struct context *from, __u64 site)
{
	struct context job = { .via = VIA_CHANNEL, .site = site };

	if (from->request_id) {
		job.request_id = from->request_id;
		job.stack = from->stack;
		job.origin = from->origin;
		job.depth = from->depth < 255 ? from->depth + 1 : 255;
	}
	set_context(goroutine, &job);
}

/* A value that reaches a goroutine. */
struct receipt {
	struct context from;
	__u64 g;
	__u64 frame_pointer; /* of chanrecv or selectgo; 0: g is parked there */
	__u32 binary;
	__u8 job; /* no token, no tick */
	__u8 in_select;
	__u8 _pad[2];
};

/* A global function: the verifier walks it once, not at every call. */
__noinline int receive(const struct receipt *value)
{
	const struct go_binary *binary;
	struct goroutine goroutine;
	struct context *context;
	__u64 site, frame_pointer;
	bool is_worker, is_child;
	__u32 index;

	if (!value)
		return 0;
	index = value->binary;
	binary = bpf_map_lookup_elem(&binaries, &index);
	if (!binary)
		return 0;
	goroutine = goroutine_at(binary, value->g);
	context = context_of(&goroutine);
	is_worker = context && context->via == VIA_CHANNEL;
	is_child = context && context->via == VIA_LINEAGE;
	if (context ? !is_worker && !(is_child && value->job) : !(value->job && value->from.request_id))
		return 0;
	if (context && context->request_id && context->request_id == value->from.request_id)
		return 0; /* a result, or the like */
	frame_pointer = value->frame_pointer ?: read_word(read_word(value->g + binary->sched_bp)); /* gopark's, up one */
	site = site_of(frame_pointer, value->in_select);
	if (site == SITE_TOO_DEEP || (site == SITE_UNREADABLE && !is_worker))
		return 0;
	if (is_worker && site != context->site) {
		if (site == SITE_UNREADABLE || (value->job && SITE_DEPTH(site) <= SITE_DEPTH(context->site)))
			context->request_id = 0;
		return 0;
	}
	if (!is_child || !leave_living_request(binary, context))
		work_for(&goroutine, &value->from, site);
	return 0;
}

/* typedmemmove(typ, slot, value) in chansend or selectgo */
static __always_inline void channel_put(struct pt_regs *ctx, const struct go_binary *binary, __u8 index)
{
	struct context from;

	if (!has_pointers(GO_ARG1(ctx)))
		return;
	sender_of(&from, binary, GO_G(ctx), FRAME_POINTER(ctx), index);
	put(GO_ARG2(ctx), &from, is_timer(binary, GO_G(ctx)));
}

/* typedmemclr(typ, slot) in chanrecv or selectgo, after the value was copied. Not typedmemmove: it is left out when
 * the program throws the value away. */
static __always_inline void channel_get(struct pt_regs *ctx, __u8 index, bool in_select)
{
	struct receipt value = {
		.g = GO_G(ctx),
		.frame_pointer = FRAME_POINTER(ctx),
		.binary = index,
		.in_select = in_select,
	};

	value.job = has_pointers(GO_ARG1(ctx)) && take_out(GO_ARG2(ctx), &value.from);
	receive(&value);
}

/* send(c, sg, …): the goroutine of sg waits for a value */
static __always_inline void channel_send(struct pt_regs *ctx, const struct go_binary *binary, __u8 index)
{
	__u64 sudog = GO_ARG2(ctx);
	struct receipt value = { .g = read_word(sudog + SUDOG_G), .binary = index };

	READ_USER(value.in_select, sudog + binary->sudog_is_select);
	value.job = has_pointers(read_word(GO_ARG1(ctx) + binary->hchan_elemtype)) && !is_timer(binary, GO_G(ctx));
	if (value.job)
		sender_of(&value.from, binary, GO_G(ctx), FRAME_POINTER(ctx), index);
	receive(&value);
}

/* recv(c, sg, …): the goroutine of sg waits to be rid of its value, which goes behind those in the buffer */
static __always_inline void channel_receive(struct pt_regs *ctx, const struct go_binary *binary, __u8 index,
					    bool in_select)
{
	struct receipt value = {
		.g = GO_G(ctx),
		.frame_pointer = FRAME_POINTER(ctx),
		.binary = index,
		.in_select = in_select,
	};
	__u64 channel = GO_ARG1(ctx), sender = read_word(GO_ARG2(ctx) + SUDOG_G), slot;
	__u16 size = 0;

	if (has_pointers(read_word(channel + binary->hchan_elemtype))) {
		value.job = true;
		sender_of(&value.from, binary, sender, read_word(sender + binary->sched_bp), index);
		if (read_word(channel + HCHAN_BUFFER_LENGTH)) {
			READ_USER(size, channel + HCHAN_ELEMENT_SIZE);
			slot = read_word(channel + HCHAN_BUFFER) +
			       size * read_word(channel + binary->hchan_elemtype + HCHAN_ELEMTYPE_TO_RECVX);
			value.job = exchange(slot, &value.from);
		}
	}
	receive(&value);
}
