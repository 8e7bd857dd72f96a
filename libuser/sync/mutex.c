/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Mutexes, fair in the long run, after Go's (sync/mutex.go).
 *
 * DOC: One word of state decides; the list of waiters has a lock of its own.
 * Locking and unlocking are one compare-and-swap each, by user's code: no
 * kr_enter(), so a goroutine may be preempted or put to sleep while it holds
 * the mutex, for as long as the scheduler likes. Hence
 *	- normal mode: unlocking makes the mutex free and wakes one waiter, which
 *	  has to compete. Whoever runs already wins most of the time, many times
 *	  in a row, and nobody waits for a goroutine that is not running.
 *	- starvation mode, once a waiter has lost for STARVING_NS: the mutex
 *	  stays locked and is given to the oldest one, until one that gets it has
 *	  waited for less than that, or is the last.
 *
 * AWAKE says that somebody who was woken, or spins, competes for the mutex. It
 * has one owner. While it is set unlocking wakes nobody. Its owner clears it in
 * the step in which it locks the mutex or goes on the list, where the next
 * unlock finds it; so no wake-up is lost.
 *
 *	LOCKED		set by whoever locks; cleared by whoever unlocks
 *	WAITERS		changed with the list's lock held: the list is not empty
 *	AWAKE		set by a spinner, or for a waiter by the one that wakes
 *			it; cleared by its owner
 *	STARVING	set by AWAKE's owner in the step that clears AWAKE; cleared
 *			with the list's lock held. STARVING implies LOCKED, not
 *			AWAKE, and WAITERS unless the list is being emptied
 *
 * Spinning: only AWAKE's owner does, so it is one per mutex, and only while the
 * holder is on a CPU and the spinner's P has nothing else to do. The holder
 * leaves a note of where it runs: its M and the end of its stack, which that
 * M's slot shows for as long as it runs there. With the module the slot also
 * tells whether the thread is on a CPU; without, that is guessed for a while.
 * The note is a hint and may be stale.
 *
 * Rejected: a queue lock (MCS), for which a holder or heir that is preempted
 * stops everybody; waking nobody until the holder parks, which leaves Ps idle.
 */
#include "sync/mutex.h"

#include "sched/chance.h"
#include "sched/runq.h"
#include "sched/sched.h"

#define STARVING_NS	1000000		/* as Go */
#define SPIN_NS		20000		/* if the holder may be off its CPU */
#define SPIN_PAUSES	64		/* between two looks, at most */

#define OWNER_M_SHIFT	48		/* above a user's address */

/* Results of waiting beside -ETIMEDOUT. */
#define GIVEN		0
#define COMPETE		1

struct entry {
	struct kr_waiter waiter;
	uint64_t since_ns;
};

static inline void note_owner(struct kaus_mutex *mu)
{
	struct m *mp = kr_self();
	uint64_t owner = 0;

	if (likely(mp))
		owner = READ_ONCE(mp->slot->stack_hi) |
			(uint64_t)mp->id << OWNER_M_SHIFT;
	WRITE_ONCE(mu->owner, owner);
}

static bool owner_runs(const struct kaus_mutex *mu)
{
	uint64_t owner = READ_ONCE(mu->owner);
	const struct kaus_worker *slot;

	if (!owner)
		return false;
	slot = sched.allm[owner >> OWNER_M_SHIFT]->slot;
	return READ_ONCE(slot->stack_hi) ==
		       (owner & ((1ULL << OWNER_M_SHIFT) - 1)) &&
	       READ_ONCE(slot->proc) != KAUS_NONE &&
	       (!sched.assist->tells_on_cpu || READ_ONCE(slot->on_cpu));
}

static inline bool lock_fast(struct kaus_mutex *mu)
{
	uint32_t old = READ_ONCE(mu->state);

	while (!(old & MUTEX_LOCKED)) {
		if (__atomic_compare_exchange_n(&mu->state, &old,
						old | MUTEX_LOCKED, false,
						__ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED)) {
			note_owner(mu);
			return true;
		}
	}
	return false;
}

/* Wait for the holder to unlock. True if it is locked; AWAKE may be ours. */
static bool spin(struct m *mp, struct kaus_mutex *mu, bool *awake,
		 uint64_t until_ns)
{
	uint32_t pauses = 1;

	for (;;) {
		uint32_t old = READ_ONCE(mu->state);

		if (!(old & MUTEX_LOCKED)) {
			uint32_t mine = *awake ? MUTEX_AWAKE : 0;

			if (kr_cas(&mu->state, old,
				   (old | MUTEX_LOCKED) & ~mine)) {
				*awake = false;
				return true;
			}
			continue;
		}
		if (old & MUTEX_STARVING || kr_nr_procs() == 1)
			return false;
		if (!*awake) {
			if (old & MUTEX_AWAKE)
				return false;
			*awake = kr_cas(&mu->state, old, old | MUTEX_AWAKE);
			continue;
		}
		if (!owner_runs(mu) || (mp && kr_p_needs_m(mp->p)) ||
		    kr_clock_now_ns() >= until_ns)
			return false;
		for (uint32_t i = 0; i < pauses; i++)
			cpu_relax();
		if (pauses < SPIN_PAUSES)
			pauses *= 2;
	}
}

/*
 * The list's lock is held. Lock the mutex, or see to it that whoever unlocks it
 * looks at the list. AWAKE is no longer ours then.
 *
 * Return: true if it is locked.
 */
static bool lock_or_announce(struct kaus_mutex *mu, bool awake, bool starving)
{
	for (;;) {
		uint32_t old = READ_ONCE(mu->state);
		uint32_t new = awake ? old & ~MUTEX_AWAKE : old;

		if (!(old & MUTEX_LOCKED))
			new |= MUTEX_LOCKED;
		else
			new |= MUTEX_WAITERS | (starving ? MUTEX_STARVING : 0);
		if (kr_cas(&mu->state, old, new))
			return !(old & MUTEX_LOCKED);
	}
}

/* The deadline has passed: as if it had never waited. */
static void give_up(struct kaus_mutex *mu, struct entry *e)
{
	kr_lock(&mu->lock);
	kr_waitlist_del(&mu->waiters, &e->waiter);
	if (!mu->waiters.first)
		kr_and(&mu->state, ~(MUTEX_WAITERS | MUTEX_STARVING));
	kr_unlock(&mu->lock);
}

static KR_NOINLINE int lock_slow(struct kaus_mutex *mu, uint64_t deadline_ns)
{
	struct entry e = { .since_ns = 0 };
	bool awake = false, again = false;
	struct kr_wait wait;
	struct m *mp;
	int err = 0;

	if (!kr_enter_wait(&mp))
		return -EPERM;
	e.since_ns = kr_clock_now_ns();
	for (;;) {
		uint64_t now_ns = again ? kr_clock_now_ns() : e.since_ns;
		bool starving = again && now_ns - e.since_ns > STARVING_NS;
		uint64_t until_ns = sched.assist->tells_on_cpu ?
					    e.since_ns + STARVING_NS :
					    now_ns + SPIN_NS;

		if (spin(mp, mu, &awake, starving ? 0 : until_ns))
			break;
		kr_lock(&mu->lock);
		if (lock_or_announce(mu, awake, awake && starving)) {
			kr_unlock(&mu->lock);
			break;
		}
		awake = false;
		kr_wait_init(&wait, mp, deadline_ns);
		e.waiter.wait = &wait;
		if (again)
			kr_waitlist_put_first(&mu->waiters, &e.waiter);
		else
			kr_waitlist_put(&mu->waiters, &e.waiter);
		mp = kr_wait_block(mp, &wait, &mu->lock, deadline_ns, "mutex");
		err = wait.result;
		if (err == GIVEN)
			break;
		if (err == -ETIMEDOUT) {
			give_up(mu, &e);
			break;
		}
		err = 0;
		awake = again = true;
	}
	if (!err)
		note_owner(mu);
	kr_exit_any(mp);
	return err;
}

/* It is locked, starving: give it to the oldest that can be woken. */
static struct kr_wait *hand_over_locked(struct kaus_mutex *mu)
{
	struct kr_waiter *w = kr_waitlist_claim(&mu->waiters);
	uint32_t clear = 0;
	struct entry *e;

	if (!w) {
		kr_and(&mu->state,
		       ~(MUTEX_LOCKED | MUTEX_WAITERS | MUTEX_STARVING));
		return NULL;
	}
	e = container_of(w, struct entry, waiter);
	if (!mu->waiters.first)
		clear = MUTEX_WAITERS | MUTEX_STARVING;
	else if (kr_clock_now_ns() - e->since_ns < STARVING_NS)
		clear = MUTEX_STARVING;
	WRITE_ONCE(mu->owner, 0);
	if (clear)
		kr_and(&mu->state, ~clear);
	return kr_waiter_done(w, GIVEN);
}

/* AWAKE is ours: pass it on to the oldest that can be woken. */
static struct kr_wait *pass_on_locked(struct kaus_mutex *mu)
{
	struct kr_waiter *w = kr_waitlist_claim(&mu->waiters);
	uint32_t clear = w ? 0 : MUTEX_AWAKE;

	if (!mu->waiters.first)
		clear |= MUTEX_WAITERS;
	if (clear)
		kr_and(&mu->state, ~clear);
	return w ? kr_waiter_done(w, COMPETE) : NULL;
}

/* Unlock if that is all there is to do. 1: somebody is to be woken. */
static inline int unlock_fast(struct kaus_mutex *mu)
{
	uint32_t old = READ_ONCE(mu->state);

	for (;;) {
		if (unlikely(!(old & MUTEX_LOCKED)))
			return -EPERM;
		if (unlikely((old & (MUTEX_WAITERS | MUTEX_AWAKE)) ==
			     MUTEX_WAITERS))
			return 1;
		if (__atomic_compare_exchange_n(&mu->state, &old,
						old & ~MUTEX_LOCKED, false,
						__ATOMIC_RELEASE,
						__ATOMIC_RELAXED))
			return 0;
	}
}

/* *ret_given: the mutex now belongs to somebody who does not run yet. */
static int unlock_slow(struct m *mp, struct kaus_mutex *mu, bool *ret_given)
{
	struct kr_wait *wake = NULL;
	int err;

	kr_lock(&mu->lock);
	while ((err = unlock_fast(mu)) > 0) {
		uint32_t old = READ_ONCE(mu->state);

		if (old & MUTEX_STARVING) {
			wake = hand_over_locked(mu);
			*ret_given = wake;
			err = 0;
			break;
		}
		if ((old & (MUTEX_LOCKED | MUTEX_AWAKE)) == MUTEX_LOCKED &&
		    kr_cas(&mu->state, old,
			   (old & ~MUTEX_LOCKED) | MUTEX_AWAKE)) {
			wake = pass_on_locked(mu);
			err = 0;
			break;
		}
	}
	kr_unlock(&mu->lock);
	if (wake)
		kr_wait_wake(mp, wake);
	return err;
}

int kr_mutex_unlock(struct m *mp, struct kaus_mutex *mu)
{
	int err = unlock_fast(mu);
	bool given;

	return err > 0 ? unlock_slow(mp, mu, &given) : err;
}

static KR_NOINLINE int unlock_and_wake(struct kaus_mutex *mu)
{
	bool given = false;
	struct m *mp;
	int err;

	if (!kr_enter_any(&mp))
		return -EPERM;
	err = unlock_slow(mp, mu, &given);
	/* It holds what others want: let it run before we take a long time. */
	if (mp && given)
		mp = kr_yield(mp);
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_mutex_lock_until(struct kaus_mutex *mu, uint64_t deadline_ns)
{
	return likely(lock_fast(mu)) ? 0 : lock_slow(mu, deadline_ns);
}

KR_API int kaus_mutex_lock(struct kaus_mutex *mu)
{
	return likely(lock_fast(mu)) ? 0 : lock_slow(mu, KAUS_NO_DEADLINE);
}

KR_API int kaus_mutex_trylock(struct kaus_mutex *mu)
{
	return lock_fast(mu) ? 0 : -EAGAIN;
}

KR_API int kaus_mutex_unlock(struct kaus_mutex *mu)
{
	int err = unlock_fast(mu);

	if (unlikely(err > 0))
		return unlock_and_wake(mu);
	kr_chance_point();
	return err;
}
