/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Timers: a binary heap per P, keyed by the absolute deadline.
 *
 * The M that holds the P runs what is due whenever it looks for work; idle Ms
 * look at all Ps before they sleep, and the last to sleep does so until the
 * earliest deadline (the timekeeper, proc.c). The top of the heap is published
 * in kaus_proc.timer_ns, where the module finds it: it redirects a hog, or
 * hands off a sleeping P, when the time has come. Without the module sysmon
 * reads the same word.
 *
 * timer_lock is a leaf but for kr_ready(), which is called without it. The
 * heap grows by mapping memory, never by malloc(): a goroutine preempted
 * inside malloc() may hold its lock.
 */
#include <string.h>

#include "sched/sched.h"

#define TIMERS_FIRST	256	/* one page of them; doubles */

static void publish_locked(struct p *pp)
{
	WRITE_ONCE(pp->slot->timer_ns,
		   pp->nr_timers ? pp->timers[0].when_ns : 0);
}

static void sift_up(struct kr_timer *t, uint32_t i)
{
	struct kr_timer moved = t[i];

	while (i) {
		uint32_t up = (i - 1) / 2;

		if (t[up].when_ns <= moved.when_ns)
			break;
		t[i] = t[up];
		i = up;
	}
	t[i] = moved;
}

static void sift_down(struct kr_timer *t, uint32_t nr)
{
	struct kr_timer moved = t[0];
	uint32_t i = 0;

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= nr)
			break;
		if (child + 1 < nr &&
		    t[child + 1].when_ns < t[child].when_ns)
			child++;
		if (moved.when_ns <= t[child].when_ns)
			break;
		t[i] = t[child];
		i = child;
	}
	t[i] = moved;
}

static void grow_locked(struct p *pp)
{
	size_t old_bytes = pp->max_timers * sizeof(*pp->timers);
	uint32_t max = pp->max_timers ? pp->max_timers * 2 : TIMERS_FIRST;
	void *mem;

	if (kr_vm_map(max * sizeof(*pp->timers), false, &mem))
		kr_throw("timer: out of memory");
	if (old_bytes) {
		memcpy(mem, pp->timers, old_bytes);
		kr_vm_unmap(pp->timers, old_bytes);
	}
	pp->timers = mem;
	pp->max_timers = max;
}

void kr_timer_add(struct m *mp, struct g *gp, uint64_t when_ns)
{
	struct p *pp = mp->p;

	kr_lock(&pp->timer_lock);
	if (pp->nr_timers == pp->max_timers)
		grow_locked(pp);
	pp->timers[pp->nr_timers].when_ns = when_ns;
	pp->timers[pp->nr_timers].gp = gp;
	sift_up(pp->timers, pp->nr_timers++);
	publish_locked(pp);
	kr_unlock(&pp->timer_lock);
}

void kr_timers_run(struct m *mp, struct p *pp, uint64_t now_ns)
{
	struct g *gp, *due = NULL, **last = &due;

	/* Another M is at it: it will make them ready. */
	if (!kr_trylock(&pp->timer_lock))
		return;
	while (pp->nr_timers && pp->timers[0].when_ns <= now_ns) {
		gp = pp->timers[0].gp;
		pp->timers[0] = pp->timers[--pp->nr_timers];
		if (pp->nr_timers)
			sift_down(pp->timers, pp->nr_timers);
		gp->next = NULL;
		*last = gp;
		last = &gp->next;
	}
	publish_locked(pp);
	kr_unlock(&pp->timer_lock);
	while (due) {
		gp = due;
		due = gp->next;
		/* In order of their deadlines, so not through runnext. */
		WRITE_ONCE(gp->state, G_RUNNABLE);
		kr_runq_put(mp, gp, false);
		if (due)
			smp_mb();
	}
	smp_mb();
	kr_wakep();
}

uint64_t kr_timers_next(void)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < sched.nr_procs; i++) {
		uint64_t when = READ_ONCE(sched.allp[i]->slot->timer_ns);

		if (when && when < next)
			next = when;
	}
	return next;
}
