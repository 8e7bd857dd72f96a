/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* A P: the right to run goroutines. Its shared half is struct kaus_proc. */
#ifndef KR_SCHED_P_H
#define KR_SCHED_P_H

#include <linux/kaus.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "mem/stack.h"
#include "sched/timer.h"
#include "sched/tqueue.h"

struct g;
struct kr_batch;
struct kr_cache;
struct kr_gc_p;

#define RUNQ_SIZE	256	/* a power of two: indices are masked */

struct p {
	/* Read-mostly. */
	struct kaus_proc *slot;
	uint32_t id;
	uint32_t cpu;		/* bound to, or KAUS_NONE; resize.c */

	/* The holder's. */
	uint32_t sched_tick KR_PAIR_ALIGNED;
	uint32_t rand;
	uint32_t follow_skip;
	uint32_t fired_tail;	/* of runq, behind what timers put there */
	uint64_t fired_switch;	/* nr_switches when a timer's came first */
	uint64_t globq_turn_ns;	/* when one from the global queue began */
	uint64_t globq_after_ns; /* no other before that if timers are late */
	struct kr_batch *spare;	/* for the next overflow, or NULL: runq.c */
	struct g *nextg;	/* handed over with the P: run this first */
	bool start_spinning;	/* the M that gets the P begins as a spinner */
	bool turn_is_back;	/* globq_turn_ns is of one back from the kernel */
	struct g *gfree;	/* dead Gs to reuse */
	uint32_t nr_gfree;
	struct kr_cache *cache;	/* of the heap */
	struct kr_gc_p *gc;	/* the collector's, or NULL: gc/barrier.c */
	uint64_t goid_next, goid_end;
	uint64_t nr_switches, nr_preempts, nr_yield_preempts;
	uint64_t nr_light_preempts;
	uint64_t nr_redirects, nr_steals;
	int64_t nr_gs;		/* started minus ended here: sums up */
	struct kr_stack_cache stacks;	/* free ones */

	/* Thieves read; slots between head and tail belong to the queue. */
	struct g *runq[RUNQ_SIZE] KR_PAIR_ALIGNED;

	/* timer_lock; the earliest is published in slot->timer_ns. */
	uint32_t timer_lock KR_PAIR_ALIGNED;
	struct kr_tqueue timers;

	/* Fallback only: sysmon's notes. */
	uint64_t seen_owner, seen_ns, seen_cpu_ns;
	uint32_t seen_tick;

	uint64_t probed;	/* probe_lock: its word before the stw's probe */

	/* sched.lock. */
	struct p *link;		/* idle list or the list of Ps without an M */
	struct m *stopped_m;	/* had it when the world was stopped */
} KR_PAIR_ALIGNED;

/* Gs waiting in the P's own queue; exact for the holder, a hint for others. */
static inline bool kr_p_has_work(const struct p *pp)
{
	const struct kaus_proc *s = pp->slot;

	return __atomic_load_n(&s->runq_head, __ATOMIC_RELAXED) !=
	       __atomic_load_n(&s->runq_tail, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&s->runnext, __ATOMIC_RELAXED);
}

#endif /* KR_SCHED_P_H */
