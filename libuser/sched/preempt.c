/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Preemption of a goroutine in the midst of its code.
 *
 * DOC: The trampoline (asm/preempt.S) has saved everything and calls
 * kr_preempt_upcall() on the M's own stack, preemption off. The interrupted
 * code can be anything: in malloc() with a lock held, in the loader, between
 * two instructions that use an address of TLS. So
 *	- nothing here calls the C library beyond system calls, and nothing
 *	  starts a thread: the service thread does;
 *	- the goroutine may go on only on this very thread. It goes to the
 *	  global queue locked to the M, and the M parks here, below the frame,
 *	  until somebody who took the goroutine from the queue gives it a P.
 *	  (KLT-switching: S. Shiina et al., "Lightweight Preemptive User-Level
 *	  Threads", PPoPP 2021; here the pool is in the kernel and the switch of
 *	  threads is one ioctl.)
 *
 * If the pool is empty the goroutine simply goes on and the service thread is
 * asked for another M: the interrupted code may hold the very lock that
 * starting a thread needs.
 */
#include "arch/xsave.h"
#include "mem/persist.h"
#include "sched/preempt.h"
#include "sched/sched.h"

_Static_assert(sizeof(struct kr_frame) == 17 * 8, "asm/preempt.S pushes it");
_Static_assert(sizeof(struct kr_frame) + 128 <= TRAMP_FRAME, "TRAMP_FRAME");

int kr_preempt_init(struct m *mp)
{
	uint32_t size;

	mp->xsave_kind = kr_xsave_probe(&size);
	mp->xsave = kr_persist_alloc(size);
	return mp->xsave ? 0 : -ENOMEM;
}

/* The pool was empty after all: @gp goes on, @next waits where it was. */
static void preempt_cancelled(struct m *mp, struct p *pp, struct g *gp,
			      struct g *next)
{
	mp->p = pp;
	WRITE_ONCE(mp->slot->proc, pp->id);
	if (pp->nextg == next)
		pp->nextg = NULL;
	if (next->lockedm)
		kr_globq_put(next);
	else
		kr_runq_put(mp, next, false);
	if (kr_globq_cancel(gp))
		return;
	/* Somebody is about to give us another P: this one is free. */
	kr_lock(&sched.lock);
	kr_p_release(mp, pp);
	kr_idle_put_locked(pp);
	kr_unlock(&sched.lock);
	kr_wakep();
}

static void preempt_park(struct m *mp)
{
	struct g *gp = mp->curg, *next;
	struct p *pp = mp->p, *given = NULL;
	int err;

	next = kr_find_quick(mp);
	if (!next)
		return;
	if (!next->lockedm)
		pp->nextg = next;
	kr_publish_stack(mp, NULL);
	kr_p_drop(mp);
	WRITE_ONCE(gp->state, G_RUNNABLE);
	gp->lockedm = mp;
	pp->nr_preempts++;
	/*
	 * From here another M may take the goroutine and give this one a P,
	 * before it has parked: the assist keeps that for the park. The other
	 * order would leave a moment in which the successor already runs on
	 * this CPU and the goroutine is in no queue.
	 */
	kr_globq_put(gp);
	err = sched.assist->handoff(mp, false, next->lockedm, pp, mp->owner,
				    &given);
	if (err) {
		if (err != -EAGAIN)
			kr_throw("preempt: P changed hands");
		sched.assist->service_poke();
		preempt_cancelled(mp, pp, gp, next);
	}
	while (!mp->p && !given)
		sched.assist->park(mp, false, KAUS_FOREVER, &given);
	if (given)
		kr_p_take(mp, given);
	gp->lockedm = NULL;
	WRITE_ONCE(gp->state, G_RUNNING);
	kr_publish_stack(mp, gp);
	kr_new_slice(mp->p);
}

/**
 * kr_preempt_upcall() - The C half of the trampoline.
 * @mp: The M. Preemption is off; the P may be lost.
 * @frame: What was interrupted.
 *
 * Context: the M's stack, any interrupted code.
 */
void kr_preempt_upcall(struct m *mp, struct kr_frame *frame)
{
	struct g *gp = mp->curg;
	uint32_t events;

	(void)frame;
	/* Sanitizers: the stack changed behind their back. */
	kr_context_leave(&gp->ctx, &mp->g0, 0);
	kr_context_arrive(&mp->g0);
	do {
		if (kr_owner(mp->p) != mp->owner)
			kr_reacquire(mp);
		mp->p->nr_redirects++;
		events = kr_xchg(&mp->slot->events, 0);
		if (events & KAUS_EV_PREEMPT)
			preempt_park(mp);
	} while (READ_ONCE(mp->slot->events));
	kr_context_leave(&mp->g0, &gp->ctx, 0);
	kr_context_arrive(&gp->ctx);
}
