/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Stacks of goroutines. */
#ifndef KR_MEM_STACK_H
#define KR_MEM_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/barrier.h"
#include "base/compiler.h"

#define KR_STACK_DEFAULT_BYTES	(256UL << 10)
#define KR_STACK_MIN_BYTES	(16UL << 10)
#define KR_STACK_MAX_BYTES	(1UL << 30)

#define KR_STACK_CLASSES	17	/* MIN << 0 up to MAX */
#define KR_STACK_CACHE_MAX	128	/* of a class in the cache of a P */

struct kr_stack_slab;

struct kr_stack {
	char *lo;	/* lowest usable address; a guard page lies below */
	char *hi;	/* end, 16-byte aligned, where its kr_stack_top begins */
};

/* At the end of each stack that is not cold. */
struct kr_stack_top {
	struct kr_stack_top *next;
	struct kr_stack_slab *slab;
	char *lo;
	uint32_t class;
	uint32_t index;		/* in the slab */
};

/* The free stacks of a P, last in, first out. The holder's; zeroed is empty. */
struct kr_stack_cache {
	struct {
		struct kr_stack_top *first;
		uint32_t nr;
	} of[KR_STACK_CLASSES];
	uint64_t nr_hits, nr_misses;
};

struct kr_stack_stats {
	uint64_t nr_made;	/* address space cut into stacks */
	uint64_t nr_hot;	/* in the global pool with their memory */
	uint64_t nr_trimmed;	/* times that one gave its memory back */
};

/* The class whose stacks have at least @bytes. */
uint32_t kr_stack_class(size_t bytes);

/* Size of stacks of the default class from now on. Before the first is made. */
void kr_stack_set_size(size_t bytes);
extern uint32_t kr_stack_default_class;

/**
 * kr_stack_reserve() - Make sure that so many stacks of the default class exist.
 * @nr: In all: used, cached or pooled.
 *
 * Then kr_stack_get() does not fail while fewer are in use by as many as the
 * caches of other Ps can hold.
 *
 * Context: preemption off or a plain thread. Return: 0 or -ENOMEM.
 */
int kr_stack_reserve(uint64_t nr);

/* What kr_stack_get() and kr_stack_put() do when the cache is empty or full. */
int kr_stack_get_slow(struct kr_stack_cache *cache, uint32_t class,
		      struct kr_stack *ret_stack);
void kr_stack_put_slow(struct kr_stack_cache *cache, struct kr_stack_top *top);

/**
 * kr_stack_get() - Get a stack.
 * @cache: That of the caller's P; NULL on a plain thread.
 * @class: Its size.
 * @ret_stack: The stack.
 *
 * Context: preemption off or a plain thread. Return: 0 or -ENOMEM.
 */
static inline int kr_stack_get(struct kr_stack_cache *cache, uint32_t class,
			       struct kr_stack *ret_stack)
{
	struct kr_stack_top *top = cache ? cache->of[class].first : NULL;

	if (unlikely(!top))
		return kr_stack_get_slow(cache, class, ret_stack);
	cache->of[class].first = top->next;
	cache->of[class].nr--;
	ADD_ONCE(cache->nr_hits, 1);
	WRITE_ONCE(ret_stack->lo, top->lo);
	WRITE_ONCE(ret_stack->hi, (char *)top);
	return 0;
}

/* Nobody uses it any more. As kr_stack_get(). */
static inline void kr_stack_put(struct kr_stack_cache *cache,
				const struct kr_stack *stack)
{
	struct kr_stack_top *top = (struct kr_stack_top *)stack->hi;

	if (unlikely(!cache ||
		     cache->of[top->class].nr == KR_STACK_CACHE_MAX)) {
		kr_stack_put_slow(cache, top);
		return;
	}
	top->next = cache->of[top->class].first;
	cache->of[top->class].first = top;
	cache->of[top->class].nr++;
}

/* All that is in a cache goes to the global pool. */
void kr_stack_cache_flush(struct kr_stack_cache *cache);

/* There are pooled stacks whose memory could be given back. A hint. */
bool kr_stack_is_idle(void);

/**
 * kr_stack_trim() - Give back the memory of pooled stacks that nobody needed.
 *
 * Those that were there all the time since the last call, a KR_STACK_KEEP
 * apart.
 *
 * Context: a plain thread; takes milliseconds for many.
 */
void kr_stack_trim(void);

void kr_stack_stats_read(struct kr_stack_stats *ret_stats);

#endif /* KR_MEM_STACK_H */
