/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Go's register ABI (ABIInternal, Go 1.17 and later) on amd64, and the thread pointer: the only file
 * that knows the architecture. https://go.dev/s/regabi
 */
#pragma once
#include "kernel.h"

/* arch/x86/include/asm/ptrace.h: the context of a uprobe program, fixed layout. */
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	unsigned long ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

#define GO_G(ctx) ((ctx)->r14)
#define GO_ARG1(ctx) ((ctx)->ax)
#define GO_ARG2(ctx) ((ctx)->bx)
#define GO_ARG3(ctx) ((ctx)->cx)
#define GO_ARG4(ctx) ((ctx)->di)

/* In a kprobe on a function's entry: the System V ABI. */
#define KERNEL_ARG1(ctx) ((ctx)->di)
#define KERNEL_ARG2(ctx) ((ctx)->si)

/*
 * The probe sits on the `jbe` of the function's stack check. When carry or zero is set the branch is
 * about to be taken: the stack grows and the function starts again, which would count it twice.
 */
#define GO_STACK_WILL_GROW(ctx) ((ctx)->flags & 0x41)

/*
 * Frame pointers: every Go function with a frame keeps its caller's in %rbp, and the return address above.
 * On the stack check's `jbe` the function has no frame yet: the return address is on top of the stack.
 */
#define FRAME_POINTER(ctx) ((ctx)->bp)
#define STACK_TOP(ctx) ((ctx)->sp)

#define THREAD_POINTER(task) ((task)->thread.fsbase)
