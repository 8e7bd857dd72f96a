/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A group: all procs (P) and workers (M) of one runtime.
 */
#ifndef _KAUS_GROUP_H
#define _KAUS_GROUP_H

#include <linux/atomic.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/kaus.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>

struct kaus_group;
struct kaus_m;
struct mm_struct;
struct page;
struct pid;

/* The module's side of a P. */
struct kaus_p {
	/* Fixed. */
	struct kaus_group *group;
	struct kaus_proc *slot;
	u32 index;

	/* The hand-off that may be under way; see handoff.c. */
	u64 sleep_ns;
	struct irq_work work;
	struct hrtimer timer;
};

struct kaus_group {
	/* Fixed by kaus_group_create(). */
	struct mm_struct *mm;		/* mm_count held */
	struct pid *tgid;
	unsigned long tramp_lo;
	unsigned long tramp_hi;
	u64 min_slice_ns;
	u32 nr_procs;
	u32 nr_workers;
	struct page **pages;		/* the region, pinned */
	unsigned long nr_pages;
	struct kaus_header *hdr;	/* ... and mapped */
	struct kaus_worker *slots;
	struct kaus_p *ps;		/* nr_procs */

	struct kref ref;		/* the file, each worker */

	/* See debugfs.c. */
	struct list_head all;
	u32 id;				/* of all groups since load, from 1 */

	/* drain.c: its lock. */
	struct list_head in_drain;	/* every group that is not freed */
	kuid_t uid;

	struct list_head in_pages;	/* pages.c: its lock */

	atomic64_t kick_ns;		/* when the kicks so far are paid for */
	atomic64_t look_ns;		/* ... and the looks at sleepers */

	/*
	 * Guards the rest, and the fields of struct kaus_m that say so. Taken
	 * in hard interrupts. Never held across a wake-up: the scheduler's
	 * locks are not nested in it, nor it in them.
	 */
	raw_spinlock_t lock;
	bool shutdown;			/* only ever set, as the next two; */
	bool drained;			/* ... by drain.c; all are also read */
	bool closed;			/* ... unlocked */
	struct kaus_m __rcu **ms;	/* nr_workers; also read under RCU */
	u32 ms_end;			/* all of ms from here on is NULL */
	struct list_head *pools;	/* nr_procs + 1, by home; LIFO */
	unsigned long *pool_map;	/* pools that are not empty */
	struct list_head service;	/* parked with KAUS_PARK_SERVICE */
	bool service_pending;		/* ... nobody was */
	bool has_starved;
	unsigned long *starved;		/* Ps whose hand-off found no M */
	u32 starved_at;			/* the round through them is here */
	struct irq_work starved_work;	/* ... and goes on in this */

	/* See pages.c. */
	u64 pages_wake_ns;		/* the next wake-up not before */
	u64 nr_pages_asked;
	u64 nr_pages_wakes;
};

#define KAUS_MAX_SLICE_NS	NSEC_PER_SEC
#define KAUS_DEFAULT_SLICE_NS	(100 * NSEC_PER_USEC)
#define KAUS_MAX_DELAY_NS	(10 * NSEC_PER_MSEC)

void kaus_group_limits(struct kaus_info *info);
struct kaus_group *kaus_group_create(const struct kaus_setup *setup);
bool kaus_group_is_owner(const struct kaus_group *g);
void kaus_group_shutdown(struct kaus_group *g, u32 why);
bool kaus_group_may_interrupt(struct kaus_group *g);
u64 kaus_group_next_look(struct kaus_group *g);
void kaus_group_put(struct kaus_group *g);

static inline void kaus_group_get(struct kaus_group *g)
{
	kref_get(&g->ref);
}

static inline bool kaus_group_is_shutdown(const struct kaus_group *g)
{
	return READ_ONCE(g->shutdown);
}

/* The slice in force; the runtime may change it at any time. */
static inline u64 kaus_group_slice(const struct kaus_group *g)
{
	u64 slice = READ_ONCE(g->hdr->slice_ns);

	if (!slice)
		slice = KAUS_DEFAULT_SLICE_NS;
	return clamp_t(u64, slice, g->min_slice_ns, KAUS_MAX_SLICE_NS);
}

#endif /* _KAUS_GROUP_H */
