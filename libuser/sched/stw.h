/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Stopping the world. What it means and how it is done: stw.c. */
#ifndef KR_SCHED_STW_H
#define KR_SCHED_STW_H

#include <stdbool.h>

struct m;
struct p;

/* Before the first M starts. */
void kr_stw_init(void);

/**
 * kr_stop_world() - Stop all goroutines but the caller's.
 * @mp: The caller's M, preemption off, or NULL on a plain thread.
 * @why: For dumps: a constant.
 *
 * Afterwards no M has a P, and none is in a goroutine's code or will get there,
 * but for the exceptions that stw.c lists. Another stop is waited for; then the
 * caller's goroutine is one of those that are stopped. The caller calls nothing
 * that parks until kr_start_world(). May sleep.
 *
 * Return: false if main has ended, and nothing is stopped. Only on a plain
 * thread; in a goroutine it does not return then.
 */
bool kr_stop_world(struct m *mp, const char *why);

/**
 * kr_stop_ps() - Stop what needs a P.
 * @mp: As for kr_stop_world().
 * @why: As for kr_stop_world().
 *
 * The scheduler's own state stands still, but the goroutines of Ms that have
 * lost their Ps may be in their own code. No system call is interrupted.
 *
 * Return: as kr_stop_world().
 */
bool kr_stop_ps(struct m *mp, const char *why);

/**
 * kr_start_world() - Undo kr_stop_world() or kr_stop_ps().
 * @mp: As there.
 */
void kr_start_world(struct m *mp);

/* Nobody stops the world between the two: the runtime is being started. */
void kr_stw_hold(void);
void kr_stw_release(void);

/* In a child of fork(), without Ms: another thread was about to, perhaps. */
void kr_stw_forked(void);

/* For those who are to stop. */

/*
 * The M's goroutine stops here, if the world is to be stopped, until it starts
 * again; on the same M, perhaps with another P. Preemption off, any stack.
 */
void kr_stop_here(struct m *mp);
/* The same in the M's loop: gives up the P. */
void kr_stop_in_loop(struct m *mp);
/* sched.lock held, sched.stw set: an IDLE P that is nobody's is stopped. */
void kr_stop_idle_locked(struct p *pp);
/* An M without a P is about to park: whoever waits for it looks again. */
void kr_stop_progress(void);

#endif /* KR_SCHED_STW_H */
