/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Caches of free objects: one for each P, without a lock, and one with a lock
 * for everybody else.
 *
 * A cache has one span for each class and kind, and of its objects those that
 * one word of bits stands for, claimed at once (heap.c). To allocate is to take
 * the lowest bit of that word. Small objects are zeroed when they are claimed,
 * which costs less than one by one.
 */
#ifndef KR_MEM_CACHE_H
#define KR_MEM_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "mem/heap.h"

struct kr_slot {
	uint64_t free;		/* claimed objects */
	char *base;		/* the object of bit 0 */
	uint32_t bytes;		/* of an object */
	bool needzero;		/* and larger than KR_FAST_MAX */
	uint8_t word;		/* of the span's bits */
	struct kr_span *span;	/* NULL: none */
};

#define KR_IN_USE_WORDS	((KR_NR_SPANCLASSES + 63U) / 64)

struct kr_cache {
	struct kr_slot slots[KR_NR_SPANCLASSES];
	struct kr_page_cache pages;
	struct kr_cache *next;		/* all that there are */

	/* The holder's; others read. Whole words of objects at a time. */
	uint64_t claimed_bytes, nr_claimed;
	uint64_t large_bytes, nr_large;
	uint64_t freed_bytes, nr_freed;	/* by kaus_free() */
	uint64_t uncounted_bytes;	/* of those: not in kr_heap.live_bytes */
	uint64_t nr_refills;

	/*
	 * Samples, for profiles. Where one is among what a slot has claimed it
	 * begins these: the slot has those before.
	 */
	uint64_t sample_left;		/* bytes until then */
	uint32_t sample_gen;		/* kr_heap's, when it was counted anew */
	uint64_t rest[KR_NR_SPANCLASSES];

	/* Slots that have a span: most have none. */
	uint64_t in_use[KR_IN_USE_WORDS];
};

/* Before its first use: it becomes one of all that there are. */
void kr_cache_add(struct kr_cache *cache);

/* Up to here the class comes from one table, and what is claimed is zero. */
#define KR_FAST_MAX	KR_BY16_MAX

/* The slot for objects of @size, at most KR_FAST_MAX. */
KR_INLINE struct kr_slot *kr_cache_fast_slot(struct kr_cache *cache,
					     size_t size, enum kr_kind kind)
{
	return &cache->slots[kr_spanclass(kr_class_by16[(size + 15) / 16],
					  kind)];
}

/* An object of a slot that has some, @free being those. */
KR_INLINE char *kr_slot_take(struct kr_slot *slot, uint64_t free)
{
	slot->free = free & (free - 1);
	return slot->base + (size_t)__builtin_ctzll(free) * slot->bytes;
}

/**
 * kr_cache_alloc() - Allocate a small object.
 * @cache: The caller's.
 * @size: At most KR_SMALL_MAX, what KR_TYPED adds included.
 * @kind: What is in it.
 * @ret_bytes: Bytes of the object.
 *
 * Return: zeroed memory, or NULL.
 */
char *kr_cache_alloc(struct kr_cache *cache, size_t size, enum kr_kind kind,
		     size_t *ret_bytes);

/**
 * kr_cache_alloc_large() - Allocate a large object.
 * @cache: The caller's.
 * @size: Any.
 * @kind: What is in it.
 * @type: If that is KR_TYPED.
 * @ret_zero: It is zero; if not the caller shall see to it.
 *
 * Return: the memory, or NULL.
 */
char *kr_cache_alloc_large(struct kr_cache *cache, size_t size,
			   enum kr_kind kind, const struct kaus_type *type,
			   bool *ret_zero);

/* Give back all that it has. World stopped, or the caller's own. */
void kr_cache_flush(struct kr_cache *cache);
/* What it has claimed becomes marked. World stopped. */
void kr_cache_mark_claimed(struct kr_cache *cache);
void kr_caches_for_each(void (*fn)(struct kr_cache *cache));

enum kr_free_result {
	KR_FREED,
	KR_FREE_LATER,		/* the collector will, or has: ignored */
	KR_FREE_BAD,		/* no object begins there, or it is free */
};

/**
 * kr_heap_free() - Free an object.
 * @cache: The caller's.
 * @obj: Its beginning; any value.
 *
 * Context: preemption off, or kr_outside_lock() held.
 */
enum kr_free_result kr_heap_free(struct kr_cache *cache, void *obj);

/* The cache of those that are no goroutine; starts the heap if need be. */
struct kr_cache *kr_outside_lock(void);	/* NULL: no memory; not locked */
void kr_outside_unlock(void);

#endif /* KR_MEM_CACHE_H */
