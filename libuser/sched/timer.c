/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Timers: a queue per P, in order of the absolute deadline (tqueue.c).
 *
 * The M that holds the P runs what is due whenever it looks for work; idle Ms
 * look at all Ps before they sleep, and the last to sleep does so until the
 * earliest deadline (the timekeeper, idle.c). That of the P is published in
 * kaus_proc.timer_ns, where the module finds it: it redirects a hog, or hands off
 * a sleeping P, when the time has come. Without the module sysmon reads the same
 * word.
 *
 * It is exact: nobody wakes up to find nothing due. Only while a queue has yet
 * to find out what is earliest, a piece at a time, does the word say that some
 * timer is long due. Then whoever looks for work goes on with it.
 *
 * What is due fires FIRE_BATCH at a time, and those goroutines run before the
 * next batch. Many timers may be due at once, after a hog or on a machine that
 * is too slow for them: each may start a goroutine, and as many stacks as that
 * are to be touched, and leave the caches, before the first one runs.
 *
 * timer_lock may be taken under the locks of channels and their like; only
 * what a fresh goroutine needs is taken under it (sched.lock, the registry's,
 * the allocators'), and what the collector is told with (its list of work).
 */
#include "sched/runq.h"
#include "sched/virtual.h"

#define FIRE_BATCH	32	/* half of what a P keeps of dead Gs */
#define LONG_DUE_NS	1	/* 0 is no timer */

/* False if it is yet to be seen what is earliest. */
static bool publish_locked(struct p *pp)
{
	bool is_settled = kr_tqueue_settle(&pp->timers);
	uint64_t when_ns = LONG_DUE_NS;

	if (likely(is_settled))
		when_ns = kr_tqueue_top_ns(&pp->timers);
	if (unlikely(kr_time_is_virtual()))
		when_ns = kr_virtual_due(when_ns);
	WRITE_ONCE(pp->slot->timer_ns, when_ns);
	return is_settled;
}

/* Out of the queue, while the collector may not have seen it there: scan.c. */
static inline void taken_locked(const struct kr_timer *t)
{
	if (unlikely(READ_ONCE(sched.scan_timers)))
		sched.scan_timer(t);
}

static void insert_locked(struct p *pp, struct kr_timer *t, uint64_t when_ns)
{
	t->slot = kr_tqueue_insert(&pp->timers, t, when_ns);
	smp_store_release(&t->proc, pp->id + 1);
}

static void remove_locked(struct p *pp, struct kr_timer *t)
{
	kr_tqueue_remove(&pp->timers, t->slot);
	taken_locked(t);
	smp_store_release(&t->proc, 0);
}

/* For a plain thread, which has none: an idle P, as somebody looks at those. */
static struct p *any_p(void)
{
	for (uint32_t i = 0; i < kr_nr_procs(); i++)
		if (KAUS_OWNER_STATE(kr_owner(sched.allp[i])) == KAUS_P_IDLE)
			return sched.allp[i];
	return sched.allp[0];
}

/*
 * The P on which to arm a timer, locked. A plain thread may have chosen one
 * that went away before the lock was there; see kr_timers_move().
 */
static struct p *lock_p(struct m *mp)
{
	for (;;) {
		struct p *pp = mp ? mp->p : any_p();

		kr_lock(&pp->timer_lock);
		if (mp || pp->id < kr_nr_procs())
			return pp;
		kr_unlock(&pp->timer_lock);
	}
}

void kr_timer_start(struct m *mp, struct kr_timer *t, uint64_t when_ns)
{
	struct p *pp = lock_p(mp);

	/* To the module 0 is no timer. */
	insert_locked(pp, t, when_ns ? when_ns : 1);
	publish_locked(pp);
	kr_unlock_quick(&pp->timer_lock);
	if (mp)
		return;
	/* Who keeps time for all may sleep until later: have another look. */
	smp_mb();
	kr_wakep();
}

bool kr_timer_stop(struct kr_timer *t)
{
	for (;;) {
		uint32_t proc = smp_load_acquire(&t->proc);
		struct p *pp;

		/* Not in a queue, but perhaps in the midst of firing: below. */
		if (!proc)
			return false;
		pp = sched.allp[proc - 1];
		kr_lock(&pp->timer_lock);
		if (READ_ONCE(t->proc) == proc) {
			remove_locked(pp, t);
			publish_locked(pp);
			kr_unlock_quick(&pp->timer_lock);
			return true;
		}
		/* It has fired, or has been moved to another P. */
		kr_unlock(&pp->timer_lock);
	}
}

/*
 * With both locks: whoever looks for a timer finds it in one queue or the other.
 * The P that goes away is beyond nr_procs before its lock is taken here, so
 * nobody arms a timer there afterwards.
 */
void kr_timers_move(struct p *from, struct p *to)
{
	struct kr_timer *t;
	uint64_t when_ns;

	kr_lock(&to->timer_lock);
	kr_lock(&from->timer_lock);
	while ((t = kr_tqueue_pop_any(&from->timers, &when_ns))) {
		taken_locked(t);
		insert_locked(to, t, when_ns);
	}
	publish_locked(from);
	publish_locked(to);
	kr_unlock(&from->timer_lock);
	kr_unlock(&to->timer_lock);
}

struct due {
	struct kr_timer *timer;
	uint64_t when_ns;
};

/*
 * Out of the queue with the next batch. Each timer has left the cache since it
 * was armed: all are fetched before the first one fires.
 */
static uint32_t take_due_locked(struct kr_tqueue *q, uint64_t now_ns,
				struct due *due, uint32_t max)
{
	uint32_t nr = 0;

	while (nr < max && kr_tqueue_settle(q)) {
		uint64_t when_ns = kr_tqueue_top_ns(q);

		if (!when_ns || when_ns > now_ns)
			break;
		due[nr].timer = kr_tqueue_pop(q);
		taken_locked(due[nr].timer);
		__builtin_prefetch(due[nr].timer, 1);
		due[nr++].when_ns = when_ns;
	}
	return nr;
}

/*
 * Its last access to a timer that fires once is the store to proc, after which
 * kr_timer_stop() waits for nobody, or what fire() does: then its owner is the
 * one that is woken.
 */
static struct g *fire_locked(struct m *mp, struct p *pp, const struct due *due,
			     uint64_t now_ns)
{
	struct kr_timer *t = due->timer;
	struct g *gp = t->fire(mp, t);
	uint64_t nr_late;

	if (!t->period_ns) {
		smp_store_release(&t->proc, 0);
		return gp;
	}
	/* Ticks that nobody was there to see are left out. */
	nr_late = (now_ns - due->when_ns) / t->period_ns;
	insert_locked(pp, t, due->when_ns + (nr_late + 1) * t->period_ns);
	return gp;
}

/* Fire at most @max, a batch; the goroutines, in order of their deadlines. */
static struct g *run_batch_locked(struct m *mp, struct p *pp, uint64_t now_ns,
				  uint32_t max)
{
	struct g *gp, *list = NULL, **last = &list;
	struct due due[FIRE_BATCH];
	uint32_t nr;

	/* Some start nothing; then somebody has to see to the others. */
	do {
		nr = take_due_locked(&pp->timers, now_ns, due, max);
		mp->nr_fired += nr;
		for (uint32_t i = 0; i < nr; i++) {
			gp = fire_locked(mp, pp, &due[i], now_ns);
			if (!gp)
				continue;
			*last = gp;
			last = &gp->next;
		}
	} while (nr && !list);
	*last = NULL;
	return list;
}

static struct g *run_some(struct m *mp, struct p *pp, uint64_t now_ns,
			  uint32_t max)
{
	struct g *list;
	bool is_settled;

	do {
		/* Whoever has the lock looks again, or is quick. */
		if (!kr_trylock(&pp->timer_lock))
			return NULL;
		if (unlikely(kr_time_is_virtual()))
			now_ns = kr_time_now_ns();
		list = run_batch_locked(mp, pp, now_ns, max);
		is_settled = publish_locked(pp);
		kr_unlock(&pp->timer_lock);
	} while (!list && !is_settled);
	return list;
}

void kr_timers_run(struct m *mp, struct p *pp, uint64_t now_ns)
{
	struct g *gp, *list = run_some(mp, pp, now_ns, FIRE_BATCH);

	if (!list)
		return;
	while (list) {
		gp = list;
		list = gp->next;
		/* In order of their deadlines, so not through runnext. */
		WRITE_ONCE(gp->state, G_RUNNABLE);
		kr_runq_put(mp, gp, false);
	}
	mp->p->fired_tail = mp->p->slot->runq_tail;
	smp_mb();
	kr_wakep();
}

struct g *kr_timers_run_one(struct m *mp, struct p *pp, uint64_t now_ns)
{
	struct g *gp = run_some(mp, pp, now_ns, 1);

	if (gp)
		WRITE_ONCE(gp->state, G_RUNNABLE);
	return gp;
}

uint64_t kr_timers_next(void)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < kr_nr_procs(); i++) {
		uint64_t when = READ_ONCE(sched.allp[i]->slot->timer_ns);

		if (when && when < next)
			next = when;
	}
	return next;
}

uint64_t kr_timers_first(void)
{
	uint64_t first = UINT64_MAX;

	for (uint32_t i = 0; i < kr_nr_procs(); i++) {
		struct p *pp = sched.allp[i];

		uint64_t when_ns;

		kr_lock(&pp->timer_lock);
		while (!kr_tqueue_settle(&pp->timers))
			;
		when_ns = kr_tqueue_top_ns(&pp->timers);
		if (when_ns && when_ns < first)
			first = when_ns;
		kr_unlock(&pp->timer_lock);
	}
	return first;
}

void kr_timers_publish(void)
{
	for (uint32_t i = 0; i < kr_nr_procs(); i++) {
		struct p *pp = sched.allp[i];

		kr_lock(&pp->timer_lock);
		publish_locked(pp);
		kr_unlock(&pp->timer_lock);
	}
}
