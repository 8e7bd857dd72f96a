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
 * The global queue is urcu's wfcqueue: whoever puts, a plain thread or a
 * trampoline, never waits. Takers are serialised by gq_lock.
 */
#include "sched/sched.h"

/* Gs a P takes at once from the global queue into its own. */
#define GLOBQ_BATCH	(RUNQ_SIZE / 2)

/* The runnext seat holds a pointer as an integer: its type is ABI. */
static inline struct g *next_g(uint64_t word)
{
	return (struct g *)(uintptr_t)word;
}

static inline uint64_t next_word(struct g *gp)
{
	return (uint64_t)(uintptr_t)gp;
}

/* The ring is full: half of it and @gp go to the global queue. */
static bool runq_put_slow(struct p *pp, struct g *gp, uint32_t head,
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

static void ring_put(struct p *pp, struct g *gp)
{
	struct kaus_proc *s = pp->slot;

	for (;;) {
		uint32_t head = smp_load_acquire(&s->runq_head);
		uint32_t tail = s->runq_tail;

		if (likely(tail - head < RUNQ_SIZE)) {
			WRITE_ONCE(pp->runq[tail % RUNQ_SIZE], gp);
			smp_store_release(&s->runq_tail, tail + 1);
			return;
		}
		if (runq_put_slow(pp, gp, head, tail))
			return;
	}
}

/**
 * kr_runq_put() - Put a goroutine into the queue of the M's P.
 * @mp: The M, preemption off.
 * @gp: The goroutine, RUNNABLE.
 * @next: Into the runnext seat; whoever sat there goes to the ring.
 *
 * The exchange makes it a full barrier with @next, as kr_wakep() needs.
 */
void kr_runq_put(struct m *mp, struct g *gp, bool next)
{
	struct p *pp = mp->p;

	if (next) {
		gp = next_g(kr_xchg(&pp->slot->runnext, next_word(gp)));
		if (!gp)
			return;
	}
	ring_put(pp, gp);
}

/**
 * kr_runq_get() - Take the next goroutine of the P.
 * @pp: The P, held by the caller.
 * @ret_inherit: Set if it came from runnext and so goes on with the slice.
 */
struct g *kr_runq_get(struct p *pp, bool *ret_inherit)
{
	struct kaus_proc *s = pp->slot;
	uint64_t next = READ_ONCE(s->runnext);

	*ret_inherit = false;
	/* Only the holder fills the seat: if the CAS fails, it is empty. */
	if (next && kr_cas(&s->runnext, next, 0)) {
		*ret_inherit = true;
		return next_g(next);
	}
	for (;;) {
		uint32_t head = smp_load_acquire(&s->runq_head);
		struct g *gp;

		if (s->runq_tail == head)
			return NULL;
		gp = READ_ONCE(pp->runq[head % RUNQ_SIZE]);
		if (kr_cas(&s->runq_head, head, head + 1))
			return gp;
	}
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
				return next_g(next);
			continue;
		}
		/* head moved between the two loads: read again. */
		if (nr > RUNQ_SIZE / 2)
			continue;
		for (uint32_t i = 0; i < nr; i++) {
			struct g *gp =
				READ_ONCE(victim->runq[(head + i) % RUNQ_SIZE]);

			WRITE_ONCE(pp->runq[(mine + i) % RUNQ_SIZE], gp);
		}
		if (!kr_cas(&v->runq_head, head, head + nr))
			continue;
		pp->nr_steals++;
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

void kr_globq_put(struct g *gp)
{
	/* Count first: a count too high only costs a look. */
	kr_add(&sched.hdr->nr_global, 1);
	if (kr_cas(&gp->gq_claim, GQ_CANCELLED, GQ_QUEUED))
		return;
	WRITE_ONCE(gp->gq_claim, GQ_QUEUED);
	cds_wfcq_node_init(&gp->gq_node);
	cds_wfcq_enqueue(&sched.gq_head, &sched.gq_tail, &gp->gq_node);
}

bool kr_globq_cancel(struct g *gp)
{
	if (!kr_cas(&gp->gq_claim, GQ_QUEUED, GQ_CANCELLED))
		return false;
	kr_sub(&sched.hdr->nr_global, 1);
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
	kr_sub(&sched.hdr->nr_global, 1);
	return gp;
}

struct g *kr_globq_get(struct p *pp)
{
	struct g *gp, *more;
	uint32_t nr;

	nr = READ_ONCE(sched.hdr->nr_global);
	if (!nr)
		return NULL;
	kr_lock(&sched.gq_lock);
	gp = globq_take_locked();
	/*
	 * A fair share of the rest comes along, to take the lock less often.
	 * Not the preempted ones: they would stand before short work there.
	 */
	nr = nr / sched.nr_procs;
	if (nr > GLOBQ_BATCH)
		nr = GLOBQ_BATCH;
	for (; pp && gp && !gp->lockedm && nr > 1; nr--) {
		if (pp->slot->runq_tail - READ_ONCE(pp->slot->runq_head) >=
		    GLOBQ_BATCH)
			break;
		more = globq_take_locked();
		if (!more)
			break;
		ring_put(pp, more);
		if (more->lockedm)
			break;
	}
	kr_unlock(&sched.gq_lock);
	return gp;
}
