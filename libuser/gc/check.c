/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The check mode: a program that has declared its stores and forgets one loses
 * an object some time, somewhere else. This finds the store.
 *
 * DOC: Where a concurrent cycle begins all objects with references are copied.
 * Each word that the barrier is told about is noted in a map of bits. Where the
 * cycle ends, the world being stopped, there are three looks:
 *
 *	told	A word that referred to an object, and is another one now, and is
 *		not in the map, was overwritten by a store that has not been
 *		told. So each of them is found, whether it did harm this time or
 *		not. Only where somebody was stopped between a store and its
 *		barrier, and so has the word's address at hand, nothing is said.
 *	marked	No marked object may refer to one that is not: that one would be
 *		freed.
 *	roots	All roots are looked at once more. What is found for the first
 *		time is kept: it may be in use, or the word may be a left-over
 *		that only looks like a reference, so nothing is said.
 *
 * In a cycle without a barrier (remark.c) there is nothing to be told. The other
 * two looks check the collector then, and what only a root refers to counts: all
 * of them have been looked at in the same stop.
 *
 * What would have been lost is marked, for the program to live with its fault
 * until it has been told of all of them.
 *
 * A word that gets back what it had before the cycle has not changed, and such
 * a pair of stores is not found. Memory for the copies comes from the kernel: the
 * program needs twice as much.
 */
#include "gc/check.h"

#include <string.h>

#include "base/bug.h"
#include "gc/line.h"
#include "gc/state.h"
#include "mem/heap.h"
#include "sched/scan.h"

#define MAX_LINES	32	/* of a cycle */
#define CHECK_ABORT	2
#define MAX_IN_FLIGHT	256

/* The stacks are not looked at here, but objects that are written meanwhile. */
#define RAW_READS	__attribute__((no_sanitize("address", "thread")))

/* What is remembered of a span; base NULL: nothing. */
struct before {
	char *base;
	uintptr_t *copy;
	uint64_t *told;
	uint64_t in_use[KR_SPAN_WORDS];
};

static uintptr_t in_flight[MAX_IN_FLIGHT];	/* words about to be told of */

static struct {
	struct before *spans;
	uint32_t nr_spans;
	char *mem;
	size_t bytes;
	uint64_t nr_reports;
} check;

static size_t span_bytes(const struct kr_span *s)
{
	return (size_t)s->npages << KR_HPAGE_SHIFT;
}

static bool counts(const struct kr_span *s)
{
	return kr_span_in_use(s) && s->kind != KR_NOSCAN;
}

RAW_READS static void copy_words(uintptr_t *to, const char *from, size_t bytes)
{
	const volatile uintptr_t *word = (const volatile uintptr_t *)from;

	for (size_t i = 0; i < bytes / sizeof(*to); i++)
		to[i] = word[i];
}

void kr_check_begin(void)
{
	uint32_t nr_spans = READ_ONCE(kr_heap.nr_spans);
	size_t bytes = nr_spans * sizeof(struct before);
	void *mem;
	char *at;

	for (uint32_t nr = 1; nr < nr_spans; nr++)
		if (counts(&kr_heap.spans[nr]))
			bytes += span_bytes(&kr_heap.spans[nr]) / 64 * 65;
	bytes = (bytes + KR_PAGE_SIZE - 1) & ~(size_t)(KR_PAGE_SIZE - 1);
	if (kr_vm_map(bytes, false, &mem))
		kr_throw("gc: no memory for the check mode");
	check.mem = mem;
	check.bytes = bytes;
	check.spans = mem;
	check.nr_spans = nr_spans;
	at = (char *)mem + nr_spans * sizeof(struct before);
	for (uint32_t nr = 1; nr < nr_spans; nr++) {
		struct before *b = &check.spans[nr];
		struct kr_span *s = &kr_heap.spans[nr];

		if (!counts(s))
			continue;
		b->base = s->base;
		b->copy = (uintptr_t *)(void *)at;
		at += span_bytes(s);
		b->told = (uint64_t *)(void *)at;
		at += span_bytes(s) / 64;
		for (uint32_t w = 0; w < KR_SPAN_WORDS; w++)
			b->in_use[w] = READ_ONCE(s->alloc_bits[w]);
		copy_words(b->copy, s->base, span_bytes(s));
	}
}

int kr_check_enter(const void *slot)
{
	uint32_t at = (uint32_t)((uintptr_t)slot >> 3);

	for (uint32_t i = 0; i < MAX_IN_FLIGHT; i++) {
		uint32_t nr = (at + i) % MAX_IN_FLIGHT;

		if (!READ_ONCE(in_flight[nr]) &&
		    kr_cas(&in_flight[nr], 0, (uintptr_t)slot))
			return (int)nr;
	}
	return -1;
}

void kr_check_leave(int nr)
{
	if (nr >= 0)
		WRITE_ONCE(in_flight[nr], 0);
}

void kr_check_stored(const void *slot)
{
	struct kr_span *s = kr_span_of(slot);
	struct before *b;
	size_t word;

	if (!s || !check.mem || kr_span_nr(s) >= check.nr_spans)
		return;
	b = &check.spans[kr_span_nr(s)];
	if (!b->base)
		return;
	word = (size_t)((const char *)slot - b->base) / 8;
	__atomic_fetch_or(&b->told[word / 64], 1ULL << word % 64,
			  __ATOMIC_RELAXED);
}

/* ---- reports ---- */

/* "struct node 0x1234 of 32 bytes" */
static void put_object(struct kr_line *line, struct kr_span *s, uint32_t index)
{
	const struct kaus_type *type = NULL;

	if (s->kind == KR_TYPED)
		type = kr_obj_type(s, index);
	kr_line_text(line, type && type->name ? type->name : "object");
	kr_line_text(line, " ");
	kr_line_addr(line, kr_obj_base(s, index));
	kr_line_text(line, " of ");
	kr_line_number(line, kr_obj_bytes(s), 0);
	kr_line_text(line, " bytes");
}

/* True if there is to be a line for it. */
static bool count_report(void)
{
	kr_gc.st.nr_missed++;
	return check.nr_reports++ < MAX_LINES;
}

static void report_store(struct kr_span *s, uint32_t index, size_t offset,
			 uintptr_t old, uintptr_t new)
{
	struct kr_line line = { .len = 0 };

	if (!count_report())
		return;
	kr_line_text(&line, "kaus: gc check: store without barrier into ");
	put_object(&line, s, index);
	kr_line_text(&line, ", offset ");
	kr_line_number(&line, offset, 0);
	kr_line_text(&line, ": overwrote ");
	kr_line_addr(&line, (const void *)old);
	kr_line_text(&line, " with ");
	kr_line_addr(&line, (const void *)new);
	kr_line_text(&line, "\n");
	kr_line_write(&line);
}

static void report_lost(struct kr_span *s, uint32_t index, size_t offset,
			struct kr_span *to, uint32_t to_index)
{
	struct kr_line line = { .len = 0 };

	if (!count_report())
		return;
	kr_line_text(&line, "kaus: gc check: ");
	put_object(&line, to, to_index);
	kr_line_text(&line, " is in use and would be freed; ");
	put_object(&line, s, index);
	kr_line_text(&line, " refers to it at offset ");
	kr_line_number(&line, offset, 0);
	kr_line_text(&line, "\n");
	kr_line_write(&line);
}

static void report_root(struct kr_marker *mk, uintptr_t obj, const void *slot)
{
	struct kr_line line = { .len = 0 };
	struct kr_span *s = kr_span_of((const void *)obj);

	(void)mk;
	if (!count_report())
		return;
	kr_line_text(&line, "kaus: gc check: ");
	put_object(&line, s, kr_obj_index(s, (const void *)obj));
	kr_line_text(&line, " is in use and would be freed; a root refers to it at ");
	kr_line_addr(&line, slot);
	kr_line_text(&line, "\n");
	kr_line_write(&line);
}

/* ---- looks ---- */

typedef void (*word_fn)(struct kr_span *s, uint32_t index, size_t offset,
			uintptr_t word);

RAW_READS static void each_word(struct kr_span *s, uint32_t index, size_t from,
				size_t bytes, word_fn fn)
{
	const char *base = kr_obj_base(s, index);

	size_t end = kr_obj_bytes(s);

	/* A map may lie: as in marking. */
	if (from + bytes < end)
		end = from + bytes;
	for (size_t at = from; at + 8 <= end; at += 8)
		fn(s, index, at, *(const volatile uintptr_t *)(base + at));
}

static void each_ref(struct kr_span *s, uint32_t index, word_fn fn)
{
	const struct kaus_type *type = NULL;
	size_t bytes = kr_obj_bytes(s);

	if (s->kind == KR_TYPED)
		type = kr_obj_type(s, index);
	if (!type || !type->size) {
		each_word(s, index, 0, bytes, fn);
		return;
	}
	for (size_t at = 0; at + type->size <= bytes; at += type->size)
		for (size_t i = 0; i < type->nr_ptrs; i++)
			each_word(s, index, at + type->ptrs[i].offset,
				  type->ptrs[i].nr_words * 8UL, fn);
}

struct sought {
	uintptr_t word;
	bool found;
};

RAW_READS static void seek(void *arg, const void *lo, const void *hi)
{
	const volatile uintptr_t *word = (const volatile uintptr_t *)
		(((uintptr_t)lo + 7) & ~7UL);
	struct sought *sought = arg;

	for (; (uintptr_t)(word + 1) <= (uintptr_t)hi; word++)
		if (*word == sought->word)
			sought->found = true;
}

/* Somebody was stopped who is about to tell of it. */
static bool is_in_flight(const char *slot)
{
	struct sought sought = { .word = (uintptr_t)slot };

	for (int i = 0; i < MAX_IN_FLIGHT; i++)
		if (READ_ONCE(in_flight[i]) == sought.word)
			return true;
	kr_scan_interrupted(seek, &sought);
	kr_gc_threads_scan(seek, &sought);
	return sought.found;
}

static void look_if_told(struct kr_span *s, uint32_t index, size_t offset,
			 uintptr_t word)
{
	const struct before *b = &check.spans[kr_span_nr(s)];
	size_t i = ((size_t)(kr_obj_base(s, index) - b->base) + offset) / 8;
	uint32_t old_index;
	struct kr_span *to;

	if (b->copy[i] == word || (b->told[i / 64] & 1ULL << i % 64) ||
	    !kr_obj_find((const void *)b->copy[i], &to, &old_index) ||
	    is_in_flight(kr_obj_base(s, index) + offset))
		return;
	report_store(s, index, offset, b->copy[i], word);
	kr_mark_word(&kr_gc.marker, b->copy[i]);
}

static void look_if_marked(struct kr_span *s, uint32_t index, size_t offset,
			   uintptr_t word)
{
	uint32_t to_index;
	struct kr_span *to;

	if (!kr_obj_find((const void *)word, &to, &to_index) ||
	    kr_is_marked(to, to_index))
		return;
	report_lost(s, index, offset, to, to_index);
	kr_mark_word(&kr_gc.marker, word);
}

/* The object was there when the cycle began. */
static bool was_there(const struct kr_span *s, uint32_t index)
{
	uint32_t nr = kr_span_nr(s);

	return nr < check.nr_spans && check.spans[nr].base == s->base &&
	       (check.spans[nr].in_use[index / 64] & 1ULL << index % 64);
}

static void look_at_all(word_fn fn, bool old_only)
{
	uint32_t nr_spans = READ_ONCE(kr_heap.nr_spans);

	for (uint32_t nr = 1; nr < nr_spans; nr++) {
		struct kr_span *s = &kr_heap.spans[nr];

		if (!counts(s))
			continue;
		for (uint32_t i = 0; i < s->nelems; i++) {
			if (!kr_obj_is_alloced(s, i) || !kr_is_marked(s, i))
				continue;
			if (!old_only || was_there(s, i))
				each_ref(s, i, fn);
		}
	}
}

void kr_check_end(void)
{
	struct kr_marker *mk = &kr_gc.marker;
	uint64_t stack_bytes = mk->stack_bytes, root_bytes = mk->root_bytes;

	check.nr_reports = 0;
	mk->alone = true;
	if (check.mem)
		look_at_all(look_if_told, true);
	look_at_all(look_if_marked, false);
	kr_mark_drain(mk);
	kr_mark_roots_begin();
	/* All of them were looked at in this stop, and nothing has changed. */
	if (kr_gc.by_pages)
		mk->found = report_root;
	kr_gc.by_pages = false;
	kr_gc_mark_roots(mk);
	while (kr_mark_some_roots(mk))
		;
	kr_gc.by_pages = mk->found;
	mk->found = NULL;
	kr_mark_drain(mk);
	mk->alone = false;
	kr_work_flush(mk);
	mk->stack_bytes = stack_bytes;
	mk->root_bytes = root_bytes;
	if (check.mem)
		kr_vm_unmap(check.mem, check.bytes);
	check.mem = NULL;
	if (check.nr_reports && kr_gc.check == CHECK_ABORT)
		kr_throw("gc: stores without barrier");
}
