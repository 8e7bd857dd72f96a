/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Caches of free objects: refill, flush, free. */
#include "mem/cache.h"

#include <errno.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bug.h"
#include "mem/central.h"
#include "mem/root.h"
#include "mem/trim.h"
#include "os/os.h"

/* Freed, until others are told; zeroed at once, at most. */
#define COUNT_BYTES	KR_SIZE(32UL << 10, 64UL)
#define CLAIM_BYTES	KR_SIZE(8UL << 10, 16UL)
#define CLAIM_MIN	KR_SIZE(4, 1)

static struct {
	uint32_t lock;			/* appending */
	struct kr_cache *first;
} all;

static struct {
	uint32_t lock;
	bool added;
	struct kr_cache cache;
} outside;
KR_NOT_A_ROOT(outside);

void kr_cache_add(struct kr_cache *cache)
{
	kr_lock(&all.lock);
	cache->next = all.first;
	smp_store_release(&all.first, cache);
	kr_unlock(&all.lock);
}

void kr_caches_for_each(void (*fn)(struct kr_cache *cache))
{
	struct kr_cache *cache = smp_load_acquire(&all.first);

	for (; cache; cache = cache->next)
		fn(cache);
}

/* ---- samples ---- */

static void count_samples(struct kr_cache *cache)
{
	uint32_t gen = smp_load_acquire(&kr_heap.sample_gen);

	if (likely(cache->sample_gen == gen))
		return;
	cache->sample_gen = gen;
	cache->sample_left = kr_heap_ops.sample(NULL, 0);
}

static uint64_t *rest_of(struct kr_cache *cache, const struct kr_slot *slot)
{
	return &cache->rest[slot - cache->slots];
}

/* The slot keeps what is before the next sample, the rest is left for later. */
static void cut_at_sample(struct kr_cache *cache, struct kr_slot *slot)
{
	uint64_t rest = slot->free, nr;
	uint64_t bytes = (uint64_t)__builtin_popcountll(rest) * slot->bytes;

	count_samples(cache);
	if (likely(bytes <= cache->sample_left)) {
		cache->sample_left -= bytes;
		return;
	}
	for (nr = cache->sample_left / slot->bytes; nr; nr--)
		rest &= rest - 1;
	slot->free &= ~rest;
	*rest_of(cache, slot) = rest;
}

/* The slot has none left before the sample. */
static KR_NOINLINE char *take_sample(struct kr_cache *cache,
				     struct kr_slot *slot)
{
	uint64_t rest = *rest_of(cache, slot);
	char *obj = kr_slot_take(slot, rest);

	*rest_of(cache, slot) = 0;
	cache->sample_left = kr_heap_ops.sample(obj, slot->bytes);
	cut_at_sample(cache, slot);
	return obj;
}

static void sample_large(struct kr_cache *cache, struct kr_span *s)
{
	count_samples(cache);
	if (s->elem_bytes <= cache->sample_left)
		cache->sample_left -= s->elem_bytes;
	else
		cache->sample_left = kr_heap_ops.sample(s->base, s->elem_bytes);
}

/* ---- spans ---- */

/* Runs of free objects are zeroed at once. */
static void zero_claimed(const struct kr_slot *slot)
{
	uint64_t free = slot->free;

	while (free) {
		uint32_t at = (uint32_t)__builtin_ctzll(free);
		uint64_t rest = ~(free >> at);
		uint32_t nr = rest ? (uint32_t)__builtin_ctzll(rest) : 64;

		memset(slot->base + (size_t)at * slot->bytes, 0,
		       (size_t)nr * slot->bytes);
		free &= at + nr < 64 ? ~0ULL << (at + nr) : 0;
	}
}

/* Of @free, objects of @bytes, those that are claimed at once. */
static uint64_t window(uint64_t free, size_t bytes)
{
	size_t nr = CLAIM_BYTES / bytes;

	if (nr < CLAIM_MIN)
		nr = CLAIM_MIN;
	if (nr >= 64)
		return free;
	return free & ((1ULL << nr) - 1) << __builtin_ctzll(free);
}

/* Claim free objects of word @w. True: there were some. */
static bool claim(struct kr_cache *cache, struct kr_slot *slot, uint32_t w)
{
	struct kr_span *s = slot->span;
	uint64_t free = ~READ_ONCE(s->alloc_bits[w]), nr;

	if (!free)
		return false;
	free = window(free, s->elem_bytes);
	/*
	 * Before they can be found: what is marked is not looked at. While
	 * marking nobody else changes the word.
	 */
	if (READ_ONCE(kr_heap.marking))
		__atomic_fetch_or(&s->mark_bits[w], free, __ATOMIC_ACQ_REL);
	/* Acquire: what was done to objects before they were freed. */
	free &= ~__atomic_fetch_or(&s->alloc_bits[w], free,
				   __ATOMIC_ACQ_REL);		/* (A) */
	nr = (uint32_t)__builtin_popcountll(free);
	__atomic_fetch_add(&s->state, nr * KR_SPAN_ONE,
			   __ATOMIC_ACQ_REL);			/* (B) */
	if (unlikely(s->returned))
		kr_trim_used(s, w, free);
	slot->free = free;
	slot->word = (uint8_t)w;
	slot->base = s->base + (size_t)w * 64 * s->elem_bytes;
	slot->bytes = (uint32_t)s->elem_bytes;
	slot->needzero = READ_ONCE(s->needzero);
	if (slot->needzero && slot->bytes <= KR_FAST_MAX) {
		zero_claimed(slot);
		slot->needzero = false;
	}
	kr_heap_count_live((int64_t)(nr * s->elem_bytes));
	kr_heap_look_if_due();
	ADD_ONCE(cache->claimed_bytes, nr * s->elem_bytes);
	ADD_ONCE(cache->nr_claimed, nr);
	if (READ_ONCE(kr_heap.sample_gen))
		cut_at_sample(cache, slot);
	return true;
}

static bool claim_in(struct kr_cache *cache, struct kr_slot *slot,
		     uint32_t from, uint32_t to)
{
	for (uint32_t w = from; w < to; w++)
		if (claim(cache, slot, w))
			return true;
	return false;
}

/* The slot gives up its span and what it has claimed of it. */
static void slot_flush(struct kr_cache *cache, struct kr_slot *slot)
{
	unsigned int i = (unsigned int)(slot - cache->slots);
	struct kr_span *s = slot->span;
	uint64_t free = slot->free | *rest_of(cache, slot), nr;

	if (!s)
		return;
	slot->span = NULL;
	cache->in_use[i / 64] &= ~(1ULL << i % 64);
	slot->free = 0;
	*rest_of(cache, slot) = 0;
	nr = (uint32_t)__builtin_popcountll(free);
	if (free) {
		if (READ_ONCE(kr_heap.marking))
			__atomic_fetch_and(&s->mark_bits[slot->word], ~free,
					   __ATOMIC_ACQ_REL);
		__atomic_fetch_and(&s->alloc_bits[slot->word], ~free,
				   __ATOMIC_ACQ_REL);
		kr_heap_count_live(-(int64_t)(nr * s->elem_bytes));
		ADD_ONCE(cache->claimed_bytes, -(nr * s->elem_bytes));
		ADD_ONCE(cache->nr_claimed, -nr);
	}
	kr_central_put(s, (uint32_t)nr);
}

/* The slot has no claimed objects left. */
static bool refill(struct kr_cache *cache, unsigned int class,
		   enum kr_kind kind)
{
	unsigned int i = kr_spanclass(class, kind);
	struct kr_slot *slot = &cache->slots[i];
	struct kr_span *s = slot->span;

	ADD_ONCE(cache->nr_refills, 1);
	/* On through its words, and once more through those before. */
	if (s && (claim_in(cache, slot, slot->word + 1U, kr_span_words(s)) ||
		  claim_in(cache, slot, 0, slot->word + 1U)))
		return true;
	for (;;) {
		slot_flush(cache, slot);
		s = kr_central_get(&cache->pages, class, kind);
		if (!s)
			return false;
		slot->span = s;
		cache->in_use[i / 64] |= 1ULL << i % 64;
		slot->word = 0;
		if (claim_in(cache, slot, 0, kr_span_words(s)))
			return true;
	}
}

char *kr_cache_alloc(struct kr_cache *cache, size_t size, enum kr_kind kind,
		     size_t *ret_bytes)
{
	unsigned int class = kr_class_of(size);
	struct kr_slot *slot = &cache->slots[kr_spanclass(class, kind)];
	char *obj;

	if (!slot->free && !*rest_of(cache, slot) &&
	    !refill(cache, class, kind))
		return NULL;
	obj = likely(slot->free) ? kr_slot_take(slot, slot->free) :
				   take_sample(cache, slot);
	if (slot->needzero)
		memset(obj, 0, slot->bytes);
	*ret_bytes = slot->bytes;
	return obj;
}

char *kr_cache_alloc_large(struct kr_cache *cache, size_t size,
			   enum kr_kind kind, const struct kaus_type *type,
			   bool *ret_zero)
{
	struct kr_span *s;

	if (size > (size_t)kr_pages.max_pages << KR_HPAGE_SHIFT)
		return NULL;
	s = kr_span_new(&cache->pages, 0, kind, size);
	if (!s)
		return NULL;
	s->type = type;
	*ret_zero = !s->needzero;
	ADD_ONCE(cache->large_bytes, s->elem_bytes);
	ADD_ONCE(cache->nr_large, 1);
	if (READ_ONCE(kr_heap.sample_gen))
		sample_large(cache, s);
	return s->base;
}

/* The first slot after @slot that has a span; NULL: from the beginning, the end. */
static struct kr_slot *next_in_use(struct kr_cache *cache,
				   const struct kr_slot *slot)
{
	unsigned int i = slot ? (unsigned int)(slot - cache->slots) + 1 : 0;
	unsigned int w = i / 64;
	uint64_t bits;

	if (i >= KR_NR_SPANCLASSES)
		return NULL;
	bits = cache->in_use[w] & ~0ULL << i % 64;
	while (!bits) {
		if (++w == KR_IN_USE_WORDS)
			return NULL;
		bits = cache->in_use[w];
	}
	return &cache->slots[w * 64 + (unsigned int)__builtin_ctzll(bits)];
}

void kr_cache_flush(struct kr_cache *cache)
{
	struct kr_slot *slot = NULL;

	while ((slot = next_in_use(cache, slot)))
		slot_flush(cache, slot);
	/* Counted at once, for a cycle to begin with exact numbers. */
	kr_heap_count_live(-(int64_t)cache->uncounted_bytes);
	cache->uncounted_bytes = 0;
}

void kr_cache_mark_claimed(struct kr_cache *cache)
{
	struct kr_slot *slot = NULL;

	while ((slot = next_in_use(cache, slot))) {
		uint64_t free = slot->free | *rest_of(cache, slot);

		if (free)
			__atomic_fetch_or(&slot->span->mark_bits[slot->word],
					  free, __ATOMIC_ACQ_REL);
	}
}

enum kr_free_result kr_heap_free(struct kr_cache *cache, void *obj)
{
	struct kr_span *s = kr_span_of(obj);
	struct kr_slot *slot;
	uint32_t index;
	uint64_t bit;
	size_t bytes;

	if (!s)
		return KR_FREE_BAD;
	index = kr_obj_index(s, obj);
	if (index >= s->nelems || kr_obj_base(s, index) != obj)
		return KR_FREE_BAD;
	bit = 1ULL << index % 64;
	if (!(READ_ONCE(s->alloc_bits[index / 64]) & bit))
		return KR_FREE_BAD;
	if (unlikely(READ_ONCE(s->nr_specials)) && kr_heap_ops.free_specials)
		kr_heap_ops.free_specials(s, index);
	if (READ_ONCE(kr_heap.marking))
		return KR_FREE_LATER;
	if (unlikely(smp_load_acquire(&s->sweepgen) !=
		     READ_ONCE(kr_heap.sweepgen))) {
		if (!kr_is_marked(s, index))
			return KR_FREE_LATER;
		kr_heap_sweep_span(s);
		/* Somebody else is at it. */
		if (smp_load_acquire(&s->sweepgen) !=
		    READ_ONCE(kr_heap.sweepgen))
			return KR_FREE_LATER;
	}
	/* Claimed and handed to nobody; what other caches have is not seen. */
	slot = &cache->slots[kr_spanclass(s->class, (enum kr_kind)s->kind)];
	if (slot->span == s && slot->word == index / 64 &&
	    (slot->free | *rest_of(cache, slot)) & bit)
		return KR_FREE_BAD;
	bytes = s->elem_bytes;
	if (!READ_ONCE(s->needzero))
		WRITE_ONCE(s->needzero, 1);
	kr_obj_poison(s, index);
	if (!(__atomic_fetch_and(&s->alloc_bits[index / 64], ~bit,
				 __ATOMIC_ACQ_REL) & bit))	/* (C) */
		return KR_FREE_BAD;
	ADD_ONCE(cache->freed_bytes, bytes);
	ADD_ONCE(cache->nr_freed, 1);
	cache->uncounted_bytes += bytes;
	if (cache->uncounted_bytes >= COUNT_BYTES) {
		kr_heap_count_live(-(int64_t)cache->uncounted_bytes);
		cache->uncounted_bytes = 0;
	}
	kr_span_put_one(s);
	return KR_FREED;
}

struct kr_cache *kr_outside_lock(void)
{
	if (unlikely(!kr_heap_is_on()) && kr_heap_init())
		return NULL;
	kr_lock(&outside.lock);
	if (unlikely(!outside.added)) {
		outside.added = true;
		kr_cache_add(&outside.cache);
	}
	return &outside.cache;
}

void kr_outside_unlock(void)
{
	kr_unlock(&outside.lock);
}
