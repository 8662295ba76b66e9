/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Call stacks by frame pointers, each kept once under a hash of its contents. Not bpf_get_stack: it misses the
 * caller of a function that has no frame yet. */
#pragma once
#include "context.h"

#define FNV_PRIME 0x100000001b3 /* of FNV-1a, 64 bits */

struct frame {
	__u64 caller; /* frame pointer */
	__u64 return_address;
};

/*
 * Key in `stacks` of the stack that begins at `frame_pointer`, 0 when there is none. `pc`: an address that comes
 * before it, or 0. `parent`: stack of the `go` statement that began this goroutine, or 0. A global function, so
 * that the verifier walks its loop once and not at every call.
 */
__noinline __u64 record_stack(__u64 pc, __u64 frame_pointer, __u64 parent, __u32 binary)
{
	__u64 code = bpf_get_current_task_btf()->mm->start_code;
	__u64 id = parent ^ ((__u64)binary << 32);
	struct stack stack = { .parent = parent };
	struct frame frame = { .caller = frame_pointer };

	if (!pc && READ_USER(frame, frame_pointer))
		return 0;
	if (!pc)
		pc = frame.return_address;
	for (__u32 i = 0; i < STACK_FRAMES; i++) {
		if (pc - code > 0xffffffff)
			break; /* below the first Go function, or C */
		stack.offsets[i] = pc - code;
		stack.count = i + 1;
		id = (id ^ stack.offsets[i]) * FNV_PRIME;
		if (!frame.caller || READ_USER(frame, frame.caller))
			break;
		pc = frame.return_address;
	}
	id &= (1ULL << 53) - 1; /* exact as a JavaScript number */
	if (!stack.count || !id)
		return 0;
	if (!bpf_map_lookup_elem(&stacks, &id))
		bpf_map_update_elem(&stacks, &id, &stack, BPF_ANY);
	return id;
}

/* At a probe on a `jbe`: the callers of the probed function. */
static __always_inline __u64 callers_of(struct pt_regs *ctx, __u64 parent, __u32 binary)
{
	__u64 pc = 0;

	if (READ_USER(pc, STACK_TOP(ctx)))
		return 0;
	return record_stack(pc, FRAME_POINTER(ctx), parent, binary);
}

/* In a system call: the Go functions that led to it. */
static __always_inline __u64 system_call_stack(__u64 parent, __u32 binary)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());

	return record_stack(0, FRAME_POINTER(regs), parent, binary);
}
