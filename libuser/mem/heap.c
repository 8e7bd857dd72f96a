/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Spans: made, looked up, swept, freed.
 *
 * DOC: A span is a run of pages cut into objects of one size class and one
 * kind, or one large object. Span structures are numbered, never unmapped, and
 * a table tells for each page of the heap which span it belongs to.
 *
 * Which objects are in use is said by alloc_bits. A cache claims the free
 * objects of a word of bits at once, by setting them all, and then hands them
 * out with plain instructions (cache.h); what frees an object clears its bit.
 * Both are atomic: an object may be freed by anybody while its span is in a
 * cache. That the bit was set before tells a second free of the same object.
 *
 * How many objects are in use, and where the span is, are one word, so that
 * exactly one free sees that its span has room again and puts it into the list
 * of its class, and exactly one sees that it is empty and gives its pages
 * back. The order is: the bit, then the word, then nothing more in the span.
 *
 *	claim (owner)		free (anybody)
 *	(A) set bits		(C) clear the bit
 *	(B) used += n		(D) used -= 1
 *
 * Between C and D the owner may claim the object: used is then one too high,
 * which makes a span look full at worst, until D. Claims are made in CACHED
 * spans only, and only the owner ends that state, so used is never too low in
 * any other: a span with used 0 has no object, no claim, and no free that
 * would still touch its bits.
 *
 * A span that becomes empty while it is in the list of its class cannot leave
 * the middle of it: it loses its pages at once (EMPTYING) and stays there as a
 * ZOMBIE until it is at the head. Whoever comes last, the one that gives the
 * pages back or the one that takes it off the list, has the structure.
 *
 * A cycle of the collector: marking sets mark_bits, which live beside
 * alloc_bits; sweeping makes them the new alloc_bits. Spans are swept in the
 * order of their numbers by whoever has the time, and by those who would
 * otherwise take new pages. When sweeping begins no span is in a cache, and
 * the lists are emptied by forgetting them: each span comes into its list
 * again when it is swept, unless the one who sweeps it was looking for just
 * such a span: then it keeps it, empty or not. A free while marking is ignored:
 * the object will be garbage. One in a span that is yet to be swept has it
 * swept first, if the object is marked and so will survive that; if not,
 * sweeping frees it.
 *
 * Structures of spans that are no more are kept in a list. When memory is short,
 * or a heap has come to rest, they leave it for a map of bits, and pages of the
 * kernel's on which there are no others go back. What reads such a page, as those
 * do who look at all spans, or at a head of the list that has changed by then,
 * sees zeros: a span that is DEAD and was never swept.
 *
 * Rejected: lists of free objects (they touch objects to be swept, and tell no
 * second free); lists of spans to be swept per class, as in Go's mcentral
 * (a full span would have to be found in them when it no longer is).
 */
#include "mem/heap.h"

#include <errno.h>
#include <string.h>

#include "base/bug.h"
#include "mem/cache.h"
#include "mem/central.h"
#include "mem/root.h"
#include "mem/trim.h"
#include "os/os.h"

#define DEFAULT_BYTES	(256ULL << 30)
#define SPAN_STEP	1024U		/* structures made accessible at once */

struct kr_heap kr_heap;
KR_NOT_A_ROOT(kr_heap);
struct kr_heap_ops kr_heap_ops;

static struct {
	uint32_t init_lock;
	bool failed;
	uint32_t grow_lock;
	uint32_t nr_committed;		/* span structures */
	struct kr_central dead KR_PAIR_ALIGNED;	/* span structures to reuse */

	/* grow_lock: structures that are not in that list either. */
	uint64_t *spare;		/* a bit for each */
	uint64_t *returned;		/* a bit for each of their pages */
	uint32_t nr_spare;
	uint32_t spare_word;		/* none in words below */
	uint32_t return_lock;		/* one at a time */
} heap;

static int init_locked(void)
{
	size_t limit = kr_vm_limit(), max = DEFAULT_BYTES;
	size_t bytes;
	void *mem;

	/* Half of what the process may have; the rest is for all else. */
	while (max > limit / 2)
		max /= 2;
	if (kr_pages_init(max))
		return -ENOMEM;
	bytes = (size_t)kr_pages.max_pages * sizeof(*kr_heap.table);
	if (kr_vm_reserve(bytes, KR_PAGE_SIZE, &mem))
		return -ENOMEM;
	kr_heap.table = mem;
	bytes = (size_t)kr_pages.max_pages * sizeof(*kr_heap.spans);
	if (kr_vm_reserve(bytes, KR_PAGE_SIZE, &mem))
		return -ENOMEM;
	kr_heap.spans = mem;
	WRITE_ONCE(kr_heap.nr_spans, 1);
	WRITE_ONCE(kr_heap.sweep_next, 1);
	kr_heap.sweep_end = 1;
	kr_heap.sweepgen = 2;
	kr_heap.due_bytes = INT64_MAX;
	/* Release: who sees it sees the rest. */
	smp_store_release(&kr_heap.base, kr_pages.base);
	return 0;
}

int kr_heap_init(void)
{
	int err = 0;

	kr_lock(&heap.init_lock);
	if (heap.failed) {
		err = -ENOMEM;
	} else if (!kr_heap.base) {
		err = init_locked();
		heap.failed = err;
	}
	kr_unlock(&heap.init_lock);
	return err;
}

/* ---- structures ---- */

/* Entries of the table for all pages that are accessible. */
static int table_grow(uint32_t nr_pages)
{
	uint32_t per_os_page = KR_PAGE_SIZE / sizeof(*kr_heap.table);
	int err = 0;

	if (nr_pages <= READ_ONCE(kr_heap.nr_table))
		return 0;
	kr_lock(&heap.grow_lock);
	nr_pages = (nr_pages + per_os_page - 1) & ~(per_os_page - 1);
	if (nr_pages > kr_heap.nr_table) {
		err = kr_vm_commit(kr_heap.table + kr_heap.nr_table,
				   (nr_pages - kr_heap.nr_table) *
				   sizeof(*kr_heap.table));
		if (!err)
			smp_store_release(&kr_heap.nr_table, nr_pages);
	}
	kr_unlock(&heap.grow_lock);
	return err;
}

static bool bit_is_set(const uint64_t *bits, uint32_t nr)
{
	return bits[nr / 64] & 1ULL << nr % 64;
}

static void bit_set(uint64_t *bits, uint32_t nr, bool on)
{
	if (on)
		bits[nr / 64] |= 1ULL << nr % 64;
	else
		bits[nr / 64] &= ~(1ULL << nr % 64);
}

/* The kernel's page on which byte @at of structure @nr is. */
static uint32_t page_of(uint32_t nr, size_t at)
{
	return (uint32_t)((nr * sizeof(struct kr_span) + at) / KR_PAGE_SIZE);
}

/* The lowest: so the pages in use are few. */
static struct kr_span *spare_get_locked(void)
{
	uint32_t nr;

	if (!heap.nr_spare)
		return NULL;
	while (!heap.spare[heap.spare_word])
		heap.spare_word++;
	nr = heap.spare_word * 64 +
	     (uint32_t)__builtin_ctzll(heap.spare[heap.spare_word]);
	bit_set(heap.spare, nr, false);
	WRITE_ONCE(heap.nr_spare, heap.nr_spare - 1);
	bit_set(heap.returned, page_of(nr, 0), false);
	bit_set(heap.returned, page_of(nr, sizeof(struct kr_span) - 1), false);
	return &kr_heap.spans[nr];
}

static struct kr_span *span_get(void)
{
	struct kr_span *s = kr_central_pop(&heap.dead);
	uint32_t nr;

	if (s)
		return s;
	kr_lock(&heap.grow_lock);
	s = spare_get_locked();
	if (s) {
		kr_unlock(&heap.grow_lock);
		return s;
	}
	nr = READ_ONCE(kr_heap.nr_spans);
	if (nr >= heap.nr_committed) {
		if (nr + SPAN_STEP > kr_pages.max_pages ||
		    kr_vm_commit(kr_heap.spans + heap.nr_committed,
				 SPAN_STEP * sizeof(*s))) {
			kr_unlock(&heap.grow_lock);
			return NULL;
		}
		heap.nr_committed += SPAN_STEP;
	}
	/* Release: who sees the number may look at the structure. */
	smp_store_release(&kr_heap.nr_spans, nr + 1);
	kr_unlock(&heap.grow_lock);
	return &kr_heap.spans[nr];
}

/* ---- structures that go back ---- */

#define SPARE_STEP	256U	/* structures or pages, with the lock held */
#define RETURN_MIN	(1UL << 20)

static int spare_init_locked(void)
{
	size_t spans = (size_t)kr_pages.max_pages / 64 * sizeof(uint64_t);
	void *mem;

	if (heap.spare)
		return 0;
	/* A page has more structures than one. */
	if (kr_vm_map(2 * spans, false, &mem))
		return -ENOMEM;
	heap.spare = mem;
	heap.returned = heap.spare + spans / sizeof(uint64_t);
	return 0;
}

/* From the list to the map. False: there are no more. */
static bool spare_some_locked(void)
{
	struct kr_span *s = NULL;

	for (uint32_t i = 0; i < SPARE_STEP; i++) {
		uint32_t nr;

		s = kr_central_pop(&heap.dead);
		if (!s)
			break;
		nr = kr_span_nr(s);
		bit_set(heap.spare, nr, true);
		WRITE_ONCE(heap.nr_spare, heap.nr_spare + 1);
		if (nr / 64 < heap.spare_word)
			heap.spare_word = nr / 64;
	}
	return s;
}

/* All that are on this page, in part or as a whole, become @spare, or are. */
static bool page_is_spare(uint32_t page)
{
	size_t at = (size_t)page * KR_PAGE_SIZE;
	uint32_t lo = (uint32_t)(at / sizeof(struct kr_span));
	uint32_t hi = (uint32_t)((at + KR_PAGE_SIZE - 1) /
				 sizeof(struct kr_span));

	for (; lo <= hi; lo++)
		if (!bit_is_set(heap.spare, lo))
			return false;
	return true;
}

/* They are nobody's while their pages go back. */
static void hide_locked(uint32_t page, uint32_t end, bool hide)
{
	size_t lo = (size_t)page * KR_PAGE_SIZE / sizeof(struct kr_span);
	size_t hi = ((size_t)end * KR_PAGE_SIZE - 1) / sizeof(struct kr_span);

	for (size_t nr = lo; nr <= hi; nr++)
		bit_set(heap.spare, (uint32_t)nr, !hide);
	if (hide) {
		WRITE_ONCE(heap.nr_spare,
			   heap.nr_spare - (uint32_t)(hi - lo + 1));
		return;
	}
	WRITE_ONCE(heap.nr_spare, heap.nr_spare + (uint32_t)(hi - lo + 1));
	if (lo / 64 < heap.spare_word)
		heap.spare_word = (uint32_t)(lo / 64);
}

/* The next run of pages from @page on, not more than a few. Or an empty one. */
static void find_run_locked(uint32_t page, uint32_t nr_pages, uint32_t *ret_lo,
			    uint32_t *ret_hi)
{
	uint32_t end = page + SPARE_STEP < nr_pages ? page + SPARE_STEP :
						      nr_pages, hi;

	while (page < end && (bit_is_set(heap.returned, page) ||
			      !page_is_spare(page)))
		page++;
	for (hi = page; hi < end && !bit_is_set(heap.returned, hi) &&
			page_is_spare(hi); hi++)
		;
	*ret_lo = page;
	*ret_hi = hi;
}

static bool is_worth_it(void)
{
	uint32_t nr = READ_ONCE(kr_heap.nr_spans);
	struct kr_page_stats st;
	uint64_t in_use;

	kr_pages_read_stats(&st);
	/* A span has a page at least. */
	in_use = st.committed_pages - st.free_pages + READ_ONCE(heap.nr_spare);
	return nr > in_use && (nr - in_use) * sizeof(struct kr_span) >= RETURN_MIN;
}

uint64_t kr_heap_return_dead(void)
{
	uint32_t nr_pages, lo = 0, hi;
	uint64_t bytes = 0;
	bool more = true;

	if (!kr_heap_is_on() || !is_worth_it() || !kr_trylock(&heap.return_lock))
		return 0;
	kr_lock(&heap.grow_lock);
	if (spare_init_locked())
		more = false;
	kr_unlock(&heap.grow_lock);
	if (!more)
		goto out;
	while (more) {
		kr_lock(&heap.grow_lock);
		more = spare_some_locked();
		kr_unlock(&heap.grow_lock);
	}
	/* The first one is none, so the first page stays. */
	nr_pages = page_of(READ_ONCE(kr_heap.nr_spans), 0);
	for (hi = 1; hi < nr_pages;) {
		struct kr_vm_range range;
		int err = 0;

		kr_lock(&heap.grow_lock);
		find_run_locked(hi, nr_pages, &lo, &hi);
		if (lo < hi)
			hide_locked(lo, hi, true);
		kr_unlock(&heap.grow_lock);
		if (lo == hi)
			continue;
		range = (struct kr_vm_range){
			(char *)kr_heap.spans + (size_t)lo * KR_PAGE_SIZE,
			(size_t)(hi - lo) * KR_PAGE_SIZE };
		err = kr_vm_return(&range, 1);
		kr_lock(&heap.grow_lock);
		hide_locked(lo, hi, false);
		for (uint32_t i = lo; !err && i < hi; i++)
			bit_set(heap.returned, i, true);
		kr_unlock(&heap.grow_lock);
		/* Memory that is locked is refused. */
		if (err)
			break;
		bytes += range.size;
	}
out:
	kr_unlock(&heap.return_lock);
	return bytes;
}

static void table_set(uint32_t page, uint32_t npages, uint32_t nr)
{
	for (uint32_t i = 0; i < npages; i++)
		__atomic_store_n(&kr_heap.table[page + i], nr,
				 __ATOMIC_RELEASE);
}

struct kr_span *kr_span_new(struct kr_page_cache *pc, unsigned int class,
			    enum kr_kind kind, size_t bytes)
{
	uint32_t npages = class ? kr_class_pages[class] :
		(uint32_t)((bytes + KR_HPAGE_BYTES - 1) >> KR_HPAGE_SHIFT);
	bool marking = READ_ONCE(kr_heap.marking);
	struct kr_span *s = span_get();
	uint32_t page;
	bool clean;

	if (!s)
		return NULL;
	page = npages <= KR_PAGE_CACHE_MAX ?
	       kr_pages_alloc_cached(pc, npages, &clean) :
	       kr_pages_alloc(npages, &clean);
	if (page == KR_NO_PAGE)
		goto err_put;
	if (table_grow(page + npages))
		goto err_free;
	s->base = kr_heap.base + ((size_t)page << KR_HPAGE_SHIFT);
	s->npages = npages;
	s->class = (uint8_t)class;
	/* Who looks which pages are worth watching may find an old one. */
	WRITE_ONCE(s->kind, (uint8_t)kind);
	s->needzero = !clean;
	s->returned = 0;
	WRITE_ONCE(s->nr_specials, 0);
	s->type = NULL;
	if (class) {
		s->elem_bytes = kr_class_bytes[class];
		s->magic = kr_class_magic[class];
		s->nelems = (uint32_t)((npages * KR_HPAGE_BYTES) /
				       s->elem_bytes);
	} else {
		s->elem_bytes = npages * KR_HPAGE_BYTES;
		s->magic = 0;
		s->nelems = 1;
	}
	for (uint32_t w = 0; w < KR_SPAN_WORDS; w++) {
		uint64_t bits = w < kr_span_words(s) ? kr_span_tail(s, w) : ~0ULL;

		WRITE_ONCE(s->alloc_bits[w], class ? bits : ~0ULL);
		WRITE_ONCE(s->mark_bits[w], !class && !w && marking);
	}
	/* What is found there by chance has no type. */
	for (uint32_t i = 0; class && kind == KR_TYPED && !clean &&
			     i < s->nelems; i++)
		WRITE_ONCE(*kr_obj_type_slot(s, i), NULL);
	WRITE_ONCE(s->sweepgen, READ_ONCE(kr_heap.sweepgen));
	smp_store_release(&s->state, class ? kr_state(KR_SPAN_CACHED, 0) :
					     kr_state(KR_SPAN_LARGE, 1));
	table_set(page, npages, kr_span_nr(s));
	if (!class) {
		kr_heap_count_live((int64_t)s->elem_bytes);
		kr_heap_look_if_due();
	}
	return s;

err_free:
	kr_pages_free(page, npages);
err_put:
	kr_central_push(&heap.dead, s);
	return NULL;
}

static void bury(struct kr_span *s)
{
	smp_store_release(&s->state, kr_state(KR_SPAN_DEAD, 0));
	kr_central_push(&heap.dead, s);
}

static void pages_release(const struct kr_span *s)
{
	size_t offset = (size_t)(s->base - kr_heap.base);
	uint32_t page = (uint32_t)(offset >> KR_HPAGE_SHIFT);

	table_set(page, s->npages, 0);
	kr_pages_free(page, s->npages);
}

void kr_span_release(struct kr_span *s)
{
	pages_release(s);
	bury(s);
}

void kr_span_unlisted(struct kr_span *s, uint64_t state)
{
	if (kr_state_where(state) == KR_SPAN_EMPTYING &&
	    kr_cas(&s->state, state, kr_state(KR_SPAN_DEAD, 0)))
		return;		/* whoever empties it buries it */
	/* Acquire: the other has read it for the last time. */
	state = kr_span_state(s);
	KR_ASSERT(kr_state_where(state) == KR_SPAN_ZOMBIE);
	bury(s);
}

void kr_span_empty(struct kr_span *s)
{
	pages_release(s);
	if (!kr_cas(&s->state, kr_state(KR_SPAN_EMPTYING, 0),
		    kr_state(KR_SPAN_ZOMBIE, 0))) {
		KR_ASSERT(kr_state_where(kr_span_state(s)) == KR_SPAN_DEAD);
		bury(s);
	}
}

void kr_span_put_one(struct kr_span *s)
{
	uint64_t old = kr_span_state(s), new;
	enum kr_span_where where, to;
	uint32_t used;

	do {
		where = kr_state_where(old);
		used = kr_state_used(old) - 1;
		to = where;
		if (where == KR_SPAN_FULL)
			to = !used ? KR_SPAN_DEAD :
			     kr_span_has_room(s, used) ? KR_SPAN_PARTIAL :
							 KR_SPAN_FULL;
		else if (where == KR_SPAN_PARTIAL && !used)
			to = KR_SPAN_EMPTYING;
		else if (where == KR_SPAN_LARGE)
			to = KR_SPAN_DEAD;
		else if (where != KR_SPAN_PARTIAL && where != KR_SPAN_CACHED &&
			 where != KR_SPAN_HELD && where != KR_SPAN_POPPED)
			kr_throw("heap: free in a span that is not in use");
		new = kr_state(to, used);
	} while (!__atomic_compare_exchange_n(&s->state, &old, new, false,
					      __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));	/* (D) */
	if (to == where)
		return;
	if (to == KR_SPAN_PARTIAL)
		kr_central_push(kr_central_of(s), s);
	else if (to == KR_SPAN_EMPTYING)
		kr_span_empty(s);
	else
		kr_span_release(s);
}

/* ---- cycles ---- */

void kr_heap_mark_begin(void)
{
	KR_ASSERT(kr_heap_is_swept() && !kr_heap.marking);
	kr_trim_lock();
	WRITE_ONCE(kr_heap.marking, true);
	kr_trim_unlock();
	kr_caches_for_each(kr_cache_mark_claimed);
}

void kr_heap_mark_end(uint64_t marked_bytes)
{
	KR_ASSERT(kr_heap.marking);
	kr_trim_lock();
	kr_caches_for_each(kr_cache_flush);
	WRITE_ONCE(kr_heap.live_bytes, (int64_t)marked_bytes);
	kr_centrals_forget();
	WRITE_ONCE(kr_heap.marking, false);
	WRITE_ONCE(kr_heap.sweepgen, kr_heap.sweepgen + 2);
	WRITE_ONCE(kr_heap.sweep_end, READ_ONCE(kr_heap.nr_spans));
	smp_store_release(&kr_heap.sweep_next, 1);
	kr_trim_unlock();
}

void kr_heap_mark_forget(void)
{
	uint32_t nr_spans = READ_ONCE(kr_heap.nr_spans);

	for (uint32_t nr = 1; nr < nr_spans; nr++)
		for (uint32_t w = 0; w < KR_SPAN_WORDS; w++)
			WRITE_ONCE(kr_heap.spans[nr].mark_bits[w], 0);
	WRITE_ONCE(kr_heap.marking, false);
}

/* Where a span belongs with @used objects after it was @where, @keep: to us. */
static enum kr_span_where where_swept(const struct kr_span *s,
				      enum kr_span_where where, uint32_t used,
				      bool keep)
{
	if (where == KR_SPAN_LARGE)
		return used ? where : KR_SPAN_DEAD;
	if (!kr_span_has_room(s, used))
		return KR_SPAN_FULL;
	if (keep)
		return KR_SPAN_CACHED;
	return used ? KR_SPAN_PARTIAL : KR_SPAN_DEAD;
}

/* Objects @dead of word @w, with kr_heap.poison. */
static KR_NOINLINE void poison(const struct kr_span *s, uint32_t w, uint64_t dead)
{
	for (; dead; dead &= dead - 1)
		kr_obj_poison(s, w * 64 + (uint32_t)__builtin_ctzll(dead));
}

/*
 * Ours since its sweepgen says that it is being swept; in no list, in no cache,
 * and frees in it are ignored. With @keep it is not put into its list, nor does
 * it lose its pages, if it has room. Return: where it is.
 */
static enum kr_span_where sweep(struct kr_span *s, uint32_t gen, bool keep,
				size_t *ret_bytes)
{
	enum kr_span_where where = kr_state_where(kr_span_state(s));
	uint32_t used = 0, freed = 0;

	if (READ_ONCE(s->nr_specials) && kr_heap_ops.sweep_specials)
		kr_heap_ops.sweep_specials(s);
	for (uint32_t w = 0; w < kr_span_words(s); w++) {
		uint64_t tail = kr_span_tail(s, w);
		uint64_t marked = READ_ONCE(s->mark_bits[w]) & ~tail;
		uint64_t in_use = READ_ONCE(s->alloc_bits[w]) & ~tail;

		used += (uint32_t)__builtin_popcountll(marked);
		freed += (uint32_t)__builtin_popcountll(in_use & ~marked);
		if (unlikely(READ_ONCE(kr_heap.poison)))
			poison(s, w, in_use & ~marked);
		WRITE_ONCE(s->alloc_bits[w], marked | tail);
		WRITE_ONCE(s->mark_bits[w], 0);
	}
	/* Before the span may become another's. */
	*ret_bytes = freed * s->elem_bytes;
	if (freed)
		s->needzero = 1;
	where = where_swept(s, where, used, keep);
	smp_store_release(&s->state, kr_state(where, used));
	/* Release: from here on frees in it count. */
	smp_store_release(&s->sweepgen, gen);
	if (where == KR_SPAN_PARTIAL)
		kr_central_push(kr_central_of(s), s);
	else if (where == KR_SPAN_DEAD)
		kr_span_release(s);
	return where;
}

bool kr_heap_sweep_one(size_t *ret_bytes)
{
	struct kr_span *s;

	return kr_heap_sweep_for(0, KR_NOSCAN, ret_bytes, &s);
}

bool kr_heap_sweep_for(unsigned int class, enum kr_kind kind,
		       size_t *ret_bytes, struct kr_span **ret_span)
{
	uint32_t gen = READ_ONCE(kr_heap.sweepgen);
	uint32_t end = READ_ONCE(kr_heap.sweep_end);
	enum kr_span_where where;
	bool found = false;

	*ret_bytes = 0;
	*ret_span = NULL;
	if (READ_ONCE(kr_heap.sweep_next) >= end)
		return false;
	kr_add(&kr_heap.nr_sweepers, 1);
	while (!found) {
		uint32_t nr = __atomic_fetch_add(&kr_heap.sweep_next, 1,
						 __ATOMIC_ACQ_REL);
		struct kr_span *s = &kr_heap.spans[nr];
		bool keep;

		if (nr >= end) {
			/* Not beyond by more than there are sweepers. */
			WRITE_ONCE(kr_heap.sweep_next, end);
			break;
		}
		/*
		 * Others are swept, or not in use. One that is not in use has
		 * an old number too, and may come into use at any moment: it
		 * has the new number before that shows in its state.
		 */
		if (smp_load_acquire(&s->sweepgen) != gen - 2)
			continue;
		where = kr_state_where(kr_span_state(s));
		if (where == KR_SPAN_DEAD ||
		    !kr_cas(&s->sweepgen, gen - 2, gen - 1))
			continue;
		if (where == KR_SPAN_ZOMBIE) {
			/* The list that it was in has been forgotten. */
			smp_store_release(&s->sweepgen, gen);
			bury(s);
			continue;
		}
		keep = class && s->class == class && s->kind == kind;
		if (sweep(s, gen, keep, ret_bytes) == KR_SPAN_CACHED)
			*ret_span = s;
		found = true;
	}
	kr_sub(&kr_heap.nr_sweepers, 1);
	return found;
}

void kr_heap_sweep_span(struct kr_span *s)
{
	uint32_t gen = READ_ONCE(kr_heap.sweepgen);
	size_t bytes;

	kr_add(&kr_heap.nr_sweepers, 1);
	if (kr_cas(&s->sweepgen, gen - 2, gen - 1))
		sweep(s, gen, false, &bytes);
	kr_sub(&kr_heap.nr_sweepers, 1);
}

bool kr_heap_is_swept(void)
{
	return smp_load_acquire(&kr_heap.sweep_next) >=
		       READ_ONCE(kr_heap.sweep_end) &&
	       !smp_load_acquire(&kr_heap.nr_sweepers);
}
