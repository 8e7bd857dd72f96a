/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What goroutines refer to, while the world is stopped.
 *
 * DOC: A goroutine's references are on its stack, above the stack pointer, and
 * in its registers. Where those are depends on where it was stopped:
 *
 *	parked, or in a queue	by kr_swap(): it has pushed all but rbp, which
 *				is in g.ctx
 *	in the trampoline	m.frame: general registers on its stack, below
 *				the red zone, the extended state in m.xsave. A
 *				memmove() may have the only copy of a pointer in
 *				a vector register
 *	preempted in a function	by kr_swap() too; frame and extended state are
 *	that is preemptible	on its stack
 *	waiting for a P inside	m.regs, saved by kr_wait_locked(): what is not
 *	the runtime		there is on the stack already
 *	asleep in a system	m.regs, from the module: kr_stop_world() has not
 *	call, with the module	returned before it had them. Other registers are
 *				dead in a system call made by a function
 *	in an announced sleep	in the frame of the signal that has suspended it
 *	without the module	(suspend.c)
 *	the one that stopped	m.regs: whoever looks saves them in the function
 *	the world		that stays until all is seen
 *
 * m.at_rest tells them apart. A goroutine that has taken another stack by
 * itself, such as a handler with an alternate one, is stopped only once it is
 * back, so the stack pointer is within the stack, or all of the stack counts.
 */
#include "sched/scan.h"

#include "sched/gpool.h"
#include "sched/preempt.h"
#include "sched/sched.h"
#include "sched/stw.h"

#include <kaus/local.h>

#define RED_ZONE_BYTES	128
#define TOP_BYTES	256

#define KR_LINE		64UL
#define FETCH_GS	16	/* goroutines ahead */
#define FETCH_STACKS	8
#define FETCH_BYTES	512UL	/* of a stack */

void kr_scan_prepare(void)
{
	uint32_t nr = smp_load_acquire(&sched.nr_ms);

	for (uint32_t id = 1; id < nr; id++) {
		struct m *mp = sched.allm[id];
		struct g *gp = READ_ONCE(mp->curg);

		if (gp)
			gp->scan_m = mp;
	}
}

static void scan_stack(const struct g *gp, uintptr_t sp, kr_scan_fn fn,
		       void *arg)
{
	uintptr_t lo = (uintptr_t)gp->stack.lo, hi = (uintptr_t)gp->stack.hi;

	if (sp > hi || sp < lo)
		sp = lo;
	sp = sp - lo > RED_ZONE_BYTES ? sp - RED_ZONE_BYTES : lo;
	fn(arg, (const void *)(sp & ~7UL), (const void *)hi);
}

static void scan_on_m(const struct g *gp, const struct m *mp, kr_scan_fn fn,
		      void *arg)
{
	const struct kr_frame *frame = smp_load_acquire(&mp->frame);

	if (frame) {
		fn(arg, frame, frame + 1);
		fn(arg, mp->xsave, (const char *)mp->xsave + mp->xsave_bytes);
		scan_stack(gp, (uintptr_t)frame, fn, arg);
	} else if (smp_load_acquire(&mp->at_rest) == KR_REST_SUSPENDED) {
		fn(arg, mp->suspend.frame, (const void *)mp->suspend.frame_end);
		scan_stack(gp, mp->suspend.sp, fn, arg);
	} else {
		fn(arg, &mp->regs, &mp->regs + 1);
		scan_stack(gp, mp->regs.sp, fn, arg);
	}
}

void kr_scan_g(struct g *gp, kr_scan_fn fn, void *arg)
{
	uint8_t state = READ_ONCE(gp->state);
	struct m *mp = gp->scan_m;

	if (state == G_IDLE || state == G_DEAD) {
		/* The result, also if who joins is still on its way to it. */
		if (smp_load_acquire(&gp->join) != JOIN_NONE)
			fn(arg, &gp->ret_value, &gp->ret_value + 1);
		return;
	}
	/* Also of one that has begun: it may not have read it yet. */
	fn(arg, &gp->arg, &gp->arg + 1);
	if (gp->locals)
		fn(arg, gp->locals, gp->locals + KAUS_LOCAL_MAX);
	if (mp && READ_ONCE(mp->curg) == gp) {
		scan_on_m(gp, mp, fn, arg);
	} else if (gp->ctx.saved.sp) {
		fn(arg, &gp->ctx.saved.bp, &gp->ctx.saved.bp + 1);
		scan_stack(gp, (uintptr_t)gp->ctx.saved.sp, fn, arg);
	}
}

void kr_scan_stopped(kr_scan_fn fn, void *arg)
{
	uint32_t nr = smp_load_acquire(&sched.nr_ms);

	for (uint32_t id = 1; id < nr; id++) {
		const struct m *mp = sched.allm[id];
		const struct g *gp = READ_ONCE(mp->curg);

		if (gp && gp->stack.hi)
			scan_on_m(gp, mp, fn, arg);
	}
}

void kr_scan_interrupted(kr_scan_fn fn, void *arg)
{
	uint32_t nr = smp_load_acquire(&sched.nr_ms);

	for (uint32_t id = 1; id < nr; id++) {
		const struct m *mp = sched.allm[id];
		const struct g *gp = READ_ONCE(mp->curg);
		const struct kr_frame *frame = smp_load_acquire(&mp->frame);
		const char *end;

		if (!gp || !frame)
			continue;
		end = (const char *)(frame + 1) + RED_ZONE_BYTES + TOP_BYTES;
		fn(arg, frame, end < gp->stack.hi ? end : gp->stack.hi);
	}
}

static void prefetch(const void *lo, const void *hi)
{
	for (const char *p = lo; p < (const char *)hi; p += KR_LINE)
		__builtin_prefetch(p);
}

/* What most parked goroutines have on it. */
static void prefetch_stack(const struct g *gp)
{
	uintptr_t sp = (uintptr_t)READ_ONCE(gp->ctx.saved.sp);
	uintptr_t lo = (sp - RED_ZONE_BYTES) & ~(KR_LINE - 1);
	uintptr_t hi = (uintptr_t)gp->stack.hi;

	if (sp && sp < hi)
		prefetch((const void *)lo,
			 (const void *)(hi - lo < FETCH_BYTES ? hi :
					lo + FETCH_BYTES));
}

/*
 * Waiting for memory is most of it: that of several goroutines is on its way at
 * a time.
 */
void kr_scan_slab(struct g_slab *slab, kr_scan_fn fn, void *arg)
{
	uint32_t nr = smp_load_acquire(&slab->nr_made);

	for (uint32_t i = 0; i < nr; i++) {
		if (i + FETCH_GS < nr)
			prefetch(&slab->gs[i + FETCH_GS],
				 &slab->gs[i + FETCH_GS + 1]);
		if (i + FETCH_STACKS < nr)
			prefetch_stack(&slab->gs[i + FETCH_STACKS]);
		kr_scan_g(&slab->gs[i], fn, arg);
	}
}

void kr_scan_lock(void)
{
	for (uint32_t i = 0; i < kr_nr_ps(); i++)
		kr_lock(&sched.allp[i]->timer_lock);
}

void kr_scan_unlock(void)
{
	for (uint32_t i = 0; i < kr_nr_ps(); i++)
		kr_unlock(&sched.allp[i]->timer_lock);
}

/* A public timer may lie in an object that nothing else refers to. */
void kr_scan_sched(kr_scan_fn fn, void *arg)
{
	for (uint32_t i = 0; i < kr_nr_ps(); i++) {
		const struct kr_timer_heap *heap = &sched.allp[i]->timers;

		if (heap->nr)
			fn(arg, heap->slots, heap->slots + heap->max);
	}
}
