/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Condition variables.
 *
 * A waiter is on the list before the mutex is unlocked, so whoever changes the
 * condition with the mutex locked finds it there. It unlocks the mutex when it
 * has been saved, after the list's lock: runtime locks do not nest.
 */
#include "sync/mutex.h"

#include "sched/runq.h"
#include "sched/sched.h"

struct leave {
	struct kaus_cond *cond;
	struct kaus_mutex *mu;
};

/* A post action; once the list is unlocked the waiter may run, and be gone. */
static void leave(void *arg)
{
	const struct leave l = *(struct leave *)arg;
	struct m *mp = kr_self();

	kr_unlock(&l.cond->lock);
	/* An error if somebody has unlocked it meanwhile: all the same to us. */
	(void)kr_mutex_unlock(mp, l.mu);
}

KR_API int kaus_cond_wait_until(struct kaus_cond *cond, struct kaus_mutex *mu,
				uint64_t deadline_ns)
{
	struct leave l = { cond, mu };
	struct kr_waiter w;
	struct kr_wait wait;
	struct m *mp;
	int err;

	if (!kr_mutex_is_locked(mu) || !kr_enter_wait(&mp))
		return -EPERM;
	kr_lock(&cond->lock);
	kr_wait_init(&wait, mp, deadline_ns);
	w.wait = &wait;
	kr_waitlist_put(&cond->waiters, &w);
	mp = kr_wait_block_on(mp, &wait, leave, &l, deadline_ns, "cond");
	err = wait.result;
	if (err)
		kr_waitlist_forget(&cond->waiters, &cond->lock, &w);
	kr_exit_any(mp);
	/* Fails only for a thread that has outlived the run. */
	return kaus_mutex_lock(mu) ? -EPERM : err;
}

KR_API int kaus_cond_wait(struct kaus_cond *cond, struct kaus_mutex *mu)
{
	return kaus_cond_wait_until(cond, mu, KAUS_NO_DEADLINE);
}

static int wake(struct kaus_cond *cond, bool all)
{
	struct kr_waiter *w, *next;
	struct m *mp;

	/* Whoever waits because of what the caller did is listed already. */
	if (!READ_ONCE(cond->waiters.first))
		return 0;
	if (!kr_enter_any(&mp))
		return -EPERM;
	kr_lock(&cond->lock);
	w = all ? kr_waitlist_claim_all(&cond->waiters) :
		  kr_waitlist_claim(&cond->waiters);
	kr_unlock(&cond->lock);
	for (; w; w = next) {
		next = all ? w->next : NULL;
		kr_wait_wake(mp, kr_waiter_done(w, 0));
	}
	kr_exit_any(mp);
	return 0;
}

KR_API int kaus_cond_signal(struct kaus_cond *cond)
{
	return wake(cond, false);
}

KR_API int kaus_cond_broadcast(struct kaus_cond *cond)
{
	return wake(cond, true);
}
