/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What goroutines refer to, while they do not run.
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
 *
 * The world need not be stopped for all of it. Goroutines that are parked or in a
 * queue have what they had as long as they do not run, so a stop that looks at
 * those on an M makes a picture of all: the others are looked at afterwards
 * (kr_scan_defer()), and whoever is about to run one that was not looks at it
 * first (set_running()). g.scanned is twice the number of the picture that it is
 * in, and one more while somebody looks. Who is to run it waits for that: they
 * are microseconds, unless the other thread loses its CPU.
 *
 * Timers that are armed are looked at afterwards, too, as a public one may lie in
 * an object that nothing else refers to. Until all have been, whoever takes one
 * out of a queue tells of it: sched.scan_timer().
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
#define BATCH		64U	/* looked at in one go */
#define BATCH_SLOTS	256U
#define NR_SPINS	1000
#define NAP_NS		20000ULL

static struct {
	uint32_t lock;
	struct g_slab *slab;		/* goroutines not looked at yet: in here */
	uint32_t from;			/* from this one on */
	uint32_t nr_busy;		/* who looks at some */
	/* sched.scan_timers: of this P, from this slot on. */
	uint32_t proc, slot;
	bool timers_locked;		/* kr_scan_lock() has all */
} left;

void kr_scan_begin(void)
{
	uint32_t nr = smp_load_acquire(&sched.nr_ms);

	WRITE_ONCE(sched.scan_nr, 0);
	left.from = 0;
	WRITE_ONCE(left.slab, kr_registry_next(NULL));
	left.proc = left.slot = 0;
	WRITE_ONCE(sched.scan_timers, true);
	for (uint32_t id = 1; id < nr; id++) {
		struct m *mp = sched.allm[id];
		struct g *gp = READ_ONCE(mp->curg);

		if (gp)
			gp->scan_m = mp;
	}
}

bool kr_scan_is_left(void)
{
	return READ_ONCE(left.slab) || READ_ONCE(sched.scan_timers);
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

static bool is_dead(const struct g *gp)
{
	/* Acquire: of a new one there is nothing left of what it was. */
	uint8_t state = smp_load_acquire(&gp->state);

	return state == G_IDLE || state == G_DEAD;
}

/* Of a dead one, also if who joins is still on its way to it. */
static void scan_result(struct g *gp, kr_scan_fn fn, void *arg)
{
	if (smp_load_acquire(&gp->join) != JOIN_NONE)
		fn(arg, &gp->ret_value, &gp->ret_value + 1);
}

void kr_scan_g(struct g *gp, kr_scan_fn fn, void *arg)
{
	struct m *mp = READ_ONCE(gp->scan_m);
	uintptr_t sp;

	if (is_dead(gp)) {
		scan_result(gp, fn, arg);
		return;
	}
	/* Also of one that has begun: it may not have read it yet. */
	fn(arg, &gp->arg, &gp->arg + 1);
	if (gp->locals)
		fn(arg, gp->locals, gp->locals + KAUS_LOCAL_MAX);
	if (mp && READ_ONCE(mp->curg) == gp) {
		scan_on_m(gp, mp, fn, arg);
	} else if ((sp = (uintptr_t)READ_ONCE(gp->ctx.saved.sp))) {
		fn(arg, &gp->ctx.saved.bp, &gp->ctx.saved.bp + 1);
		scan_stack(gp, sp, fn, arg);
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

/* What most parked goroutines have on it. This one may be running by now. */
__attribute__((no_sanitize("thread")))
static void prefetch_stack(const struct g *gp)
{
	uintptr_t sp = (uintptr_t)READ_ONCE(gp->ctx.saved.sp);
	uintptr_t lo = (sp - RED_ZONE_BYTES) & ~(KR_LINE - 1);
	uintptr_t hi = (uintptr_t)READ_ONCE(gp->stack.hi);

	if (sp && sp < hi)
		prefetch((const void *)lo,
			 (const void *)(hi - lo < FETCH_BYTES ? hi :
					lo + FETCH_BYTES));
}

static bool claim(struct g *gp, uint32_t nr)
{
	uint32_t seen = READ_ONCE(gp->scanned);

	return seen >> 1 != nr && kr_cas(&gp->scanned, seen, nr << 1 | 1);
}

static void scan_claimed(struct g *gp, uint32_t nr, kr_scan_fn fn, void *arg)
{
	kr_scan_g(gp, fn, arg);
	smp_store_release(&gp->scanned, nr << 1);
}

void kr_scan_once(struct g *gp, kr_scan_fn fn, void *arg)
{
	/* Acquire: if it has ended since, what those who looked have read. */
	uint32_t nr = smp_load_acquire(&sched.scan_nr);

	if (!nr)
		return;
	if (claim(gp, nr)) {
		scan_claimed(gp, nr, fn, arg);
		return;
	}
	for (int i = 1; smp_load_acquire(&gp->scanned) != nr << 1; i++) {
		if (i % NR_SPINS)
			cpu_relax();
		else
			kr_clock_sleep_ns(NAP_NS);
	}
}

/*
 * The result of a dead one is told of by whoever takes it: kaus_join(). Nothing
 * else of it is looked at, for nobody keeps it from being used again meanwhile.
 */
static void scan_deferred(struct g *gp, uint32_t nr, kr_scan_fn fn, void *arg)
{
	if (is_dead(gp))
		scan_result(gp, fn, arg);
	else if (claim(gp, nr))
		scan_claimed(gp, nr, fn, arg);
}

void kr_scan_defer(kr_scan_fn fn, void *arg)
{
	static uint32_t last;
	uint32_t nr = smp_load_acquire(&sched.nr_ms);

	if (!left.slab)
		return;
	/* A cycle looks at all that live: none has what it was 2^31 cycles ago. */
	last = last == INT32_MAX ? 1 : last + 1;
	WRITE_ONCE(sched.scan_nr, last);
	for (uint32_t id = 1; id < nr; id++) {
		struct g *gp = READ_ONCE(sched.allm[id]->curg);

		if (gp)
			kr_scan_once(gp, fn, arg);
	}
}

/*
 * Waiting for memory is most of it: that of several goroutines is on its way at
 * a time.
 */
static uint32_t scan_gs(struct g_slab *slab, uint32_t from, kr_scan_fn fn,
			void *arg)
{
	uint32_t nr_made = smp_load_acquire(&slab->nr_made), i;
	uint32_t nr = READ_ONCE(sched.scan_nr);

	for (i = from; i < nr_made && i < from + BATCH; i++) {
		if (i + FETCH_GS < nr_made)
			prefetch(&slab->gs[i + FETCH_GS],
				 &slab->gs[i + FETCH_GS + 1]);
		if (i + FETCH_STACKS < nr_made)
			prefetch_stack(&slab->gs[i + FETCH_STACKS]);
		if (nr)
			scan_deferred(&slab->gs[i], nr, fn, arg);
		else
			kr_scan_g(&slab->gs[i], fn, arg);
	}
	return i - from;
}

static struct g_slab *take(uint32_t *ret_from)
{
	struct g_slab *slab;

	kr_lock(&left.lock);
	slab = left.slab;
	if (slab) {
		*ret_from = left.from;
		left.from += BATCH;
		if (left.from >= smp_load_acquire(&slab->nr_made)) {
			left.from = 0;
			WRITE_ONCE(left.slab, kr_registry_next(slab));
		}
		left.nr_busy++;
	}
	kr_unlock(&left.lock);
	return slab;
}

/* Nobody needs to look any more before running one. */
static void leave(void)
{
	kr_lock(&left.lock);
	if (!--left.nr_busy && !left.slab)
		smp_store_release(&sched.scan_nr, 0);
	kr_unlock(&left.lock);
}

uint32_t kr_scan_some(kr_scan_fn fn, void *arg)
{
	struct g_slab *slab;
	uint32_t from, nr = 0;

	/* One that has been trimmed has none. */
	while (!nr && READ_ONCE(left.slab) && (slab = take(&from))) {
		nr = scan_gs(slab, from, fn, arg);
		leave();
	}
	return nr;
}

void kr_scan_forked(void)
{
	left.lock = left.nr_busy = 0;
	left.slab = NULL;
	left.timers_locked = false;
	sched.scan_nr = 0;
	sched.scan_timers = false;
}

/* ---- timers ---- */

/* From left.slot on. Return: how many slots that were, 0 at the end. */
static uint32_t scan_slots(const struct kr_tqueue *q, kr_scan_fn fn, void *arg)
{
	uint32_t nr = q->nr ? q->max_slots : 0, from = left.slot;
	uint32_t end = nr - from > BATCH_SLOTS ? from + BATCH_SLOTS : nr;

	if (from >= nr)
		return 0;
	fn(arg, q->slots + from, q->slots + end);
	left.slot = end;
	return end - from;
}

static uint32_t scan_timers_locked(kr_scan_fn fn, void *arg)
{
	bool locked = READ_ONCE(left.timers_locked);

	while (left.proc < kr_nr_ps()) {
		struct p *pp = sched.allp[left.proc];
		uint32_t nr;

		/*
		 * Who has it may be about to stop the world, and wait for this
		 * thread. Once it is stopped they are all locked.
		 */
		if (!locked && !kr_trylock(&pp->timer_lock))
			return 0;
		nr = scan_slots(&pp->timers, fn, arg);
		if (!locked)
			kr_unlock(&pp->timer_lock);
		if (nr)
			return nr;
		left.proc++;
		left.slot = 0;
	}
	WRITE_ONCE(sched.scan_timers, false);
	return 0;
}

uint32_t kr_scan_some_timers(kr_scan_fn fn, void *arg)
{
	uint32_t nr = 0;

	if (!READ_ONCE(sched.scan_timers))
		return 0;
	kr_lock(&left.lock);
	if (sched.scan_timers)
		nr = scan_timers_locked(fn, arg);
	kr_unlock(&left.lock);
	return nr;
}

void kr_scan_lock(void)
{
	for (uint32_t i = 0; i < kr_nr_ps(); i++)
		kr_lock(&sched.allp[i]->timer_lock);
	WRITE_ONCE(left.timers_locked, true);
}

void kr_scan_unlock(void)
{
	WRITE_ONCE(left.timers_locked, false);
	for (uint32_t i = 0; i < kr_nr_ps(); i++)
		kr_unlock(&sched.allp[i]->timer_lock);
}
