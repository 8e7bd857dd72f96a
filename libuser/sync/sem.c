/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Weighted semaphores, first come first served.
 *
 * DOC: The state is permits << 1 | WAITERS. WAITERS is changed with the lock
 * held and keeps everybody off the fast path while somebody waits. Permits are
 * taken for a waiter by whoever wakes it.
 */
#include <kaus/sync.h>

#include "sched/chance.h"
#include "sched/runq.h"
#include "sched/sched.h"

#define WAITERS	1ULL

struct entry {
	struct kr_waiter waiter;
	uint32_t nr;
};

static inline uint64_t nr_permits(uint64_t state)
{
	return state >> 1;
}

KR_API void kaus_sem_init(struct kaus_sem *sem, uint32_t n)
{
	*sem = (struct kaus_sem)KAUS_SEM_INIT(n);
}

/* 0 or -EAGAIN. */
static inline int take(struct kaus_sem *sem, uint32_t n)
{
	uint64_t old = READ_ONCE(sem->state);

	if (unlikely(!n))
		return 0;
	do {
		if (old & WAITERS || nr_permits(old) < n)
			return -EAGAIN;
	} while (!__atomic_compare_exchange_n(&sem->state, &old,
					      old - ((uint64_t)n << 1), true,
					      __ATOMIC_ACQUIRE,
					      __ATOMIC_RELAXED));
	return 0;
}

/* The lock is held, there are waiters: serve them while there are permits. */
static struct kr_waiter *serve(struct kaus_sem *sem)
{
	struct kr_waiter *w, *all = NULL, **last = &all;
	uint64_t nr = nr_permits(READ_ONCE(sem->state));

	while ((w = sem->waiters.first)) {
		uint32_t wanted = container_of(w, struct entry, waiter)->nr;
		bool claimed;

		if (wanted > nr)
			break;
		claimed = kr_wait_claim(w->wait);
		kr_waitlist_del(&sem->waiters, w);
		if (!claimed)
			continue;
		nr -= wanted;
		w->next = NULL;
		*last = w;
		last = &w->next;
	}
	smp_store_release(&sem->state, nr << 1 | (w ? WAITERS : 0));
	return all;
}

static void wake_all(struct m *mp, struct kr_waiter *all)
{
	struct kr_waiter *w;

	while ((w = all)) {
		all = w->next;
		kr_wait_wake(mp, kr_waiter_done(w, 0));
	}
}

/* The lock is held: keep others off the fast path, or take the permits. */
static bool take_or_announce(struct kaus_sem *sem, uint32_t n)
{
	while (take(sem, n)) {
		uint64_t old = READ_ONCE(sem->state);

		if (old & WAITERS ||
		    (nr_permits(old) < n &&
		     kr_cas(&sem->state, old, old | WAITERS)))
			return false;
	}
	return true;
}

static KR_NOINLINE int acquire_slow(struct kaus_sem *sem, uint32_t n,
				    uint64_t deadline_ns)
{
	struct entry e = { .nr = n };
	struct kr_waiter *wake;
	struct kr_wait wait;
	struct m *mp;
	int err = 0;

	if (!kr_enter_wait(&mp))
		return -EPERM;
	kr_lock(&sem->lock);
	if (take_or_announce(sem, n)) {
		kr_unlock(&sem->lock);
	} else {
		kr_wait_init(&wait, mp, deadline_ns);
		e.waiter.wait = &wait;
		kr_waitlist_put(&sem->waiters, &e.waiter);
		mp = kr_wait_block(mp, &wait, &sem->lock, deadline_ns,
				   "semaphore");
		err = wait.result;
	}
	if (err) {
		/* Those behind may have waited only because this one did. */
		kr_lock(&sem->lock);
		kr_waitlist_del(&sem->waiters, &e.waiter);
		wake = READ_ONCE(sem->state) & WAITERS ? serve(sem) : NULL;
		kr_unlock(&sem->lock);
		wake_all(mp, wake);
	}
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_sem_acquire_until(struct kaus_sem *sem, uint32_t n,
				  uint64_t deadline_ns)
{
	return likely(!take(sem, n)) ? 0 : acquire_slow(sem, n, deadline_ns);
}

KR_API int kaus_sem_acquire(struct kaus_sem *sem, uint32_t n)
{
	return kaus_sem_acquire_until(sem, n, KAUS_NO_DEADLINE);
}

KR_API int kaus_sem_try_acquire(struct kaus_sem *sem, uint32_t n)
{
	return take(sem, n);
}

/* 0, -EOVERFLOW, or -EAGAIN: somebody waits. */
static inline int give(struct kaus_sem *sem, uint32_t n)
{
	uint64_t old = READ_ONCE(sem->state);

	do {
		if (nr_permits(old) + n > UINT32_MAX)
			return -EOVERFLOW;
		if (old & WAITERS)
			return -EAGAIN;
	} while (!__atomic_compare_exchange_n(&sem->state, &old,
					      old + ((uint64_t)n << 1), true,
					      __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
	return 0;
}

KR_API int kaus_sem_release(struct kaus_sem *sem, uint32_t n)
{
	struct kr_waiter *wake = NULL;
	struct m *mp;
	int err = give(sem, n);

	if (likely(err != -EAGAIN)) {
		kr_chance_point();
		return err;
	}
	if (!kr_enter_any(&mp))
		return -EPERM;
	kr_lock(&sem->lock);
	err = give(sem, n);
	if (err == -EAGAIN) {
		/* WAITERS: the state changes only under the lock. */
		WRITE_ONCE(sem->state,
			   READ_ONCE(sem->state) + ((uint64_t)n << 1));
		wake = serve(sem);
		err = 0;
	}
	kr_unlock(&sem->lock);
	wake_all(mp, wake);
	kr_exit_any(mp);
	return err;
}
