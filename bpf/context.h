/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Which request a goroutine works for. */
#pragma once
#include "go.h"

/* How long after a context was lost a missing one may be due to that. */
#define CONTEXT_LOSS_NS (60ULL * 1000 * 1000 * 1000)
#define SWEEP_EVERY_NS (1000ULL * 1000 * 1000)

/* Of the current process. */
static __always_inline struct goroutine goroutine_at(const struct go_binary *binary, __u64 g)
{
	return (struct goroutine){ .place = { .g = g, .tgid = current_tgid() }, .goid = goid_of(binary, g) };
}

/* The goroutine of the current thread as seen from a kernel hook; id 0 when it runs none. */
static __always_inline struct goroutine goroutine_of_thread(const struct go_binary *binary)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct goroutine none = {};
	__u64 g = 0;

	if (READ_USER(g, THREAD_POINTER(task) + (__s64)binary->tls_g) || !g)
		return none;
	g = current_goroutine(binary, g);
	return g ? goroutine_at(binary, g) : none;
}

/* `present`: what is in its place. */
static __always_inline struct context *owned_by(const struct goroutine *goroutine, struct context *present)
{
	return present && goroutine->goid && present->owner == goroutine->goid ? present : NULL;
}

static __always_inline struct context *context_of(const struct goroutine *goroutine)
{
	return owned_by(goroutine, bpf_map_lookup_elem(&contexts, &goroutine->place));
}

struct sweep {
	__u32 tgid;
	__u32 goid; /* offset */
};

static long drop_dead(void *map, const struct place *place, struct context *context, struct sweep *sweep)
{
	struct {
		__u32 status;
		__u32 stack_lock;
		__u64 goid;
	} g;

	if (place->tgid == sweep->tgid && !READ_USER(g, place->g + sweep->goid - STATUS_TO_GOID) &&
	    (g.goid != context->owner || (g.status & ~STATUS_SCAN) == STATUS_DEAD))
		bpf_map_delete_elem(map, place);
	return 0;
}

/*
 * When the map is full: a process deletes what is void of its own, whose goroutines' structures are in its memory.
 * A goroutine that gets a context at the same moment may lose it: hence the note even if there is room then. A global
 * function: seldom run, verified once.
 */
__noinline int make_room(__u32 tgid)
{
	struct target *target = bpf_map_lookup_elem(&targets, &tgid);
	struct sweep sweep = { .tgid = tgid };
	const struct go_binary *binary;
	__u64 now_ns = bpf_ktime_get_ns();

	if (!target)
		return 0;
	target->context_lost_ns = now_ns;
	binary = bpf_map_lookup_elem(&binaries, &target->binary);
	if (!binary || now_ns - target->swept_ns < SWEEP_EVERY_NS)
		return 0;
	target->swept_ns = now_ns;
	sweep.goid = binary->goid;
	bpf_for_each_map_elem(&contexts, drop_dead, &sweep, 0);
	return 0;
}

/* Only what runs on the goroutine, or starts it, sets its context: nobody else writes there at the same time. */
static __always_inline bool set_context_at(struct context *present, const struct goroutine *goroutine,
					   struct context *context)
{
	if (!goroutine->goid)
		return false; /* counted where it could not be read */
	context->owner = goroutine->goid;
	if (present) {
		*present = *context;
		return true;
	}
	if (!bpf_map_update_elem(&contexts, &goroutine->place, context, BPF_ANY))
		return true;
	make_room(goroutine->place.tgid);
	if (!bpf_map_update_elem(&contexts, &goroutine->place, context, BPF_ANY))
		return true;
	count(COUNT_MAP_FULL);
	return false;
}

static __always_inline bool set_context(const struct goroutine *goroutine, struct context *context)
{
	return set_context_at(bpf_map_lookup_elem(&contexts, &goroutine->place), goroutine, context);
}

/* Stack and goroutine are then those of the call, in another goroutine. */
static __always_inline bool is_handed_over(const struct context *who)
{
	return who->via == VIA_POOLED || who->via == VIA_DIAL;
}
