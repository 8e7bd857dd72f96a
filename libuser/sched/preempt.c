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
 * That P comes from whoever took the goroutine from the queue or, while it is
 * still there, from the module (kaus_header.next_worker). The second must not
 * race with the first: the M takes its goroutine out of the queue, and if it
 * is too late for that, it accepts only the P that the taker wrote into
 * g.offer. Any other becomes idle.
 *
 * A function marked preemptible (preemptible.h) promises that neither it nor its
 * callers depend on the thread. Then none of this is needed: the extended state
 * moves to the goroutine's stack, and the M abandons what is below its loop's
 * frame on its own stack and goes back to its loop, as if the goroutine had
 * yielded. It goes on at kr_tramp_resume, on any M, without a system call.
 *
 * If the pool is empty the goroutine simply goes on and the service thread is
 * asked for another M: the interrupted code may hold the very lock that
 * starting a thread needs.
 */
#include "arch/xsave.h"
#include "mem/heap.h"
#include "mem/persist.h"
#include "sched/chance.h"
#include "sched/follow.h"
#include "sched/preempt.h"
#include "sched/preemptible.h"
#include "sched/runq.h"
#include "sched/stw.h"

_Static_assert(sizeof(struct kr_frame) == 17 * 8, "asm/preempt.S pushes it");
_Static_assert(sizeof(struct kr_frame) + 128 <= TRAMP_FRAME, "TRAMP_FRAME");

#define XSAVE_ALIGN	64UL
/* What the runtime needs on the goroutine's stack when it goes on. */
#define RESUME_BYTES	4096UL

int kr_preempt_init(struct m *mp)
{
	uint32_t size;

	mp->xsave_kind = kr_xsave_probe(&size);
	mp->xsave = kr_persist_alloc(size);
	mp->xsave_bytes = size;
	return mp->xsave ? 0 : -ENOMEM;
}

/* A P in one word, by its id and the generation that the gift gives it. */
static uint64_t offer_of(const struct p *pp, uint32_t gen)
{
	return KAUS_OWNER(KAUS_P_RUNNING, pp->id, gen);
}

void kr_offer(struct g *gp, const struct p *pp, uint64_t owner)
{
	WRITE_ONCE(gp->offer, offer_of(pp, KAUS_OWNER_GEN(owner) + 1));
}

bool kr_offer_retract(struct g *gp, const struct p *pp, uint64_t owner)
{
	return kr_cas(&gp->offer, offer_of(pp, KAUS_OWNER_GEN(owner) + 1), 0);
}

void kr_wait_locked(struct m *mp, struct g *gp, struct p *given)
{
	kr_regs_save(&mp->regs);
	smp_store_release(&mp->at_rest, KR_REST_REGS);
	if (unlikely(READ_ONCE(sched.stw)))
		kr_stop_progress();
	for (;;) {
		struct p *pp;

		while (!given)
			sched.assist->park(mp, false, KAUS_FOREVER, &given);
		pp = given;
		given = NULL;
		kr_p_take(mp, pp);
		/* From the module, or from whoever took the goroutine. */
		if (kr_globq_cancel(gp)) {
			kr_back_given(pp, gp);
			break;
		}
		if (kr_cas(&gp->offer,
			   offer_of(pp, KAUS_OWNER_GEN(mp->owner)), 0))
			break;
		/* The module's, too late: another one is on its way. */
		kr_lock(&sched.lock);
		kr_p_release(mp, pp);
		kr_idle_put_locked(pp);
		kr_unlock(&sched.lock);
		kr_wakep();
	}
	WRITE_ONCE(mp->at_rest, KR_REST_NONE);
	WRITE_ONCE(gp->lockedm, NULL);
	WRITE_ONCE(gp->state, G_RUNNING);
	kr_new_slice(mp->p);
}

/*
 * The pool was empty after all, or the thread of @next has another P already:
 * @gp goes on, @next waits where it was.
 */
static void preempt_cancelled(struct m *mp, struct p *pp, struct g *gp,
			      struct g *next)
{
	if (pp->nextg == next) {
		pp->nextg = NULL;
		WRITE_ONCE(mp->p, pp);
		kr_runq_put(mp, next, false);
	} else {
		kr_offer_retract(next, pp, mp->owner);
		kr_globq_put_again(next);
	}
	/* Whoever looked while it was in no queue has gone idle. */
	smp_mb();
	kr_wakep();
	kr_wait_locked(mp, gp, pp);
}

/* Where the extended state goes; NULL: no room, or not such a function. */
static void *light_area(struct m *mp, struct kr_frame *frame)
{
	uintptr_t area = ((uintptr_t)frame - mp->xsave_bytes) &
			 ~(XSAVE_ALIGN - 1);

	/*
	 * While the collector marks it must find those that were stopped between
	 * a store and its barrier: kr_scan_stopped().
	 */
	if (mp->lockedg || READ_ONCE(kr_heap.marking) ||
	    !kr_is_preemptible(frame->rip) ||
	    area < (uintptr_t)mp->curg->stack.lo + RESUME_BYTES)
		return NULL;
	return (void *)area;
}

/*
 * Not memcpy(): AddressSanitizer would look for what frames that were never
 * left have poisoned in the free part of the stack.
 */
static void copy(void *to, const void *from, size_t bytes)
{
	__asm__ volatile("rep movsb"
			 : "+D"(to), "+S"(from), "+c"(bytes)
			 :
			 : "memory");
}

/* To the M's loop, which runs @next. */
static KR_NOINLINE __attribute__((noreturn)) void
preempt_switch(struct m *mp, struct kr_frame *frame, void *area, struct g *next)
{
	struct g *gp = mp->curg;
	struct p *pp = mp->p;

	copy(area, mp->xsave, mp->xsave_bytes);
	gp->ctx.saved.sp = area;
	gp->ctx.saved.ip = (void *)kr_tramp_resume;
	gp->ctx.saved.bp = frame;
	gp->ctx.saved.mxcsr = KR_MXCSR_DEFAULT;
	gp->ctx.saved.fcw = KR_FCW_DEFAULT;
	gp->saved_errno = *mp->errno_addr;
	ADD_ONCE(pp->nr_preempts, 1);
	ADD_ONCE(pp->nr_light_preempts, 1);
	mp->nextg = next;
	mp->post = kr_post_preempted;
	mp->post_g = gp;
	WRITE_ONCE(mp->curg, NULL);
	WRITE_ONCE(mp->frame, NULL);
	kr_publish_stack(mp, NULL);
	kr_context_leave(&mp->g0, &mp->g0, 0);
	/* Nobody comes back here: the buffer is free, and as good as any. */
	kr_swap(mp->xsave, &mp->g0.saved);
	__builtin_unreachable();
}

/**
 * kr_preempt_resumed() - The first thing that a preemptible function does.
 *
 * Context: the goroutine's stack, preemption off.
 *
 * Return: The M it goes on on.
 */
struct m *kr_preempt_resumed(void)
{
	struct m *mp = kr_self();
	struct g *gp = mp->curg;

	kr_context_arrive(&gp->ctx);
	kr_post_run(mp);
	*mp->errno_addr = gp->saved_errno;
	while (READ_ONCE(mp->slot->events))
		mp = kr_act_on_events(mp);
	kr_chance_arm(mp);
	return mp;
}

static KR_NOINLINE void preempt_park(struct m *mp, struct kr_frame *frame)
{
	struct g *gp = mp->curg, *next;
	struct p *pp = mp->p, *given = NULL;
	struct m *target;
	void *area;
	int err;

	kr_follow();
	next = kr_find_quick(mp);
	if (!next)
		return;
	area = light_area(mp, frame);
	if (area)
		preempt_switch(mp, frame, area, next);
	target = next->lockedm;
	if (target)
		kr_offer(next, pp, mp->owner);
	else
		pp->nextg = next;
	kr_publish_stack(mp, NULL);
	kr_p_drop(mp);
	WRITE_ONCE(gp->state, G_RUNNABLE);
	WRITE_ONCE(gp->lockedm, mp);
	ADD_ONCE(pp->nr_preempts, 1);
	/*
	 * From here another M may take the goroutine and give this one a P,
	 * before it has parked: the assist keeps that for the park. The other
	 * order would leave a moment in which the successor already runs on
	 * this CPU and the goroutine is in no queue.
	 */
	kr_globq_put(gp);
	/* Who has found all queues empty before it was there has gone idle. */
	kr_wakep();
	err = sched.assist->handoff(mp, false, target, pp, mp->owner, &given);
	if (!err) {
		kr_wait_locked(mp, gp, given);
	} else {
		if (err != (target ? -EBUSY : -EAGAIN))
			kr_throw("preempt: P changed hands");
		if (!target)
			sched.assist->service_poke();
		preempt_cancelled(mp, pp, gp, next);
	}
	kr_publish_stack(mp, gp);
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

	if (unlikely(frame->rip - (uintptr_t)kr_tell <
		     (uintptr_t)(kr_tell_end - kr_tell)))
		frame->rip = (uintptr_t)kr_tell;
	smp_store_release(&mp->frame, frame);
	/* Sanitizers: the stack changed behind their back. */
	kr_context_leave(&gp->ctx, &mp->g0, 0);
	kr_context_arrive(&mp->g0);
	do {
		if (kr_owner(mp->p) != mp->owner)
			kr_reacquire(mp);
		ADD_ONCE(mp->p->nr_redirects, 1);
		events = kr_xchg(&mp->slot->events, 0);
		if (unlikely(events & KR_EV_FINAL))
			sched.finalize(mp);
		if (unlikely(READ_ONCE(sched.stw)))
			kr_stop_here(mp);
		else if (events & KAUS_EV_PREEMPT)
			preempt_park(mp, frame);
	} while (READ_ONCE(mp->slot->events));
	kr_chance_arm(mp);
	WRITE_ONCE(mp->frame, NULL);
	kr_context_leave(&mp->g0, &gp->ctx, 0);
	kr_context_arrive(&gp->ctx);
}
