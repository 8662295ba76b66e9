/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The few kernel types that the programs touch. Offsets are relocated at load time against the
 * running kernel's BTF (preserve_access_index), so only names and types matter here and no vmlinux.h
 * of some build machine is needed.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7
#define TCP_LISTEN 10
#define ECANCELED 125
#define PF_IO_WORKER 0x10 /* linux/sched.h */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct thread_struct {
	unsigned long fsbase; /* x86: the thread pointer */
};

struct mm_struct {
	unsigned long start_code; /* of the executable's first code segment, where it was loaded */
};

struct task_struct {
	unsigned int flags;
	int pid; /* the thread */
	int tgid; /* the process */
	struct mm_struct *mm;
	struct thread_struct thread;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

typedef struct {
	__s64 counter;
} atomic64_t;

struct sock_common {
	unsigned short skc_family;
	unsigned char skc_state;
	__u16 skc_num; /* local port, host order; 0 again when the socket closes */
	__be16 skc_dport;
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	possible_net_t skc_net;
	atomic64_t skc_cookie; /* 0: nobody has asked for it yet */
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_type;
	__u16 sk_protocol;
	int sk_err;
	__u32 sk_max_ack_backlog; /* of listen(); an accepted socket has its listener's */
};

struct inet_sock { /* begins with the struct sock */
	__be16 inet_sport;
};

#pragma clang attribute pop
