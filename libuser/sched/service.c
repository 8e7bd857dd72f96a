/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Where Ms come from: the service thread and the spawner.
 *
 * DOC: The thread that called kaus_run() serves: it is poked when the pool is
 * empty, by a trampoline, by the module, by whoever has a P and no M. It never
 * waits for anything but pokes. A second thread, the spawner, calls
 * pthread_create() when asked. They are two because pthread_create() may wait
 * for a lock of the C library that a preempted goroutine holds, and that
 * goroutine may need the very P that is waiting to be served. So the service
 * first looks for a preempted goroutine in the global queue: that one brings
 * its own M. Only when there is none the P waits for a new M, on the pending
 * list or as a sleeping P; Ms look there before they park.
 */
#include "mem/persist.h"
#include "sched/sched.h"

#define M_STACK_BYTES	(256UL << 10)
#define SPAWNER_STACK_BYTES (64UL << 10)
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
	kr_add(&sched.nr_started, 1);
	kr_futex_wake(&sched.nr_started, 1);
	kr_m_loop(mp);
}

static int m_spawn(void)
{
	struct m *mp = kr_m_alloc();
	pthread_t thread;
	int err;

	if (!mp)
		return -EAGAIN;
	/* The id of an M that could not start is used up; without a tid. */
	mp->pooled = true;
	kr_add(&sched.nr_pooled, 1);
	err = kr_thread_create(m_main, mp, M_STACK_BYTES, &thread);
	if (err)
		kr_sub(&sched.nr_pooled, 1);
	return err;
}

static struct {
	uint32_t wanted;	/* Ms to make; futex */
	pthread_t thread;
} spawner;

static void *spawner_main(void *arg)
{
	(void)arg;
	while (!READ_ONCE(sched.main_done)) {
		uint32_t nr = kr_xchg(&spawner.wanted, 0);

		if (!nr)
			kr_futex_wait(&spawner.wanted, 0, UINT64_MAX);
		while (nr-- && !m_spawn())
			;
	}
	return NULL;
}

static void want_ms(uint32_t nr)
{
	WRITE_ONCE(spawner.wanted, nr);
	kr_futex_wake(&spawner.wanted, 1);
}

/*
 * Give @pp to the M of a preempted goroutine. Others met on the way go to the
 * end of the queue.
 */
bool kr_give_to_locked(struct p *pp, uint64_t owner)
{
	uint32_t nr = READ_ONCE(sched.hdr->nr_global);

	while (nr--) {
		struct g *gp = kr_globq_get(NULL);

		if (!gp)
			break;
		if (gp->lockedm && !sched.assist->give(gp->lockedm, pp, owner))
			return true;
		kr_globq_put(gp);
		if (kr_owner(pp) != owner)
			break;
	}
	return false;
}

/* Find an M for a P that has work: in the pool or with a goroutine on it. */
static bool feed(struct p *pp, uint64_t owner)
{
	int err = sched.assist->start(pp, owner);

	if (err == -EAGAIN) {
		if (!kr_give_to_locked(pp, owner))
			return false;
		err = 0;
	}
	if (!err && KAUS_OWNER_STATE(owner) == KAUS_P_SLEEPING)
		kr_sleeping_taken(pp);
	return true;
}

static uint32_t feed_all(void)
{
	struct p *pp, *list;
	uint32_t nr_hungry = 0;

	kr_lock(&sched.lock);
	list = sched.pending_ps;
	WRITE_ONCE(sched.pending_ps, NULL);
	kr_unlock(&sched.lock);
	while (list) {
		pp = list;
		list = pp->link;
		/* A locked M goes straight on with its goroutine: it cannot
		 * begin as a spinner.
		 */
		if (pp->start_spinning) {
			pp->start_spinning = false;
			kr_sub(&sched.nr_spinning, 1);
		}
		if (feed(pp, kr_owner(pp)))
			continue;
		kr_pending_put(pp);
		nr_hungry++;
	}
	for (uint32_t i = 0; i < sched.nr_procs; i++) {
		uint64_t owner;

		pp = sched.allp[i];
		owner = kr_owner(pp);
		if (KAUS_OWNER_STATE(owner) == KAUS_P_SLEEPING &&
		    kr_p_needs_m(pp) && !feed(pp, owner))
			nr_hungry++;
	}
	return nr_hungry;
}

/*
 * The first Ms start here, before there is a goroutine: later they would have
 * to compete with it for the CPU, and nobody could take over from it until
 * then.
 */
int kr_service_start(void)
{
	uint32_t nr = sched.nr_procs + SPARE_MS, started;
	int err;

	for (uint32_t i = 0; i < nr; i++) {
		err = m_spawn();
		if (err)
			return err;
	}
	while ((started = READ_ONCE(sched.nr_started)) < nr)
		kr_futex_wait(&sched.nr_started, started, UINT64_MAX);
	return kr_thread_create(spawner_main, NULL, SPAWNER_STACK_BYTES,
				&spawner.thread);
}

int kr_service_run(void)
{
	while (!READ_ONCE(sched.main_done)) {
		uint32_t nr, pooled;

		sched.assist->service_wait(sched.allm[0]);
		/*
		 * Whoever poked found the pool empty. An M that was given a P
		 * and has not run yet still counts as pooled: at most one for
		 * each P.
		 */
		nr = feed_all() + sched.nr_procs + SPARE_MS;
		pooled = READ_ONCE(sched.nr_pooled);
		if (nr > pooled)
			want_ms(nr - pooled);
	}
	want_ms(0);
	return sched.main_status;
}

void kr_main_ended(int status)
{
	sched.main_status = status;
	WRITE_ONCE(sched.stopping, true);
	smp_store_release(&sched.main_done, 1);
	sched.assist->service_poke();
}
