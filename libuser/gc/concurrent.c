/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Cycles that mark while the program runs.
 *
 * DOC: Two short stops, and between them goroutines that mark beside those of
 * the program, which tell what they overwrite (barrier.c).
 *
 *	begin	In one stop the barrier goes on, what is allocated from now on
 *		is marked, and all roots are looked at, but for those of which
 *		there may be many: goroutines that are parked or in a queue,
 *		timers, and what finalizers need. These are looked at while the
 *		program runs, or when they begin to, or change (sched/scan.c,
 *		special.c). So that is a picture of what is reachable, of which
 *		nothing is lost.
 *	mark	Workers, one for each P, mark in steps of a few dozen
 *		microseconds with preemption off. One that has others wait for
 *		its P takes a third of the time that they take, a quarter of
 *		all; one that has not goes on. Workers that find nothing end,
 *		and come again when there is enough for two.
 *	assist	Who allocates helps, by a step with each STEP_BYTES of the heap
 *		and as much as the pacer asks for, but never by more than
 *		ASSIST_MAX: an allocation is not held up for longer. Only at
 *		twice the goal it waits for the end of the cycle: then others
 *		that mark have no CPU, and nothing else bounds the heap.
 *	end	Whoever finds nothing left stops the world again, and looks at
 *		what barriers have told, and once more at goroutines that were
 *		stopped in mid code. If that leads to more than a little the
 *		world starts again, and marking goes on.
 *
 * A P's marker is used by its holder, with preemption off, and is empty
 * otherwise; a stop sees all there is in the common list (work.c).
 *
 * Rejected: workers that are chosen by the scheduler before all others, as in
 * Go. A worker that keeps its share by itself needs nothing in the loop that
 * every switch goes through.
 */
#include "gc/check.h"
#include "gc/remark.h"
#include "gc/state.h"
#include "mem/cache.h"
#include "mem/heap.h"
#include "sched/scan.h"
#include "sched/sched.h"

/* Bytes to scan with preemption off, and in the last stop. */
#define STEP_BUDGET	KR_SIZE(48UL << 10, 1UL << 10)
#define END_BUDGET	KR_SIZE(16UL << 10, 256UL)
#define MAX_STOPS	16		/* then all is done in the last one */
#define STEP_BYTES	(64LL << 10)	/* allocated, until who did it helps */
#define ASSIST_MAX	(256UL << 10)
#define MAX_WORKERS	32U
#define SHARE_OTHERS	3		/* their time to a worker's */
#define RUN_MIN_NS	50000ULL
#define RUN_MAX_NS	2000000ULL
#define NR_IDLE_LOOKS	50
#define NAP_NS		50000ULL
#define MANY_SLABS	16		/* of 255 goroutines */
#define LATE_GOALS	2		/* so many: who allocates waits */
#define LONG_BYTES	(8UL << 20)	/* to look at: a stop of some 10 ms */
#define PAGES_STOPS	3		/* MAX_STOPS of a cycle by pages */
#define PAGES_BUDGET	(1UL << 20)	/* END_BUDGET of one */

static struct {
	uint32_t nr_workers;
	uint32_t nr_stops;		/* that did not end this cycle */
	uint32_t stopping;		/* somebody is about to: claim() */
} conc;

uint64_t kr_gc_step(struct kr_marker *mk, uint64_t budget)
{
	uint64_t start, done;

	if (kr_work_is_empty() && !kr_remark_has_slices())
		return 0;
	start = kr_clock_now_ns();
	mk->gives_way = true;
	kr_work_enter();
	done = kr_mark_some(mk, budget);
	if (!done)
		done = kr_remark_slice(mk);
	kr_work_leave(mk);
	ADD_ONCE(mk->cpu_ns, kr_clock_now_ns() - start);
	return done;
}

static uint64_t step(struct m *mp, uint64_t budget)
{
	kr_gc_flush_old(mp);
	return kr_gc_step(&kr_gc_of(mp)->marker, budget);
}

bool kr_gc_is_over(uint64_t nr)
{
	return !READ_ONCE(kr_heap.marking) || READ_ONCE(kr_gc.nr) != nr;
}

static bool seems_done(void)
{
	return kr_work_is_quiet() && kr_work_is_empty() &&
	       !kr_remark_has_slices();
}

/* ---- which kind ---- */

bool kr_gc_is_by_pages(void)
{
	uint32_t mode = READ_ONCE(kr_gc.concurrent);

	if (mode < KR_GC_PAGES || !kr_remark_is_possible())
		return false;
	/* Bytes, for a thread that has no CPU is long at anything. */
	return mode == KR_GC_PAGES ||
	       READ_ONCE(kr_gc.pacer.scan_bytes) > LONG_BYTES;
}

bool kr_gc_is_concurrent(void)
{
	return READ_ONCE(kr_gc.concurrent) == KR_GC_TOLD || kr_gc_is_by_pages();
}

/* ---- the end ---- */

/* So many that it takes longer than to wake a thread. */
static bool has_many_gs(void)
{
	struct g_slab *slab = NULL;

	for (int i = 0; i < MANY_SLABS; i++) {
		slab = kr_registry_next(slab);
		if (!slab)
			return false;
	}
	return true;
}

/*
 * Roots anew, and what was written. True if that was all; else it goes on with
 * what is in the list, and pages still count as written.
 */
static bool nothing_left_by_pages(struct kr_marker *mk)
{
	uint64_t stacks = mk->stack_bytes, globals = mk->root_bytes;
	bool last = conc.nr_stops >= PAGES_STOPS || !kr_dirty_takes(), done;

	mk->alone = true;
	kr_remark_again();
	kr_mark_roots_begin();
	kr_gc_mark_roots(mk);
	kr_gc_flush_all(mk);
	if (!has_many_gs() || !kr_help_mark(mk, true))
		while (kr_mark_some_roots(mk))
			;
	kr_remark_last_round();
	while ((last || kr_remark_bytes() < PAGES_BUDGET) &&
	       kr_remark_slice(mk))
		;
	if (last) {
		kr_remark_all_if_blind(mk);
		if (!kr_help_mark(mk, false))
			kr_mark_drain(mk);
	}
	done = last || (!kr_remark_has_slices() &&
			kr_mark_some(mk, PAGES_BUDGET) < PAGES_BUDGET);
	if (!done)
		kr_remark_was_not_last();
	mk->stack_bytes = stacks;
	mk->root_bytes = globals;
	mk->alone = false;
	kr_work_flush(mk);
	return done;
}

/* What has come to light since: true if that was all. */
static bool nothing_left(struct kr_marker *mk)
{
	uint64_t stacks = mk->stack_bytes;
	bool done;

	if (kr_gc.by_pages)
		return nothing_left_by_pages(mk);
	mk->alone = true;
	kr_mark_stacks(mk, true);
	kr_gc_flush_all(mk);
	mk->stack_bytes = stacks;
	done = kr_mark_some(mk, END_BUDGET) < END_BUDGET;
	if (!done && conc.nr_stops >= MAX_STOPS) {
		if (!kr_help_mark(mk, false))
			kr_mark_drain(mk);
		done = true;
	}
	mk->alone = false;
	kr_work_flush(mk);
	return done;
}

/*
 * Who sees that a cycle is to begin or to end is seldom alone. The others need
 * no stop of their own: they would wait for the first one and then find it done.
 * It is given back before the world starts: the thread may lose its CPU then, and
 * others need a cycle.
 */
static bool claim(void)
{
	return !READ_ONCE(conc.stopping) && kr_cas(&conc.stopping, 0, 1);
}

static void unclaim(void)
{
	smp_store_release(&conc.stopping, 0);
}

static KR_NOINLINE void end(struct m *mp, uint64_t nr)
{
	struct kr_gc_stop stop = {
		.mp = mp,
		.self = mp ? NULL : kr_gc_thread_self(),
	};
	bool by_pages;

	if (!kr_gc_stop(&stop)) {
		unclaim();
		return;
	}
	kr_gc_save_regs(&stop);
	if (!kr_gc_is_over(nr)) {
		if (nothing_left(&kr_gc.marker))
			kr_gc_cycle_end(true);
		else
			conc.nr_stops++;
	}
	by_pages = kr_gc.by_pages && kr_gc.has_ended;
	unclaim();
	kr_gc_go_on(&stop);
	if (by_pages)
		kr_remark_release(mp);
	if (kr_gc_is_over(nr))
		kr_gc_sweeper_start(mp);
}

void kr_gc_try_end(struct m *mp, uint64_t nr)
{
	if (!claim())
		return;
	if (kr_gc_is_over(nr) || !seems_done() ||
	    (kr_gc.by_pages && kr_remark_next_round()))
		unclaim();
	else
		end(mp, nr);
}

void kr_gc_finish_stopped(void)
{
	struct kr_marker *mk = &kr_gc.marker;

	conc.nr_stops = MAX_STOPS;
	(void)nothing_left(mk);
	kr_gc_cycle_end(true);
}

/* ---- those who mark ---- */

struct m *kr_gc_drive(struct m *mp)
{
	uint64_t nr = READ_ONCE(kr_gc.nr);
	uint32_t nr_idle = 0;

	while (!kr_gc_is_over(nr)) {
		if (step(mp, STEP_BUDGET)) {
			nr_idle = 0;
		} else if (seems_done()) {
			kr_gc_try_end(mp, nr);
		} else {
			/* Another one's thread may be waiting for a CPU. */
			if (++nr_idle > NR_IDLE_LOOKS)
				kr_clock_sleep_ns(NAP_NS);
			mp = kr_yield(mp);
		}
		mp = kr_gc_give_way(mp);
	}
	return mp;
}

static void spawn_workers(struct m *mp, uint32_t nr);

/* Mark for so long, or until there is nothing: then false. */
static bool run_for(struct m *mp, uint64_t end_ns)
{
	do {
		if (!step(mp, STEP_BUDGET))
			return false;
	} while (!READ_ONCE(mp->slot->events) && kr_clock_now_ns() < end_ns);
	return true;
}

/* The last one stays as long as it marks. */
static bool may_leave(void)
{
	uint32_t nr = READ_ONCE(conc.nr_workers);

	return nr > 1 && kr_cas(&conc.nr_workers, nr, nr - 1);
}

static void worker(void *arg)
{
	uint64_t left_ns = kr_clock_now_ns();
	uint32_t nr_idle = 0;

	(void)arg;
	for (;;) {
		struct m *mp = kr_enter();
		uint64_t now = kr_clock_now_ns();
		uint64_t run_ns = (now - left_ns) / SHARE_OTHERS;

		/* No cycle begins, and counts this one, before the exit. */
		if (!READ_ONCE(kr_heap.marking)) {
			kr_sub(&conc.nr_workers, 1);
			kr_exit(mp);
			return;
		}
		if (run_ns < RUN_MIN_NS)
			run_ns = RUN_MIN_NS;
		if (run_ns > RUN_MAX_NS)
			run_ns = RUN_MAX_NS;
		if (run_for(mp, now + run_ns)) {
			nr_idle = 0;
			if (!kr_work_is_empty())
				spawn_workers(mp, 1);
		} else if (seems_done()) {
			kr_gc_try_end(mp, READ_ONCE(kr_gc.nr));
		} else if (++nr_idle > NR_IDLE_LOOKS && may_leave()) {
			kr_exit(mp);
			return;
		}
		left_ns = kr_clock_now_ns();
		mp = kr_yield(mp);
		kr_exit(mp);
	}
}

static void spawn_workers(struct m *mp, uint32_t nr)
{
	uint32_t max = kr_nr_procs();

	if (max > MAX_WORKERS)
		max = MAX_WORKERS;
	while (nr-- && READ_ONCE(conc.nr_workers) < max) {
		struct g *gp = kr_g_alloc(mp);

		/* Those who allocate help, and there are others. */
		if (!gp)
			return;
		gp->fn = worker;
		gp->spawn_fn = NULL;
		gp->arg = NULL;
		WRITE_ONCE(gp->join, JOIN_NONE);
		kr_add(&conc.nr_workers, 1);
		kr_g_prepare(mp, gp);
		/* Not before those that are ready now. */
		kr_globq_put(gp);
		kr_wakep();
	}
}

/* What one STEP_BYTES owes, in bytes to scan. */
static uint64_t debt(uint64_t live)
{
	uint64_t scanned = 0;
	double work;

	for (uint32_t i = 0; i < kr_nr_ps(); i++) {
		struct kr_gc_p *own = smp_load_acquire(&sched.allp[i]->gc);

		if (own)
			scanned += READ_ONCE(own->marker.done_bytes);
	}
	if (kr_back_own())
		scanned += READ_ONCE(kr_back_own()->marker.done_bytes);
	scanned += READ_ONCE(kr_gc.plain.done_bytes);
	kr_lock(&kr_gc.lock);
	work = kr_pacer_assist(&kr_gc.pacer, live, scanned) * STEP_BYTES;
	kr_unlock(&kr_gc.lock);
	return work < ASSIST_MAX ? (uint64_t)work : ASSIST_MAX;
}

/* No cycle ends while the thread is busy. */
static void assist_plain(uint64_t live)
{
	struct kr_marker mk = { .block = NULL };
	uint64_t work = debt(live), nr = 0;
	bool idle = false;

	if (!kr_tls_plain)
		return;
	kr_plain_enter();
	if (READ_ONCE(kr_heap.marking)) {
		nr = kr_gc.nr;
		idle = !work || !kr_gc_step(&mk, work);
		kr_gc_count_plain(&mk);
	}
	kr_plain_leave();
	if (nr && idle && seems_done())
		kr_gc_try_end(NULL, nr);
}

struct m *kr_gc_assist(struct m *mp)
{
	uint64_t live = (uint64_t)READ_ONCE(kr_heap.live_bytes), work;

	WRITE_ONCE(kr_heap.due_bytes, (int64_t)live + STEP_BYTES);
	/* There was no memory for one at the beginning, or no runtime. */
	if (!READ_ONCE(conc.nr_workers) && READ_ONCE(sched.running))
		spawn_workers(mp, 1);
	/*
	 * A thread without a P leaves it to the others, as long as it may: with
	 * a barrier, for there it would have to have what it has overwritten
	 * looked at.
	 */
	if (!mp && live / LATE_GOALS > kr_gc.goal_bytes)
		kr_gc_end_now();
	else if (!mp && READ_ONCE(kr_gc.by_pages))
		assist_plain(live);
	if (!mp)
		return mp;
	if (live / LATE_GOALS > kr_gc.goal_bytes)
		return kr_gc_drive(mp);
	work = debt(live);
	if ((!work || !step(mp, work)) && seems_done())
		kr_gc_try_end(mp, READ_ONCE(kr_gc.nr));
	return mp;
}

/* ---- the beginning ---- */

static void forget_counts(struct kr_gc_p *own)
{
	KR_ASSERT(!own->nr_old && !own->marker.block);
	own->marker = (struct kr_marker){ .block = NULL };
}

/* The marker of a P is empty between two steps, and so is it in a switch. */
void kr_gc_scan_first(struct m *mp, struct g *gp)
{
	struct kr_marker *mk = &kr_gc_of(mp)->marker;

	kr_work_enter();
	kr_mark_first(mk, gp);
	kr_work_leave(mk);
}

/* @by_pages: kr_remark_arm() was called, and nobody else can have. */
static KR_NOINLINE bool begin(struct m *mp, bool forced, bool claimed,
			      bool by_pages)
{
	struct kr_gc_stop stop = {
		.mp = mp,
		.self = mp ? NULL : kr_gc_thread_self(),
	};
	struct kr_marker *mk = &kr_gc.marker;
	bool begun;

	if (!kr_gc_stop(&stop)) {
		if (by_pages)
			kr_remark_disarm();
		if (claimed)
			unclaim();
		return false;
	}
	kr_gc_save_regs(&stop);
	/* Another one may have been faster. */
	begun = !kr_heap.marking && (forced || kr_gc_is_due());
	if (begun) {
		/* So that what they have handed out is what is in use. */
		kr_caches_for_each(kr_cache_flush);
		kr_gc_cycle_begin(&stop, forced);
		kr_gc.by_pages = by_pages;
		kr_gc.check = READ_ONCE(kr_gc.check_wanted);
		if (kr_gc.check && !by_pages)
			kr_check_begin();
		conc.nr_stops = 0;
		kr_gc_for_each_p(forget_counts);
		kr_gc_forget_all();
		kr_gc_barrier_set(!by_pages);
		mk->alone = true;
		kr_mark_roots_begin();
		kr_mark_defer(mk);
		kr_gc_mark_roots(mk);
		mk->alone = false;
		kr_work_flush(mk);
		WRITE_ONCE(kr_heap.due_bytes,
			   READ_ONCE(kr_heap.live_bytes) + STEP_BYTES);
	} else if (by_pages) {
		kr_remark_disarm();
	}
	if (claimed)
		unclaim();
	kr_gc_go_on(&stop);
	return begun;
}

static bool may_begin(bool forced)
{
	return !READ_ONCE(kr_heap.marking) && (forced || kr_gc_is_due());
}

/* With the claim: what others have armed is not cleared. */
static bool begin_by_pages(struct m **mp, bool forced)
{
	if (may_begin(forced) && kr_remark_arm(mp))
		return begin(*mp, forced, true, true);
	unclaim();
	return false;
}

static struct m *begin_forced_by_pages(struct m *mp, bool *ret_begun)
{
	while (!claim()) {
		mp = kr_yield(mp);
		mp = kr_gc_give_way(mp);
	}
	*ret_begun = begin_by_pages(&mp, true);
	return mp;
}

struct m *kr_gc_begin(struct m *mp, bool forced)
{
	bool by_pages = kr_gc_is_by_pages(), begun = false;
	/* It may be another one than the caller has seen. */
	bool told = READ_ONCE(kr_gc.concurrent) == KR_GC_TOLD;
	bool claimed;

	if (by_pages && forced && mp) {
		mp = begin_forced_by_pages(mp, &begun);
	} else {
		claimed = claim();
		if (claimed && by_pages)
			begun = begin_by_pages(&mp, forced);
		else if (told && (forced || (claimed && may_begin(false))))
			begun = begin(mp, forced, claimed, false);
		else if (claimed)
			unclaim();
	}
	if (begun && READ_ONCE(sched.running))
		spawn_workers(mp, kr_nr_procs());
	return mp;
}

bool kr_gc_begin_elsewhere(void)
{
	uint64_t live = (uint64_t)READ_ONCE(kr_heap.live_bytes);

	return !READ_ONCE(sched.running) && kr_gc_is_by_pages() &&
	       live / LATE_GOALS <= READ_ONCE(kr_gc.pacer.goal_bytes) &&
	       kr_back_wake();
}

void kr_gc_conc_forked(void)
{
	conc.nr_workers = conc.stopping = 0;
	kr_gc.lock = 0;
	kr_gc.by_pages = false;
	kr_work_forked();
	kr_remark_forked();
	kr_back_forked();
}
