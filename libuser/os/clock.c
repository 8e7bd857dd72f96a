/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Clocks. */
#include <errno.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/barrier.h"
#include "os/os.h"

#define SLACK_DEFAULT_NS	50000
/* The slack is a small part of what is further away. */
#define EXACT_WITHIN_NS		100000000ULL
#define TICK_MAX_NS		11000000ULL	/* from one tick to the next */
#define TICK_WORK_NS		100000ULL	/* the kernel's, at one */

static uint64_t timespec_ns(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * 1000000000ULL + (uint64_t)ts->tv_nsec;
}

uint64_t kr_clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return timespec_ns(&ts);
}

/*
 * Ticks are timers of the monotonic clock, whole periods from each other, so it is
 * enough to see one. The coarse clock stands still between them; what it shows is
 * behind by a part of a period that changes as the clock is adjusted.
 */
static struct {
	uint64_t period_ns, phase_ns;
} tick;

static uint64_t coarse_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return timespec_ns(&ts);
}

/*
 * clock_getres() may be forbidden. But for what an adjustment changes it is one of
 * these, or a tick was left out, or the clock was set.
 */
static uint64_t period_of(uint64_t step_ns)
{
	static const uint32_t periods[] = { 10000000, 4000000, 3333333, 1000000 };

	for (int i = 0; i < 4; i++) {
		uint64_t ns = periods[i];

		if (step_ns > ns - ns / 100 && step_ns < ns + ns / 100)
			return ns;
	}
	return 0;
}

bool kr_clock_find_tick(void)
{
	uint64_t first_ns = coarse_ns(), coarse, from_ns, before_ns, now, end_ns;
	uint64_t period_ns;

	now = before_ns = kr_clock_now_ns();
	end_ns = now + TICK_MAX_NS;
	do {
		/* From before the look that did not see it to after this one. */
		from_ns = before_ns;
		before_ns = now;
		coarse = coarse_ns();
		now = kr_clock_now_ns();
	} while (coarse == first_ns && now < end_ns);
	period_ns = period_of(coarse - first_ns);
	/* Or the thread did not run just then. */
	if (!period_ns || now - from_ns > TICK_WORK_NS)
		return false;
	WRITE_ONCE(tick.phase_ns, from_ns % period_ns);
	WRITE_ONCE(tick.period_ns, period_ns);
	return true;
}

uint64_t kr_clock_tick_ns(uint64_t *ret_period_ns)
{
	uint64_t period_ns = READ_ONCE(tick.period_ns);

	*ret_period_ns = period_ns;
	if (!period_ns)
		return 0;
	return (kr_clock_now_ns() % period_ns + period_ns -
		READ_ONCE(tick.phase_ns)) % period_ns;
}

/* The kernel's numbers: clocks of a thread, time as the scheduler counts it. */
#define CPUCLOCK_SCHED		2
#define CPUCLOCK_PERTHREAD	4

int kr_clock_thread_cpu_ns(int tid, uint64_t *ret_ns)
{
	clockid_t clock = (clockid_t)(~(unsigned int)tid << 3 |
				      CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD);
	struct timespec ts;

	if (clock_gettime(clock, &ts))
		return -errno;
	*ret_ns = timespec_ns(&ts);
	return 0;
}

void kr_clock_sleep_ns(uint64_t ns)
{
	struct timespec ts = {
		.tv_sec = ns / 1000000000ULL,
		.tv_nsec = ns % 1000000000ULL,
	};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

/* 0: not known yet; else the slack the process was started with, and one. */
static uint32_t slack;

static bool may_be_exact(void)
{
	int ret;

	if (!READ_ONCE(slack)) {
		ret = prctl(PR_GET_TIMERSLACK);
		WRITE_ONCE(slack, ret < 0 ? 1 : (uint32_t)ret + 1);
	}
	/* Whoever has set another knows why. */
	return READ_ONCE(slack) == SLACK_DEFAULT_NS + 1;
}

bool kr_clock_exact_begin(uint64_t deadline_ns)
{
	int saved_errno = errno;
	bool exact;

	if (deadline_ns == UINT64_MAX ||
	    deadline_ns > kr_clock_now_ns() + EXACT_WITHIN_NS)
		return false;
	exact = may_be_exact() && !prctl(PR_SET_TIMERSLACK, 1);
	errno = saved_errno;
	return exact;
}

void kr_clock_exact_end(bool exact)
{
	int saved_errno = errno;

	if (!exact)
		return;
	(void)prctl(PR_SET_TIMERSLACK, SLACK_DEFAULT_NS);
	errno = saved_errno;
}
