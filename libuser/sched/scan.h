/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What goroutines refer to: scan.c. */
#ifndef KR_SCHED_SCAN_H
#define KR_SCHED_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/sched.h"

/* Words that may be references: from the first at @lo to before @hi. */
typedef void (*kr_scan_fn)(void *arg, const void *lo, const void *hi);

/* After kr_stop_world(), before the others. */
void kr_scan_begin(void);

/**
 * kr_scan_g() - Where a goroutine's references are.
 * @gp: Any; dead ones have few.
 * @fn: Called for each range.
 * @arg: Passed to @fn.
 *
 * For the goroutine that has stopped the world m.regs are to be saved before.
 */
void kr_scan_g(struct g *gp, kr_scan_fn fn, void *arg);

/**
 * kr_scan_some() - Look at goroutines that nobody has looked at.
 * @fn: Called for each range.
 * @arg: Passed to @fn.
 *
 * Context: the world is stopped, or after kr_scan_defer(): then preemption off.
 * Any number of threads.
 *
 * Return: how many there were; 0 if none is left.
 */
uint32_t kr_scan_some(kr_scan_fn fn, void *arg);
/* The same for timers that are armed; 0 also if others are at them. */
uint32_t kr_scan_some_timers(kr_scan_fn fn, void *arg);
bool kr_scan_is_left(void);

/**
 * kr_scan_defer() - Look at those that are on an M, and at the others later.
 * @fn: Called for each range of those on an M.
 * @arg: Passed to @fn.
 *
 * The world may go on. Each of the others is looked at by kr_scan_some(), or
 * before it runs by sched.scan_first(), which is to call kr_scan_once(). Timers
 * are left to kr_scan_some_timers(), or told of by sched.scan_timer() when they
 * are taken out of a queue.
 */
void kr_scan_defer(kr_scan_fn fn, void *arg);

/* While that goes on: nobody has looked at @gp, or somebody does so right now. */
static inline bool kr_scan_is_due(const struct g *gp)
{
	return smp_load_acquire(&gp->scanned) !=
	       smp_load_acquire(&sched.scan_nr) << 1;
}

/* In a child of fork(). */
void kr_scan_forked(void);

/* Look at it, or wait for whoever does. Preemption off; it is not running. */
void kr_scan_once(struct g *gp, kr_scan_fn fn, void *arg);

/*
 * Only those that an M has left in the midst of what they do: preempted, waiting
 * for a P, asleep in the kernel. A goroutine that is in a queue, or parked, has
 * called the library, and has nothing in a register that is not in its frames.
 */
void kr_scan_stopped(kr_scan_fn fn, void *arg);

/*
 * What those had at hand that were stopped between two instructions: general
 * registers and the top of the stack.
 */
void kr_scan_interrupted(kr_scan_fn fn, void *arg);

/* Nobody arms or disarms a timer between the two. */
void kr_scan_lock(void);
void kr_scan_unlock(void);

#endif /* KR_SCHED_SCAN_H */
