/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The service thread: makes Ms.
 *
 * The thread that called kaus_run() ends up here. Only it starts threads,
 * because those who notice the need cannot: a trampoline may have interrupted
 * the very code that pthread_create() would call, and the module notices in an
 * interrupt. It is poked when the pool is empty; then it finds an M for each P
 * that has work and none, and keeps a few spare ones.
 *
 * pthread_create() may wait for a lock that a preempted goroutine holds. So
 * before it starts a thread for a P it looks whether the next goroutine in the
 * global queue is a preempted one: that one brings its own M.
 */
#include <string.h>

#include "mem/persist.h"
#include "sched/sched.h"

#define M_STACK_BYTES	(256UL << 10)
#define SPARE_MS	2

struct m *kr_m_alloc(void)
{
	uint32_t id = sched.nr_ms;
	struct m *mp;

	if (id >= sched.max_ms)
		return NULL;
	mp = kr_persist_alloc(sizeof(*mp));
	if (!mp || kr_preempt_init(mp))
		return NULL;
	mp->id = id;
	mp->slot = (struct kaus_worker *)
		((char *)sched.hdr + KAUS_WORKERS_OFFSET(sched.nr_procs)) + id;
	mp->slot->proc = KAUS_NONE;
	mp->bound_cpu = KAUS_NONE;
	mp->home = KAUS_NONE;
	sched.allm[id] = mp;
	smp_store_release(&sched.nr_ms, id + 1);
	return mp;
}

static void *m_main(void *arg)
{
	struct m *mp = arg;
	int err;

	kr_tls_m = mp;
	WRITE_ONCE(mp->slot->defer, 1);
	kr_context_thread(&mp->g0);
	mp->thread = pthread_self();
	err = sched.assist->thread_start(mp);
	if (err)
		kr_throw("service: a new thread cannot register");
	smp_store_release(&mp->tid, kr_thread_tid());
	if (mp->first_p) {
		kr_p_take(mp, mp->first_p);
		mp->first_p = NULL;
	}
	kr_m_loop(mp);
}

/* Start an M that carries @pp, whose owner word is @owner, or NULL. */
static int m_spawn(struct p *pp, uint64_t owner)
{
	struct m *mp = kr_m_alloc();
	pthread_t thread;
	uint64_t mine;
	int err;

	if (!mp)
		return -EAGAIN;
	mine = KAUS_OWNER(KAUS_P_RUNNING, mp->id, KAUS_OWNER_GEN(owner) + 1);
	if (pp && !kr_cas(&pp->slot->owner, owner, mine))
		pp = NULL;	/* no longer needed; then it is a spare */
	else if (pp)
		kr_and(&sched.hdr->sleeping[pp->id / 64],
		       ~(1ULL << (pp->id % 64)));
	mp->first_p = pp;
	if (!pp) {
		mp->pooled = true;
		kr_add(&sched.nr_pooled, 1);
	}
	err = kr_thread_create(m_main, mp, M_STACK_BYTES, &thread);
	if (!err)
		return 0;
	if (!pp)
		kr_sub(&sched.nr_pooled, 1);
	/* The id is used up; sysmon and others skip an M without a tid. */
	if (pp && !kr_cas(&pp->slot->owner, mine,
			  KAUS_OWNER(KAUS_P_IDLE, 0, KAUS_OWNER_GEN(mine))))
		kr_throw("service: P of an M that never was");
	return err;
}

/* No thread to be had: the P goes idle, its goroutine to the queue. */
static void feed_failed(struct p *pp)
{
	uint64_t owner = kr_owner(pp);

	if (KAUS_OWNER_STATE(owner) != KAUS_P_IDLE)
		return;
	if (pp->start_spinning) {
		pp->start_spinning = false;
		kr_sub(&sched.nr_spinning, 1);
	}
	kr_lock(&sched.lock);
	kr_idle_put_locked(pp);
	kr_unlock(&sched.lock);
}

/* Find an M for a P that has work: pool, a locked goroutine's, a new one. */
static void feed(struct p *pp, uint64_t owner)
{
	int err = sched.assist->start(pp, owner);
	struct g *gp;

	if (err != -EAGAIN)
		goto taken;
	gp = pp->start_spinning ? NULL : kr_globq_get(NULL);
	if (gp && gp->lockedm) {
		err = sched.assist->give(gp->lockedm, pp, owner);
		if (!err)
			goto taken;
	}
	if (gp)
		kr_globq_put(gp);
	if (m_spawn(pp, owner))
		feed_failed(pp);
	return;
taken:
	if (!err && KAUS_OWNER_STATE(owner) == KAUS_P_SLEEPING)
		kr_and(&sched.hdr->sleeping[pp->id / 64],
		       ~(1ULL << (pp->id % 64)));
}

static void feed_all(void)
{
	struct p *pp, *list;

	kr_lock(&sched.lock);
	list = sched.pending_ps;
	sched.pending_ps = NULL;
	kr_unlock(&sched.lock);
	while (list) {
		pp = list;
		list = pp->link;
		feed(pp, kr_owner(pp));
	}
	for (uint32_t i = 0; i < sched.nr_procs; i++) {
		uint64_t owner;

		pp = sched.allp[i];
		owner = kr_owner(pp);
		if (KAUS_OWNER_STATE(owner) == KAUS_P_SLEEPING &&
		    kr_p_needs_m(pp))
			feed(pp, owner);
	}
}

int kr_service_start(void)
{
	struct p *pp = kr_idle_get();
	int err;

	err = m_spawn(pp, kr_owner(pp));
	if (err)
		return err;
	for (uint32_t i = 1; i < sched.nr_procs + SPARE_MS; i++)
		m_spawn(NULL, 0);
	return 0;
}

int kr_service_run(void)
{
	while (!READ_ONCE(sched.main_done)) {
		sched.assist->service_wait(sched.allm[0]);
		feed_all();
		/* Whoever poked found the pool empty. */
		while (READ_ONCE(sched.nr_pooled) < SPARE_MS &&
		       !m_spawn(NULL, 0))
			;
	}
	return sched.main_status;
}

void kr_main_ended(int status)
{
	sched.main_status = status;
	WRITE_ONCE(sched.stopping, true);
	smp_store_release(&sched.main_done, 1);
	sched.assist->service_poke();
}
