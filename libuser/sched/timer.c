/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Timers: a heap per P, keyed by the absolute deadline.
 *
 * The M that holds the P runs what is due whenever it looks for work; idle Ms
 * look at all Ps before they sleep, and the last to sleep does so until the
 * earliest deadline (the timekeeper, idle.c). The top of the heap is published
 * in kaus_proc.timer_ns, where the module finds it: it redirects a hog, or
 * hands off a sleeping P, when the time has come. Without the module sysmon
 * reads the same word.
 *
 * The heap has four children per node, as Go's: half the levels of a binary
 * one, and the children share a cache line. Nodes know a slot, slots know the
 * timer and the node; a timer can thus be removed from the middle, and those
 * that are armed and stopped again, as most deadlines are, leave nothing
 * behind. (Go marks them dead and sweeps: its timers live in a garbage
 * collected heap, ours on stacks.)
 *
 * What is due fires FIRE_BATCH at a time, and those goroutines run before the
 * next batch. Many timers may be due at once, after a hog or on a machine that
 * is too slow for them: each may start a goroutine, and as many stacks as that
 * are to be touched, and leave the caches, before the first one runs.
 *
 * timer_lock may be taken under the locks of channels and their like; only
 * what a fresh goroutine needs is taken under it (sched.lock, the registry's,
 * the allocators'). The tables grow by mapping memory, never by malloc(): a
 * goroutine preempted inside malloc() may hold its lock.
 */
#include "sched/runq.h"
#include "sched/virtual.h"

#define ARITY		4
#define TIMERS_FIRST	256	/* a page of nodes; doubles */
#define NODES_PAD	3	/* before the root: children fill a line */
#define FIRE_BATCH	32	/* half of what a P keeps of dead Gs */

static inline struct kr_timer_node *node_at(const struct kr_timer_heap *h,
					    uint32_t pos)
{
	return &h->nodes[pos + NODES_PAD];
}

static void publish_locked(struct p *pp)
{
	struct kr_timer_heap *h = &pp->timers;
	uint64_t when_ns = h->nr ? node_at(h, 0)->when_ns : 0;

	if (unlikely(kr_time_is_virtual()))
		when_ns = kr_virtual_due(when_ns);
	WRITE_ONCE(pp->slot->timer_ns, when_ns);
}

static inline void place(struct kr_timer_heap *h, uint32_t pos,
			 struct kr_timer_node node)
{
	*node_at(h, pos) = node;
	h->slots[node.slot].pos = pos;
}

static void sift_up(struct kr_timer_heap *h, uint32_t pos)
{
	struct kr_timer_node moved = *node_at(h, pos);

	while (pos) {
		uint32_t up = (pos - 1) / ARITY;

		if (node_at(h, up)->when_ns <= moved.when_ns)
			break;
		place(h, pos, *node_at(h, up));
		pos = up;
	}
	place(h, pos, moved);
}

/* The lines of all children's children, one of which comes next. */
static inline void prefetch_below(const struct kr_timer_heap *h, uint32_t pos)
{
	uint64_t below = (uint64_t)pos * ARITY + 1;

	if (below + ARITY * ARITY > h->nr)
		return;
	for (uint32_t i = 0; i < ARITY; i++)
		__builtin_prefetch(node_at(h, (uint32_t)below + i * ARITY));
}

static void sift_down(struct kr_timer_heap *h, uint32_t pos)
{
	struct kr_timer_node moved = *node_at(h, pos);

	for (;;) {
		uint64_t first = (uint64_t)pos * ARITY + 1;
		const struct kr_timer_node *child;
		uint32_t best = 0, nr;

		if (first >= h->nr)
			break;
		prefetch_below(h, (uint32_t)first);
		nr = h->nr - (uint32_t)first;
		nr = nr < ARITY ? nr : ARITY;
		child = node_at(h, (uint32_t)first);
		for (uint32_t i = 1; i < nr; i++)
			if (child[i].when_ns < child[best].when_ns)
				best = i;
		if (moved.when_ns <= child[best].when_ns)
			break;
		place(h, pos, child[best]);
		pos = (uint32_t)first + best;
	}
	place(h, pos, moved);
}

static void grow_locked(struct kr_timer_heap *h)
{
	size_t old = h->max, max = old ? old * 2 : TIMERS_FIRST;
	void *nodes = h->nodes, *slots = h->slots;

	if (kr_vm_grow(old * sizeof(*h->nodes), max * sizeof(*h->nodes),
		       &nodes) ||
	    kr_vm_grow(old * sizeof(*h->slots), max * sizeof(*h->slots),
		       &slots))
		kr_throw("timer: out of memory");
	h->nodes = nodes;
	h->slots = slots;
	h->max = (uint32_t)max;
}

static void insert_locked(struct p *pp, struct kr_timer *t, uint64_t when_ns)
{
	struct kr_timer_heap *h = &pp->timers;
	uint32_t slot, pos = h->nr;

	if (h->nr + NODES_PAD >= h->max)
		grow_locked(h);
	/* Without free slots as many are in use as there are nodes. */
	slot = h->nr;
	WRITE_ONCE(h->nr, pos + 1);
	if (h->free_slot) {
		slot = h->free_slot - 1;
		h->free_slot = h->slots[slot].pos;
	}
	h->slots[slot].timer = t;
	*node_at(h, pos) = (struct kr_timer_node){ when_ns, slot };
	t->slot = slot;
	smp_store_release(&t->proc, pp->id + 1);
	sift_up(h, pos);
}

/* The node and the slot go; the timer still says where it was. */
static void drop_locked(struct kr_timer_heap *h, uint32_t pos)
{
	uint32_t slot = node_at(h, pos)->slot;

	h->slots[slot].pos = h->free_slot;
	h->slots[slot].timer = NULL;	/* refers to it no more */
	h->free_slot = slot + 1;
	WRITE_ONCE(h->nr, h->nr - 1);
	if (pos == h->nr)
		return;
	*node_at(h, pos) = *node_at(h, h->nr);
	if (pos && node_at(h, pos)->when_ns <
			   node_at(h, (pos - 1) / ARITY)->when_ns)
		sift_up(h, pos);
	else
		sift_down(h, pos);
}

static void remove_locked(struct p *pp, struct kr_timer *t)
{
	struct kr_timer_heap *h = &pp->timers;

	drop_locked(h, h->slots[t->slot].pos);
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

		/* Not in a heap, but perhaps in the midst of firing: below. */
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
 * With both locks: whoever looks for a timer finds it in one heap or the other.
 * The P that goes away is beyond nr_procs before its lock is taken here, so
 * nobody arms a timer there afterwards.
 */
void kr_timers_move(struct p *from, struct p *to)
{
	struct kr_timer_heap *h = &from->timers;

	kr_lock(&to->timer_lock);
	kr_lock(&from->timer_lock);
	for (uint32_t i = 0; i < h->nr; i++)
		insert_locked(to, h->slots[node_at(h, i)->slot].timer,
			      node_at(h, i)->when_ns);
	WRITE_ONCE(h->nr, 0);
	h->free_slot = 0;
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
 * Out of the heap with the next batch. Each timer has left the cache since it
 * was armed: all are fetched before the first one fires.
 */
static uint32_t take_due_locked(struct kr_timer_heap *h, uint64_t now_ns,
				struct due *due, uint32_t max)
{
	uint32_t nr = 0;

	while (nr < max && h->nr && node_at(h, 0)->when_ns <= now_ns) {
		struct kr_timer *t = h->slots[node_at(h, 0)->slot].timer;

		__builtin_prefetch(t, 1);
		due[nr].timer = t;
		due[nr++].when_ns = node_at(h, 0)->when_ns;
		drop_locked(h, 0);
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
	publish_locked(pp);
	return list;
}

static struct g *run_some(struct m *mp, struct p *pp, uint64_t now_ns,
			  uint32_t max)
{
	struct g *list;

	/* Whoever has the lock looks again, or is quick. */
	if (!kr_trylock(&pp->timer_lock))
		return NULL;
	if (unlikely(kr_time_is_virtual()))
		now_ns = kr_time_now_ns();
	list = run_batch_locked(mp, pp, now_ns, max);
	kr_unlock(&pp->timer_lock);
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

		kr_lock(&pp->timer_lock);
		if (pp->timers.nr && node_at(&pp->timers, 0)->when_ns < first)
			first = node_at(&pp->timers, 0)->when_ns;
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
