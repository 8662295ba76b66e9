/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Finds the W3C `Traceparent` value in a net/http.Header (map[string][]string), in both layouts:
 * buckets (runtime/map.go, up to Go 1.23) and Swiss tables (internal/runtime/maps, from Go 1.24).
 * Slots are read one by one: a bucket may reach into a heap page that was never touched, and reading
 * it whole would then fail.
 */
#pragma once
#include "go.h"

#define SLOTS 8 /* in a bucket, in a group */
#define MAX_GROUPS 16 /* 128 headers */
#define BUCKET_KEYS 8
#define BUCKET_VALUES (BUCKET_KEYS + SLOTS * 16)
#define BUCKET_OVERFLOW (BUCKET_VALUES + SLOTS * 24)
#define BUCKET_SIZE (BUCKET_OVERFLOW + 8)
#define MIN_TOP_HASH 5 /* smaller: the slot is empty or moved */
#define GROUP_SLOTS 8
#define GROUP_SLOT_SIZE 40
#define GROUP_SIZE (GROUP_SLOTS + SLOTS * GROUP_SLOT_SIZE)

static __always_inline bool is_traceparent(const struct go_string *key)
{
	char name[16] = {};

	if (key->length != 11 || bpf_probe_read_user(name, 11, (void *)key->data))
		return false;
	return *(__u64 *)name == 0x7261706563617254 /* "Tracepar" */ &&
	       *(__u32 *)(name + 8) == 0x00746e65 /* "ent" */;
}

/* One bucket or group; 1 when the header was there. Global, so that the verifier checks it once and not
 * for every way that leads here. */
__noinline int search_slots(struct request_start *request, __u64 slots, __u32 swiss)
{
	__u64 control = 0;

	if (!request || READ_USER(control, slots))
		return 0;
	for (int i = 0; i < SLOTS; i++) {
		__u8 hash = control >> (8 * i);
		__u64 key_at = swiss ? slots + GROUP_SLOTS + i * GROUP_SLOT_SIZE : slots + BUCKET_KEYS + i * 16;
		__u64 value_at = swiss ? key_at + 16 : slots + BUCKET_VALUES + i * 24;
		struct go_string key = {};
		__u64 values = 0;
		__u16 ignored = 0;

		if (swiss ? hash & 0x80 : hash < MIN_TOP_HASH)
			continue;
		if (READ_USER(key, key_at) || !is_traceparent(&key) || READ_USER(values, value_at))
			continue;
		request->traceparent_len = copy_string_at(request->traceparent, TRACEPARENT_MAX, values, &ignored);
		return 1;
	}
	return 0;
}

static __always_inline void search_buckets(struct request_start *request, __u64 map)
{
	__u64 buckets[2] = {}; /* current, and old while the map grows */
	__u8 log2 = 0;
	__u32 n;

	if (READ_USER(log2, map + 9) || READ_USER(buckets, map + 16))
		return;
	n = 1u << (log2 & 15);
	for (int which = 0; which < 2; which++, n >>= 1) {
		for (__u32 i = 0; i < MAX_GROUPS; i++) {
			__u64 bucket = buckets[which] + BUCKET_SIZE * (__u64)i, overflow = 0;

			if (i >= n || !buckets[which])
				break;
			if (search_slots(request, bucket, 0))
				return;
			READ_USER(overflow, bucket + BUCKET_OVERFLOW);
			if (overflow && search_slots(request, overflow, 0))
				return;
		}
	}
}

static __always_inline void search_groups(struct request_start *request, __u64 map)
{
	struct {
		__u64 data; /* a group when `tables` is 0, else an array of tables */
		__u64 tables;
	} directory = {};

	if (READ_USER(directory, map + 16) || !directory.data)
		return;
	if (!directory.tables) {
		search_slots(request, directory.data, 1);
		return;
	}
	for (__u32 t = 0; t < 2 && t < directory.tables; t++) {
		__u64 table = 0, groups[2] = {}; /* data, index mask */

		if (READ_USER(table, directory.data + 8 * t) || READ_USER(groups, table + 16))
			return;
		for (__u32 i = 0; i < MAX_GROUPS && i <= groups[1]; i++)
			if (search_slots(request, groups[0] + GROUP_SIZE * (__u64)i, 1))
				return;
	}
}

static __always_inline void read_traceparent(const struct go_binary *binary, struct request_start *request,
					     __u64 header)
{
	if (!header)
		return;
	if (binary->swiss_map)
		search_groups(request, header);
	else
		search_buckets(request, header);
}
