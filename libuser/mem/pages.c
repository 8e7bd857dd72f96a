/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The page heap.
 *
 * DOC: One range of addresses is reserved at the start and made accessible
 * from below, in steps, when no free run is long enough. A chunk of 512 pages
 * has two bitmaps: which pages are taken, and which are "clean": never touched,
 * or given back to the kernel, so that they are zero and cost nothing. Above
 * the chunks is a tree with a fan-out of eight, each node of which says how
 * many pages are free at its beginning, at its end, and in one run at most:
 * the lowest run that is long enough is found in one walk from the top (Go's
 * runtime/mpagealloc.go, Go proposal 35112; there the tree spans all addresses
 * and has five levels, here it spans the range and has as many as it needs).
 *
 * Free pages that are not clean may be "lazy": the kernel was told that it may
 * take them when it needs some, and that we do not care what is in them then.
 * They are used again like any others: what has been written to is kept.
 *
 * All is under one lock, with no system call inside but for growing, and for
 * asking for another size of the kernel's pages. Short runs do not come here: a P
 * takes the free pages of an aligned block of 64 at once and cuts them without a
 * lock.
 *
 * Pages go back to the kernel in three steps, so that this lock is not held
 * meanwhile and no allocation waits for the kernel: they are taken as by an
 * allocation, given back by somebody who has the time, and freed as clean.
 *
 * Rejected: a list or tree of free runs (Go had both: they are where threads
 * meet), and doing without the range by an index of all addresses: the test
 * whether a word may be a pointer into the heap, which a collector makes for
 * each word it sees, is one comparison here.
 */
#include "mem/pages.h"

#include <errno.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bug.h"
#include "mem/root.h"
#include "os/os.h"

#define WORDS		(KR_CHUNK_PAGES / 64)
#define FAN		8U
#define MAX_LEVELS	8
#define MIN_BYTES	(16UL << 20)
#define GROW_CHUNKS	16U	/* fewer where that fails */
#define LOOK_CHUNKS	64U	/* per call, of those who return pages */

struct chunk {
	uint64_t taken[WORDS];
	uint64_t clean[WORDS];
	uint64_t lazy[WORDS];	/* of the free ones that are not clean */
};

struct sum {
	uint32_t first, max, last;	/* free: at the beginning, in all, ... */
};

struct kr_pages kr_pages;
KR_NOT_A_ROOT(kr_pages);

static struct {
	uint32_t lock KR_PAIR_ALIGNED;
	struct chunk *chunks;
	struct sum *level[MAX_LEVELS];	/* 0: of the chunks */
	uint32_t level_len[MAX_LEVELS];
	int nr_levels;

	uint64_t nr_free;
	uint64_t nr_returnable;
	uint64_t nr_lazy;	/* of these */
	uint64_t low_water;
	uint64_t alarm_at;
	void (*alarm)(void);
	uint64_t nr_lock_waits, lock_wait_ns;
	int8_t huge;		/* enum kr_huge_pages */
	uint64_t *published;	/* or NULL: nr_returnable, in the kernel's pages */
} heap;

static void heap_lock(void)
{
	uint64_t start;

	if (likely(kr_trylock(&heap.lock)))
		return;
	start = kr_clock_now_ns();
	kr_lock(&heap.lock);
	ADD_ONCE(heap.nr_lock_waits, 1);
	ADD_ONCE(heap.lock_wait_ns, kr_clock_now_ns() - start);
}

/* ---- bitmaps of a chunk ---- */

/* The bits of word @w that are in [@lo, @hi). */
static uint64_t mask_of(uint32_t w, uint32_t lo, uint32_t hi)
{
	uint32_t from = lo > w * 64 ? lo - w * 64 : 0;
	uint32_t to = hi < w * 64 + 64 ? hi - w * 64 : 64;

	return (~0ULL << from) & (~0ULL >> (64 - to));
}

static void bits_set(uint64_t *bits, uint32_t lo, uint32_t hi, bool on)
{
	for (uint32_t w = lo / 64; w * 64 < hi; w++) {
		if (on)
			bits[w] |= mask_of(w, lo, hi);
		else
			bits[w] &= ~mask_of(w, lo, hi);
	}
}

static uint32_t bits_count(const uint64_t *bits, uint32_t lo, uint32_t hi)
{
	uint32_t nr = 0;

	for (uint32_t w = lo / 64; w * 64 < hi; w++)
		nr += (uint32_t)__builtin_popcountll(bits[w] &
						     mask_of(w, lo, hi));
	return nr;
}

/* The first bit from @from on that is @on, KR_CHUNK_PAGES if none. */
static uint32_t bits_next(const uint64_t *bits, uint32_t from, bool on)
{
	uint64_t flip = on ? 0 : ~0ULL;
	uint32_t w = from / 64;
	uint64_t word;

	if (from >= KR_CHUNK_PAGES)
		return KR_CHUNK_PAGES;
	word = (bits[w] ^ flip) & (~0ULL << from % 64);
	while (!word) {
		if (++w == WORDS)
			return KR_CHUNK_PAGES;
		word = bits[w] ^ flip;
	}
	return w * 64 + (uint32_t)__builtin_ctzll(word);
}

/* ---- the tree ---- */

static struct sum sum_of_chunk(const struct chunk *c)
{
	struct sum s = { 0 };
	uint32_t lo, hi;

	for (lo = bits_next(c->taken, 0, false); lo < KR_CHUNK_PAGES;
	     lo = bits_next(c->taken, hi, false)) {
		hi = bits_next(c->taken, lo, true);
		if (!lo)
			s.first = hi;
		if (hi == KR_CHUNK_PAGES)
			s.last = hi - lo;
		if (hi - lo > s.max)
			s.max = hi - lo;
	}
	return s;
}

/* Of the node @at in @level; @size: pages below one node of the level below. */
static struct sum sum_of_node(int level, uint32_t at, uint32_t size)
{
	const struct sum *below = heap.level[level - 1];
	uint32_t from = at * FAN, to = from + FAN, run = 0;
	struct sum s = { 0 };
	bool first = true;

	for (uint32_t i = from; i < to; i++) {
		struct sum b = { 0 };

		if (i < heap.level_len[level - 1])
			b = below[i];
		if (b.max > s.max)
			s.max = b.max;
		if (first)
			s.first += b.first;
		if (run + b.first > s.max)
			s.max = run + b.first;
		if (b.first == size) {
			run += size;
		} else {
			first = false;
			run = b.last;
		}
	}
	s.last = run;
	return s;
}

/* True: it was another one. */
static bool sum_set(struct sum *where, struct sum s)
{
	bool other = where->first != s.first || where->max != s.max ||
		     where->last != s.last;

	*where = s;
	return other;
}

/*
 * The chunks [@lo, @hi] have changed. Most changes are in the midst of one, and
 * do not show in what is above it.
 */
static void tree_update(uint32_t lo, uint32_t hi)
{
	uint32_t size = KR_CHUNK_PAGES;
	bool shows = false;

	for (uint32_t c = lo; c <= hi; c++)
		shows |= sum_set(&heap.level[0][c],
				 sum_of_chunk(&heap.chunks[c]));
	for (int l = 1; shows && l < heap.nr_levels; l++, size *= FAN) {
		shows = false;
		lo /= FAN;
		hi /= FAN;
		for (uint32_t i = lo; i <= hi; i++)
			shows |= sum_set(&heap.level[l][i],
					 sum_of_node(l, i, size));
	}
}

/* The lowest run of @nr free pages, or KR_NO_PAGE. */
static uint32_t tree_find(uint32_t nr)
{
	int l = heap.nr_levels - 1;
	uint32_t size = KR_CHUNK_PAGES, from = 0, to = heap.level_len[l];
	const uint64_t *taken;
	uint32_t lo, hi, i;

	for (int k = 0; k < l; k++)
		size *= FAN;
	for (;; l--, size /= FAN) {
		uint32_t run = 0;

		for (i = from; i < to; i++) {
			struct sum s = heap.level[l][i];

			if (run + s.first >= nr)
				return i * size - run;
			if (s.max >= nr)
				break;
			run = s.first == size ? run + size : s.last;
		}
		if (i == to)
			return KR_NO_PAGE;
		if (!l)
			break;
		from = i * FAN;
		to = from + FAN;
		if (to > heap.level_len[l - 1])
			to = heap.level_len[l - 1];
	}
	taken = heap.chunks[i].taken;
	for (hi = 0;;) {
		lo = bits_next(taken, hi, false);
		hi = bits_next(taken, lo, true);
		if (hi - lo >= nr)
			return i * KR_CHUNK_PAGES + lo;
		KR_ASSERT(hi < KR_CHUNK_PAGES);
	}
}

/* Call for [@page, @page + @nr) each piece that lies in one chunk. */
#define for_each_piece(page, nr, c, lo, hi)				\
	for (uint32_t kr_end = (page) + (nr), kr_at = (page), c, lo, hi; \
	     kr_at < kr_end &&						\
	     (c = kr_at / KR_CHUNK_PAGES, lo = kr_at % KR_CHUNK_PAGES,	\
	      hi = kr_end - c * KR_CHUNK_PAGES < KR_CHUNK_PAGES ?	\
		   kr_end - c * KR_CHUNK_PAGES : KR_CHUNK_PAGES, true);	\
	     kr_at = c * KR_CHUNK_PAGES + hi)

static void publish(void)
{
	if (heap.published)
		WRITE_ONCE(*heap.published, heap.nr_returnable * KR_HPAGE_KERNEL);
}

static void less_returnable(uint32_t nr)
{
	heap.nr_returnable -= nr;
	if (heap.nr_returnable < heap.low_water)
		heap.low_water = heap.nr_returnable;
	publish();
}

/* Free pages become taken. Return: how many of them are clean. */
static uint32_t take(uint32_t page, uint32_t nr)
{
	uint32_t nr_clean = 0;

	for_each_piece(page, nr, c, lo, hi) {
		struct chunk *chunk = &heap.chunks[c];

		nr_clean += bits_count(chunk->clean, lo, hi);
		heap.nr_lazy -= bits_count(chunk->lazy, lo, hi);
		bits_set(chunk->taken, lo, hi, true);
		bits_set(chunk->clean, lo, hi, false);
		bits_set(chunk->lazy, lo, hi, false);
	}
	tree_update(page / KR_CHUNK_PAGES, (page + nr - 1) / KR_CHUNK_PAGES);
	heap.nr_free -= nr;
	less_returnable(nr - nr_clean);
	return nr_clean;
}

static void put(uint32_t page, uint32_t nr, enum kr_page_state state)
{
	bool clean = state == KR_PAGE_CLEAN;

	for_each_piece(page, nr, c, lo, hi) {
		struct chunk *chunk = &heap.chunks[c];

		if (bits_count(chunk->taken, lo, hi) != hi - lo)
			kr_throw("pages: free of free pages");
		bits_set(chunk->taken, lo, hi, false);
		bits_set(chunk->clean, lo, hi, clean);
		bits_set(chunk->lazy, lo, hi, state == KR_PAGE_LAZY);
	}
	tree_update(page / KR_CHUNK_PAGES, (page + nr - 1) / KR_CHUNK_PAGES);
	heap.nr_free += nr;
	if (state == KR_PAGE_LAZY)
		heap.nr_lazy += nr;
	if (!clean) {
		heap.nr_returnable += nr;
		publish();
	}
}

/* With heap.lock held: whom to wake once it is not. */
static void (*alarm_due(void))(void)
{
	void (*fn)(void) = heap.alarm;

	if (!fn || heap.nr_returnable < heap.alarm_at)
		return NULL;
	heap.alarm = NULL;
	return fn;
}

/* ---- the range ---- */

static int sums_init(uint32_t nr_chunks)
{
	uint32_t len[MAX_LEVELS], n = nr_chunks;
	size_t bytes = 0;
	void *mem;
	int l = 0;

	for (;; n = (n + FAN - 1) / FAN) {
		KR_ASSERT(l < MAX_LEVELS);
		len[l++] = n;
		bytes += n * sizeof(struct sum);
		if (n <= FAN)
			break;
	}
	bytes += nr_chunks * sizeof(struct chunk);
	bytes = (bytes + KR_PAGE_SIZE - 1) & ~(KR_PAGE_SIZE - 1);
	if (kr_vm_map(bytes, false, &mem))
		return -ENOMEM;
	heap.chunks = mem;
	mem = heap.chunks + nr_chunks;
	for (int i = 0; i < l; i++) {
		heap.level[i] = mem;
		heap.level_len[i] = len[i];
		mem = heap.level[i] + len[i];
	}
	heap.nr_levels = l;
	return 0;
}

int kr_pages_init(size_t max_bytes)
{
	void *base;

	for (; max_bytes >= MIN_BYTES; max_bytes /= 2) {
		max_bytes &= ~(KR_CHUNK_BYTES - 1);
		if (kr_vm_reserve(max_bytes, KR_CHUNK_BYTES, &base))
			continue;
		if (sums_init((uint32_t)(max_bytes / KR_CHUNK_BYTES))) {
			kr_vm_unmap(base, max_bytes);
			continue;
		}
		kr_pages.base = base;
		kr_pages.max_pages = (uint32_t)(max_bytes >> KR_HPAGE_SHIFT);
		return 0;
	}
	return -ENOMEM;
}

/*
 * Make more of the range accessible, so that @nr free pages are at its end.
 *
 * The first page is never handed out. The runtime has the address of the range
 * in registers and on stacks wherever it looks something up, and with an object
 * there each of these would be taken for a reference to it.
 */
static bool grow(uint32_t nr)
{
	uint32_t chunk = kr_pages.nr_pages / KR_CHUNK_PAGES;
	uint32_t left = kr_pages.max_pages / KR_CHUNK_PAGES - chunk;
	uint32_t free = chunk ? heap.level[0][chunk - 1].last : 0;
	uint32_t need, more;

	/* The chunks before may be free as well. */
	for (uint32_t c = chunk; free == (chunk - c + 1) * KR_CHUNK_PAGES &&
	     c >= 2; c--)
		free += heap.level[0][c - 2].last;
	/* And the first page. */
	if (!chunk)
		nr++;
	need = free >= nr ? 1 :
	       (nr - free + KR_CHUNK_PAGES - 1) / KR_CHUNK_PAGES;
	more = need < GROW_CHUNKS ? GROW_CHUNKS : need;
	if (more > left)
		more = left;
	for (; more >= need; more = need) {
		char *at = kr_pages.base + chunk * KR_CHUNK_BYTES;

		if (!kr_vm_commit(at, more * KR_CHUNK_BYTES))
			break;
		if (more == need)
			return false;
	}
	if (more < need)
		return false;
	if (heap.huge != KR_HUGE_DEFAULT)
		(void)kr_vm_hugepage(kr_pages.base + chunk * KR_CHUNK_BYTES,
				     more * KR_CHUNK_BYTES,
				     heap.huge == KR_HUGE_ON);
	for (uint32_t c = chunk; c < chunk + more; c++)
		memset(heap.chunks[c].clean, 0xff,
		       sizeof(heap.chunks[c].clean));
	heap.nr_free += more * KR_CHUNK_PAGES;
	if (!chunk) {
		/* For ever. */
		heap.chunks[0].taken[0] |= 1;
		heap.chunks[0].clean[0] &= ~1ULL;
		heap.nr_free--;
	}
	tree_update(chunk, chunk + more - 1);
	/* Release: who sees the length may touch the pages. */
	smp_store_release(&kr_pages.nr_pages, (chunk + more) * KR_CHUNK_PAGES);
	return true;
}

int kr_pages_set_huge(enum kr_huge_pages huge)
{
	int err;

	heap_lock();
	/* Where there is no heap yet, too: a kernel that has none says so. */
	err = kr_vm_hugepage(kr_pages.base,
			     (size_t)kr_pages.nr_pages << KR_HPAGE_SHIFT,
			     huge == KR_HUGE_ON);
	if (!err)
		heap.huge = (int8_t)huge;
	kr_unlock(&heap.lock);
	return err;
}

enum kr_huge_pages kr_pages_huge(void)
{
	return (enum kr_huge_pages)READ_ONCE(heap.huge);
}

/* ---- runs ---- */

static uint32_t find_or_grow(uint32_t nr)
{
	uint32_t page = tree_find(nr);

	if (page == KR_NO_PAGE && nr <= kr_pages.max_pages && grow(nr))
		page = tree_find(nr);
	return page;
}

uint32_t kr_pages_alloc(uint32_t nr, bool *ret_clean)
{
	uint32_t page;

	heap_lock();
	page = find_or_grow(nr);
	if (page != KR_NO_PAGE)
		*ret_clean = take(page, nr) == nr;
	kr_unlock(&heap.lock);
	return page;
}

void kr_pages_free(uint32_t page, uint32_t nr)
{
	void (*alarm)(void);

	heap_lock();
	put(page, nr, KR_PAGE_DIRTY);
	alarm = alarm_due();
	kr_unlock(&heap.lock);
	if (alarm)
		alarm();
}

/* All free pages of the block of 64 in which the lowest one is. */
static bool cache_fill(struct kr_page_cache *pc)
{
	struct chunk *chunk;
	uint32_t page;
	int w;

	heap_lock();
	page = find_or_grow(1);
	if (page != KR_NO_PAGE) {
		chunk = &heap.chunks[page / KR_CHUNK_PAGES];
		w = page % KR_CHUNK_PAGES / 64;
		pc->page = page & ~63U;
		pc->free = ~chunk->taken[w];
		pc->clean = chunk->clean[w] & pc->free;
		chunk->taken[w] = ~0ULL;
		chunk->clean[w] = 0;
		heap.nr_lazy -=
			(uint32_t)__builtin_popcountll(chunk->lazy[w]);
		chunk->lazy[w] = 0;
		tree_update(page / KR_CHUNK_PAGES, page / KR_CHUNK_PAGES);
		heap.nr_free -= (uint32_t)__builtin_popcountll(pc->free);
		less_returnable((uint32_t)__builtin_popcountll(pc->free &
							       ~pc->clean));
	}
	kr_unlock(&heap.lock);
	return page != KR_NO_PAGE;
}

/* The lowest bit at which @nr ones begin, or -1. */
static int find_ones(uint64_t bits, uint32_t nr)
{
	uint32_t have = 1;

	/* After a step each one begins twice as many, or as many as needed. */
	while (bits && have < nr) {
		uint32_t step = nr - have < have ? nr - have : have;

		bits &= bits >> step;
		have += step;
	}
	return bits ? __builtin_ctzll(bits) : -1;
}

uint32_t kr_pages_alloc_cached(struct kr_page_cache *pc, uint32_t nr,
			       bool *ret_clean)
{
	int at = find_ones(pc->free, nr);
	uint64_t mask;

	if (at < 0) {
		/* What it has is too short for this one, not for others. */
		if (pc->free && nr > 1)
			return kr_pages_alloc(nr, ret_clean);
		if (!cache_fill(pc))
			return KR_NO_PAGE;
		at = find_ones(pc->free, nr);
		if (at < 0)
			return kr_pages_alloc(nr, ret_clean);
	}
	mask = (nr == 64 ? ~0ULL : (1ULL << nr) - 1) << at;
	*ret_clean = (pc->clean & mask) == mask;
	pc->free &= ~mask;
	pc->clean &= ~mask;
	return pc->page + (uint32_t)at;
}

void kr_pages_flush(struct kr_page_cache *pc)
{
	heap_lock();
	while (pc->free) {
		uint32_t at = (uint32_t)__builtin_ctzll(pc->free);
		uint64_t bit = 1ULL << at;

		put(pc->page + at, 1, pc->clean & bit ? KR_PAGE_CLEAN :
							KR_PAGE_DIRTY);
		pc->free &= ~bit;
	}
	pc->clean = 0;
	kr_unlock(&heap.lock);
}

/* ---- for those who return pages to the kernel ---- */

/* Not of those to be given back; nor to be freed lazily with @lazy. */
static uint64_t kept(const struct chunk *c, uint32_t w, bool lazy)
{
	return c->taken[w] | c->clean[w] | (lazy ? c->lazy[w] : 0);
}

/* The highest run of free pages of @c, not clean, below @hi; or nothing. */
static bool returnable_below(const struct chunk *c, bool lazy, uint32_t *lo,
			     uint32_t *hi)
{
	uint32_t end = *hi, begin;

	while (end) {
		uint32_t w = (end - 1) / 64;
		uint64_t word = ~kept(c, w, lazy) & mask_of(w, 0, end);

		if (word) {
			end = w * 64 + 64 - (uint32_t)__builtin_clzll(word);
			break;
		}
		end = w * 64;
	}
	if (!end)
		return false;
	for (begin = end - 1; begin; begin--)
		if (kept(c, (begin - 1) / 64, lazy) & 1ULL << (begin - 1) % 64)
			break;
	*lo = begin;
	*hi = end;
	return true;
}

uint32_t kr_pages_take_returnable(const struct kr_page_wish *wish,
				  uint32_t *cursor, uint32_t max_pages,
				  struct kr_run *runs, uint32_t max_runs)
{
	uint32_t align_pages = wish->align_pages;
	uint32_t nr = 0, looks = 0, end;

	heap_lock();
	end = kr_pages.nr_pages / KR_CHUNK_PAGES;
	if (*cursor > end)
		*cursor = end;
	while (*cursor && looks++ < LOOK_CHUNKS && nr < max_runs && max_pages) {
		uint32_t c = *cursor - 1, hi = KR_CHUNK_PAGES, lo;
		uint64_t low_water = heap.low_water;

		while (nr < max_runs && max_pages &&
		       returnable_below(&heap.chunks[c], wish->lazy, &lo,
					&hi)) {
			uint32_t next = lo;

			hi &= ~(align_pages - 1);
			if (hi > lo && hi - lo > max_pages)
				lo = hi - max_pages;
			lo = (lo + align_pages - 1) & ~(align_pages - 1);
			if (hi > lo && hi - lo >= wish->min_pages) {
				take(c * KR_CHUNK_PAGES + lo, hi - lo);
				runs[nr++] = (struct kr_run){
					c * KR_CHUNK_PAGES + lo, hi - lo };
				max_pages -= hi - lo;
				low_water = heap.low_water;
			}
			hi = next;
		}
		heap.low_water = low_water;
		/* The rest of it is for the next call. */
		if (nr < max_runs && max_pages)
			(*cursor)--;
	}
	kr_unlock(&heap.lock);
	return nr;
}

void kr_pages_put_returned(const struct kr_run *runs, uint32_t nr,
			   enum kr_page_state state)
{
	heap_lock();
	for (uint32_t i = 0; i < nr; i++)
		put(runs[i].page, runs[i].nr, state);
	kr_unlock(&heap.lock);
}

uint64_t kr_pages_low_water(void)
{
	uint64_t nr;

	heap_lock();
	nr = heap.low_water;
	heap.low_water = heap.nr_returnable;
	kr_unlock(&heap.lock);
	return nr;
}

void kr_pages_set_alarm(uint64_t nr, void (*fn)(void))
{
	heap_lock();
	heap.alarm_at = nr;
	heap.alarm = fn;
	fn = alarm_due();
	kr_unlock(&heap.lock);
	if (fn)
		fn();
}

void kr_pages_ring(void)
{
	void (*fn)(void);

	heap_lock();
	fn = heap.alarm;
	heap.alarm = NULL;
	kr_unlock(&heap.lock);
	if (fn)
		fn();
}

void kr_pages_publish(uint64_t *to)
{
	heap_lock();
	if (heap.published)
		WRITE_ONCE(*heap.published, 0);
	heap.published = to;
	publish();
	kr_unlock(&heap.lock);
}

uint64_t kr_pages_lock_waits(uint64_t *ret_ns)
{
	*ret_ns = READ_ONCE(heap.lock_wait_ns);
	return READ_ONCE(heap.nr_lock_waits);
}

void kr_pages_read_stats(struct kr_page_stats *ret_stats)
{
	heap_lock();
	ret_stats->committed_pages = kr_pages.nr_pages;
	ret_stats->free_pages = heap.nr_free;
	ret_stats->returnable_pages = heap.nr_returnable;
	ret_stats->lazy_pages = heap.nr_lazy;
	kr_unlock(&heap.lock);
}

bool kr_pages_check(void)
{
	uint32_t nr_chunks = kr_pages.nr_pages / KR_CHUNK_PAGES;
	uint64_t nr_free = 0, nr_returnable = 0, nr_lazy = 0;
	uint32_t size = KR_CHUNK_PAGES;
	bool ok = true;

	heap_lock();
	for (uint32_t c = 0; c < nr_chunks; c++) {
		struct sum s = sum_of_chunk(&heap.chunks[c]);

		for (int w = 0; w < (int)WORDS; w++) {
			uint64_t taken = heap.chunks[c].taken[w];
			uint64_t clean = heap.chunks[c].clean[w];
			uint64_t lazy = heap.chunks[c].lazy[w];

			nr_lazy += (uint32_t)__builtin_popcountll(lazy);
			ok = ok && !(lazy & (taken | clean));
			nr_free += (uint32_t)__builtin_popcountll(~taken);
			nr_returnable += (uint32_t)
				__builtin_popcountll(~(taken | clean));
			ok = ok && !(taken & clean);
		}
		ok = ok && !memcmp(&s, &heap.level[0][c], sizeof(s));
	}
	for (int l = 1; l < heap.nr_levels; l++, size *= FAN)
		for (uint32_t i = 0; i < heap.level_len[l]; i++) {
			struct sum s = sum_of_node(l, i, size);

			ok = ok && !memcmp(&s, &heap.level[l][i], sizeof(s));
		}
	ok = ok && nr_free == heap.nr_free &&
	     nr_returnable == heap.nr_returnable &&
	     nr_lazy == heap.nr_lazy &&
	     heap.low_water <= heap.nr_returnable;
	kr_unlock(&heap.lock);
	return ok;
}
