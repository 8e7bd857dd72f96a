/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Timers that are far away: in buckets by their time, in no order within one. */
#ifndef KR_SCHED_WHEEL_H
#define KR_SCHED_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

/* A tick is 2^KR_TICK_SHIFT ns. */
#define KR_TICK_SHIFT	14
#define KR_WHEEL_BITS	8	/* 256 buckets a level */
#define KR_WHEEL_LEVELS	7	/* for all 50 bits of a tick */
#define KR_WHEEL_BUCKETS (KR_WHEEL_LEVELS << KR_WHEEL_BITS)
#define KR_WHEEL_CHUNK	31	/* nodes of a bucket that lie together */
#define KR_WHEEL_NONE	UINT32_MAX

/* A timer in the heap or in a bucket. Comparing times touches no timer. */
struct kr_timer_node {
	uint64_t when_ns;
	uint32_t slot;		/* its entry in the table of tqueue.h */
};

struct kr_wheel_chunk;

struct kr_wheel_bucket {
	uint32_t top;		/* its newest chunk + 1: the others are full */
	uint32_t nr;		/* timers in it */
};

struct kr_wheel {
	/* What is in a bucket is later than this one, but in @opening. */
	uint64_t tick;
	uint32_t nr;		/* timers in all buckets */
	uint32_t opening;	/* the bucket that is being emptied, or NONE */
	struct kr_wheel_chunk *chunks;
	uint32_t nr_chunks, max_chunks;
	uint32_t free_chunk;	/* + 1 */
	uint64_t used[KR_WHEEL_BUCKETS / 64];	/* bits: who holds something */
	struct kr_wheel_bucket buckets[KR_WHEEL_BUCKETS];
};

static inline uint64_t kr_tick(uint64_t when_ns)
{
	return when_ns >> KR_TICK_SHIFT;
}

/* A new one, mapped; NULL if memory is short. */
struct kr_wheel *kr_wheel_make(void);

/* Begin with an empty wheel at @tick. */
void kr_wheel_begin(struct kr_wheel *w, uint64_t tick);

/* Put @node, which is later than @w's tick, into its bucket. Returns where. */
uint32_t kr_wheel_put(struct kr_wheel *w, struct kr_timer_node node);

/*
 * Take out what is at @pos. The slot of the node that has moved there, or NONE.
 */
uint32_t kr_wheel_remove(struct kr_wheel *w, uint32_t pos);

/* Open the earliest bucket: the tick is in it then, and not after any timer. */
void kr_wheel_open(struct kr_wheel *w);

/*
 * Take some nodes out of the bucket that is being opened, which is done when it
 * is empty. Returns how many.
 */
uint32_t kr_wheel_take(struct kr_wheel *w,
		       struct kr_timer_node nodes[KR_WHEEL_CHUNK]);

#endif /* KR_SCHED_WHEEL_H */
