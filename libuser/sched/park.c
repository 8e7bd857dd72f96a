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

void kr_post_unlock(struct m *mp, struct g *gp, void *lock)
{
	(void)mp;
	WRITE_ONCE(gp->state, G_WAITING);
	kr_unlock_quick(lock);
}
