/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Timers that are far away.
 *
 * DOC: The digits of a timer's tick to the base of 256 say where it is. The
 * highest one in which it differs from the wheel's tick is the level, its value
 * the bucket. So all of level 0 is earlier than all of level 1, and within a
 * level a bucket is earlier than the next: the earliest is the first bit that is
 * set. When nothing is left before it, it is opened: the wheel's tick becomes the
 * bucket's first, or its first timer's, and what was in it goes to lower levels,
 * or out of the wheel if it is of that very tick. Ticks only rise while there is
 * anything in the wheel, so what a bucket holds belongs there until it is opened.
 * (The wheels of Tokio count like this.)
 *
 * A tick is 16 us, level 0 takes 4 ms, level 1 a second, level 2 five minutes. A
 * million in one bucket are 10 ms of work, which makes those late that are due
 * meanwhile: with twice as many levels there would be twice as much of it.
 *
 * A bucket is a list of chunks, each an array: to put a timer into it is to
 * write behind the one before, and whoever opens it reads one after the other.
 * A list of the timers themselves would be a cache miss for each. One that is
 * stopped leaves its place to the newest of its bucket.
 */
#include "sched/wheel.h"

#include "base/bug.h"
#include "os/os.h"

#define CHUNKS_FIRST	128	/* 64 KiB of addresses; doubles */
#define DIGIT_MASK	((1ULL << KR_WHEEL_BITS) - 1)

struct kr_wheel_chunk {
	uint32_t below;		/* the next one of the bucket, or free one; + 1 */
	uint32_t bucket;
	uint64_t unused;	/* 512 bytes for the whole */
	struct kr_timer_node nodes[KR_WHEEL_CHUNK];
};

_Static_assert(sizeof(struct kr_wheel_chunk) == 512, "whole cache lines");
_Static_assert(KR_WHEEL_BITS * KR_WHEEL_LEVELS + KR_TICK_SHIFT >= 64,
	       "every time has a bucket");

static inline struct kr_timer_node *node_at(const struct kr_wheel *w,
					    uint32_t pos)
{
	return &w->chunks[pos / KR_WHEEL_CHUNK].nodes[pos % KR_WHEEL_CHUNK];
}

struct kr_wheel *kr_wheel_make(void)
{
	struct kr_wheel *w;
	void *addr;

	if (kr_vm_map(sizeof(*w), false, &addr))
		return NULL;
	w = addr;
	w->opening = KR_WHEEL_NONE;
	return w;
}

void kr_wheel_begin(struct kr_wheel *w, uint64_t tick)
{
	w->tick = tick;
}

static void grow(struct kr_wheel *w)
{
	uint32_t max = w->max_chunks ? w->max_chunks * 2 : CHUNKS_FIRST;
	void *chunks = w->chunks;

	if (kr_vm_grow(w->max_chunks * sizeof(*w->chunks),
		       max * sizeof(*w->chunks), &chunks))
		kr_throw("timer: out of memory");
	w->chunks = chunks;
	w->max_chunks = max;
}

static void push_chunk(struct kr_wheel *w, uint32_t bucket)
{
	struct kr_wheel_bucket *b = &w->buckets[bucket];
	uint32_t chunk;

	if (w->free_chunk) {
		chunk = w->free_chunk - 1;
		w->free_chunk = w->chunks[chunk].below;
	} else {
		if (w->nr_chunks == w->max_chunks)
			grow(w);
		chunk = w->nr_chunks++;
	}
	w->chunks[chunk].below = b->top;
	w->chunks[chunk].bucket = bucket;
	b->top = chunk + 1;
}

static void pop_chunk(struct kr_wheel *w, struct kr_wheel_bucket *b)
{
	uint32_t chunk = b->top - 1;

	b->top = w->chunks[chunk].below;
	w->chunks[chunk].below = w->free_chunk;
	w->free_chunk = chunk + 1;
}

/* @nr of its newest chunk have been taken away. */
static void shrink(struct kr_wheel *w, uint32_t bucket, uint32_t nr)
{
	struct kr_wheel_bucket *b = &w->buckets[bucket];

	b->nr -= nr;
	w->nr -= nr;
	if (b->nr % KR_WHEEL_CHUNK == 0)
		pop_chunk(w, b);
	if (b->nr)
		return;
	w->used[bucket / 64] &= ~(1ULL << bucket % 64);
	if (w->opening == bucket)
		w->opening = KR_WHEEL_NONE;
}

static inline uint32_t bucket_of(const struct kr_wheel *w, uint64_t tick)
{
	uint32_t bit = 63 - (uint32_t)__builtin_clzll(tick ^ w->tick);
	uint32_t level = bit / KR_WHEEL_BITS;
	uint64_t digit = (tick >> (level * KR_WHEEL_BITS)) & DIGIT_MASK;

	return (level << KR_WHEEL_BITS) + (uint32_t)digit;
}

uint32_t kr_wheel_put(struct kr_wheel *w, struct kr_timer_node node)
{
	uint32_t bucket = bucket_of(w, kr_tick(node.when_ns));
	struct kr_wheel_bucket *b = &w->buckets[bucket];
	uint32_t pos, used = b->nr % KR_WHEEL_CHUNK;

	if (!used)
		push_chunk(w, bucket);
	w->used[bucket / 64] |= 1ULL << bucket % 64;
	pos = (b->top - 1) * KR_WHEEL_CHUNK + used;
	*node_at(w, pos) = node;
	b->nr++;
	w->nr++;
	return pos;
}

/* How many the newest chunk of a bucket holds. */
static inline uint32_t nr_newest(const struct kr_wheel_bucket *b)
{
	return (b->nr - 1) % KR_WHEEL_CHUNK + 1;
}

uint32_t kr_wheel_remove(struct kr_wheel *w, uint32_t pos)
{
	uint32_t bucket = w->chunks[pos / KR_WHEEL_CHUNK].bucket;
	struct kr_wheel_bucket *b = &w->buckets[bucket];
	uint32_t last = (b->top - 1) * KR_WHEEL_CHUNK + nr_newest(b) - 1;
	uint32_t moved = KR_WHEEL_NONE;

	if (last != pos) {
		*node_at(w, pos) = *node_at(w, last);
		moved = node_at(w, pos)->slot;
	}
	shrink(w, bucket, 1);
	return moved;
}

/* Of the timers of a bucket that is one chunk. */
static uint64_t first_tick(const struct kr_wheel *w,
			   const struct kr_wheel_bucket *b)
{
	const struct kr_wheel_chunk *c = &w->chunks[b->top - 1];
	uint64_t first = c->nodes[0].when_ns;

	for (uint32_t i = 1; i < b->nr; i++)
		if (c->nodes[i].when_ns < first)
			first = c->nodes[i].when_ns;
	return kr_tick(first);
}

void kr_wheel_open(struct kr_wheel *w)
{
	const struct kr_wheel_bucket *b;
	uint32_t word = 0, bucket, shift;

	while (!w->used[word])
		word++;
	bucket = word * 64 + (uint32_t)__builtin_ctzll(w->used[word]);
	shift = (bucket >> KR_WHEEL_BITS) * KR_WHEEL_BITS;
	w->tick = ((w->tick >> shift & ~DIGIT_MASK) | (bucket & DIGIT_MASK))
		  << shift;
	w->opening = bucket;
	/* Where there are few they need not go through all levels. */
	b = &w->buckets[bucket];
	if (b->nr <= KR_WHEEL_CHUNK)
		w->tick = first_tick(w, b);
}

uint32_t kr_wheel_take(struct kr_wheel *w,
		       struct kr_timer_node nodes[KR_WHEEL_CHUNK])
{
	uint32_t bucket = w->opening;
	struct kr_wheel_bucket *b = &w->buckets[bucket];
	uint32_t nr = nr_newest(b);

	__builtin_memcpy(nodes, w->chunks[b->top - 1].nodes,
			 nr * sizeof(*nodes));
	shrink(w, bucket, nr);
	return nr;
}
