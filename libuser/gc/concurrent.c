/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Cycles that mark while the program runs.
 *
 * DOC: Two short stops, and between them goroutines that mark beside those of
 * the program, which tell what they overwrite (barrier.c).
 *
 *	begin	In one stop the barrier goes on, what is allocated from now on
 *		is marked, and all roots are looked at: so that is a picture of
 *		what is reachable, of which nothing is lost.
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
#include "gc/state.h"
#include "mem/cache.h"
#include "mem/heap.h"
#include "sched/scan.h"
#include "sched/sched.h"

#define STEP_BUDGET	(48UL << 10)	/* bytes to scan, preemption off */
#define END_BUDGET	(16UL << 10)	/* and in the last stop */
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

static struct {
	uint32_t nr_workers;
	uint32_t nr_stops;		/* that did not end this cycle */
	uint32_t stopping;		/* somebody is about to: claim() */
} conc;

static uint64_t step(struct m *mp, uint64_t budget)
{
	struct kr_gc_p *own = kr_gc_of(mp);
	struct kr_marker *mk = &own->marker;
	uint64_t start, done;

	kr_gc_flush_old(mp);
	if (kr_work_is_empty())
		return 0;
	start = kr_clock_now_ns();
	mk->gives_way = true;
	kr_work_enter();
	done = kr_mark_some(mk, budget);
	kr_work_leave(mk);
	ADD_ONCE(mk->cpu_ns, kr_clock_now_ns() - start);
	return done;
}

static bool is_over(uint64_t nr)
{
	return !READ_ONCE(kr_heap.marking) || READ_ONCE(kr_gc.nr) != nr;
}

static bool seems_done(void)
{
	return kr_work_is_quiet() && kr_work_is_empty();
}

/* ---- the end ---- */

/* What has come to light since: true if that was all. */
static bool nothing_left(struct kr_marker *mk)
{
	uint64_t stacks = mk->stack_bytes;
	bool done;

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
	struct kr_gc_stop stop = { .mp = mp };

	if (!kr_gc_stop(&stop)) {
		unclaim();
		return;
	}
	kr_regs_save(&mp->regs);
	if (!is_over(nr)) {
		if (nothing_left(&kr_gc.marker))
			kr_gc_cycle_end(true);
		else
			conc.nr_stops++;
	}
	unclaim();
	kr_gc_go_on(&stop);
	if (is_over(nr))
		kr_gc_sweeper_start(mp);
}

static void try_end(struct m *mp, uint64_t nr)
{
	if (!claim())
		return;
	if (is_over(nr))
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

	while (!is_over(nr)) {
		if (step(mp, STEP_BUDGET)) {
			nr_idle = 0;
		} else if (seems_done()) {
			try_end(mp, nr);
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
			try_end(mp, READ_ONCE(kr_gc.nr));
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
	kr_lock(&kr_gc.lock);
	work = kr_pacer_assist(&kr_gc.pacer, live, scanned) * STEP_BYTES;
	kr_unlock(&kr_gc.lock);
	return work < ASSIST_MAX ? (uint64_t)work : ASSIST_MAX;
}

struct m *kr_gc_assist(struct m *mp)
{
	uint64_t live = (uint64_t)READ_ONCE(kr_heap.live_bytes), work;

	WRITE_ONCE(kr_heap.due_bytes, (int64_t)live + STEP_BYTES);
	/* There was no memory for one at the beginning. */
	if (!READ_ONCE(conc.nr_workers))
		spawn_workers(mp, 1);
	/* A thread without a P leaves it to the others, as long as it may. */
	if (!mp && live / LATE_GOALS > kr_gc.goal_bytes)
		kr_gc_end_now();
	if (!mp)
		return mp;
	if (live / LATE_GOALS > kr_gc.goal_bytes)
		return kr_gc_drive(mp);
	work = debt(live);
	if ((!work || !step(mp, work)) && seems_done())
		try_end(mp, READ_ONCE(kr_gc.nr));
	return mp;
}

/* ---- the beginning ---- */

static void forget_counts(struct kr_gc_p *own)
{
	KR_ASSERT(!own->nr_old && !own->marker.block);
	own->marker = (struct kr_marker){ .block = NULL };
}

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

static KR_NOINLINE bool begin(struct m *mp, bool forced, bool claimed)
{
	struct kr_gc_stop stop = {
		.mp = mp,
		.self = mp ? NULL : kr_gc_thread_self(),
	};
	struct kr_marker *mk = &kr_gc.marker;
	bool begun;

	if (!kr_gc_stop(&stop)) {
		if (claimed)
			unclaim();
		return false;
	}
	kr_regs_save(mp ? &mp->regs : &stop.self->regs);
	/* Another one may have been faster. */
	begun = !kr_heap.marking && (forced || kr_gc_is_due());
	if (begun) {
		/* So that what they have handed out is what is in use. */
		kr_caches_for_each(kr_cache_flush);
		kr_gc_cycle_begin(&stop, forced);
		kr_gc.check = READ_ONCE(kr_gc.check_wanted);
		if (kr_gc.check)
			kr_check_begin();
		conc.nr_stops = 0;
		kr_gc_for_each_p(forget_counts);
		kr_gc_forget_all();
		kr_gc_barrier_set(true);
		mk->alone = true;
		kr_scan_prepare();
		kr_mark_roots_begin();
		kr_gc_mark_roots(mk);
		if (!has_many_gs() || !kr_help_mark(mk, true))
			while (kr_mark_more_roots(mk))
				;
		mk->alone = false;
		kr_work_flush(mk);
		WRITE_ONCE(kr_heap.due_bytes,
			   READ_ONCE(kr_heap.live_bytes) + STEP_BYTES);
	}
	if (claimed)
		unclaim();
	kr_gc_go_on(&stop);
	return begun;
}

struct m *kr_gc_begin(struct m *mp, bool forced)
{
	bool claimed = claim(), begun = false;

	if (forced || (claimed && !READ_ONCE(kr_heap.marking) && kr_gc_is_due()))
		begun = begin(mp, forced, claimed);
	else if (claimed)
		unclaim();
	if (begun)
		spawn_workers(mp, kr_nr_procs());
	return mp;
}
