/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Scheduling by lot, for tests; chance.c tells how. */
#ifndef KR_SCHED_CHANCE_H
#define KR_SCHED_CHANCE_H

#include "sched/sched.h"

/* Before the first M starts. */
void kr_chance_init(uint64_t seed);
/* For a P that comes later. */
void kr_chance_seed(struct p *pp);

static inline bool kr_chance_on(void)
{
	return unlikely(sched.chance);
}

/* True one time in @nr; the caller holds @pp. */
bool kr_chance_one_in(struct p *pp, uint32_t nr);

/* Any goroutine that could run on the M's P, or NULL. */
struct g *kr_chance_pick(struct m *mp);

/* May the running goroutine be made to give way as it leaves the runtime? */
static inline bool kr_chance_gives_way(struct m *mp)
{
	return !kr_chance_on() || kr_chance_one_in(mp->p, 4);
}

/* See to it that the next exit from the runtime asks kr_chance_gives_way(). */
static inline void kr_chance_arm(struct m *mp)
{
	if (kr_chance_on())
		kr_or(&mp->slot->events, KAUS_EV_PREEMPT);
}

/*
 * For what is done without entering the runtime, but is where others may come
 * in: a goroutine that calls this may be made to give way.
 */
void kr_chance_point_slow(void);
static inline void kr_chance_point(void)
{
	if (kr_chance_on())
		kr_chance_point_slow();
}

/* Leave it to the caller's own P to run what the caller has put there? */
bool kr_chance_skips_wake(void);

#endif /* KR_SCHED_CHANCE_H */
