/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Wait groups. */
#include <kaus/sync.h>

#include "sched/runq.h"

KR_API int kaus_waitgroup_add(struct kaus_waitgroup *wg, int n)
{
	struct kr_waiter *w, *wake = NULL;
	int32_t count;
	struct m *mp;
	int err = 0;

	if (!kr_enter_any(&mp))
		return -EPERM;
	kr_lock(&wg->lock);
	if (__builtin_add_overflow(wg->count, n, &count)) {
		err = -EOVERFLOW;
	} else if (count < 0) {
		err = -EINVAL;
	} else {
		wg->count = count;
		if (!count)
			wake = kr_waitlist_claim_all(&wg->waiters);
	}
	kr_unlock(&wg->lock);
	while ((w = wake)) {
		wake = w->next;
		kr_wait_wake(mp, kr_waiter_done(w, 0));
	}
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_waitgroup_done(struct kaus_waitgroup *wg)
{
	return kaus_waitgroup_add(wg, -1);
}

KR_API int kaus_waitgroup_wait_until(struct kaus_waitgroup *wg,
				     uint64_t deadline_ns)
{
	struct kr_waiter w;
	struct kr_wait wait;
	struct m *mp;
	int err = 0;

	if (!kr_enter_wait(&mp))
		return -EPERM;
	kr_lock(&wg->lock);
	if (!wg->count) {
		kr_unlock(&wg->lock);
	} else {
		kr_wait_init(&wait, mp, deadline_ns);
		w.wait = &wait;
		kr_waitlist_put(&wg->waiters, &w);
		mp = kr_wait_block(mp, &wait, &wg->lock, deadline_ns,
				   "wait group");
		err = wait.result;
		if (err)
			kr_waitlist_forget(&wg->waiters, &wg->lock, &w);
	}
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_waitgroup_wait(struct kaus_waitgroup *wg)
{
	return kaus_waitgroup_wait_until(wg, KAUS_NO_DEADLINE);
}
