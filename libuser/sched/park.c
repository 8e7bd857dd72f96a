/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Park and ready.
 *
 * A goroutine that waits is on some list protected by a lock. It must not be
 * made ready before its registers are saved, or two Ms would run it. So the
 * lock is released by the context that comes next (a "post" action, after the
 * switch), and whoever makes it ready has held the lock in between. The same
 * idea as the unlock function of Go's gopark().
 */
#include "sched/sched.h"

static void post_unlock(struct m *mp, struct g *gp, void *arg)
{
	(void)mp;
	WRITE_ONCE(gp->state, G_WAITING);
	kr_unlock(arg);
}

struct m *kr_park_unlock(struct m *mp, uint32_t *lock, const char *reason)
{
	mp->curg->wait_reason = reason;
	return kr_switch_out(mp, post_unlock, lock);
}

void kr_ready(struct m *mp, struct g *gp)
{
	KR_ASSERT(READ_ONCE(gp->state) == G_WAITING);
	WRITE_ONCE(gp->state, G_RUNNABLE);
	if (mp)
		kr_runq_put(mp, gp, true);
	else
		kr_globq_put(gp);
	kr_wakep();
}
