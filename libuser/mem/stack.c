/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Stacks.
 *
 * DOC: A stack is address space that the kernel backs as it is touched. Sizes
 * are powers of two, the classes. Each P has a cache of a few free stacks of
 * each class (stack.h); a goroutine that starts takes the one that was left
 * last, whose upper end is in the processor's cache. Caches exchange half of
 * what they hold with the global pool, which is a lock and lists of slabs for
 * each class. (The scheme is that of Go's runtime/stack.go: stackcache,
 * stackpool.) Here stacks are fixed in size and mostly untouched, so the pool
 * does not give back slabs but the memory behind stacks:
 *
 *	hot	in the pool, with its memory and its kr_stack_top
 *	cold	never used, or trimmed: reads as zeros, costs address space only
 *
 * A slab has a bit for each of its stacks in one of two words, or in none while
 * the stack is in use or in a cache. Trimming neighbours is one system call.
 *
 * Slabs are never unmapped, and the number of stacks follows that of goroutine
 * objects (kr_stack_reserve()): a goroutine that starts will find one, and it
 * is kaus_go() that fails where there is no address space, not the start.
 *
 * Below each stack is a guard page, made when the stack is first used. Linux
 * 6.13 keeps guards in the page table. Before that a guard costs the process
 * two memory mappings, of which vm.max_map_count allows 65530 by default; so
 * guards stop at GUARD_BUDGET and later stacks have the unused page below them
 * and no more.
 *
 * What a parked goroutine holds lies at the upper end of its stack. If all ends
 * had the same place in their pages, those of more goroutines than the cache
 * has ways would push each other out of a few of its sets; so the ends differ
 * by some lines. Not by more: most goroutines shall need one page.
 *
 * Rejected: keeping the stack with the dead goroutine. A thousand goroutines
 * that are started and end one after the other then touch a thousand stacks.
 */
#include <errno.h>
#include <urcu/list.h>

#include "mem/persist.h"
#include "mem/stack.h"
#include "os/os.h"

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(lo, hi) ((void)(lo), (void)(hi), 0)
#endif

#define SLAB_MAX_STACKS	64
#define SLAB_MAX_BYTES	(64UL << 20)
#define CACHE_BATCH	(KR_STACK_CACHE_MAX / 2)
#define KEEP_HOT	64	/* of a class */
#define GUARD_BUDGET	24000
#define NR_COLORS	16
#define COLOR_BYTES	64UL

struct kr_stack_slab {
	struct cds_list_head hot_node, cold_node;
	char *base;
	uint64_t hot, cold;
	uint64_t guarded;
};

struct pool {
	uint32_t lock;
	struct cds_list_head hot_slabs, cold_slabs;	/* with such stacks */
	uint64_t nr_hot;
	uint64_t min_hot;	/* since the last trim */
	uint64_t nr_made;
	uint64_t nr_trimmed;
} KR_PAIR_ALIGNED;

static struct pool pools[KR_STACK_CLASSES];
static uint32_t nr_guards;

uint32_t kr_stack_default_class = 4;

uint32_t kr_stack_class(size_t bytes)
{
	uint32_t class = 0;

	while (class < KR_STACK_CLASSES - 1 &&
	       (KR_STACK_MIN_BYTES << class) < bytes)
		class++;
	return class;
}

void kr_stack_set_size(size_t bytes)
{
	kr_stack_default_class = kr_stack_class(bytes);
}

/* From one stack to the next: the guard page and the stack. */
static size_t step_of(uint32_t class)
{
	return (KR_STACK_MIN_BYTES << class) + KR_PAGE_SIZE;
}

static uint32_t slab_stacks(uint32_t class)
{
	size_t nr = SLAB_MAX_BYTES / step_of(class);

	return nr > SLAB_MAX_STACKS ? SLAB_MAX_STACKS : nr ? (uint32_t)nr : 1;
}

static uint64_t first_bits(uint32_t nr)
{
	return nr == 64 ? UINT64_MAX : (1ULL << nr) - 1;
}

static void lock_pool(struct pool *pool)
{
	kr_lock(&pool->lock);
	if (unlikely(!pool->hot_slabs.next)) {
		CDS_INIT_LIST_HEAD(&pool->hot_slabs);
		CDS_INIT_LIST_HEAD(&pool->cold_slabs);
	}
}

/* lock held. */
static int add_slab(struct pool *pool, uint32_t class)
{
	uint32_t nr = slab_stacks(class);
	struct kr_stack_slab *slab = kr_persist_alloc(sizeof(*slab));
	void *base;

	/* A descriptor is lost in a process that is out of address space. */
	if (!slab || kr_vm_map(step_of(class) * nr, false, &base))
		return -ENOMEM;
	/* One touched page must cost one page. */
	(void)kr_vm_hugepage(base, step_of(class) * nr, false);
	slab->base = base;
	slab->cold = first_bits(nr);
	cds_list_add(&slab->cold_node, &pool->cold_slabs);
	WRITE_ONCE(pool->nr_made, pool->nr_made + nr);
	return 0;
}

/* Where the top of a stack is. */
static struct kr_stack_top *top_of(struct kr_stack_slab *slab, uint32_t class,
				   uint32_t index)
{
	char *end = slab->base + step_of(class) * (index + 1);

	end -= index % NR_COLORS * COLOR_BYTES;
	return (struct kr_stack_top *)end - 1;
}

/* A page below the stack, if the budget still allows it. */
static void guard(struct kr_stack_slab *slab, uint32_t index, char *page)
{
	uint64_t bit = 1ULL << index;
	bool cheap;

	if (READ_ONCE(slab->guarded) & bit)
		return;
	if (kr_vm_guard(page, KR_PAGE_SIZE,
			READ_ONCE(nr_guards) < GUARD_BUDGET, &cheap))
		return;
	kr_or(&slab->guarded, bit);
	if (!cheap)
		kr_add(&nr_guards, 1);
}

/* Make a cold stack ready for use. It is the caller's alone. */
static void warm_up(struct kr_stack_top *top, struct kr_stack_slab *slab,
		    uint32_t class, uint32_t index)
{
	char *page = slab->base + step_of(class) * index;

	guard(slab, index, page);
	top->slab = slab;
	top->lo = page + KR_PAGE_SIZE;
	top->class = class;
	top->index = index;
	(void)VALGRIND_STACK_REGISTER(top->lo, (char *)top);
}

/* lock held. */
static struct kr_stack_top *get_hot(struct pool *pool, uint32_t class)
{
	struct kr_stack_slab *slab;
	uint32_t index;

	if (cds_list_empty(&pool->hot_slabs))
		return NULL;
	slab = cds_list_first_entry(&pool->hot_slabs, struct kr_stack_slab,
				    hot_node);
	index = (uint32_t)__builtin_ctzll(slab->hot);
	slab->hot &= slab->hot - 1;
	if (!slab->hot)
		cds_list_del(&slab->hot_node);
	WRITE_ONCE(pool->nr_hot, pool->nr_hot - 1);
	if (pool->nr_hot < pool->min_hot)
		pool->min_hot = pool->nr_hot;
	return top_of(slab, class, index);
}

/* lock held. A cold one, still to be warmed up: *@ret_slab and *@ret_index. */
static bool get_cold(struct pool *pool, uint32_t class,
		     struct kr_stack_slab **ret_slab, uint32_t *ret_index)
{
	struct kr_stack_slab *slab;

	if (cds_list_empty(&pool->cold_slabs) && add_slab(pool, class))
		return false;
	slab = cds_list_first_entry(&pool->cold_slabs, struct kr_stack_slab,
				    cold_node);
	*ret_slab = slab;
	*ret_index = (uint32_t)__builtin_ctzll(slab->cold);
	slab->cold &= slab->cold - 1;
	if (!slab->cold)
		cds_list_del(&slab->cold_node);
	return true;
}

/* lock held. */
static void pool_put(struct pool *pool, struct kr_stack_top *top)
{
	struct kr_stack_slab *slab = top->slab;

	if (!slab->hot)
		cds_list_add(&slab->hot_node, &pool->hot_slabs);
	slab->hot |= 1ULL << top->index;
	WRITE_ONCE(pool->nr_hot, pool->nr_hot + 1);
}

int kr_stack_reserve(uint64_t nr)
{
	struct pool *pool = &pools[kr_stack_default_class];
	int err = 0;

	lock_pool(pool);
	while (!err && pool->nr_made < nr)
		err = add_slab(pool, kr_stack_default_class);
	kr_unlock(&pool->lock);
	return err;
}

KR_NOINLINE int kr_stack_get_slow(struct kr_stack_cache *cache, uint32_t class,
				  struct kr_stack *ret_stack)
{
	struct pool *pool = &pools[class];
	struct kr_stack_slab *slab = NULL;
	struct kr_stack_top *top, *more;
	uint32_t index = 0;
	bool ok = true;

	lock_pool(pool);
	top = get_hot(pool, class);
	if (!top)
		ok = get_cold(pool, class, &slab, &index);
	/* Cold ones cost a page fault each: those only when they are needed. */
	while (cache && cache->of[class].nr < CACHE_BATCH &&
	       (more = get_hot(pool, class))) {
		more->next = cache->of[class].first;
		cache->of[class].first = more;
		cache->of[class].nr++;
	}
	kr_unlock(&pool->lock);
	if (!ok)
		return -ENOMEM;
	if (!top) {
		top = top_of(slab, class, index);
		warm_up(top, slab, class, index);
	}
	if (cache)
		ADD_ONCE(cache->nr_misses, 1);
	WRITE_ONCE(ret_stack->lo, top->lo);
	WRITE_ONCE(ret_stack->hi, (char *)top);
	return 0;
}

/* All but @nr stacks of a class. */
static void shrink(struct kr_stack_cache *cache, uint32_t class, uint32_t nr)
{
	struct pool *pool = &pools[class];
	struct kr_stack_top *top;

	lock_pool(pool);
	while (cache->of[class].nr > nr) {
		top = cache->of[class].first;
		cache->of[class].first = top->next;
		cache->of[class].nr--;
		pool_put(pool, top);
	}
	kr_unlock(&pool->lock);
}

KR_NOINLINE void kr_stack_put_slow(struct kr_stack_cache *cache,
				   struct kr_stack_top *top)
{
	struct kr_stack stack = { .hi = (char *)top };

	if (cache) {
		shrink(cache, top->class, CACHE_BATCH);
		kr_stack_put(cache, &stack);
		return;
	}
	lock_pool(&pools[top->class]);
	pool_put(&pools[top->class], top);
	kr_unlock(&pools[top->class].lock);
}

void kr_stack_cache_flush(struct kr_stack_cache *cache)
{
	for (uint32_t class = 0; class < KR_STACK_CLASSES; class++)
		if (cache->of[class].nr)
			shrink(cache, class, 0);
}

bool kr_stack_is_idle(void)
{
	for (uint32_t class = 0; class < KR_STACK_CLASSES; class++)
		if (READ_ONCE(pools[class].nr_hot) > KEEP_HOT)
			return true;
	return false;
}

/*
 * lock held, so that a stack is always in a slab's words or somebody's; the
 * system calls take as long as it takes to free the memory of one slab.
 */
static uint64_t trim_slab(struct pool *pool, struct kr_stack_slab *slab,
			  uint32_t class)
{
	size_t step = step_of(class);
	uint64_t left = slab->hot, nr = 0;

	while (left) {
		uint32_t first = (uint32_t)__builtin_ctzll(left);
		uint64_t run = ~(left >> first);
		uint32_t len = run ? (uint32_t)__builtin_ctzll(run) : 64;

		kr_vm_discard(slab->base + step * first + KR_PAGE_SIZE,
			      step * len - KR_PAGE_SIZE);
		left &= ~(first_bits(len) << first);
		nr += len;
	}
	if (!slab->cold)
		cds_list_add(&slab->cold_node, &pool->cold_slabs);
	slab->cold |= slab->hot;
	slab->hot = 0;
	cds_list_del(&slab->hot_node);
	WRITE_ONCE(pool->nr_hot, pool->nr_hot - nr);
	WRITE_ONCE(pool->nr_trimmed, pool->nr_trimmed + nr);
	return nr;
}

static void trim_class(uint32_t class)
{
	struct pool *pool = &pools[class];
	uint64_t nr;
	bool more = true;

	lock_pool(pool);
	nr = pool->min_hot;
	kr_unlock(&pool->lock);
	nr = nr > KEEP_HOT ? nr - KEEP_HOT : 0;
	while (nr && more) {
		uint64_t done = 0;

		lock_pool(pool);
		/* From the end: those that were put there first. */
		more = pool->nr_hot > KEEP_HOT;
		if (more)
			done = trim_slab(pool, cds_list_entry(
				pool->hot_slabs.prev, struct kr_stack_slab,
				hot_node), class);
		kr_unlock(&pool->lock);
		nr = nr > done ? nr - done : 0;
	}
	lock_pool(pool);
	WRITE_ONCE(pool->min_hot, pool->nr_hot);
	kr_unlock(&pool->lock);
}

void kr_stack_trim(void)
{
	for (uint32_t class = 0; class < KR_STACK_CLASSES; class++)
		if (READ_ONCE(pools[class].nr_made))
			trim_class(class);
}

void kr_stack_stats_read(struct kr_stack_stats *ret_stats)
{
	*ret_stats = (struct kr_stack_stats){ 0 };
	for (uint32_t class = 0; class < KR_STACK_CLASSES; class++) {
		struct pool *pool = &pools[class];

		ret_stats->nr_made += READ_ONCE(pool->nr_made);
		ret_stats->nr_hot += READ_ONCE(pool->nr_hot);
		ret_stats->nr_trimmed += READ_ONCE(pool->nr_trimmed);
	}
}
