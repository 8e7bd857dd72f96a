/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Virtual time: tests that sleep for hours and end at once.
 *
 * DOC: With KAUS_VIRTUAL_TIME=1 the clock of the program stands still while a
 * goroutine can run, and when all sleep it jumps to the next timer. Whether all
 * sleep is the question that deadlock.c asks too, so the service thread does
 * both: it is a deadlock only if no timer is armed.
 *
 * Nobody else moves the clock, and it only moves while no goroutine runs. So
 * all that is due at one moment is done, with all that follows from it, before
 * the next moment comes.
 *
 * The words in which a P's next timer is published (kaus_proc.timer_ns) are
 * compared with the real clock, by the module among others. So they say either
 * that there is no timer or that one is long due: the rest of the scheduler
 * needs to know nothing. They are written under the timer lock of the P, and the
 * clock before them, so a timer that is armed while the clock jumps is published
 * as due by one of the two.
 *
 * Time stands still as well while a goroutine sleeps in the kernel, as an M is
 * missing in the pool then, and while one waits for a descriptor, which is
 * counted: how long the world outside takes is not known. Plain threads of the
 * program are not seen. Their own deadlines pass by the real clock.
 *
 * The network is left to the watch (netpoll.c): an M that waits in epoll would
 * not be in the pool.
 */
#include "sched/virtual.h"

#include "sched/timer.h"

#define LONG_DUE_NS	1	/* 0 is no timer */

void kr_virtual_init(void)
{
	sched.virtual_ns = kr_clock_now_ns();
	sched.virtual_time = true;
}

uint64_t kr_time_real_ns(uint64_t deadline_ns)
{
	uint64_t now = kr_time_now_ns();

	if (!kr_time_is_virtual() || deadline_ns == UINT64_MAX)
		return deadline_ns;
	return deadline_ns <= now ? 0 : kr_clock_now_ns() + (deadline_ns - now);
}

uint64_t kr_virtual_due(uint64_t when_ns)
{
	return when_ns && when_ns <= kr_time_now_ns() ? LONG_DUE_NS : 0;
}

bool kr_virtual_jump(void)
{
	uint64_t first = kr_timers_first();

	if (first == UINT64_MAX)
		return false;
	if (first > sched.virtual_ns)
		WRITE_ONCE(sched.virtual_ns, first);
	kr_timers_publish();
	kr_wakep();
	return true;
}
