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

struct kaus_group;
struct kaus_p;
struct task_struct;

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

	/* The thread's own. */
	bool in_call;			/* in an ioctl that uses this object */
	struct kaus_p *sleep_p;		/* left SLEEPING in sched_out, ... */
	u64 sleep_word;			/* ... with this owner word */

	/* The slice, with interrupts off on the thread's CPU; see preempt.c. */
	u64 slice_word;
	u64 slice_start_ns;
	u64 redirect_ns;		/* time of a redirect in it, or 0 */
	u32 slice_tick;
	u32 nr_retries;

	/* group->lock; see park.c. */
	struct list_head wait;		/* in a pool or the service list */
	u32 wait_home;			/* index of that pool */
	bool parked;
	bool token;			/* woken before it parked */
	u32 grant;			/* P given and not fetched yet */
	u64 grant_word;

	struct llist_node reap;
};

int kaus_worker_init(void);
void kaus_worker_exit(void);
int kaus_worker_register(struct kaus_group *g, u32 index);
int kaus_worker_unregister(struct kaus_group *g, u32 index);
struct kaus_m *kaus_worker_begin(struct kaus_group *g, u32 index);
void kaus_worker_end(struct kaus_m *m);
bool kaus_worker_is_stale(const struct kaus_m *m);
void kaus_worker_detach(struct kaus_m *m);

#endif /* _KAUS_WORKER_H */
