/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Run queues.
 *
 * DOC: Each P has a ring of RUNQ_SIZE goroutines and one seat in front of it,
 * runnext, for the goroutine that was just made ready. Only the holder of the
 * P puts; the holder and thieves get. The counters head and tail and runnext
 * live in the shared page, where the module compares them to know whether
 * anybody waits. The scheme is that of Go (runtime/proc.go: runqput, runqget,
 * runqgrab), which takes it from Cilk-style bounded deques without ABA: an
 * entry is owned by whoever moves head over it, and head only grows.
 *
 *	put		holder		store entry, then release tail
 *	get		holder		CAS head
 *	steal		anybody		copy entries, then CAS head
 *	runnext		holder puts and gets, thieves take: exchange and CAS
 *
 * What the holder does on each switch is in runq.h.
 *
 * The global queue is urcu's wfcqueue: whoever puts, a plain thread or a
 * trampoline, never waits. Takers are serialised by gq_lock.
 *
 * What overflows a ring, half of it at once, goes there as a batch: an array of
 * pointers in a queue of its own, under gq_lock, with which takers take turns.
 * The goroutines have left the cache by then, and a link in each would have to
 * be fetched, one after the other, by who puts them and by who takes them. Only
 * preempted ones need the entry of their own: it can be cancelled.
 *
 * Who comes back from the kernel without a P has another queue of that kind,
 * gq_back: it may come before those that compute, of which each takes a slice
 * (proc.c), and never comes after one that was put later (but for batches).
 *
 * A P that has run out takes from the newest batch, and from the oldest every
 * eighth time and at the 61st tick. Goroutines that make many others are thus
 * followed into the depth, while those are in the cache and memory for few of
 * them is in use, and none waits for ever. In the order of their age all of one
 * generation are there before the first of the next has run.
 */
#include "base/rand.h"
#include "mem/persist.h"
#include "sched/chance.h"
#include "sched/runq.h"

/* Gs a P takes at once from the global queue into its own. */
#define GLOBQ_BATCH	(RUNQ_SIZE / 2)
/* Every so many times the oldest batch is taken in place of the newest. */
#define OLDEST_TURN	8

struct kr_batch {
	struct kr_batch *older, *newer;
	uint32_t first, end;		/* of gs: those that nobody has taken */
	struct g *gs[RUNQ_SIZE / 2 + 1];
};

/* An empty one, or NULL. They are used again and never freed. */
static struct kr_batch *batch_alloc(void)
{
	struct kr_batch *b;

	kr_lock(&sched.gq_lock);
	b = sched.gq_free;
	if (b)
		sched.gq_free = b->older;
	kr_unlock(&sched.gq_lock);
	return b ? b : kr_persist_alloc(sizeof(*b));
}

static void batch_put(struct kr_batch *b, uint32_t nr)
{
	b->newer = NULL;
	b->first = 0;
	b->end = nr;
	/* Count first, as kr_globq_put(). */
	kr_add(&sched.hdr->nr_global, nr);
	kr_lock(&sched.gq_lock);
	b->older = sched.gq_newest;
	if (b->older)
		b->older->newer = b;
	else
		sched.gq_oldest = b;
	sched.gq_newest = b;
	kr_unlock(&sched.gq_lock);
}

static void batch_free_locked(struct kr_batch *b)
{
	if (b->newer)
		b->newer->older = b->older;
	else
		sched.gq_newest = b->older;
	if (b->older)
		b->older->newer = b->newer;
	else
		sched.gq_oldest = b->newer;
	b->older = sched.gq_free;
	sched.gq_free = b;
}

bool kr_ring_put_slow(struct p *pp, struct g *gp, uint32_t head,
		      uint32_t tail)
{
	uint32_t nr = (tail - head) / 2;
	struct kr_batch *b = pp->spare;

	KR_ASSERT(nr == RUNQ_SIZE / 2);
	if (!b)
		b = batch_alloc();
	/* Without memory for it: one at a time. */
	if (unlikely(!b)) {
		kr_globq_put(gp);
		return true;
	}
	for (uint32_t i = 0; i < nr; i++)
		b->gs[i] = READ_ONCE(pp->runq[(head + i) % RUNQ_SIZE]);
	b->gs[nr] = gp;
	pp->spare = b;
	if (!kr_cas(&pp->slot->runq_head, head, head + nr))
		return false;
	pp->spare = NULL;
	batch_put(b, nr + 1);
	return true;
}

/**
 * kr_runq_steal() - Move half of a victim's goroutines to the caller's P.
 * @pp: The caller's P; its ring is empty.
 * @victim: The P to rob.
 * @steal_next: Take even its runnext when the ring is empty. A holder that
 *	runs will get to it in a moment, and robbing it makes pairs that wake
 *	each other bounce between CPUs; a holder that is off the CPU will not.
 *
 * Return: One of them to run, or NULL.
 */
struct g *kr_runq_steal(struct p *pp, struct p *victim, bool steal_next)
{
	struct kaus_proc *s = pp->slot, *v = victim->slot;

	for (;;) {
		uint32_t head = smp_load_acquire(&v->runq_head);
		uint32_t tail = smp_load_acquire(&v->runq_tail);
		uint32_t nr = tail - head;
		uint32_t mine = s->runq_tail;
		uint64_t next;

		nr -= nr / 2;
		if (!nr) {
			next = READ_ONCE(v->runnext);
			if (!steal_next || !next)
				return NULL;
			if (kr_cas(&v->runnext, next, 0))
				return kr_next_g(next);
			continue;
		}
		/* head moved between the two loads: read again. */
		if (nr > RUNQ_SIZE / 2)
			continue;
		if (kr_chance_on())
			nr = 1 + kr_rand(&pp->rand) % nr;
		for (uint32_t i = 0; i < nr; i++) {
			struct g *gp =
				READ_ONCE(victim->runq[(head + i) % RUNQ_SIZE]);

			WRITE_ONCE(pp->runq[(mine + i) % RUNQ_SIZE], gp);
		}
		if (!kr_cas(&v->runq_head, head, head + nr))
			continue;
		ADD_ONCE(pp->nr_steals, 1);
		nr--;
		if (nr)
			smp_store_release(&s->runq_tail, mine + nr);
		return READ_ONCE(pp->runq[(mine + nr) % RUNQ_SIZE]);
	}
}

void kr_globq_init(void)
{
	cds_wfcq_init(&sched.gq.head, &sched.gq.tail);
	cds_wfcq_init(&sched.gq_back.head, &sched.gq_back.tail);
}

/*
 * Tell the module whose thread the first goroutine waits for, so that a P which
 * is handed off goes there at once. A hint: puts and takes may pass each other.
 */
static void publish_next(const struct m *lockedm)
{
	WRITE_ONCE(sched.hdr->next_worker, lockedm ? lockedm->id + 1 : 0);
}

/* gq_lock held. */
static struct g *first_of(struct kr_gq *q)
{
	struct cds_wfcq_node *node =
		__cds_wfcq_first_nonblocking(&q->head, &q->tail);

	if (!node || node == CDS_WFCQ_WOULDBLOCK)
		return NULL;
	return container_of(node, struct g, gq_node);
}

static struct g *first_back(void)
{
	return READ_ONCE(sched.gq_nr_back) ? first_of(&sched.gq_back) : NULL;
}

static bool is_older(const struct g *gp, const struct g *other)
{
	return (int32_t)(READ_ONCE(gp->gq_nr) - READ_ONCE(other->gq_nr)) < 0;
}

static void publish_first(void)
{
	struct g *gp = first_of(&sched.gq), *back = first_back();

	if (back && (!gp || is_older(back, gp) || kr_back_has_turn()))
		gp = back;
	publish_next(gp ? READ_ONCE(gp->lockedm) : NULL);
}

/* What was just put into @q, and is alone there, comes next. */
static bool first_is_next(const struct kr_gq *q)
{
	if (q == &sched.gq)
		return !READ_ONCE(sched.gq_nr_back);
	return kr_back_has_turn() ||
	       cds_wfcq_empty(&sched.gq.head, &sched.gq.tail);
}

static void put(struct kr_gq *q, struct g *gp)
{
	/* Before anybody may take it and run it. */
	struct m *lockedm = gp->lockedm;

	/* Count first: a count too high only costs a look. */
	kr_add(&sched.hdr->nr_global, 1);
	/* Where it was: there it is before some that came later. */
	if (kr_cas(&gp->gq_claim, GQ_CANCELLED, GQ_QUEUED))
		return;
	if (q == &sched.gq_back)
		kr_add(&sched.gq_nr_back, 1);
	/* Read by who has not got the claim, too. */
	WRITE_ONCE(gp->gq_nr, kr_add(&sched.gq.last_nr, 1));
	/* Whoever takes the claim sees the goroutine as it is here. */
	smp_store_release(&gp->gq_claim, GQ_QUEUED);
	cds_wfcq_node_init(&gp->gq_node);
	if (!cds_wfcq_enqueue(&q->head, &q->tail, &gp->gq_node) &&
	    first_is_next(q))
		publish_next(lockedm);
}

void kr_globq_put(struct g *gp)
{
	gp->is_back = false;
	put(&sched.gq, gp);
}

void kr_globq_put_back(struct g *gp)
{
	gp->is_back = true;
	put(&sched.gq_back, gp);
}

/* The next entry, cancelled or not. gq_lock held. */
static struct g *dequeue_locked(struct kr_gq *q)
{
	struct cds_wfcq_node *node =
		__cds_wfcq_dequeue_blocking(&q->head, &q->tail);

	if (!node)
		return NULL;
	if (q == &sched.gq_back)
		kr_sub(&sched.gq_nr_back, 1);
	return container_of(node, struct g, gq_node);
}

/* It is cancelled: true if it was the first, and is out of the queue now. */
static bool drop_first_locked(struct kr_gq *q, struct g *gp)
{
	if (first_of(q) != gp)
		return false;
	dequeue_locked(q);
	WRITE_ONCE(gp->gq_claim, GQ_NONE);
	return true;
}

bool kr_globq_cancel(struct g *gp)
{
	if (!kr_cas(&gp->gq_claim, GQ_QUEUED, GQ_CANCELLED))
		return false;
	kr_sub(&sched.hdr->nr_global, 1);
	/*
	 * Out of the queue with it if it is the first: the next put would
	 * revive it there, before all others.
	 */
	kr_lock(&sched.gq_lock);
	if (drop_first_locked(&sched.gq_back, gp) ||
	    drop_first_locked(&sched.gq, gp))
		publish_first();
	kr_unlock(&sched.gq_lock);
	return true;
}

static struct g *take_locked(struct kr_gq *q)
{
	struct g *gp;

	/* After the exchange the node may be queued again at any time. */
	do
		gp = dequeue_locked(q);
	while (gp && kr_xchg(&gp->gq_claim, GQ_NONE) != GQ_QUEUED);
	return gp;
}

/*
 * The newest batch, unless only one is wanted, as every GLOBQ_TICK times, or it
 * is the turn of those that have waited for long.
 */
static struct kr_batch *batch_choose_locked(const struct p *pp)
{
	if (!pp || sched.gq_takes / 2 % OLDEST_TURN == 0)
		return sched.gq_oldest;
	return sched.gq_newest;
}

/*
 * Some of a batch: the first is returned, the others go to the ring of @pp.
 * *@nr: at most so many, and how many it was.
 */
static struct g *batch_take_locked(struct p *pp, uint32_t *nr)
{
	struct kr_batch *b = batch_choose_locked(pp);
	struct g *gp;

	if (!b)
		return NULL;
	gp = b->gs[b->first];
	if (*nr > b->end - b->first)
		*nr = b->end - b->first;
	for (uint32_t i = 1; i < *nr; i++)
		kr_ring_put(pp, b->gs[b->first + i]);
	b->first += *nr;
	if (b->first == b->end)
		batch_free_locked(b);
	return gp;
}

/* Of both queues the one with the entry that was put first, as far as is known. */
static struct kr_gq *older_locked(void)
{
	const struct g *gp = first_of(&sched.gq), *back = first_back();

	return back && (!gp || is_older(back, gp)) ? &sched.gq_back : &sched.gq;
}

static struct g *take_older_locked(void)
{
	struct kr_gq *q;
	struct g *gp;

	do {
		q = older_locked();
		gp = dequeue_locked(q);
		if (!gp)
			return take_locked(q == &sched.gq ? &sched.gq_back :
							    &sched.gq);
	} while (kr_xchg(&gp->gq_claim, GQ_NONE) != GQ_QUEUED);
	return gp;
}

/* One, and up to @nr of those behind it go to the ring of @pp. */
static struct g *take_more_locked(struct p *pp, uint32_t *nr)
{
	struct g *gp = take_older_locked(), *more;
	uint32_t nr_taken = gp ? 1 : 0;

	/* Not the preempted ones: they would stand before short work there. */
	while (gp && !gp->lockedm && nr_taken < *nr &&
	       older_locked() == &sched.gq) {
		more = take_locked(&sched.gq);
		if (!more)
			break;
		nr_taken++;
		kr_ring_put(pp, more);
		if (more->lockedm)
			break;
	}
	*nr = nr_taken;
	return gp;
}

/* How many may come along at most, to take the lock less often: a fair share. */
static uint32_t share_of(const struct p *pp)
{
	uint32_t nr = READ_ONCE(sched.hdr->nr_global) / kr_nr_procs();
	uint32_t used;

	if (!pp)
		return 1;
	used = pp->slot->runq_tail - READ_ONCE(pp->slot->runq_head);
	if (used >= GLOBQ_BATCH)
		return 1;
	if (nr > GLOBQ_BATCH - used)
		nr = GLOBQ_BATCH - used;
	return nr ? nr : 1;
}

struct g *kr_globq_get(struct p *pp)
{
	struct g *gp = NULL;
	uint32_t max, nr;
	bool batches_turn;

	if (!READ_ONCE(sched.hdr->nr_global))
		return NULL;
	max = nr = share_of(pp);
	kr_lock(&sched.gq_lock);
	batches_turn = ++sched.gq_takes % 2;
	if (batches_turn)
		gp = batch_take_locked(pp, &nr);
	if (!gp)
		gp = take_more_locked(pp, &nr);
	if (!gp && !batches_turn) {
		nr = max;
		gp = batch_take_locked(pp, &nr);
	}
	/* Now: who looks at the count and then at the rings finds each. */
	if (gp)
		kr_sub(&sched.hdr->nr_global, nr);
	publish_first();
	kr_unlock(&sched.gq_lock);
	return gp;
}

struct g *kr_globq_get_back(void)
{
	struct g *gp;

	kr_lock(&sched.gq_lock);
	gp = take_locked(&sched.gq_back);
	if (gp)
		kr_sub(&sched.hdr->nr_global, 1);
	publish_first();
	kr_unlock(&sched.gq_lock);
	return gp;
}
