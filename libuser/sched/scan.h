/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What goroutines refer to, while the world is stopped: scan.c. */
#ifndef KR_SCHED_SCAN_H
#define KR_SCHED_SCAN_H

struct g;
struct g_slab;

/* Words that may be references: from the first at @lo to before @hi. */
typedef void (*kr_scan_fn)(void *arg, const void *lo, const void *hi);

/* After kr_stop_world(), before the others: which goroutine is on which M. */
void kr_scan_prepare(void);

/**
 * kr_scan_g() - Where a goroutine's references are.
 * @gp: Any; dead ones have few.
 * @fn: Called for each range.
 * @arg: Passed to @fn.
 *
 * For the goroutine that has stopped the world see kr_scan_self().
 */
void kr_scan_g(struct g *gp, kr_scan_fn fn, void *arg);

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
/* The scheduler's own: armed timers. Between these two. */
void kr_scan_sched(kr_scan_fn fn, void *arg);

/* All goroutine objects, slab by slab: NULL is before the first. */
struct g_slab *kr_registry_next(struct g_slab *slab);
void kr_scan_slab(struct g_slab *slab, kr_scan_fn fn, void *arg);

#endif /* KR_SCHED_SCAN_H */
