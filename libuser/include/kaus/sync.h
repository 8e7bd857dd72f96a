/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Synchronisation between goroutines. */
#ifndef KAUS_SYNC_H
#define KAUS_SYNC_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kaus_waitgroup - Counts work in flight; zeroed memory is ready to use.
 * @lock: Internal.
 * @count: Internal.
 * @waiters: Internal.
 */
struct kaus_waitgroup {
	uint32_t lock;
	int32_t count;
	void *waiters;
};

#define KAUS_WAITGROUP_INIT { 0, 0, 0 }

/**
 * kaus_waitgroup_add() - Add @n, which may be negative, to the count.
 * @wg: The wait group.
 * @n: How many.
 *
 * At zero all waiters are made ready.
 *
 * Context: G or any other thread while the runtime runs; never parks.
 * Return: 0, -EINVAL if the count would become negative (it is not changed),
 * -EOVERFLOW if it would not fit, -EPERM if the runtime is not running.
 */
int kaus_waitgroup_add(struct kaus_waitgroup *wg, int n);

/**
 * kaus_waitgroup_done() - Take one off the count.
 * @wg: The wait group.
 *
 * Context: as kaus_waitgroup_add().
 * Return: As kaus_waitgroup_add() with -1.
 */
int kaus_waitgroup_done(struct kaus_waitgroup *wg);

/**
 * kaus_waitgroup_wait() - Park until the count is zero.
 * @wg: The wait group; may be reused as soon as every waiter has returned.
 *
 * Context: G.
 * Return: 0, or -EPERM outside a goroutine.
 */
int kaus_waitgroup_wait(struct kaus_waitgroup *wg);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_SYNC_H */
