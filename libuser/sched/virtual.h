/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The time that programs see: the real one, or for tests one that jumps. */
#ifndef KR_SCHED_VIRTUAL_H
#define KR_SCHED_VIRTUAL_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/sched.h"

/* Before the first M starts. */
void kr_virtual_init(void);

static inline bool kr_time_is_virtual(void)
{
	return unlikely(sched.virtual_time);
}

/* What deadlines and timers are compared with. */
static inline uint64_t kr_time_now_ns(void)
{
	return kr_time_is_virtual() ? READ_ONCE(sched.virtual_ns) :
				      kr_clock_now_ns();
}

/* A deadline for a system call of a plain thread, whose time is real. */
uint64_t kr_time_real_ns(uint64_t deadline_ns);

/* What kaus_proc.timer_ns says of a heap whose first timer is at @when_ns. */
uint64_t kr_virtual_due(uint64_t when_ns);

/* All goroutines are asleep: jump. False: no timer is armed. */
bool kr_virtual_jump(void);

/*
 * The caller is about to wait for something outside, and no longer does. Time
 * stands still in between.
 */
static inline void kr_virtual_hold(void)
{
	if (kr_time_is_virtual())
		kr_add(&sched.nr_outside_waits, 1);
}

static inline void kr_virtual_let_go(void)
{
	if (kr_time_is_virtual())
		kr_sub(&sched.nr_outside_waits, 1);
}

#endif /* KR_SCHED_VIRTUAL_H */
