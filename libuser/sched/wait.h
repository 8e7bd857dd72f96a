/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Waiting, of goroutines and of plain threads, with or without a deadline.
 *
 * DOC: Whoever waits puts a kr_wait on its stack, entries that point to it on
 * the lists of what it waits for, and blocks; the last lock it holds is
 * released once it can be woken. Whoever takes an entry off a list, under the
 * list's lock, *claims* the wait: it may be on several lists (select) and have
 * a deadline, and only the first claim counts. A failed claim means that this
 * entry is to be skipped. The claimer fills in the result and wakes; after
 * that the wait is gone.
 *
 * One that has been woken stops its timer and takes its other entries off
 * their lists, under the lists' locks, before it returns.
 */
#ifndef KR_SCHED_WAIT_H
#define KR_SCHED_WAIT_H

#include <kaus/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/barrier.h"
#include "sched/m.h"
#include "sched/timer.h"

struct g;

struct kr_wait {
	struct g *gp;		/* NULL: a plain thread */
	uint32_t claimed;
	uint32_t woken;		/* a plain thread's futex */
	bool contended;		/* more than one may try to claim it */
	int result;		/* by the claimer */
	struct kr_waiter *by;	/* select: the entry that was claimed */
	struct kr_timer timer;
};

/*
 * An entry of a struct kaus_waitlist, oldest first, which a lock of whoever
 * owns the list protects.
 */
struct kr_waiter {
	struct kr_wait *wait;
	void *elem;		/* the list's owner's */
	struct kr_waiter *next, *prev;
	bool listed;		/* false may be relied on without the lock */
};

static inline void kr_waitlist_put(struct kaus_waitlist *wl, struct kr_waiter *w)
{
	w->next = NULL;
	w->prev = wl->last;
	w->listed = true;
	if (wl->last)
		wl->last->next = w;
	else
		WRITE_ONCE(wl->first, w);
	WRITE_ONCE(wl->last, w);
}

/* For one that was the oldest before: it is again. */
static inline void kr_waitlist_put_first(struct kaus_waitlist *wl,
					 struct kr_waiter *w)
{
	w->next = wl->first;
	w->prev = NULL;
	w->listed = true;
	if (wl->first)
		wl->first->prev = w;
	else
		WRITE_ONCE(wl->last, w);
	WRITE_ONCE(wl->first, w);
}

/* Take one off, wherever it is; nothing happens if it is off already. */
static inline void kr_waitlist_del(struct kaus_waitlist *wl, struct kr_waiter *w)
{
	if (!w->listed)
		return;
	if (w->prev)
		w->prev->next = w->next;
	else
		WRITE_ONCE(wl->first, w->next);
	if (w->next)
		w->next->prev = w->prev;
	else
		WRITE_ONCE(wl->last, w->prev);
	smp_store_release(&w->listed, false);
}

/**
 * kr_wait_claim() - Be the one that wakes it.
 *
 * Return: false if somebody else has done so; leave it alone then.
 */
static inline bool kr_wait_claim(struct kr_wait *w)
{
	return !w->contended || kr_cas(&w->claimed, 0, 1);
}

/* The oldest one that can still be woken; it is off the list and claimed. */
static inline struct kr_waiter *kr_waitlist_claim(struct kaus_waitlist *wl)
{
	struct kr_waiter *w;
	bool claimed;

	while ((w = wl->first)) {
		/* In this order: off the list, one not claimed may be gone. */
		claimed = kr_wait_claim(w->wait);
		kr_waitlist_del(wl, w);
		if (claimed)
			return w;
	}
	return NULL;
}

/* Note the outcome for one that has been claimed; it is to be woken then. */
static inline struct kr_wait *kr_waiter_done(struct kr_waiter *w, int result)
{
	struct kr_wait *wait = w->wait;

	wait->by = w;
	wait->result = result;
	return wait;
}

/* All that can be woken, claimed, linked by next; wake them without the lock. */
static inline struct kr_waiter *kr_waitlist_claim_all(struct kaus_waitlist *wl)
{
	struct kr_waiter *w, *all = NULL, **last = &all;

	while ((w = kr_waitlist_claim(wl))) {
		w->next = NULL;
		*last = w;
		last = &w->next;
	}
	return all;
}

/* What kr_wait_init() does for those that have a deadline. */
void kr_wait_init_timer(struct kr_wait *w);

/**
 * kr_wait_init() - Prepare to wait.
 * @w: The wait, on the caller's stack.
 * @mp: The caller's M, preemption off; NULL on a plain thread.
 * @deadline_ns: Absolute CLOCK_MONOTONIC; UINT64_MAX: none.
 *
 * The result and who claimed it are the claimer's to set.
 */
static inline void kr_wait_init(struct kr_wait *w, struct m *mp,
				uint64_t deadline_ns)
{
	w->gp = mp ? mp->curg : NULL;
	w->claimed = 0;
	w->woken = 0;
	w->contended = deadline_ns != KAUS_NO_DEADLINE;
	w->timer.proc = 0;
	if (w->contended)
		kr_wait_init_timer(w);
}

/**
 * kr_wait_block() - Block until claimed and woken, or the deadline.
 * @mp: The caller's M, preemption off; NULL on a plain thread.
 * @w: The wait, on all its lists.
 * @lock: Released when it can be woken.
 * @deadline_ns: As given to kr_wait_init().
 * @reason: For dumps.
 *
 * w->result is the claimer's or -ETIMEDOUT; in the latter case the entries are
 * still on their lists.
 *
 * Return: the M that it goes on with, preemption off; NULL on a plain thread.
 */
struct m *kr_wait_block(struct m *mp, struct kr_wait *w, uint32_t *lock,
			uint64_t deadline_ns, const char *reason);

/*
 * The same for what is protected by more than one lock: @unlock(@arg). NULL if
 * @w is on no list: then nothing of the caller's may be touched once the timer
 * runs.
 */
struct m *kr_wait_block_on(struct m *mp, struct kr_wait *w,
			   void (*unlock)(void *arg), void *arg,
			   uint64_t deadline_ns, const char *reason);

/* kr_wait_wake() for a plain thread; see runq.h. */
void kr_wait_wake_thread(struct kr_wait *w);

/* A wait is over: take its entry off the list if it is still there. */
void kr_waitlist_forget(struct kaus_waitlist *wl, uint32_t *lock,
			struct kr_waiter *w);

#endif /* KR_SCHED_WAIT_H */
