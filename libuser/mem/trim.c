/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Pages of partly used spans that no object is on.
 *
 * DOC: A span of a few survivors keeps all its pages, and what is free in it can
 * be used for its class only. The addresses must stay with the span, the memory
 * need not: a page of the kernel's on which all objects are free is returned,
 * and reads as zero when one of them is allocated again.
 *
 * Nobody may claim objects of the span meanwhile. Those who do have it from the
 * list of its class, and the middle of a list cannot be taken out. So a span is
 * held where it is, by its state:
 *
 *	PARTIAL -> HELD		trimmed, and in its list
 *	HELD -> POPPED		somebody has taken it off the list: he leaves it
 *				alone, and takes the next one
 *	HELD -> PARTIAL		done; or EMPTYING, if it has become empty
 *	POPPED -> PARTIAL	done, and it is put into the list; or DEAD
 *
 * Frees go on in a span that is held, as in one that is in a cache: they change
 * bits and the count, and leave it where it is. An object that becomes free then
 * has its page returned the next time.
 *
 * A cycle neither begins nor ends while one is held, for spans are swept
 * afterwards by others, and lists are forgotten: that is what the lock is for.
 * It is held for a few dozen spans or pages at a time, as a stop of the world
 * may wait for it.
 *
 * Which pages were returned is kept in a word of the span's, until objects on
 * them are claimed, so that they are returned once. The count of what the heap
 * has returned is not changed by it: pages of spans are not free.
 */
#include "mem/trim.h"

#include "base/bug.h"
#include "mem/central.h"
#include "os/os.h"

#define MAX_RANGES	48U	/* in one call of the kernel */
#define MAX_LOOKS	256U	/* at spans, for them */
#define MAX_PAGES	32U	/* of the kernel's, in a span: kr_span.returned */

struct batch {
	struct kr_vm_range ranges[MAX_RANGES];
	struct {
		struct kr_span *s;
		uint32_t pages;
	} spans[MAX_RANGES];
	uint32_t nr_ranges, nr_spans, nr_pages;
};

static uint32_t lock;

void kr_trim_lock(void)
{
	kr_lock(&lock);
}

void kr_trim_unlock(void)
{
	kr_unlock(&lock);
}

/* Objects [@lo, @hi] are free. */
static bool are_free(const struct kr_span *s, uint32_t lo, uint32_t hi)
{
	for (uint32_t w = lo / 64; w <= hi / 64; w++) {
		uint64_t mask = ~0ULL;

		if (w == lo / 64)
			mask <<= lo % 64;
		if (w == hi / 64)
			mask &= ~0ULL >> (63 - hi % 64);
		if (__atomic_load_n(&s->alloc_bits[w], __ATOMIC_ACQUIRE) & mask)
			return false;
	}
	return true;
}

/* A bit for each page on which there is no object. */
static uint32_t unused_pages(const struct kr_span *s)
{
	uint32_t nr = s->npages * KR_HPAGE_KERNEL, pages = 0;

	KR_ASSERT(nr <= MAX_PAGES);
	for (uint32_t i = 0; i < nr; i++) {
		const char *page = s->base + i * KR_PAGE_SIZE;
		uint32_t lo = kr_obj_index(s, page);
		uint32_t hi = kr_obj_index(s, page + KR_PAGE_SIZE - 1);

		if (hi >= s->nelems)
			hi = s->nelems - 1;
		/* Beyond the last one there is nothing at all. */
		if (lo > hi || are_free(s, lo, hi))
			pages |= 1U << i;
	}
	return pages;
}

static bool hold(struct kr_span *s)
{
	uint64_t state = kr_span_state(s);

	do {
		if (kr_state_where(state) != KR_SPAN_PARTIAL)
			return false;
	} while (!__atomic_compare_exchange_n(&s->state, &state,
			kr_state(KR_SPAN_HELD, kr_state_used(state)), false,
			__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	return true;
}

static void let_go(struct kr_span *s)
{
	uint64_t state = kr_span_state(s);
	enum kr_span_where where, to;
	bool is_empty;

	do {
		where = kr_state_where(state);
		/* While marking no span goes away: see kr_span_of(). */
		is_empty = !kr_state_used(state) && !READ_ONCE(kr_heap.marking);
		if (where == KR_SPAN_HELD)
			to = is_empty ? KR_SPAN_EMPTYING : KR_SPAN_PARTIAL;
		else
			to = is_empty ? KR_SPAN_DEAD : KR_SPAN_PARTIAL;
	} while (!__atomic_compare_exchange_n(&s->state, &state,
			kr_state(to, kr_state_used(state)), false,
			__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	if (to == KR_SPAN_EMPTYING)
		kr_span_empty(s);
	else if (to == KR_SPAN_DEAD)
		kr_span_release(s);
	else if (where == KR_SPAN_POPPED)
		kr_central_push(kr_central_of(s), s);
}

static void add_ranges(struct batch *b, const struct kr_span *s, uint32_t pages)
{
	while (pages) {
		uint32_t at = (uint32_t)__builtin_ctz(pages);
		uint32_t nr = (uint32_t)__builtin_ctzll(~(uint64_t)pages >> at);

		b->ranges[b->nr_ranges++] = (struct kr_vm_range){
			s->base + at * KR_PAGE_SIZE, nr * KR_PAGE_SIZE };
		b->nr_pages += nr;
		pages &= pages + (1U << at);
	}
}

/* One that is swept; the rest is none of ours. */
static void look_at(struct batch *b, struct kr_span *s)
{
	uint32_t pages;

	if (kr_state_where(kr_span_state(s)) != KR_SPAN_PARTIAL ||
	    smp_load_acquire(&s->sweepgen) != READ_ONCE(kr_heap.sweepgen) ||
	    !hold(s))
		return;
	pages = unused_pages(s) & ~s->returned;
	if (!pages) {
		let_go(s);
		return;
	}
	b->spans[b->nr_spans].s = s;
	b->spans[b->nr_spans++].pages = pages;
	add_ranges(b, s, pages);
}

int kr_trim_some(uint32_t *cursor, uint32_t *ret_pages)
{
	uint32_t nr = smp_load_acquire(&kr_heap.nr_spans), nr_looks = 0;
	struct batch b;
	int err;

	b.nr_ranges = b.nr_spans = b.nr_pages = 0;
	*ret_pages = 0;
	if (*cursor > nr)
		*cursor = nr;
	kr_lock(&lock);
	/* Each other page of a span may be in use. Number 0 is none. */
	while (*cursor > 1 && nr_looks++ < MAX_LOOKS &&
	       b.nr_ranges <= MAX_RANGES - MAX_PAGES / 2)
		look_at(&b, &kr_heap.spans[--*cursor]);
	if (*cursor <= 1)
		*cursor = 0;
	err = b.nr_ranges ? kr_vm_return(b.ranges, b.nr_ranges) : 0;
	for (uint32_t i = 0; i < b.nr_spans; i++) {
		if (!err)
			b.spans[i].s->returned |= b.spans[i].pages;
		let_go(b.spans[i].s);
	}
	kr_unlock(&lock);
	if (!err)
		*ret_pages = b.nr_pages;
	return err;
}

void kr_trim_used(struct kr_span *s, uint32_t w, uint64_t objs)
{
	size_t lo = (w * 64 + (uint32_t)__builtin_ctzll(objs)) * s->elem_bytes;
	size_t hi = (w * 64 + 64 - (uint32_t)__builtin_clzll(objs)) *
		    s->elem_bytes;

	for (size_t page = lo / KR_PAGE_SIZE; page * KR_PAGE_SIZE < hi; page++)
		s->returned &= ~(1U << page);
}
