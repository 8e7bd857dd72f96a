/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The timers of a P in order of their time. Whoever calls anything here holds
 * the P's timer_lock.
 */
#ifndef KR_SCHED_TQUEUE_H
#define KR_SCHED_TQUEUE_H

#include "sched/wheel.h"

struct kr_timer;

/*
 * Where a timer's node is. Apart from the timer, as sifting a heap would
 * otherwise write to as many goroutines' stacks.
 */
struct kr_timer_slot {
	struct kr_timer *timer;
	uint32_t pos;		/* in heap or wheel, or the next free slot */
};

struct kr_tqueue {
	struct kr_timer_node *nodes;	/* the heap */
	struct kr_timer_slot *slots;
	struct kr_wheel *wheel;		/* NULL until there is a crowd */
	uint32_t nr;			/* all timers; stat.c reads it */
	uint32_t nr_heap;
	uint32_t max_heap, max_slots;
	uint32_t free_slot;	/* + 1; 0: none, slots[nr] is the next new one */
};

/* Returns the slot, by which the timer can be removed. */
uint32_t kr_tqueue_insert(struct kr_tqueue *q, struct kr_timer *t,
			  uint64_t when_ns);
void kr_tqueue_remove(struct kr_tqueue *q, uint32_t slot);

/* With a wheel that is not empty. */
bool kr_tqueue_settle_slow(struct kr_tqueue *q);

/**
 * kr_tqueue_settle() - Bring what is earliest to the top.
 * @q: The queue.
 *
 * A limited amount of work: if that was not enough the caller comes again, and
 * may let go of the lock before. Everything else is allowed in between.
 *
 * Return: true if it is done. Then kr_tqueue_top_ns() says when the earliest
 * is due, until something changes.
 */
static inline bool kr_tqueue_settle(struct kr_tqueue *q)
{
	return !q->wheel || !q->wheel->nr || kr_tqueue_settle_slow(q);
}

/* When the earliest of a settled queue is due; 0 if there is none. */
uint64_t kr_tqueue_top_ns(const struct kr_tqueue *q);

/* Take that one out. */
struct kr_timer *kr_tqueue_pop(struct kr_tqueue *q);

/* Take out any one with its time, settled or not; NULL if there is none. */
struct kr_timer *kr_tqueue_pop_any(struct kr_tqueue *q, uint64_t *ret_when_ns);

#endif /* KR_SCHED_TQUEUE_H */
