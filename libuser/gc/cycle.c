/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Cycles: when, in which order, and what is told about them.
 *
 * DOC: There are two kinds. Programs in C store pointers with plain
 * instructions, so nothing less than a stop of the world for the whole of
 * marking is safe for each of them: that is the kind at first. A program that
 * declares its stores (kaus_gc_store()) may ask for the other one, which marks
 * while it runs: concurrent.c. What is not marked is swept afterwards, while the
 * program runs, by a goroutine that does just that and by those who allocate.
 *
 * A cycle is made by the goroutine that has allocated what made it due, on its
 * way out of the runtime (KR_EV_GC). In this order:
 *
 *	sweep what the last cycle has left, giving way to others
 *	stop the world		no goroutine has a lock of the runtime now
 *	take locks		of the heap's cache for plain threads, timers,
 *				roots, threads: those that a plain thread may
 *				have, and that are needed below
 *	suspend threads		registered ones; they may be anywhere
 *	mark			no lock but the collector's own, no libc
 *	resume threads, drop the locks, start the world
 *
 * A goroutine that was preempted may have any lock of the C library for as long
 * as the world is stopped, and so has a thread that is suspended. Marking takes
 * memory from the kernel for that reason and knows the loader's list without
 * the loader (os/segment.c).
 *
 * The registers of the caller are saved by whoever has called kr_gc_stop(), in a
 * function whose frame stays until all is marked: see kr_regs_save().
 */
#include <errno.h>
#include <string.h>

#include "base/bug.h"
#include "gc/check.h"
#include "gc/compat.h"
#include "gc/line.h"
#include "gc/profile.h"
#include "gc/remark.h"
#include "gc/shade.h"
#include "gc/special.h"
#include "gc/state.h"
#include "mem/cache.h"
#include "mem/central.h"
#include "mem/heap.h"
#include "mem/root.h"
#include "mem/scavenge.h"
#include "sched/scan.h"
#include "sched/sched.h"
#include "sched/stw.h"

#define SWEEP_STEP	KR_SIZE(8U, 1U)	/* spans, until others get a chance */
#define SWEEP_NAP_NS	20000ULL
#define NR_SWEEP_LOOKS	64U
#define PERIOD_NS	120000000000ULL
#define LONG_NS		1000000ULL	/* a stop that is worth sharing */
#define TICK_AFTER_NS	50000ULL	/* other CPUs' ticks are late by less, */
#define TICK_BEFORE_NS	200000ULL	/* and stops shorter */

struct kr_gc kr_gc;
uint64_t kr_gc_tick_before_ns = TICK_BEFORE_NS;
const struct kr_gc_hooks *kr_gc_hooks;

void kr_gc_set_due(void)
{
	uint64_t due = kr_gc.pacer.trigger_bytes;

	WRITE_ONCE(kr_heap.due_bytes,
		   due > INT64_MAX ? INT64_MAX : (int64_t)due);
}

/* Something has been allocated, and it is enough. */
static void due(void)
{
	struct m *mp = kr_self();

	if (mp && mp->curg)
		kr_or(&mp->slot->events, KR_EV_GC);
	else if (kr_tls_plain)
		WRITE_ONCE(kr_tls_plain->due, true);
}

static struct m *collect_if_due(struct m *mp)
{
	return kr_gc_collect(mp, false);
}

void kr_gc_init(const struct kr_gc_settings *set, uint32_t nr_procs)
{
	kr_lock(&kr_gc.lock);
	if (kr_gc.on) {
		kr_unlock(&kr_gc.lock);
		return;
	}
	kr_pacer_init(&kr_gc.pacer, nr_procs);
	kr_pacer_set_percent(&kr_gc.pacer, set->percent > INT32_MAX ? INT32_MAX :
					(int32_t)set->percent);
	kr_pacer_set_limit(&kr_gc.pacer, set->limit_bytes);
	kr_gc.no_data = set->no_data;
	kr_gc.trace = set->trace;
	kr_gc.concurrent = set->concurrent;
	kr_remark_init(set->pages);
	kr_gc.check_wanted = set->check;
	if (set->poison)
		WRITE_ONCE(kr_heap.poison, true);
	/* Also if the kernel has none: nothing is missing without them. */
	if (set->huge_pages >= 0)
		(void)kr_pages_set_huge(set->huge_pages ? KR_HUGE_ON :
							  KR_HUGE_OFF);
	kr_gc.start_ns = kr_gc.end_ns = kr_clock_now_ns();
	kr_gc.period_ns = PERIOD_NS;
	sched.gc = collect_if_due;
	sched.gc_look = kr_gc_period_look;
	sched.scan_first = kr_gc_scan_first;
	sched.scan_timer = kr_gc_shade;
	kr_gc_barrier_init();
	kr_help_init();
	kr_special_init();
	kr_profile_init(set->heap_profile_rate);
	kr_heap_ops.due = due;
	kr_heap_ops.copy = kr_gc_copy;
	kr_gc_set_due();
	WRITE_ONCE(kr_gc.on, true);
	kr_unlock(&kr_gc.lock);
}

bool kr_gc_is_on(void)
{
	return READ_ONCE(kr_gc.on);
}

/* What the others were at is half done for ever. */
void kr_gc_forked(void)
{
	if (kr_gc_threads_forked())
		WRITE_ONCE(kr_gc.forked, true);
	kr_help_forked();
	/* Nobody will end the cycle that there may have been. */
	kr_scan_forked();
	kr_special_forked();
	kr_gc_barrier_set(false);
	if (READ_ONCE(kr_heap.marking))
		kr_heap_mark_forget();
	kr_gc_conc_forked();
}

bool kr_gc_is_possible(void)
{
	return READ_ONCE(kr_gc.on) && !READ_ONCE(kr_gc.forked) &&
	       (READ_ONCE(sched.running) ||
		(!READ_ONCE(sched.nr_ms) && !READ_ONCE(sched.stopping)));
}

bool kr_gc_is_due(void)
{
	return READ_ONCE(kr_heap.live_bytes) >= READ_ONCE(kr_heap.due_bytes);
}

/* ---- marking ---- */

static void mark_data(void *arg, const void *lo, const void *hi)
{
	struct kr_marker *mk = arg;

	mk->root_bytes += (uintptr_t)hi - (uintptr_t)lo;
	kr_mark_sparse(mk, lo, hi);
}

/* Variables, but for those of the runtime that are no roots. */
static void mark_segment(void *arg, const void *lo, const void *hi)
{
	const struct kr_not_root *no;
	const char *from = lo, *end = hi;

	while (from < end) {
		const char *to = end, *next = end;

		for (no = __start_kr_not_roots; no < __stop_kr_not_roots; no++) {
			const char *no_lo = no->lo, *no_hi = no->hi;

			if (no_hi <= from || no_lo >= to)
				continue;
			to = no_lo > from ? no_lo : from;
			next = no_hi;
		}
		if (from < to) {
			if (kr_gc_hooks && kr_gc_hooks->segment)
				kr_gc_hooks->segment(arg, from, to);
			else
				mark_data(arg, from, to);
		}
		from = next;
	}
}

static void remark_segment(void *arg, const void *lo, const void *hi)
{
	kr_remark_segment(arg, lo, hi, mark_segment);
}

void kr_gc_mark_roots(struct kr_marker *mk)
{
	struct kr_root *root = NULL;

	kr_mark_stacks(mk, false);
	while ((root = kr_roots_next(root)))
		mark_data(mk, root->lo, root->hi);
	if (!kr_gc.no_data)
		kr_segments_for_each(kr_gc.by_pages ? remark_segment :
						      mark_segment, mk);
	if (kr_gc_hooks)
		kr_gc_hooks->roots(mk);
}

static void mark_all(struct kr_marker *mk)
{
	mk->alone = true;
	kr_mark_roots_begin();
	kr_gc_mark_roots(mk);
	if (!kr_help_mark(mk, false))
		kr_mark_drain(mk);
	mk->alone = false;
	kr_work_flush(mk);
}

/* ---- telling ---- */

/* Of all CPU time that there was since the collector is on. */
static uint64_t cpu_percent(void)
{
	uint64_t all_ns = (kr_gc.end_ns - kr_gc.start_ns) *
			  kr_gc.pacer.nr_procs;

	return all_ns ? kr_gc.st.mark_cpu_ns * 100 / all_ns : 0;
}

static void trace(bool concurrent)
{
	struct kr_line line = { .len = 0 };

	kr_line_text(&line, "kaus: gc ");
	kr_line_number(&line, kr_gc.st.nr_cycles, 0);
	kr_line_text(&line, " @");
	kr_line_number(&line, (kr_gc.end_ns - kr_gc.start_ns) / 1000000, 3);
	kr_line_text(&line, " s ");
	kr_line_number(&line, cpu_percent(), 0);
	kr_line_text(&line, " %: stopped in ");
	kr_line_number(&line, kr_gc.st.stop_ns / 1000, 3);
	kr_line_text(&line, " ms, in all ");
	kr_line_number(&line, kr_gc.st.pause_ns / 1000, 3);
	kr_line_text(&line, " ms, cpu ");
	kr_line_number(&line, kr_gc.cycle_cpu_ns / 1000, 3);
	kr_line_text(&line, " ms, ");
	kr_line_number(&line, kr_gc.before_bytes >> 10, 0);
	kr_line_text(&line, " -> ");
	kr_line_number(&line, (kr_gc.before_bytes + kr_gc.alloc_bytes) >> 10,
		       0);
	kr_line_text(&line, " -> ");
	kr_line_number(&line, kr_gc.st.heap_marked_bytes >> 10, 0);
	kr_line_text(&line, " KiB, goal was ");
	kr_line_number(&line, kr_gc.goal_bytes >> 10, 0);
	kr_line_text(&line, " KiB, roots ");
	kr_line_number(&line, kr_gc.st.root_bytes >> 10, 0);
	kr_line_text(&line, " KiB, ");
	kr_line_number(&line, kr_gc.pacer.nr_procs, 0);
	kr_line_text(&line, !concurrent ? " P" : kr_gc.by_pages ?
			    " P, concurrent by pages" : " P, concurrent");
	kr_line_text(&line, kr_gc.forced ? ", forced\n" : "\n");
	kr_line_write(&line);
}

/* ---- sweeping ---- */

static bool sweep_some(void)
{
	bool any = true;
	size_t bytes;

	for (uint32_t i = 0; any && i < SWEEP_STEP; i++)
		any = kr_heap_sweep_one(&bytes);
	return any;
}

struct m *kr_gc_give_way(struct m *mp)
{
	if (!READ_ONCE(mp->slot->events))
		return mp;
	/* Not in the midst of collecting. */
	kr_and(&mp->slot->events, ~KR_EV_GC);
	return kr_act_on_events(mp);
}

struct m *kr_gc_sweep_all(struct m *mp)
{
	bool any = true;

	while (any) {
		if (mp) {
			any = sweep_some();
			mp = kr_gc_give_way(mp);
			continue;
		}
		if (!kr_outside_lock())
			return mp;
		any = sweep_some();
		kr_outside_unlock();
	}
	kr_scavenge_swept();
	return mp;
}

/*
 * All that cycle @gen has found dead is free when it returns, also what others were
 * at. A cycle that has begun since has had that done.
 */
static struct m *sweep_all_of(struct m *mp, uint32_t gen)
{
	uint32_t nr_looks = 0;

	mp = kr_gc_sweep_all(mp);
	while (READ_ONCE(kr_heap.sweepgen) == gen && !kr_heap_is_swept()) {
		/* Another one's thread may be waiting for a CPU. */
		if (!mp || ++nr_looks > NR_SWEEP_LOOKS)
			kr_clock_sleep_ns(SWEEP_NAP_NS);
		if (mp) {
			mp = kr_yield(mp);
			mp = kr_gc_give_way(mp);
		}
	}
	return mp;
}

static uint32_t is_swept_by_g;

/* Before those who allocate have to, and the next cycle. */
static void sweeper(void *arg)
{
	struct m *mp;
	bool any;

	(void)arg;
	do {
		mp = kr_enter();
		any = sweep_some();
		if (any) {
			mp = kr_yield(mp);
		} else {
			WRITE_ONCE(is_swept_by_g, 0);
			kr_scavenge_swept();
		}
		kr_exit(mp);
	} while (any);
}

void kr_gc_g_start(struct m *mp, void (*fn)(void *arg), uint32_t *is_there)
{
	struct g *gp;

	if (!READ_ONCE(sched.running) || !kr_cas(is_there, 0, 1))
		return;
	gp = kr_g_alloc(mp);
	if (!gp) {
		WRITE_ONCE(*is_there, 0);
		return;
	}
	gp->fn = fn;
	gp->spawn_fn = NULL;
	/* On a plain thread: a collector may look at it. */
	WRITE_ONCE(gp->arg, NULL);
	WRITE_ONCE(gp->join, JOIN_NONE);
	kr_g_prepare(mp, gp);
	kr_globq_put(gp);
	kr_wakep();
}

void kr_gc_sweeper_start(struct m *mp)
{
	if (!kr_heap_is_swept())
		kr_gc_g_start(mp, sweeper, &is_swept_by_g);
}

/* ---- the cycle ---- */

/*
 * Whose control group has used up its CPU quota gets no more until the end of the
 * period, which may be a thousand times as long as a stop. The kernel sees to that
 * at its ticks. So a stop under a quota begins after one, to end before the next.
 */
static void away_from_tick(void)
{
	uint64_t age_ns, period_ns, last_ns, now, took_ns = 0;

	if (likely(!READ_ONCE(sched.quota)))
		return;
	now = kr_clock_now_ns();
	do {
		age_ns = kr_clock_tick_ns(&period_ns);
		if (!period_ns ||
		    (age_ns >= TICK_AFTER_NS &&
		     age_ns + kr_gc_tick_before_ns <= period_ns))
			return;
		cpu_relax();
		last_ns = now;
		now = kr_clock_now_ns();
		/* But for the time that it did not run. */
		if (now - last_ns < TICK_AFTER_NS)
			took_ns += now - last_ns;
	} while (!READ_ONCE(sched.stw) &&
		 took_ns < kr_gc_tick_before_ns + TICK_AFTER_NS);
}

bool kr_gc_stop(struct kr_gc_stop *stop)
{
	size_t bytes;

	away_from_tick();
	stop->asked_ns = kr_clock_now_ns();
	if (!kr_stop_world(stop->mp, "gc"))
		return false;
	/* The runtime may have come to life, or to its end, meanwhile. */
	if (!stop->mp && !kr_gc_is_possible()) {
		kr_start_world(stop->mp);
		return false;
	}
	kr_back_lock();
	if (kr_gc_hooks)
		kr_gc_hooks->lock();
	if (!kr_outside_lock()) {
		if (kr_gc_hooks)
			kr_gc_hooks->unlock();
		kr_back_unlock();
		kr_start_world(stop->mp);
		return false;
	}
	/* Another cycle may have ended since. */
	while (kr_heap_sweep_one(&bytes))
		;
	kr_scan_lock();
	kr_roots_lock();
	/* A suspended thread must not have it: account() changes what it guards. */
	kr_lock(&kr_gc.lock);
	kr_gc_threads_suspend(stop->self);
	stop->stopped_ns = kr_clock_now_ns();
	return true;
}

void kr_gc_go_on(struct kr_gc_stop *stop)
{
	uint64_t pause_ns;
	bool has_ended;

	/* Before others may look at timers: they take the locks again. */
	kr_scan_unlock();
	kr_gc_threads_resume(stop->self);
	kr_unlock(&kr_gc.lock);
	kr_roots_unlock();
	kr_outside_unlock();
	if (kr_gc_hooks)
		kr_gc_hooks->unlock();
	pause_ns = kr_clock_now_ns() - stop->asked_ns;
	kr_lock(&kr_gc.lock);
	kr_gc.st.stop_ns = stop->stopped_ns - stop->asked_ns;
	kr_gc.st.pause_ns = pause_ns;
	kr_gc.st.total_pause_ns += pause_ns;
	kr_gc.st.nr_pauses++;
	if (pause_ns > kr_gc.st.max_pause_ns)
		kr_gc.st.max_pause_ns = pause_ns;
	kr_unlock(&kr_gc.lock);
	has_ended = kr_gc.has_ended;
	kr_gc.has_ended = false;
	kr_back_unlock();
	kr_start_world(stop->mp);
	if (kr_gc_hooks && has_ended)
		kr_gc_hooks->done();
	if (has_ended)
		kr_gc_limit_look(stop->mp);
	if (pause_ns > LONG_NS)
		kr_help_want();
}

void kr_gc_cycle_begin(const struct kr_gc_stop *stop, bool forced)
{
	kr_gc.marker = (struct kr_marker){ .block = NULL };
	kr_gc.nr++;
	kr_gc.by_pages = false;
	kr_gc.forced = forced;
	kr_gc.plain = (struct kr_marker){ .block = NULL };
	kr_gc.begin_ns = stop->stopped_ns;
	kr_gc.before_bytes = (uint64_t)READ_ONCE(kr_heap.live_bytes);
	kr_gc.goal_bytes = kr_gc.pacer.goal_bytes;
	kr_work_begin();
	kr_heap_mark_begin();
}

void kr_gc_count_plain(const struct kr_marker *mk)
{
	struct kr_marker *to = &kr_gc.plain;

	__atomic_fetch_add(&to->marked_bytes, mk->marked_bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&to->nr_marked, mk->nr_marked, __ATOMIC_RELAXED);
	__atomic_fetch_add(&to->scan_bytes, mk->scan_bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&to->done_bytes, mk->done_bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&to->cpu_ns, mk->cpu_ns, __ATOMIC_RELAXED);
}

static void add_counts(const struct kr_marker *from)
{
	struct kr_marker *mk = &kr_gc.marker;

	mk->marked_bytes += from->marked_bytes;
	mk->nr_marked += from->nr_marked;
	mk->scan_bytes += from->scan_bytes;
	mk->stack_bytes += from->stack_bytes;
	mk->cpu_ns += from->cpu_ns;
}

static void add_counts_of(struct kr_gc_p *own)
{
	add_counts(&own->marker);
}

/*
 * What was allocated meanwhile is marked, and nobody knows what of it is in use.
 * Where nothing but a fault slows the program down there is a lot of it: about as
 * many die as of what was there before.
 */
static uint64_t in_use_of(uint64_t alloc_bytes)
{
	uint64_t marked = kr_gc.marker.marked_bytes;

	if (!kr_gc.by_pages || marked >= kr_gc.before_bytes)
		return alloc_bytes;
	return (uint64_t)((double)alloc_bytes * (double)marked /
			  (double)kr_gc.before_bytes);
}

static void account(bool concurrent, uint64_t alloc_bytes)
{
	const struct kr_marker *mk = &kr_gc.marker;
	uint64_t now = kr_clock_now_ns();
	uint64_t nr = kr_gc.pacer.nr_procs;
	struct kr_pacer_cycle c = {
		.heap_marked_bytes = mk->marked_bytes + in_use_of(alloc_bytes),
		.heap_scan_bytes = mk->scan_bytes,
		.stack_bytes = mk->stack_bytes,
		.global_bytes = mk->root_bytes,
		.alloc_bytes = alloc_bytes,
		.mark_ns = now - kr_gc.begin_ns,
		.mark_cpu_ns = concurrent ? mk->cpu_ns : now - kr_gc.begin_ns,
		.concurrent = concurrent,
	};

	/* All of the program's CPUs are taken from it by a stop. */
	kr_pacer_spent(&kr_gc.pacer, concurrent ? mk->cpu_ns : c.mark_ns * nr,
		       (now - kr_gc.end_ns) * nr);
	kr_pacer_cycle(&kr_gc.pacer, &c);
	kr_gc_set_due();
	kr_gc.end_ns = now;
	kr_gc.st.nr_cycles++;
	kr_gc.st.nr_concurrent += concurrent;
	if (concurrent && kr_gc.by_pages) {
		kr_gc.st.nr_by_pages++;
		kr_gc.st.rescan_bytes = kr_remark_bytes();
	}
	kr_gc.st.nr_forced += kr_gc.forced;
	kr_gc.st.heap_marked_bytes = mk->marked_bytes;
	kr_gc.st.nr_marked = mk->nr_marked;
	kr_gc.st.root_bytes = mk->root_bytes + mk->stack_bytes;
	kr_gc.st.mark_cpu_ns += c.mark_cpu_ns;
	kr_gc.cycle_cpu_ns = c.mark_cpu_ns;
	kr_gc.alloc_bytes = alloc_bytes;
}

void kr_gc_cycle_end(bool concurrent)
{
	uint64_t alloc_bytes = 0;

	if (concurrent) {
		kr_gc_for_each_p(add_counts_of);
		add_counts(&kr_gc.plain);
		/* What was allocated meanwhile is marked, and nobody counted. */
		kr_caches_for_each(kr_cache_flush);
		alloc_bytes = (uint64_t)READ_ONCE(kr_heap.live_bytes) -
			      kr_gc.before_bytes;
		kr_gc_barrier_set(false);
		KR_ASSERT(!sched.scan_nr && !kr_mark_roots_left());
		if (kr_gc.check)
			kr_check_end();
		if (kr_gc.by_pages)
			kr_remark_disarm();
	}
	if (kr_gc_hooks) {
		kr_gc.marker.alone = true;
		kr_gc_hooks->marked(&kr_gc.marker);
		kr_mark_drain(&kr_gc.marker);
		kr_gc.marker.alone = false;
		kr_work_flush(&kr_gc.marker);
	}
	kr_gc.has_ended = true;
	kr_heap_mark_end(kr_gc.marker.marked_bytes + alloc_bytes);
	account(concurrent, alloc_bytes);
	if (READ_ONCE(kr_gc.trace))
		trace(concurrent);
}

static KR_NOINLINE void collect_stopped(struct m *mp, bool forced)
{
	struct kr_gc_stop stop = {
		.mp = mp,
		.self = mp ? NULL : kr_gc_thread_self(),
	};
	bool ended, by_pages = false;

	if (!kr_gc_stop(&stop))
		return;
	kr_gc_save_regs(&stop);
	ended = kr_heap.marking;
	if (ended) {
		size_t bytes;

		by_pages = kr_gc.by_pages;
		kr_gc_finish_stopped();
		while (forced && kr_heap_sweep_one(&bytes))
			;
	}
	/* Another one may have been faster; what has just ended is not swept. */
	if (forced || (!ended && kr_gc_is_due())) {
		kr_gc_cycle_begin(&stop, forced);
		mark_all(&kr_gc.marker);
		kr_gc_cycle_end(false);
	}
	kr_gc_go_on(&stop);
	if (by_pages)
		kr_remark_release(mp);
}

void kr_gc_end_now(void)
{
	collect_stopped(NULL, false);
	kr_gc_sweeper_start(NULL);
}

struct m *kr_gc_collect(struct m *mp, bool forced)
{
	if (READ_ONCE(kr_heap.marking)) {
		if (!forced)
			return kr_gc_assist(mp);
		if (mp)
			mp = kr_gc_drive(mp);
	}
	if (!mp && !forced && kr_gc_begin_elsewhere())
		return mp;
	mp = kr_gc_sweep_all(mp);
	/* A thread has no P to mark with: it begins a cycle, but may not wait. */
	if (kr_gc_is_concurrent() && READ_ONCE(sched.running) &&
	    (mp || !forced)) {
		uint64_t nr = READ_ONCE(kr_gc.nr);

		mp = kr_gc_begin(mp, forced);
		if (forced)
			mp = kr_gc_drive(mp);
		/* It was by pages, and they cannot be watched any more. */
		if (forced && READ_ONCE(kr_gc.nr) == nr)
			collect_stopped(mp, true);
	} else {
		collect_stopped(mp, forced);
	}
	/* Which cycle: noted first, as others may end one while this one is swept. */
	if (forced)
		mp = sweep_all_of(mp, READ_ONCE(kr_heap.sweepgen));
	else
		kr_gc_sweeper_start(mp);
	kr_final_look();
	return mp;
}

/* ---- settings, statistics ---- */

static int set_huge_pages(bool on)
{
	int err = kr_pages_set_huge(on ? KR_HUGE_ON : KR_HUGE_OFF);

	return err == -EINVAL ? -EOPNOTSUPP : err;
}

int kr_gc_set(enum kaus_gc_setting what, int64_t value)
{
	bool by_pages = what == KAUS_GC_CONCURRENT && value >= KR_GC_PAGES &&
			kr_remark_is_possible();
	int err = 0;

	kr_lock(&kr_gc.lock);
	switch (what) {
	case KAUS_GC_PERCENT:
		if (value < -1 || value > INT32_MAX)
			err = -EINVAL;
		else
			kr_pacer_set_percent(&kr_gc.pacer, (int32_t)value);
		break;
	case KAUS_GC_LIMIT:
		if (value < -1)
			err = -EINVAL;
		else
			kr_pacer_set_limit(&kr_gc.pacer, value < 0 ?
					   KR_PACER_NO_LIMIT : (uint64_t)value);
		break;
	case KAUS_GC_DATA:
		kr_gc.no_data = !value;
		break;
	case KAUS_GC_TRACE:
		WRITE_ONCE(kr_gc.trace, !!value);
		break;
	case KAUS_GC_CONCURRENT:
		if (value < 0 || value >= KR_GC_NR_MODES)
			err = -EINVAL;
		else if (value >= KR_GC_PAGES && !by_pages)
			err = -EOPNOTSUPP;
		else
			WRITE_ONCE(kr_gc.concurrent, (uint32_t)value);
		break;
	case KAUS_GC_CHECK:
		if (value < 0 || value > 2)
			err = -EINVAL;
		else
			WRITE_ONCE(kr_gc.check_wanted, (uint32_t)value);
		break;
	case KAUS_GC_POISON:
		if (value < 0 || value > 1)
			err = -EINVAL;
		else
			WRITE_ONCE(kr_heap.poison, value);
		break;
	case KAUS_GC_HUGE_PAGES:
		if (value < 0 || value > 1)
			err = -EINVAL;
		else
			err = set_huge_pages(value);
		break;
	case KAUS_GC_GOAL:
		if (value < -1)
			err = -EINVAL;
		else
			kr_pacer_set_goal(&kr_gc.pacer, value < 0 ? 0 :
					  value ? (uint64_t)value : 1);
		break;
	case KAUS_GC_PERIOD:
		if (value < -1)
			err = -EINVAL;
		else
			kr_gc.period_ns = value < 0 ? 0 :
					  value ? (uint64_t)value : 1;
		break;
	default:
		err = -EINVAL;
		break;
	}
	/* In the midst of a cycle it is when the next one has to help. */
	if (kr_gc.on && !READ_ONCE(kr_heap.marking))
		kr_gc_set_due();
	kr_unlock(&kr_gc.lock);
	return err;
}

void kr_gc_set_other(uint64_t bytes)
{
	kr_lock(&kr_gc.lock);
	kr_pacer_set_other(&kr_gc.pacer, bytes);
	if (kr_gc.on && !READ_ONCE(kr_heap.marking))
		kr_gc_set_due();
	kr_unlock(&kr_gc.lock);
}

int64_t kr_gc_get(enum kaus_gc_setting what)
{
	int64_t value;

	kr_lock(&kr_gc.lock);
	switch (what) {
	case KAUS_GC_PERCENT:
		value = kr_gc.pacer.percent;
		break;
	case KAUS_GC_LIMIT:
		value = kr_gc.pacer.limit_bytes == KR_PACER_NO_LIMIT ? -1 :
			(int64_t)kr_gc.pacer.limit_bytes;
		break;
	case KAUS_GC_DATA:
		value = !kr_gc.no_data;
		break;
	case KAUS_GC_TRACE:
		value = kr_gc.trace;
		break;
	case KAUS_GC_CONCURRENT:
		value = kr_gc.concurrent;
		break;
	case KAUS_GC_CHECK:
		value = kr_gc.check_wanted;
		break;
	case KAUS_GC_POISON:
		value = READ_ONCE(kr_heap.poison);
		break;
	case KAUS_GC_HUGE_PAGES:
		value = kr_pages_huge() == KR_HUGE_DEFAULT ? -1 :
			kr_pages_huge() == KR_HUGE_ON;
		break;
	case KAUS_GC_GOAL:
		value = kr_gc.pacer.set_goal_bytes ?
			(int64_t)kr_gc.pacer.set_goal_bytes : -1;
		break;
	case KAUS_GC_PERIOD:
		value = kr_gc.period_ns ? (int64_t)kr_gc.period_ns : -1;
		break;
	default:
		value = -EINVAL;
		break;
	}
	kr_unlock(&kr_gc.lock);
	return value;
}

void kr_gc_read_pacer(struct kaus_gc_pacer *ret)
{
	const struct kr_pacer *p = &kr_gc.pacer;
	int64_t live = READ_ONCE(kr_heap.live_bytes);

	kr_lock(&kr_gc.lock);
	*ret = (struct kaus_gc_pacer){
		.size = sizeof(*ret),
		.goal_bytes = p->goal_bytes,
		.trigger_bytes = p->trigger_bytes,
		.live_bytes = live > 0 ? (uint64_t)live : 0,
		.marked_bytes = p->heap_marked_bytes,
		.root_bytes = p->root_bytes,
		.scan_bytes = p->scan_bytes,
		.limit_bytes = p->limit_bytes,
		.cons_mark = kr_pacer_cons_mark(p),
		.cpu_debt_ns = p->bucket_ns,
		.cpu_debt_max_ns = p->bucket_max_ns,
		.goal_is_limit = p->goal_is_limit,
		.goal_is_set = p->set_goal_bytes != 0,
		.limiting = p->limiting,
	};
	kr_unlock(&kr_gc.lock);
}

void kr_gc_read_stats(struct kaus_gc_stats *st)
{
	int64_t live = READ_ONCE(kr_heap.live_bytes);
	size_t size = st->size;

	kr_lock(&kr_gc.lock);
	*st = kr_gc.st;
	st->heap_goal_bytes = kr_gc.pacer.goal_bytes;
	st->nr_limited = kr_gc.pacer.nr_limited;
	kr_unlock(&kr_gc.lock);
	st->size = size;
	st->heap_live_bytes = live > 0 ? (uint64_t)live : 0;
	kr_final_read_stats(&st->nr_finalizers_waiting, &st->nr_finalizers);
	st->nr_heap_lock_waits = kr_pages_lock_waits(&st->heap_lock_wait_ns);
	st->nr_span_list_retries = kr_centrals_retries();
	kr_scavenge_read_stats(&st->returned_bytes, &st->scavenge_cpu_ns);
}
