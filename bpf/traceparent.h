/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Finds the W3C `Traceparent` value in a net/http.Header (map[string][]string), in both layouts:
 * buckets (runtime/map.go, up to Go 1.23) and Swiss tables (internal/runtime/maps, from Go 1.24).
 * Keys are read several at once, and one by one where that fails: a bucket may reach into a heap page
 * that was never touched.
 */
#pragma once
#include "go.h"

#define SLOTS 8 /* in a bucket, in a group */
#define MAX_GROUPS 16 /* 128 headers */
#define HMAP_FLAGS 8 /* runtime.hmap.flags; B, noverflow, hash0, buckets, oldbuckets follow */
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

/* Slots are taken half by half. In a group, values are between the keys. */
#define HALF (SLOTS / 2)
#define STRIDE(swiss) ((swiss) ? GROUP_SLOT_SIZE : sizeof(struct go_string))
#define VALUES_AT(swiss, i) ((swiss) ? GROUP_SLOTS + (i) * GROUP_SLOT_SIZE + 16 : BUCKET_VALUES + (i) * 24)
#define KEYS_SIZE(swiss) ((HALF - 1) * STRIDE(swiss) + sizeof(struct go_string))

/* Both layouts: what the control word says of each slot, then the slots. */
struct slots {
	__u64 control;
	char keys[KEYS_SIZE(true)];
};

static __always_inline bool search_half(struct request_start *request, __u64 address, const struct slots *slots,
					bool at_once, int first, const bool swiss)
{
	for (int i = 0; i < HALF; i++) {
		__u8 hash = slots->control >> (8 * (first + i));
		struct go_string key = {};
		__u64 values = 0;
		__u16 ignored = 0;

		if (swiss ? hash & 0x80 : hash < MIN_TOP_HASH)
			continue;
		if (at_once)
			key = *(struct go_string *)(slots->keys + i * STRIDE(swiss));
		else
			READ_USER(key, address + sizeof(slots->control) + (first + i) * STRIDE(swiss));
		if (!is_traceparent(&key) || READ_USER(values, address + VALUES_AT(swiss, first + i)))
			continue;
		request->traceparent_len = copy_string_at(request->traceparent, TRACEPARENT_MAX, values, &ignored);
		return true;
	}
	return false;
}

/* One bucket or group. */
static __always_inline int search_slots(struct request_start *request, __u64 address, const bool swiss)
{
	struct slots slots;
	__u64 second = address + sizeof(slots.control) + HALF * STRIDE(swiss);
	bool at_once = !bpf_probe_read_user(&slots, sizeof(slots.control) + KEYS_SIZE(swiss), (void *)address);

	if (!request || (!at_once && READ_USER(slots.control, address)))
		return 0;
	if (search_half(request, address, &slots, at_once, 0, swiss))
		return 1;
	/* Slots are filled in order: these are often empty. */
	if (swiss ? (slots.control >> 32 & 0x80808080) == 0x80808080 : !(slots.control >> 32))
		return 0;
	at_once = !bpf_probe_read_user(slots.keys, KEYS_SIZE(swiss), (void *)second);
	return search_half(request, address, &slots, at_once, HALF, swiss);
}

/* 1 when the header was there. Global, so that the verifier checks them once and not for every way that leads here. */
__noinline int search_bucket(struct request_start *request, __u64 bucket)
{
	return search_slots(request, bucket, false);
}

__noinline int search_group(struct request_start *request, __u64 group)
{
	return search_slots(request, group, true);
}

static __always_inline void search_buckets(struct request_start *request, __u64 map)
{
	struct {
		__u8 flags, log2;
		__u16 overflows; /* how many; exact for so few buckets */
		__u32 seed;
		__u64 buckets[2]; /* current, and old while the map grows */
	} hmap;
	__u32 n;

	if (READ_USER(hmap, map + HMAP_FLAGS))
		return;
	n = 1u << (hmap.log2 & 15);
	for (int which = 0; which < 2; which++, n >>= 1) {
		for (__u32 i = 0; i < MAX_GROUPS; i++) {
			__u64 bucket = hmap.buckets[which] + BUCKET_SIZE * (__u64)i, overflow = 0;

			if (i >= n || !hmap.buckets[which])
				break;
			if (search_bucket(request, bucket))
				return;
			if (hmap.overflows || which)
				READ_USER(overflow, bucket + BUCKET_OVERFLOW);
			if (overflow && search_bucket(request, overflow))
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
		search_group(request, directory.data);
		return;
	}
	for (__u32 t = 0; t < 2 && t < directory.tables; t++) {
		__u64 table = 0, groups[2] = {}; /* data, index mask */

		if (READ_USER(table, directory.data + 8 * t) || READ_USER(groups, table + 16))
			return;
		for (__u32 i = 0; i < MAX_GROUPS && i <= groups[1]; i++)
			if (search_group(request, groups[0] + GROUP_SIZE * (__u64)i))
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
