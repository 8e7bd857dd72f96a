/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Marking: what a word refers to, what an object refers to.
 *
 * An object that becomes marked is scanned once, by the marker that has marked
 * it. Between the two it waits in the marker's block and then in a short queue,
 * while the processor fetches it from memory: marking is bound by cache misses
 * (C.-Y. Cher, A. L. Hosking, T. N. Vijaykumar, "Software Prefetching for
 * Mark-Sweep Garbage Collection", ASPLOS 2004). A large object is scanned in
 * pieces, so that others can take some.
 */
#include <emmintrin.h>
#include <string.h>

#include "base/bug.h"
#include "gc/gc.h"
#include "gc/special.h"
#include "mem/heap.h"
#include "mem/root.h"
#include "sched/scan.h"
#include "sched/sched.h"

#define PIECE_BYTES	KR_SIZE(16UL << 10, 512UL)
#define SHARE_EVERY	KR_SIZE(64, 1)
#define GROUP_WORDS	16
#define ITEM_COST	64	/* bytes that are as much work as fetching one */

/* Stacks have poisoned parts, and other threads write beside what is read. */
#define KR_RAW_READS	__attribute__((no_sanitize("address", "thread")))

/* Whole elements, at least one. */
static size_t piece_bytes(const struct kaus_type *type)
{
	size_t nr = type && type->size ? PIECE_BYTES / type->size : 0;

	if (!type)
		return PIECE_BYTES;
	return (nr ? nr : 1) * type->size;
}

static void put_large(struct kr_marker *mk, struct kr_span *s)
{
	size_t piece = piece_bytes(s->kind == KR_TYPED ? s->type : NULL);

	for (size_t at = 0; at < s->elem_bytes; at += piece)
		kr_work_put(mk, (uintptr_t)s->base + at);
}

/*
 * An item is the address of an object and, above it, the number of its words if
 * each may be a pointer: then its span is not to be found again. User space has
 * 47 bits of addresses.
 */
#define ITEM_SHIFT	48
#define ITEM_ADDR	((1UL << ITEM_SHIFT) - 1)

static inline uintptr_t item_of(const struct kr_span *s, uint32_t index)
{
	uintptr_t addr = (uintptr_t)kr_obj_base(s, index);

	if (s->kind == KR_TYPED)
		return addr;
	return addr | (uintptr_t)(s->elem_bytes / 8) << ITEM_SHIFT;
}

/*
 * What a word is looked up with, read once for many words. Pages that are added
 * later have only objects that are marked when they are allocated.
 */
struct view {
	uintptr_t base;
	size_t bytes;			/* of what can be looked up */
	const uint32_t *table;
	struct kr_span *spans;
};

static inline struct view view_of_heap(void)
{
	/* Acquire: the entries below it may be read. */
	size_t nr = smp_load_acquire(&kr_heap.nr_table);

	return (struct view){
		.base = (uintptr_t)kr_heap.base,
		.bytes = nr << KR_HPAGE_SHIFT,
		.table = kr_heap.table,
		.spans = kr_heap.spans,
	};
}

static KR_NOINLINE void mark_large(struct kr_marker *mk, struct kr_span *s,
				   uintptr_t word, const void *slot)
{
	if (kr_obj_index(s, (const void *)word) || !kr_obj_is_alloced(s, 0) ||
	    !kr_mark(s, 0))
		return;
	mk->marked_bytes += s->elem_bytes;
	mk->nr_marked++;
	if (unlikely(mk->found))
		mk->found(mk, (uintptr_t)s->base, slot);
	if (s->kind == KR_NOSCAN)
		return;
	mk->scan_bytes += s->elem_bytes;
	put_large(mk, s);
}

/* @word is an address in what @v can look up. */
KR_INLINE void mark_word(struct kr_marker *mk, const struct view *v,
			 uintptr_t word, const void *slot)
{
	size_t page = (word - v->base) >> KR_HPAGE_SHIFT;
	uint32_t nr = __atomic_load_n(&v->table[page], __ATOMIC_ACQUIRE);
	struct kr_span *s = &v->spans[nr];
	uint64_t bit, *marks;
	uint32_t index;

	if (unlikely(!nr))
		return;
	if (unlikely(!s->class)) {
		mark_large(mk, s, word, slot);
		return;
	}
	index = (uint32_t)((word - (uintptr_t)s->base) * s->magic >> 32);
	if (unlikely(index >= s->nelems || !kr_obj_is_alloced(s, index)))
		return;
	bit = 1ULL << index % 64;
	marks = &s->mark_bits[index / 64];
	if (mk->alone) {
		if (*marks & bit)
			return;
		*marks |= bit;
	} else if (!kr_mark(s, index)) {
		return;
	}
	mk->marked_bytes += s->elem_bytes;
	mk->nr_marked++;
	if (unlikely(mk->found))
		mk->found(mk, (uintptr_t)kr_obj_base(s, index), slot);
	if (s->kind == KR_NOSCAN)
		return;
	mk->scan_bytes += s->elem_bytes;
	kr_work_put(mk, item_of(s, index));
}

KR_RAW_READS
static inline void mark_words(struct kr_marker *mk, const struct view *v,
			      const uintptr_t *p, const uintptr_t *end)
{
	for (; p < end; p++) {
		uintptr_t word = *(const volatile uintptr_t *)p;

		if (word - v->base < v->bytes)
			mark_word(mk, v, word, p);
	}
}

void kr_mark_range(struct kr_marker *mk, const void *lo, const void *hi)
{
	struct view v = view_of_heap();

	mark_words(mk, &v, (const uintptr_t *)(((uintptr_t)lo + 7) & ~7UL),
		   (const uintptr_t *)((uintptr_t)hi & ~7UL));
}

/*
 * Upper halves of addresses of the heap: from @lo to @hi. What is elsewhere, zero
 * most of all, is told from them by groups of words.
 */
struct halves {
	__m128i lo, before, behind;
	bool one;		/* there is only @lo: less than 4 GiB */
};

static inline struct halves halves_of(const struct view *v)
{
	/* User space has 47 bits: they compare as signed numbers. */
	int lo = (int)(v->base >> 32);
	int hi = (int)((v->base + v->bytes) >> 32);

	return (struct halves){
		.lo = _mm_set1_epi32(lo),
		.before = _mm_set1_epi32(lo - 1),
		.behind = _mm_set1_epi32(hi + 1),
		.one = lo == hi,
	};
}

/* Of two words. Lower halves are compared as well, and do not count. */
KR_RAW_READS
KR_INLINE __m128i is_half(const __m128i *words, const struct halves *h, bool one)
{
	if (one)
		return _mm_cmpeq_epi32(*words, h->lo);
	return _mm_cmpgt_epi32(*words, h->before) &
	       _mm_cmpgt_epi32(h->behind, *words);
}

KR_RAW_READS
KR_INLINE bool may_refer(const __m128i *w, const struct halves *h, bool one)
{
	__m128i any = (is_half(w, h, one) | is_half(w + 1, h, one)) |
		      (is_half(w + 2, h, one) | is_half(w + 3, h, one)) |
		      (is_half(w + 4, h, one) | is_half(w + 5, h, one)) |
		      (is_half(w + 6, h, one) | is_half(w + 7, h, one));

	return _mm_movemask_ps(_mm_castsi128_ps(any)) & 0xa;
}

/* @p is aligned. Return: where it ends, less than a group before @end. */
KR_RAW_READS
KR_INLINE const uintptr_t *mark_groups(struct kr_marker *mk,
				       const struct view *v,
				       const uintptr_t *p, const uintptr_t *end,
				       const struct halves *h, bool one)
{
	for (; p + GROUP_WORDS <= end; p += GROUP_WORDS)
		if (may_refer((const __m128i *)(const void *)p, h, one))
			mark_words(mk, v, p, p + GROUP_WORDS);
	return p;
}

/* A sanitizer counts what is inlined as its caller's. */
KR_RAW_READS
void kr_mark_sparse(struct kr_marker *mk, const void *lo, const void *hi)
{
	const uintptr_t *p = (const uintptr_t *)(((uintptr_t)lo + 7) & ~7UL);
	const uintptr_t *end = (const uintptr_t *)((uintptr_t)hi & ~7UL);
	struct view v = view_of_heap();
	struct halves h = halves_of(&v);

	if (p < end && (uintptr_t)p % sizeof(__m128i)) {
		mark_words(mk, &v, p, p + 1);
		p++;
	}
	p = h.one ? mark_groups(mk, &v, p, end, &h, true) :
		    mark_groups(mk, &v, p, end, &h, false);
	mark_words(mk, &v, p, end);
}

void kr_mark_word(struct kr_marker *mk, uintptr_t word)
{
	struct view v = view_of_heap();

	if (word - v.base < v.bytes)
		mark_word(mk, &v, word, NULL);
}

/*
 * References of entry @i of an element at @at, at most those before @end: a map
 * may say that there are some beyond.
 */
static inline const char *ptrs_of(const struct kaus_type *type, size_t i,
				  const char *at, const char *end,
				  const char **ret_hi)
{
	const char *lo = at + type->ptrs[i].offset;
	const char *hi = lo + type->ptrs[i].nr_words * 8UL;

	*ret_hi = hi < end ? hi : end;
	return lo;
}

/* The elements of a typed object, or of a piece of it. */
static void scan_typed(struct kr_marker *mk, const struct kaus_type *type,
		       const char *at, size_t bytes)
{
	const char *end = at + bytes, *lo, *hi;

	for (; bytes >= type->size; at += type->size, bytes -= type->size) {
		for (size_t i = 0; i < type->nr_ptrs; i++) {
			lo = ptrs_of(type, i, at, end, &hi);
			kr_mark_range(mk, lo, hi);
		}
	}
}

KR_RAW_READS
static void mark_but_self(struct kr_marker *mk, uintptr_t base, size_t bytes,
			  const char *lo, const char *hi)
{
	for (const char *p = lo; p < hi; p += 8)
		if (*(const uintptr_t *)(const void *)p - base >= bytes)
			kr_mark_range(mk, p, p + 8);
}

void kr_mark_contents(struct kr_marker *mk, const void *obj, bool but_self)
{
	const struct kaus_type *type;
	const char *at, *end;
	struct kr_span *s;
	uint32_t index;
	size_t bytes;

	if (!kr_obj_find(obj, &s, &index) || s->kind == KR_NOSCAN)
		return;
	at = kr_obj_base(s, index);
	bytes = kr_obj_bytes(s) & ~7UL;
	type = s->kind == KR_TYPED ? kr_obj_type(s, index) : NULL;
	if (!type || !type->size) {
		if (but_self)
			mark_but_self(mk, (uintptr_t)at, s->elem_bytes, at,
				      at + bytes);
		else
			kr_mark_range(mk, at, at + bytes);
		return;
	}
	if (!but_self) {
		scan_typed(mk, type, at, bytes);
		return;
	}
	end = at + bytes;
	for (const char *e = at; bytes >= type->size;
	     e += type->size, bytes -= type->size) {
		for (size_t i = 0; i < type->nr_ptrs; i++) {
			const char *hi, *lo = ptrs_of(type, i, e, end, &hi);

			mark_but_self(mk, (uintptr_t)at, s->elem_bytes, lo,
				      hi);
		}
	}
}

void kr_mark_inside(struct kr_marker *mk, struct kr_span *s, uint32_t index)
{
	/* What is found and has not been: the check mode wants to know why. */
	if (unlikely(mk->found))
		kr_mark_contents(mk, kr_obj_base(s, index), false);
	else if (s->kind == KR_NOSCAN)
		return;
	else if (s->class)
		kr_work_put(mk, item_of(s, index));
	else
		put_large(mk, s);
}

/* ---- what lies on some pages ---- */

/* References of an element that begins at @at, from @lo to before @hi. */
static void mark_elem_within(struct kr_marker *mk, const struct kaus_type *type,
			     const char *at, const char *lo, const char *hi)
{
	for (size_t i = 0; i < type->nr_ptrs; i++) {
		const char *from = at + type->ptrs[i].offset;
		const char *to = from + type->ptrs[i].nr_words * 8UL;

		if (from < lo)
			from = lo;
		if (to > hi)
			to = hi;
		if (from < to)
			kr_mark_range(mk, from, to);
	}
}

static void mark_obj_within(struct kr_marker *mk, struct kr_span *s,
			    uint32_t index, const char *lo, const char *hi)
{
	const char *at = kr_obj_base(s, index), *end = at + kr_obj_bytes(s);
	const struct kaus_type *type = NULL;

	if (s->kind == KR_TYPED)
		type = kr_obj_type(s, index);
	if (lo < at)
		lo = at;
	if (hi > end)
		hi = end;
	if (lo >= hi)
		return;
	if (!type || !type->size) {
		kr_mark_range(mk, lo, hi);
		return;
	}
	at += (size_t)(lo - at) / type->size * type->size;
	/* What does not hold a whole element is not looked at: scan_typed(). */
	for (; at < hi && at + type->size <= end; at += type->size)
		mark_elem_within(mk, type, at, lo, hi);
}

size_t kr_mark_again(struct kr_marker *mk, const char *lo, const char *hi)
{
	size_t bytes = 0;

	while (lo < hi) {
		/* Acquire, in it: a span that is new is complete. */
		struct kr_span *s = kr_span_of(lo);
		const char *end;
		uint32_t i;

		if (!s) {
			lo = (const char *)(((uintptr_t)lo | (KR_HPAGE_BYTES - 1))
					    + 1);
			continue;
		}
		end = s->base + ((size_t)s->npages << KR_HPAGE_SHIFT);
		if (end > hi)
			end = hi;
		i = s->nelems;
		if (s->kind != KR_NOSCAN) {
			i = kr_obj_index(s, lo);
			bytes += (size_t)(end - lo);
		}
		for (; i < s->nelems && kr_obj_base(s, i) < end; i++)
			if (kr_is_marked(s, i) && kr_obj_is_alloced(s, i))
				mark_obj_within(mk, s, i, lo, end);
		lo = end;
	}
	return bytes;
}

/* One that is typed, or a piece of a large one. Return: its bytes. */
static KR_NOINLINE size_t scan_special(struct kr_marker *mk, uintptr_t item)
{
	struct kr_span *s = kr_span_of((const void *)item);
	const struct kaus_type *type = NULL;
	size_t bytes = kr_obj_bytes(s), piece;

	if (s->kind == KR_TYPED)
		type = kr_obj_type(s, kr_obj_index(s, (const void *)item));
	if (unlikely(!s->class)) {
		piece = piece_bytes(type);
		bytes -= item - (uintptr_t)s->base;
		if (bytes > piece)
			bytes = piece;
	}
	if (type && type->size)
		scan_typed(mk, type, (const char *)item, bytes);
	else
		kr_mark_range(mk, (const void *)item,
			      (const char *)item + bytes);
	return bytes;
}

/* The next one to scan, or 0 if the block and the queue are empty. */
static uintptr_t next_item(struct kr_marker *mk)
{
	uint32_t nr_empty = 0;
	uintptr_t item;

	while (mk->block && mk->block->nr) {
		uintptr_t *seat = &mk->fifo[mk->fifo_pos++ % KR_FIFO_ITEMS];
		uintptr_t new = mk->block->items[--mk->block->nr];

		__builtin_prefetch((const void *)(new & ITEM_ADDR));
		item = *seat;
		*seat = new;
		if (item)
			return item;
	}
	while (nr_empty++ < KR_FIFO_ITEMS) {
		uintptr_t *seat = &mk->fifo[mk->fifo_pos++ % KR_FIFO_ITEMS];

		item = *seat;
		*seat = 0;
		if (item)
			return item;
	}
	return 0;
}

/* ---- roots ---- */

static void mark_of_g(void *arg, const void *lo, const void *hi)
{
	struct kr_marker *mk = arg;

	mk->stack_bytes += (uintptr_t)hi - (uintptr_t)lo;
	kr_mark_range(mk, lo, hi);
}

void kr_mark_stacks(struct kr_marker *mk, bool all)
{
	kr_gc_threads_scan(mark_of_g, mk);
	if (all)
		kr_scan_stopped(mark_of_g, mk);
}

void kr_mark_defer(struct kr_marker *mk)
{
	kr_scan_defer(mark_of_g, mk);
}

void kr_mark_first(struct kr_marker *mk, struct g *gp)
{
	kr_scan_once(gp, mark_of_g, mk);
}

void kr_mark_roots_begin(void)
{
	kr_scan_begin();
	kr_special_begin();
}

bool kr_mark_roots_left(void)
{
	return kr_scan_is_left() || kr_special_is_left();
}

uint64_t kr_mark_some_roots(struct kr_marker *mk)
{
	uint64_t before = mk->stack_bytes;
	uint64_t cost = kr_scan_some(mark_of_g, mk) * ITEM_COST;

	if (!cost)
		kr_scan_some_timers(mark_of_g, mk);
	cost += mk->stack_bytes - before;
	/* The last: then most objects with finalizers are marked. */
	return cost ? cost : kr_special_mark_some(mk) * ITEM_COST;
}

/* ---- all that they lead to ---- */

/* Something to do, or @done is raised; false: there is nothing. */
static bool more(struct kr_marker *mk, uint64_t *done)
{
	uint64_t cost;

	if (kr_work_take(mk))
		return true;
	cost = kr_mark_some_roots(mk);
	*done += cost;
	return cost;
}

uint64_t kr_mark_some(struct kr_marker *mk, uint64_t budget)
{
	uint64_t done = 0, bytes = 0;
	uintptr_t item;

	do {
		struct view v = view_of_heap();

		while (done < budget && (item = next_item(mk))) {
			const uintptr_t *p = (const uintptr_t *)
					     (item & ITEM_ADDR);
			size_t size = item >> ITEM_SHIFT << 3;

			if (likely(size))
				mark_words(mk, &v, p, p + size / 8);
			else
				size = scan_special(mk, item);
			bytes += size;
			done += size + ITEM_COST;
			if (!mk->alone && ++mk->nr_since_look >= SHARE_EVERY) {
				mk->nr_since_look = 0;
				kr_work_share(mk);
				/* Nobody waits for the rest of a step. */
				if (mk->gives_way && READ_ONCE(sched.stw))
					budget = 0;
			}
		}
	} while (done < budget && more(mk, &done));
	ADD_ONCE(mk->done_bytes, bytes);
	return done;
}

void kr_mark_drain(struct kr_marker *mk)
{
	while (kr_mark_some(mk, INT64_MAX))
		;
}
