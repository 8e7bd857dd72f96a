/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Wait groups. The waiters are a list through g.next, newest first; all are
 * made ready together, so the order does not matter.
 */
#include <kaus/sync.h>

#include "sched/sched.h"

KR_API int kaus_waitgroup_add(struct kaus_waitgroup *wg, int n)
{
	struct g *gp, *ready = NULL;
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
		if (!count) {
			ready = wg->waiters;
			wg->waiters = NULL;
		}
	}
	kr_unlock(&wg->lock);
	while (ready) {
		gp = ready;
		ready = gp->next;
		kr_ready(mp, gp);
	}
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_waitgroup_done(struct kaus_waitgroup *wg)
{
	return kaus_waitgroup_add(wg, -1);
}

KR_API int kaus_waitgroup_wait(struct kaus_waitgroup *wg)
{
	struct m *mp = kr_enter();

	if (!mp)
		return -EPERM;
	kr_lock(&wg->lock);
	if (!wg->count) {
		kr_unlock(&wg->lock);
	} else {
		mp->curg->next = wg->waiters;
		wg->waiters = mp->curg;
		mp = kr_park_unlock(mp, &wg->lock, "wait group");
	}
	kr_exit(mp);
	return 0;
}
