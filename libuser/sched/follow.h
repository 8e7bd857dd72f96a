/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The number of Ps and the memory limit follow what the process may use. */
#ifndef KR_SCHED_FOLLOW_H
#define KR_SCHED_FOLLOW_H

#include "sched/sched.h"

/**
 * kr_follow_count() - CPUs that the process may use, by its mask and quotas.
 * @tid: A thread that is not bound, or 0 for the caller.
 *
 * Context: a plain thread. Return: 1 to KAUS_MAX_PROCS.
 */
uint32_t kr_follow_count(int tid);

/* Look whether that has changed. Context: the spawner's thread. */
void kr_follow_look(void);

/* It is @now_ns: have somebody look if nobody has for a while. */
void kr_follow_slow(uint64_t now_ns);

/* Where the clock costs nothing in comparison. */
static inline void kr_follow(void)
{
	if (READ_ONCE(sched.watch))
		kr_follow_slow(kr_clock_now_ns());
}

#define FOLLOW_SKIP	16

/* Every now and then where goroutines are switched; the caller has @pp. */
static inline void kr_follow_tick(struct p *pp)
{
	if (READ_ONCE(sched.watch) && !(++pp->follow_skip % FOLLOW_SKIP))
		kr_follow_slow(kr_clock_now_ns());
}

#endif /* KR_SCHED_FOLLOW_H */
