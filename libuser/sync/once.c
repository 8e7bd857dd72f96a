/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Things to be done once. */
#include <kaus/sync.h>

#include "sched/runq.h"
#include "sched/sched.h"

enum { ONCE_FRESH, ONCE_RUNNING, ONCE_DONE };

/* Who calls: its G, or something that only this thread has. */
static uint64_t caller(const struct m *mp)
{
	return mp && mp->curg ? (uintptr_t)mp->curg : (uintptr_t)&kr_tls_m;
}

static void once_done(struct kaus_once *once)
{
	struct kr_waiter *w, *all = NULL;
	struct m *mp;
	bool runs = kr_enter_any(&mp);

	kr_lock(&once->lock);
	smp_store_release(&once->state, ONCE_DONE);
	/* Nobody can wait but in a run. */
	if (runs)
		all = kr_waitlist_claim_all(&once->waiters);
	kr_unlock(&once->lock);
	while ((w = all)) {
		all = w->next;
		kr_wait_wake(mp, kr_waiter_done(w, 0));
	}
	kr_exit_any(mp);
}

static int wait_for_done(struct kaus_once *once, uint64_t deadline_ns)
{
	struct kr_waiter w;
	struct kr_wait wait;
	struct m *mp;
	int err = 0;

	if (READ_ONCE(once->runner) == caller(kr_self()))
		return -EDEADLK;
	if (!kr_enter_wait(&mp))
		return -EPERM;
	kr_lock(&once->lock);
	if (READ_ONCE(once->state) == ONCE_DONE) {
		kr_unlock(&once->lock);
	} else {
		kr_wait_init(&wait, mp, deadline_ns);
		w.wait = &wait;
		kr_waitlist_put(&once->waiters, &w);
		mp = kr_wait_block(mp, &wait, &once->lock, deadline_ns, "once");
		err = wait.result;
		if (err)
			kr_waitlist_forget(&once->waiters, &once->lock, &w);
	}
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_once_do_until(struct kaus_once *once, void (*fn)(void *arg),
			      void *arg, uint64_t deadline_ns)
{
	if (likely(smp_load_acquire(&once->state) == ONCE_DONE))
		return 0;
	if (!kr_cas(&once->state, ONCE_FRESH, ONCE_RUNNING))
		return wait_for_done(once, deadline_ns);
	WRITE_ONCE(once->runner, caller(kr_self()));
	fn(arg);
	once_done(once);
	return 0;
}

KR_API int kaus_once_do(struct kaus_once *once, void (*fn)(void *arg),
			void *arg)
{
	return kaus_once_do_until(once, fn, arg, KAUS_NO_DEADLINE);
}
