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
 */
#include "base/rand.h"
#include "sched/chance.h"
#include "sched/runq.h"

/* Gs a P takes at once from the global queue into its own. */
#define GLOBQ_BATCH	(RUNQ_SIZE / 2)

bool kr_ring_put_slow(struct p *pp, struct g *gp, uint32_t head,
		      uint32_t tail)
{
	struct g *batch[RUNQ_SIZE / 2];
	uint32_t nr = (tail - head) / 2;

	KR_ASSERT(nr == RUNQ_SIZE / 2);
	for (uint32_t i = 0; i < nr; i++)
		batch[i] = READ_ONCE(pp->runq[(head + i) % RUNQ_SIZE]);
	if (!kr_cas(&pp->slot->runq_head, head, head + nr))
		return false;
	for (uint32_t i = 0; i < nr; i++)
		kr_globq_put(batch[i]);
	kr_globq_put(gp);
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
	cds_wfcq_init(&sched.gq_head, &sched.gq_tail);
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
static void publish_first(void)
{
	struct cds_wfcq_node *node =
		__cds_wfcq_first_nonblocking(&sched.gq_head, &sched.gq_tail);

	if (!node || node == CDS_WFCQ_WOULDBLOCK)
		publish_next(NULL);
	else
		publish_next(READ_ONCE(container_of(node, struct g,
						    gq_node)->lockedm));
}

void kr_globq_put(struct g *gp)
{
	/* Before anybody may take it and run it. */
	struct m *lockedm = gp->lockedm;

	/* Count first: a count too high only costs a look. */
	kr_add(&sched.hdr->nr_global, 1);
	if (kr_cas(&gp->gq_claim, GQ_CANCELLED, GQ_QUEUED))
		return;
	/* Whoever takes the claim sees the goroutine as it is here. */
	smp_store_release(&gp->gq_claim, GQ_QUEUED);
	cds_wfcq_node_init(&gp->gq_node);
	if (!cds_wfcq_enqueue(&sched.gq_head, &sched.gq_tail, &gp->gq_node))
		publish_next(lockedm);
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
	if (__cds_wfcq_first_nonblocking(&sched.gq_head, &sched.gq_tail) ==
	    &gp->gq_node) {
		__cds_wfcq_dequeue_blocking(&sched.gq_head, &sched.gq_tail);
		WRITE_ONCE(gp->gq_claim, GQ_NONE);
		publish_first();
	}
	kr_unlock(&sched.gq_lock);
	return true;
}

static struct g *globq_take_locked(void)
{
	struct cds_wfcq_node *node;
	struct g *gp;

	for (;;) {
		node = __cds_wfcq_dequeue_blocking(&sched.gq_head,
						   &sched.gq_tail);
		if (!node)
			return NULL;
		gp = container_of(node, struct g, gq_node);
		/* After this the node may be queued again at any time. */
		if (kr_xchg(&gp->gq_claim, GQ_NONE) == GQ_QUEUED)
			break;
	}
	return gp;
}

struct g *kr_globq_get(struct p *pp)
{
	uint32_t nr, nr_taken = 0;
	struct g *gp, *more;

	nr = READ_ONCE(sched.hdr->nr_global);
	if (!nr)
		return NULL;
	kr_lock(&sched.gq_lock);
	gp = globq_take_locked();
	if (gp)
		nr_taken++;
	/*
	 * A fair share of the rest comes along, to take the lock less often.
	 * Not the preempted ones: they would stand before short work there.
	 */
	nr = nr / kr_nr_procs();
	if (nr > GLOBQ_BATCH)
		nr = GLOBQ_BATCH;
	for (; pp && gp && !gp->lockedm && nr > 1; nr--) {
		if (pp->slot->runq_tail - READ_ONCE(pp->slot->runq_head) >=
		    GLOBQ_BATCH)
			break;
		more = globq_take_locked();
		if (!more)
			break;
		nr_taken++;
		kr_ring_put(pp, more);
		if (more->lockedm)
			break;
	}
	/* Now: who looks at the count and then at the rings finds each. */
	kr_sub(&sched.hdr->nr_global, nr_taken);
	publish_first();
	kr_unlock(&sched.gq_lock);
	return gp;
}
