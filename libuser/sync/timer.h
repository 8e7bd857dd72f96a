/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Timers that start goroutines. */
#ifndef KR_SYNC_TIMER_H
#define KR_SYNC_TIMER_H

#include "sched/timer.h"

/**
 * kr_timer_go() - For a timer's fire(): a goroutine that runs @fn(@arg).
 * @mp: As given to fire().
 * @t: The timer.
 * @period_ns: Its period, 0 for none.
 *
 * Return: the goroutine, which is fire()'s result, or NULL if there is no
 * memory for it: then the timer fires again after a while.
 */
struct g *kr_timer_go(struct m *mp, struct kr_timer *t, uint64_t period_ns,
		      void (*fn)(void *arg), void *arg);

#endif /* KR_SYNC_TIMER_H */
