/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Coming and going of the module while goroutines run: attach.c. */
#ifndef KR_SCHED_ATTACH_H
#define KR_SCHED_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/barrier.h"
#include "base/compiler.h"
#include "sched/sched.h"

/*
 * How often the assist has changed. Odd: the module helps. Changes with
 * pool.lock held (assist_signal.c).
 */
static inline uint32_t kr_epoch(void)
{
	return smp_load_acquire(&sched.epoch);
}

static inline bool kr_has_module(uint32_t epoch)
{
	return epoch & 1;
}

/* Is @mp a worker of the group of this epoch? For ever, once it is. */
static inline bool kr_is_joined(const struct m *mp, uint32_t epoch)
{
	return kr_has_module(epoch) &&
	       __atomic_load_n(&mp->epoch, __ATOMIC_RELAXED) == epoch;
}

/*
 * Does a kick reach a thread that sleeps before it goes on, and its registers can
 * be read until then? Else (a kernel without user-return notifiers) who stops the
 * world sends signals.
 */
bool kr_attach_has_regs(void);
/* One ioctl on the present descriptor. */
int kr_attach_ioctl(unsigned int cmd, void *arg);
/* Does this error mean that the group has ended? Throws if we were robbed. */
bool kr_attach_is_over(int err);

/**
 * kr_attach_first() - Use the module from the start.
 *
 * Return: 0, or why there is none.
 */
int kr_attach_first(void *region, uint32_t nr_procs, uint32_t max_procs,
		    uint32_t nr_workers);
/* In the child of a fork(). */
void kr_attach_forked(void);
/* Notice the device when it comes. Before kr_attach_first(). */
void kr_attach_watch(void);

/**
 * kr_attach_join() - Make the calling thread a worker of this epoch.
 * @mp: Its M, preemption off.
 * @epoch: The epoch.
 * @carried: The P it carries or NULL.
 *
 * Return: false if it cannot be one. Then that epoch is over, for all.
 */
bool kr_attach_join(struct m *mp, uint32_t epoch, const struct p *carried);

/*
 * The calling thread ends, with preemption off and no P: @mp is no worker any
 * more, and what it was given and has not fetched is for others.
 */
void kr_attach_leave(struct m *mp);

/* Whoever gets a P needs the module's help from then on. */
static inline void kr_attach_adopt(struct m *mp, const struct p *pp)
{
	uint32_t epoch = kr_epoch();

	if (unlikely(kr_has_module(epoch) && !kr_is_joined(mp, epoch)))
		kr_attach_join(mp, epoch, pp);
}

/* The module is no longer there in @epoch: go on by signals. Any context. */
void kr_attach_over(uint32_t epoch);

/* For sysmon's thread. */

/* After kr_attach_over(): let go of the device. False: try again later. */
bool kr_attach_let_go(void);
/* Is the device there again? Then use it. */
void kr_attach_look(void);
/* Has it gone a moment ago, so that another one may be about to come? */
bool kr_attach_is_between(void);
/* Is some M not a worker yet? */
bool kr_attach_is_partial(void);

#endif /* KR_SCHED_ATTACH_H */
