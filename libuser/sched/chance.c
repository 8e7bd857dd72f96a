/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Scheduling by lot: orders of events that a normal run hardly ever shows.
 *
 * DOC: With KAUS_SCHED_RANDOM=seed every choice the scheduler is free to make is
 * drawn from a generator: which of the goroutines that could run does, whether
 * one that leaves the runtime gives way, whom to rob of how much, whether to
 * wake somebody for new work, and how goroutines get out of the global queue.
 * Timers that are due at the same moment all put their goroutines into a queue,
 * so they are drawn, too. What must not be lost is never drawn: there is no
 * lot about wakes of which only the caller's own P could make up for, once it
 * has one.
 *
 * Each P has its own generator, used only by who holds the P. So with one P, and
 * as long as nothing from outside interferes (preemption in mid code, clocks,
 * descriptors, threads), a seed always gives the same order.
 *
 * It costs nothing where it is off: sched.detour sends voluntary switches
 * through the M's loop, as the end of main does, and a standing KAUS_EV_PREEMPT
 * sends every exit from the runtime to kr_exit_slow().
 */
#include "sched/chance.h"

#include "base/rand.h"
#include "sched/runq.h"

#define MIX_MAX	32	/* choose among so many at the head of a queue */

/* splitmix64's output function: seeds that differ by one are far apart. */
static uint64_t scatter(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint64_t chance_seed;

void kr_chance_seed(struct p *pp)
{
	pp->rand = (uint32_t)scatter(chance_seed +
				     (pp->id + 1) * 0x9e3779b97f4a7c15ULL) | 1;
}

void kr_chance_init(uint64_t seed)
{
	chance_seed = seed;
	for (uint32_t i = 0; i < kr_nr_procs(); i++)
		kr_chance_seed(sched.allp[i]);
	sched.chance = true;
	sched.detour = true;
}

/* The high bits: the low ones of an xorshift are weak. */
static uint32_t draw(struct p *pp, uint32_t nr)
{
	return (uint32_t)((uint64_t)kr_rand(&pp->rand) * nr >> 32);
}

bool kr_chance_one_in(struct p *pp, uint32_t nr)
{
	return draw(pp, nr) == 0;
}

/* Bring any of the first few to the head of the P's queue. */
static void mix(struct p *pp)
{
	uint64_t next = kr_xchg(&pp->slot->runnext, 0);
	uint32_t nr;
	bool inherit;

	if (next)
		kr_ring_put(pp, kr_next_g(next));
	nr = pp->slot->runq_tail - READ_ONCE(pp->slot->runq_head);
	if (nr > MIX_MAX)
		nr = MIX_MAX;
	for (nr = nr ? draw(pp, nr) : 0; nr; nr--) {
		struct g *gp = kr_runq_get(pp, &inherit);

		/* Thieves may have been there. */
		if (!gp)
			return;
		kr_ring_put(pp, gp);
	}
}

struct g *kr_chance_pick(struct m *mp)
{
	struct p *pp = mp->p;
	struct g *gp;
	bool inherit;

	kr_new_slice(pp);
	if (READ_ONCE(sched.hdr->nr_global) &&
	    (!kr_p_has_work(pp) || kr_chance_one_in(pp, 4))) {
		gp = kr_chance_one_in(pp, 4) ? kr_globq_get_back() : NULL;
		if (!gp)
			gp = kr_globq_get(pp);
		if (gp)
			kr_ring_put(pp, gp);
	}
	mix(pp);
	gp = kr_runq_get(pp, &inherit);
	/* A thief was faster. */
	return gp ? gp : kr_globq_get(NULL);
}

KR_NOINLINE void kr_chance_point_slow(void)
{
	struct m *mp = kr_enter();

	if (mp)
		kr_exit(mp);
}

bool kr_chance_skips_wake(void)
{
	struct m *mp = kr_self();

	return mp && mp->curg && mp->p && mp->slot->defer &&
	       kr_chance_one_in(mp->p, 4);
}
