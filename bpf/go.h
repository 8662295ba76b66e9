/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Reading Go's runtime and net/http structures from user memory. Offsets that change between Go
 * versions come from `binaries`; those below have not changed from Go 1.18 to 1.27. */
#pragma once
#include <bpf/bpf_core_read.h>
#include "go_abi_amd64.h"
#include "maps.h"

#define G_M 48 /* runtime.g.m */
#define STATUS_TO_GOID 8 /* runtime.g.atomicstatus, stackLock, goid */
#define STATUS_DEAD 6 /* runtime._Gdead */
#define STATUS_SCAN 0x1000 /* runtime._Gscan: the garbage collector has it in its hands */
#define REQUEST_METHOD 0 /* net/http.Request */
#define REQUEST_URL 16
#define REQUEST_HEADER 56
#define REQUEST_HOST 128
#define REQUEST_REMOTE_ADDR 176
#define RESPONSE_REQUEST 8 /* net/http.response.req */
#define CHUNK_WRITER_RESPONSE 0 /* net/http.chunkWriter.res */
#define BUFIO_WRITER_WR 48 /* bufio.Writer.wr, an io.Writer: its type, then its data */

struct go_string {
	__u64 data;
	__u64 length;
};

/* As much of a net/http.Request as is of use: one read, because each costs as much as all these bytes. */
struct http_request {
	__u64 words[(REQUEST_REMOTE_ADDR + sizeof(struct go_string)) / 8];
};
#define WORD_OF(request, offset) ((request)->words[(offset) / 8])
#define STRING_OF(request, offset) ((const struct go_string *)&WORD_OF(request, offset))

/* 0, or negative when the memory is unreadable. */
#define READ_USER(destination, address) \
	bpf_probe_read_user(&(destination), sizeof(destination), (void *)(address))

/* 0 when it is unreadable. */
static __always_inline __u64 read_word(__u64 address)
{
	__u64 word = 0;

	READ_USER(word, address);
	return word;
}

static __always_inline __u64 goid_of(const struct go_binary *binary, __u64 g)
{
	__u64 goid = 0;

	if (!g || READ_USER(goid, g + binary->goid))
		count(COUNT_READ_FAULT_GOROUTINE);
	return goid;
}

/* g may be a scheduler's or a signal's stack (g0, gsignal): m.curg is the goroutine it acts for. */
static __always_inline __u64 current_goroutine(const struct go_binary *binary, __u64 g)
{
	__u64 m = 0, curg = 0;

	if (READ_USER(m, g + G_M) || !m || READ_USER(curg, m + binary->curg))
		return 0;
	return curg;
}

/* Copies a Go string of at most `max` bytes; returns its length there, sets a flag when cut or unreadable. */
static __always_inline __u32 copy_string(char *to, __u32 max, const struct go_string *string, __u16 *flags)
{
	__u32 length = string->length > max ? max : string->length;

	if (!length)
		return 0;
	if (bpf_probe_read_user(to, length, (void *)string->data)) {
		*flags |= FLAG_READ_FAULT;
		return 0;
	}
	return length;
}

static __always_inline __u32 copy_string_at(char *to, __u32 max, __u64 address, __u16 *flags)
{
	struct go_string string = {};

	if (READ_USER(string, address)) {
		*flags |= FLAG_READ_FAULT;
		return 0;
	}
	return copy_string(to, max, &string, flags);
}

/* The path alone says when it was cut: a look-up by a path that long must know. */
static __always_inline __u16 copy_path(struct request_start *start, __u64 address, __u16 *flags)
{
	struct go_string path = {};

	if (READ_USER(path, address)) {
		*flags |= FLAG_READ_FAULT;
		return 0;
	}
	if (path.length > PATH_MAX_BYTES)
		*flags |= FLAG_PATH_TRUNCATED;
	return copy_string(start->path, PATH_MAX_BYTES, &path, flags);
}
