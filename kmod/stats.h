/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the module did on each CPU.
 *
 * DOC: One instruction each, so they are always on. Each CPU counts for itself
 * and readers take what they find; see debugfs.c.
 */
#ifndef _KAUS_STATS_H
#define _KAUS_STATS_H

#include <linux/percpu.h>
#include <linux/types.h>

#include "redirect.h"

struct kaus_stats {
	u64 looks;		/* of the slice timer */
	u64 returns;		/* of the user-return notifier */
	u64 pokes;		/* interrupts from other CPUs */
	u64 redirects;
	u64 refused[KAUS_NR_REFUSED];
	u64 sleeps;		/* workers that left a P SLEEPING */
	u64 wakes;		/* ... and had it when they came back */
	u64 lost;		/* ... and had it not */
	u64 handoffs;		/* Ps given to a worker meanwhile */
	u64 starved;		/* ... or not, for want of a worker */
	u64 parks;
	u64 unparks;		/* KAUS_IOC_WAKE and KAUS_IOC_HANDOFF */
	u64 kicks;
	u64 again;		/* looks at a sleeper's P by its timer */
};

DECLARE_PER_CPU(struct kaus_stats, kaus_stats);

#define kaus_stat_inc(field)	this_cpu_inc(kaus_stats.field)

#endif /* _KAUS_STATS_H */
