/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The paths of the run queue that every switch takes, in line; the scheme is
 * told in runq.c.
 *
 * With one P there are no thieves: whoever holds it is alone with the queue,
 * and needs no locked operations.
 */
#ifndef KR_SCHED_RUNQ_H
#define KR_SCHED_RUNQ_H

#include "sched/sched.h"

/* The ring is full: half of it and @gp go to the global queue. */
bool kr_ring_put_slow(struct p *pp, struct g *gp, uint32_t head,
		      uint32_t tail);

/* The runnext seat holds a pointer as an integer: its type is ABI. */
static inline struct g *kr_next_g(uint64_t word)
{
	return (struct g *)(uintptr_t)word;
}

static inline uint64_t kr_next_word(struct g *gp)
{
	return (uint64_t)(uintptr_t)gp;
}

/* Fewer than these are in the cache. */
#define PREFETCH_MIN	16

static inline bool kr_alone(void)
{
	return kr_nr_procs() == 1;
}

static inline void kr_ring_put(struct p *pp, struct g *gp)
{
	struct kaus_proc *s = pp->slot;

	for (;;) {
		uint32_t head = smp_load_acquire(&s->runq_head);
		uint32_t tail = s->runq_tail;

		if (likely(tail - head < RUNQ_SIZE)) {
			WRITE_ONCE(pp->runq[tail % RUNQ_SIZE], gp);
			smp_store_release(&s->runq_tail, tail + 1);
			return;
		}
		if (kr_ring_put_slow(pp, gp, head, tail))
			return;
	}
}

/**
 * kr_runq_put() - Put a goroutine into the queue of the M's P.
 * @mp: The M, preemption off.
 * @gp: The goroutine, RUNNABLE.
 * @next: Into the runnext seat; whoever sat there goes to the ring.
 *
 * With @next the exchange makes it a full barrier, as kr_wakep() needs; not
 * with one P, where an M that can put has the P, and no other could be woken.
 */
static inline void kr_runq_put(struct m *mp, struct g *gp, bool next)
{
	struct p *pp = mp->p;
	struct kaus_proc *s = pp->slot;

	if (next) {
		uint64_t word = kr_next_word(gp);

		if (kr_alone()) {
			gp = kr_next_g(READ_ONCE(s->runnext));
			WRITE_ONCE(s->runnext, word);
		} else {
			gp = kr_next_g(kr_xchg(&s->runnext, word));
		}
		if (!gp)
			return;
	}
	kr_ring_put(pp, gp);
}

/*
 * Goroutines that have not run for a while have left the cache: fetch the one
 * after the next while the next one runs, and the end of that one's stack.
 * Entries beyond the tail are old ones, which does no harm: Gs are never
 * unmapped.
 */
static inline void kr_ring_prefetch(const struct p *pp, uint32_t head)
{
	const struct g *next = READ_ONCE(pp->runq[(head + 1) % RUNQ_SIZE]);
	const struct g *after = READ_ONCE(pp->runq[(head + 2) % RUNQ_SIZE]);

	__builtin_prefetch(after, 1);
	__builtin_prefetch((const char *)after + 64, 1);
	if (next) {
		const char *sp = READ_ONCE(next->ctx.saved.sp);

		/* It begins with its argument, if that is an address. */
		if (!sp) {
			if (!KR_TSAN)
				__builtin_prefetch(READ_ONCE(next->arg));
			return;
		}
		__builtin_prefetch(sp, 1);
		__builtin_prefetch(sp + 64, 1);
		__builtin_prefetch(sp + 128, 1);
	}
}

/**
 * kr_runq_get() - Take the next goroutine of the P.
 * @pp: The P, held by the caller.
 * @ret_inherit: Set if it came from runnext and so goes on with the slice.
 */
static inline struct g *kr_runq_get(struct p *pp, bool *ret_inherit)
{
	struct kaus_proc *s = pp->slot;
	uint64_t next = READ_ONCE(s->runnext);
	bool alone = kr_alone();

	*ret_inherit = false;
	if (next && alone) {
		WRITE_ONCE(s->runnext, 0);
		*ret_inherit = true;
		return kr_next_g(next);
	}
	/* Only the holder fills the seat: if the CAS fails, it is empty. */
	if (next && kr_cas(&s->runnext, next, 0)) {
		*ret_inherit = true;
		return kr_next_g(next);
	}
	for (;;) {
		uint32_t head = smp_load_acquire(&s->runq_head);
		struct g *gp;

		if (s->runq_tail == head)
			return NULL;
		gp = READ_ONCE(pp->runq[head % RUNQ_SIZE]);
		if (s->runq_tail - head > PREFETCH_MIN)
			kr_ring_prefetch(pp, head);
		if (alone) {
			WRITE_ONCE(s->runq_head, head + 1);
			return gp;
		}
		if (kr_cas(&s->runq_head, head, head + 1))
			return gp;
	}
}

/**
 * kr_submit() - Put a runnable goroutine where it runs next, and wake somebody.
 * @mp: The caller's M with preemption off, or NULL on a plain thread.
 * @gp: The goroutine.
 */
static inline void kr_submit(struct m *mp, struct g *gp)
{
	if (mp) {
		kr_runq_put(mp, gp, true);
		if (kr_alone())
			return;
	} else {
		kr_globq_put(gp);
	}
	kr_wakep();
}

/**
 * kr_ready() - Make a parked goroutine runnable.
 * @mp: The caller's M with preemption off, or NULL on a plain thread.
 * @gp: The goroutine; nobody else makes it ready.
 */
static inline void kr_ready(struct m *mp, struct g *gp)
{
	KR_ASSERT(READ_ONCE(gp->state) == G_WAITING);
	WRITE_ONCE(gp->state, G_RUNNABLE);
	kr_submit(mp, gp);
}

/**
 * kr_wait_wake() - Wake one that the caller has claimed.
 * @mp: The caller's M, preemption off; NULL on a plain thread.
 * @w: The wait; its result is set. Gone afterwards.
 */
static inline void kr_wait_wake(struct m *mp, struct kr_wait *w)
{
	if (likely(w->gp != NULL))
		kr_ready(mp, w->gp);
	else
		kr_wait_wake_thread(w);
}

#endif /* KR_SCHED_RUNQ_H */
