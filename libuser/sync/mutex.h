/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The inside of a mutex: for those who unlock one where no goroutine runs. */
#ifndef KR_SYNC_MUTEX_H
#define KR_SYNC_MUTEX_H

#include <kaus/sync.h>
#include <stdbool.h>

#include "base/barrier.h"

struct m;

/* kaus_mutex.state; the essay in mutex.c says who may change what. */
#define MUTEX_LOCKED	1U
#define MUTEX_WAITERS	2U	/* the list is not empty */
#define MUTEX_AWAKE	4U	/* somebody who has waited competes for it */
#define MUTEX_STARVING	8U	/* to be handed to the waiters, in order */

/**
 * kr_mutex_unlock() - kaus_mutex_unlock() for a post action.
 * @mp: The M, preemption off; NULL on a plain thread.
 * @mu: The mutex.
 *
 * Return: 0 or -EPERM.
 */
int kr_mutex_unlock(struct m *mp, struct kaus_mutex *mu);

static inline bool kr_mutex_is_locked(const struct kaus_mutex *mu)
{
	return READ_ONCE(mu->state) & MUTEX_LOCKED;
}

#endif /* KR_SYNC_MUTEX_H */
