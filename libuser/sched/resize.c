/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * How many Ps there are.
 *
 * DOC: The number changes while all Ps are stopped (stw.c), so that whoever has
 * a P may rely on it: a ring without thieves needs no locked operations. All
 * others, the service, sysmon, plain threads, may see it change under their
 * eyes. It does not hurt them:
 *
 *	- a P is made once and stays. One that is not used is STOPPED with
 *	  worker 0, on no list: nobody takes such a P. That is also how a new one
 *	  begins, and kr_start_world() puts it to work.
 *	- nr_procs changes before a P is emptied. The only thing that is put
 *	  into a P from outside is a timer; see kr_timers_move().
 *
 * What waits for a P that goes away waits for any P afterwards: its goroutines
 * go to the global queue, the one that was stopped on it included, its timers
 * to another P, its dead goroutines to the common list. Its numbers of
 * goroutines and its counters stay with it: kaus_stats_read() adds up all.
 *
 * The module knows the greatest number from the start, and a P by its owner
 * word only. So it need not be told.
 */
#include "sched/resize.h"

#include "mem/cache.h"
#include "mem/persist.h"
#include "sched/chance.h"
#include "sched/gpool.h"
#include "sched/runq.h"
#include "sched/stw.h"

/*
 * A table for the first few hundred timers, a page of nodes and one of slots: who
 * sleeps or waits with a deadline need not be told that there is no memory.
 */
static int make_timers(struct kr_tqueue *q)
{
	void *pages;
	int err = kr_vm_map(2 * KR_PAGE_SIZE, false, &pages);

	_Static_assert(sizeof(*q->nodes) == sizeof(*q->slots), "timers");
	if (err)
		return err;
	q->nodes = pages;
	q->slots = (void *)((char *)pages + KR_PAGE_SIZE);
	q->max_heap = KR_PAGE_SIZE / sizeof(*q->nodes);
	q->max_slots = q->max_heap;
	return 0;
}

/* The Ps up to @nr are there; new ones belong to nobody. */
static int make_ps(uint32_t nr)
{
	struct kaus_proc *slots = (struct kaus_proc *)
		((char *)sched.hdr + KAUS_PROCS_OFFSET);

	for (uint32_t id = kr_nr_ps(); id < nr; id++) {
		struct p *pp = kr_persist_alloc(sizeof(*pp));

		if (!pp || kr_gpool_set_ps(id + 1) || make_timers(&pp->timers))
			return -ENOMEM;
		pp->cache = kr_persist_alloc(sizeof(*pp->cache));
		if (!pp->cache)
			return -ENOMEM;
		kr_cache_add(pp->cache);
		pp->slot = &slots[id];
		pp->id = id;
		pp->rand = id * 2654435761U + 1;
		if (kr_chance_on())
			kr_chance_seed(pp);
		pp->cpu = KAUS_NONE;
		WRITE_ONCE(pp->slot->owner, KAUS_OWNER(KAUS_P_STOPPED, 0, 0));
		sched.allp[id] = pp;
		smp_store_release(&sched.nr_ps, id + 1);
	}
	return 0;
}

/* P i has the i-th CPU, if each can have one of its own. */
static void choose_cpus(uint32_t nr)
{
	/* One caller at a time; too much for a goroutine's stack. */
	static unsigned int cpus[KAUS_MAX_PROCS];
	unsigned int nr_cpus;

	/* The service thread is never bound. */
	nr_cpus = kr_cpus_allowed(smp_load_acquire(&sched.nr_ms) ?
					  sched.allm[0]->tid : 0,
				  cpus, KAUS_MAX_PROCS);
	for (uint32_t i = 0; i < nr; i++) {
		struct p *pp = sched.allp[i];

		WRITE_ONCE(pp->cpu, nr_cpus >= nr ? cpus[i] : KAUS_NONE);
		WRITE_ONCE(pp->slot->cpu, pp->cpu);
	}
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/*
 * As many orders as there are steps and Ps to begin with: a P with work is not
 * robbed more often because those before it have none (Go's randomOrder).
 */
static void choose_steps(uint32_t nr)
{
	uint32_t nr_steps = 0;

	for (uint32_t step = 1; step <= nr; step++)
		if (gcd(step, nr) == 1)
			sched.steps[nr_steps++] = (uint16_t)step;
	sched.nr_steps = nr_steps;
}

int kr_resize_init(uint32_t nr_procs)
{
	int err;

	/* An earlier try may have failed, with another region. */
	WRITE_ONCE(sched.nr_ps, 0);
	sched.allp = kr_persist_alloc(sched.max_procs * sizeof(*sched.allp));
	if (!sched.allp)
		return -ENOMEM;
	err = make_ps(nr_procs);
	if (err)
		return err;
	/* kr_proc_init() puts them on the list of idle ones. */
	for (uint32_t i = 0; i < nr_procs; i++)
		sched.allp[i]->slot->owner = 0;
	choose_cpus(nr_procs);
	choose_steps(nr_procs);
	smp_store_release(&sched.nr_procs, nr_procs);
	return 0;
}

/* The goroutine that was stopped with the P waits for any P. */
static void forget_stopped(struct p *pp)
{
	struct m *mp = pp->stopped_m;

	if (!mp)
		return;
	pp->stopped_m = NULL;
	kr_globq_put(mp->curg);
}

/* @pp is beyond nr_procs: what it has goes to all, and its timers to @to. */
static void empty(struct p *pp, struct p *to)
{
	struct g *gp;
	bool inherit;

	forget_stopped(pp);
	if (pp->nextg) {
		kr_globq_put(pp->nextg);
		pp->nextg = NULL;
	}
	while ((gp = kr_runq_get(pp, &inherit)))
		kr_globq_put(gp);
	kr_timers_move(pp, to);
	kr_gfree_flush(pp);
	kr_cache_flush(pp->cache);
	kr_pages_flush(&pp->cache->pages);
}

/* The caller needs a P that stays; best one that nobody was stopped with. */
static void change_own(struct m *mp, uint32_t nr)
{
	struct p *to = sched.allp[0];

	for (uint32_t i = 0; i < nr; i++) {
		if (!sched.allp[i]->stopped_m) {
			to = sched.allp[i];
			break;
		}
	}
	forget_stopped(to);
	kr_p_change(mp, to);
}

static int resize(struct m *mp, uint32_t nr_procs, bool follow)
{
	uint32_t old;
	int err = 0;

	if (!kr_stop_ps(mp, "number of Ps"))
		return -EPERM;
	old = kr_nr_procs();
	if (!follow)
		WRITE_ONCE(sched.follow, false);
	else if (!READ_ONCE(sched.follow))
		goto out;
	err = make_ps(nr_procs);
	if (err)
		goto out;
	choose_cpus(nr_procs);
	choose_steps(nr_procs);
	smp_store_release(&sched.nr_procs, nr_procs);
	if (mp && mp->p->id >= nr_procs)
		change_own(mp, nr_procs);
	else if (mp)
		kr_p_bind(mp);
	for (uint32_t i = nr_procs; i < old; i++)
		empty(sched.allp[i], sched.allp[i % nr_procs]);
out:
	kr_start_world(mp);
	/* More Ps want more Ms in the pool. */
	if (!err && nr_procs > old)
		sched.assist->service_poke();
	return err;
}

int kr_resize(struct m *mp, uint32_t nr_procs)
{
	return resize(mp, nr_procs, false);
}

void kr_resize_follow(uint32_t nr_procs)
{
	resize(NULL, nr_procs, true);
}
