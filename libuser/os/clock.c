/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Clocks. */
#include <errno.h>
#include <time.h>

#include "os/os.h"

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
