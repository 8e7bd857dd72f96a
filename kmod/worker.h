/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A worker (M): one registered thread.
 */
#ifndef _KAUS_WORKER_H
#define _KAUS_WORKER_H

#include <linux/kaus.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/preempt.h>
#include <linux/sched.h>

#include "group.h"

struct kaus_p;

struct kaus_m {
	/* Fixed by kaus_worker_register(). */
	struct preempt_notifier pn;
	struct kaus_group *group;	/* reference held */
	struct kaus_worker *slot;
	struct task_struct *task;	/* reference held */
	u32 index;

	/* Written by the thread itself; read by anyone. */
	int cpu;			/* -1 while it is off CPU */
	bool gone;			/* detached: will never run as a worker */

	/*
	 * Taken last, also under the run queue lock. Who holds it and does not
	 * see gone may read the thread's kernel stack: it cannot die meanwhile.
	 */
	raw_spinlock_t stack_lock;

	/* The thread's own. */
	bool in_call;			/* in an ioctl that uses this object */
	struct kaus_p *sleep_p;		/* left SLEEPING in sched_out, ... */
	u64 sleep_word;			/* ... with this owner word */

	/* The slice, with interrupts off on the thread's CPU; see preempt.c. */
	u64 slice_word;
	u64 slice_start_ns;
	u64 fresh_ns;			/* time of a redirect or grant, whose */
					/* goroutine has not been seen, or 0 */
	u32 slice_tick;
	u32 nr_retries;

	/* group->lock; see park.c. */
	struct list_head wait;		/* in a pool or the service list */
	u32 wait_home;			/* index of that pool */
	bool parked;			/* debugfs.c reads it unlocked */
	bool token;			/* woken before it parked */
	u32 grant;			/* P given and not fetched yet; also */
					/* read unlocked by the thread */
	u64 grant_word;

	struct llist_node reap;
};

int kaus_worker_init(void);
void kaus_worker_exit(void);
int kaus_worker_register(struct kaus_group *g, u32 index);
int kaus_worker_unregister(struct kaus_group *g, u32 index);
struct kaus_m *kaus_worker_begin(struct kaus_group *g, u32 index);
void kaus_worker_end(struct kaus_m *m);
void kaus_worker_detach(struct kaus_m *m);
void kaus_worker_nudge(struct kaus_m *m);

/* Must @m not be a worker any longer? Called by the thread itself. */
static inline bool kaus_worker_is_stale(const struct kaus_m *m)
{
	return kaus_group_is_shutdown(m->group) || current->mm != m->group->mm;
}

/*
 * Does a worker of a drained group have to be redirected once more? Whoever
 * kicked it, before the drain, relies on it: see protocol 3. Its descriptor
 * still holds the module.
 */
static inline bool kaus_worker_is_owed(const struct kaus_m *m)
{
	return !READ_ONCE(m->group->closed) && current->mm == m->group->mm &&
	       (READ_ONCE(m->slot->events) & KAUS_EV_KICK);
}

#endif /* _KAUS_WORKER_H */
