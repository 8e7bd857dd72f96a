/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What cycle.c and concurrent.c share: one cycle, its stops, its numbers. */
#ifndef KR_GC_STATE_H
#define KR_GC_STATE_H

#include <kaus/gc.h>
#include <stdbool.h>
#include <stdint.h>

#include "gc/gc.h"
#include "gc/pacer.h"
#include "offsets.h"

struct kr_gc {
	uint32_t lock;			/* pacer, statistics, settings */
	struct kr_pacer pacer;
	bool on;
	bool forked;			/* from a process with more threads */
	bool no_data, trace;
	uint32_t concurrent;		/* enum kr_gc_mode */
	uint32_t check_wanted;
	uint64_t start_ns, end_ns;	/* of the program, of the last cycle */
	uint64_t period_ns;		/* a cycle at least so often; 0: none */
	struct kaus_gc_stats st;

	/* Of the cycle; changed while the world is stopped. */
	struct kr_marker marker;	/* whoever has stopped it marks with this */
	uint64_t nr;			/* cycles begun */
	bool forced;
	struct kr_marker plain;		/* counts of threads; at any time */
	bool has_ended;			/* in this stop */
	bool by_pages;			/* no barrier: remark.c */
	uint32_t check;			/* as it was wanted at its beginning */
	uint64_t begin_ns, before_bytes, goal_bytes;
	uint64_t cycle_cpu_ns, alloc_bytes;	/* when it has ended */
};

extern struct kr_gc kr_gc;

/*
 * A goroutine calls @fn, unless *@is_there; @fn sets that to 0 at its end, with
 * preemption off. @mp: the M, preemption off, or NULL on a plain thread.
 */
void kr_gc_g_start(struct m *mp, void (*fn)(void *arg), uint32_t *is_there);
/* A goroutine sweeps, unless one does. @mp: as for kr_gc_begin(). */
void kr_gc_sweeper_start(struct m *mp);

/* A stop of all that can change references, and with kr_gc.lock. */
struct kr_gc_stop {
	struct m *mp;
	struct kr_gc_thread *self;	/* if that is NULL */
	uint64_t asked_ns, stopped_ns;
};

/* The registers of the one who stops, in the caller's frame; may have none. */
#define kr_gc_save_regs(stop)						\
	do {								\
		if ((stop)->mp)						\
			kr_regs_save(&(stop)->mp->regs);		\
		else if ((stop)->self)					\
			kr_regs_save(&(stop)->self->regs);		\
	} while (0)

/* Under a CPU quota no stop begins so short before a tick. Tests change it. */
extern uint64_t kr_gc_tick_before_ns;

/*
 * May wait for up to that, under a quota. Return: false if main has ended, there
 * is no heap, or it cannot be.
 */
bool kr_gc_stop(struct kr_gc_stop *stop);
void kr_gc_go_on(struct kr_gc_stop *stop);

/* Between the two. */

/* Nothing is marked; the caller's registers are saved. @stop begins a cycle. */
void kr_gc_cycle_begin(const struct kr_gc_stop *stop, bool forced);
/* What threads and variables refer to; kr_mark_some_roots() has the others. */
void kr_gc_mark_roots(struct kr_marker *mk);
/* Threads that have no P have marked with @mk. Any time. */
void kr_gc_count_plain(const struct kr_marker *mk);
/* All is marked. */
void kr_gc_cycle_end(bool concurrent);
/* kr_heap.due_bytes, from the pacer. */
void kr_gc_set_due(void);

/* ---- concurrent.c ---- */

/**
 * kr_gc_begin() - Begin a concurrent cycle, unless one is under way.
 * @mp: The M, preemption off, or NULL on a registered thread.
 * @forced: As for kr_gc_collect().
 *
 * Return: the M it goes on with.
 */
struct m *kr_gc_begin(struct m *mp, bool forced);
/* What an allocation owes. Context, return: as above. */
struct m *kr_gc_assist(struct m *mp);
/* For sched.scan_first. */
void kr_gc_scan_first(struct m *mp, struct g *gp);
/* Mark until the present cycle has ended. Context, return: as above. */
struct m *kr_gc_drive(struct m *mp);
/* On a plain thread: stop the world for the rest of a concurrent cycle. */
void kr_gc_end_now(void);
/*
 * On a plain thread, without a runtime: have one begun by a thread of its own.
 * False: there is none, or it is late.
 */
bool kr_gc_begin_elsewhere(void);
/* What a cycle would be, if it began now: concurrent? */
bool kr_gc_is_concurrent(void);
bool kr_gc_is_by_pages(void);
/* In a child of fork(): nobody is at what there was. */
void kr_gc_conc_forked(void);
/* The world is stopped: what is left of a concurrent cycle, at once. */
void kr_gc_finish_stopped(void);

/* ---- background.c ---- */

/* Begin a cycle, or go on with this one. False: there is no thread for it. */
bool kr_back_wake(void);
/* The thread is not marking, nor about anything else, between the two. */
void kr_back_lock(void);
void kr_back_unlock(void);
void kr_back_forked(void);
/* What it marks with; NULL: it is not there. */
struct kr_gc_p *kr_back_own(void);

/* A step of marking with @mk, which is empty then. 0: nothing is left. */
uint64_t kr_gc_step(struct kr_marker *mk, uint64_t budget);
/* A step has found nothing: the end, or what is to be done before. */
void kr_gc_try_end(struct m *mp, uint64_t nr);
/* Cycle @nr is over. */
bool kr_gc_is_over(uint64_t nr);

/* ---- helper.c ---- */

/* Once. */
void kr_help_init(void);
/* A stop was long: have the next one shared. Context: any, the world runs. */
void kr_help_want(void);
/* In a child of fork(). */
void kr_help_forked(void);

/**
 * kr_help_mark() - Mark what is left, with all there are to help.
 * @mk: What is left is in here, in the list, and the roots not looked at yet;
 *	has what they count afterwards.
 * @roots_only: Only the last, and not what they lead to.
 *
 * Context: the world is stopped, @mk->alone.
 * Return: false if there is nobody, and nothing has been done.
 */
bool kr_help_mark(struct kr_marker *mk, bool roots_only);

/* ---- barrier.c ---- */

/* What the holder of a P has. */
struct kr_gc_p {
	struct kr_marker marker;
	uint32_t nr_old;
	uintptr_t old[KR_GC_MAX_OLD];	/* overwritten, not looked at yet */
};

/* What an M has, for asm/barrier.S: stores of goroutines on it. */
struct kr_gc_told {
	uint64_t nr;
	uintptr_t old[TOLD_MAX];
};

/* The P's; made with the first use. Preemption off. */
struct kr_gc_p *kr_gc_of(struct m *mp);
/* Look at what stores have overwritten. Preemption off; enters kr_work. */
void kr_gc_flush_old(struct m *mp);
/* The world is stopped: that of all, as work for @mk. */
void kr_gc_flush_all(struct kr_marker *mk);
/* The same, and a cycle begins: there was nothing to tell. */
void kr_gc_forget_all(void);
void kr_gc_for_each_p(void (*fn)(struct kr_gc_p *own));
/* Once, before the first cycle. */
void kr_gc_barrier_init(void);
void kr_gc_barrier_set(bool on);

#endif /* KR_GC_STATE_H */
