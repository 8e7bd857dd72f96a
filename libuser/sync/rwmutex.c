/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Reader-writer mutexes.
 *
 * DOC: Writers meet at a mutex of their own. The one that has it announces
 * itself with WRITER, after which no new reader gets in, and waits until those
 * that are in have left. When it unlocks, all readers that wait are counted in
 * before anybody else can be: neither side can starve the other.
 *
 *	state		readers << 2 | QUEUED | WRITER
 *	WRITER		set and cleared by the holder of the writers' mutex, who
 *			has the rwmutex once there are no readers
 *	QUEUED		set with the lock held by a reader that waits; cleared,
 *			with WRITER, by whoever lets all of them in
 *
 * The last reader to leave, the writer that waits for it and readers that find
 * a writer meet under the lock and look at the state again there.
 */
#include <kaus/sync.h>

#include "sched/chance.h"
#include "sched/runq.h"
#include "sched/sched.h"

#define WRITER	1U
#define QUEUED	2U
#define READER	4U	/* one of them */
/* The other half is for those that wait. */
#define MAX_READERS	(UINT32_MAX / READER / 2)

static inline uint32_t nr_readers(uint32_t state)
{
	return state / READER;
}

/* Acquires what each of them has released when it left. */
static inline bool readers_have_left(const struct kaus_rwmutex *rw)
{
	return !nr_readers(smp_load_acquire(&rw->state));
}

/* 0, -EAGAIN: there is a writer, -EOVERFLOW. */
static inline int count_in(struct kaus_rwmutex *rw)
{
	uint32_t old = READ_ONCE(rw->state);

	do {
		if (old & WRITER)
			return -EAGAIN;
		if (unlikely(nr_readers(old) >= MAX_READERS))
			return -EOVERFLOW;
	} while (!__atomic_compare_exchange_n(&rw->state, &old, old + READER,
					      true, __ATOMIC_ACQUIRE,
					      __ATOMIC_RELAXED));
	return 0;
}

/* The lock is held. False: the writer has left meanwhile. */
static bool announce_reader(struct kaus_rwmutex *rw)
{
	uint32_t old = READ_ONCE(rw->state);

	while (old & WRITER && !(old & QUEUED)) {
		if (kr_cas(&rw->state, old, old | QUEUED))
			return true;
		old = READ_ONCE(rw->state);
	}
	return old & WRITER;
}

static KR_NOINLINE int rdlock_slow(struct kaus_rwmutex *rw,
				   uint64_t deadline_ns)
{
	struct kr_waiter w;
	struct kr_wait wait;
	struct m *mp;
	int err;

	if (!kr_enter_wait(&mp))
		return -EPERM;
	do {
		kr_lock(&rw->lock);
		if (announce_reader(rw)) {
			kr_wait_init(&wait, mp, deadline_ns);
			w.wait = &wait;
			kr_waitlist_put(&rw->readers, &w);
			mp = kr_wait_block(mp, &wait, &rw->lock, deadline_ns,
					   "rwmutex read");
			/* Whoever let it in has counted it. */
			err = wait.result;
			if (err)
				kr_waitlist_forget(&rw->readers, &rw->lock, &w);
			break;
		}
		kr_unlock(&rw->lock);
		err = count_in(rw);
	} while (err == -EAGAIN);
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_rwmutex_rdlock_until(struct kaus_rwmutex *rw,
				     uint64_t deadline_ns)
{
	int err = count_in(rw);

	return likely(err != -EAGAIN) ? err : rdlock_slow(rw, deadline_ns);
}

KR_API int kaus_rwmutex_rdlock(struct kaus_rwmutex *rw)
{
	return kaus_rwmutex_rdlock_until(rw, KAUS_NO_DEADLINE);
}

KR_API int kaus_rwmutex_tryrdlock(struct kaus_rwmutex *rw)
{
	return count_in(rw);
}

/* Wake the writer that waits for the readers to leave, unless one is left. */
static KR_NOINLINE void wake_writer(struct kaus_rwmutex *rw)
{
	struct kr_waiter *w = NULL;
	struct m *mp;

	if (!kr_enter_any(&mp))
		return;
	kr_lock(&rw->lock);
	if (READ_ONCE(rw->state) & WRITER && readers_have_left(rw))
		w = kr_waitlist_claim(&rw->draining);
	kr_unlock(&rw->lock);
	if (w)
		kr_wait_wake(mp, kr_waiter_done(w, 0));
	kr_exit_any(mp);
}

KR_API int kaus_rwmutex_rdunlock(struct kaus_rwmutex *rw)
{
	uint32_t old = READ_ONCE(rw->state);

	do {
		if (unlikely(!nr_readers(old)))
			return -EPERM;
	} while (!__atomic_compare_exchange_n(&rw->state, &old, old - READER,
					      true, __ATOMIC_RELEASE,
					      __ATOMIC_RELAXED));
	if (unlikely(nr_readers(old) == 1 && old & WRITER))
		wake_writer(rw);
	kr_chance_point();
	return 0;
}

/* The lock is held, WRITER is ours: no more. Return: readers to be woken. */
static struct kr_waiter *let_readers_in(struct kaus_rwmutex *rw)
{
	struct kr_waiter *all = kr_waitlist_claim_all(&rw->readers);
	uint32_t old = READ_ONCE(rw->state), nr = 0;

	for (struct kr_waiter *w = all; w; w = w->next)
		nr++;
	while (!__atomic_compare_exchange_n(&rw->state, &old,
					    (old & ~(WRITER | QUEUED)) +
						    nr * READER,
					    true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED))
		;
	return all;
}

static void wake_readers(struct m *mp, struct kr_waiter *all)
{
	struct kr_waiter *w;

	while ((w = all)) {
		all = w->next;
		kr_wait_wake(mp, kr_waiter_done(w, 0));
	}
}

/* WRITER is set: wait until the readers have left. */
static int drain(struct kaus_rwmutex *rw, uint64_t deadline_ns)
{
	struct kr_waiter w, *wake = NULL;
	struct kr_wait wait;
	struct m *mp;
	int err = 0;

	if (!kr_enter_wait(&mp)) {
		/* Nobody waits: what is not running lets nobody. */
		kr_and(&rw->state, ~WRITER);
		return -EPERM;
	}
	kr_lock(&rw->lock);
	if (readers_have_left(rw)) {
		kr_unlock(&rw->lock);
	} else {
		kr_wait_init(&wait, mp, deadline_ns);
		w.wait = &wait;
		kr_waitlist_put(&rw->draining, &w);
		mp = kr_wait_block(mp, &wait, &rw->lock, deadline_ns,
				   "rwmutex write");
		if (wait.result) {
			kr_lock(&rw->lock);
			kr_waitlist_del(&rw->draining, &w);
			/* The last one may have left at this moment. */
			if (!readers_have_left(rw)) {
				err = wait.result;
				wake = let_readers_in(rw);
			}
			kr_unlock(&rw->lock);
			wake_readers(mp, wake);
		}
	}
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_rwmutex_wrlock_until(struct kaus_rwmutex *rw,
				     uint64_t deadline_ns)
{
	int err = kaus_mutex_lock_until(&rw->writers, deadline_ns);

	if (err)
		return err;
	if (likely(!nr_readers(kr_or(&rw->state, WRITER))))
		return 0;
	err = drain(rw, deadline_ns);
	if (err)
		kaus_mutex_unlock(&rw->writers);
	return err;
}

KR_API int kaus_rwmutex_wrlock(struct kaus_rwmutex *rw)
{
	return kaus_rwmutex_wrlock_until(rw, KAUS_NO_DEADLINE);
}

KR_API int kaus_rwmutex_trywrlock(struct kaus_rwmutex *rw)
{
	if (kaus_mutex_trylock(&rw->writers))
		return -EAGAIN;
	if (kr_cas(&rw->state, 0, WRITER))
		return 0;
	kaus_mutex_unlock(&rw->writers);
	return -EAGAIN;
}

KR_API int kaus_rwmutex_wrunlock(struct kaus_rwmutex *rw)
{
	struct kr_waiter *wake;
	struct m *mp;

	if (!kr_cas(&rw->state, WRITER, 0)) {
		if ((READ_ONCE(rw->state) & ~QUEUED) != WRITER)
			return -EPERM;
		if (!kr_enter_any(&mp))
			return -EPERM;
		kr_lock(&rw->lock);
		wake = let_readers_in(rw);
		kr_unlock(&rw->lock);
		wake_readers(mp, wake);
		kr_exit_any(mp);
	}
	return kaus_mutex_unlock(&rw->writers);
}
