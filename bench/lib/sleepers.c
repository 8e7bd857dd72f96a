// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Ten thousand goroutines sleep for up to a second, and a million timers go off
 * within one: how late are they, and what do the timers cost?
 */
#include <stdlib.h>
#include <sys/resource.h>

#include "bench.h"

#define SECOND_NS 1000000000ULL
#define ROUNDS 2

static struct kaus_waitgroup left;
static uint64_t *late;

/* The same for each run, and for Go. */
static uint64_t sleep_ns(size_t i)
{
	return i * 2654435761ULL % SECOND_NS;
}

static void sleeper(void *arg)
{
	size_t i = (size_t)(uintptr_t)arg;
	uint64_t due;

	for (int round = 0; round < ROUNDS; round++) {
		due = kaus_now_ns() + sleep_ns(i * ROUNDS + (size_t)round);
		kaus_sleep_until(due);
		late[i * ROUNDS + (size_t)round] = kaus_now_ns() - due;
	}
	kaus_waitgroup_done(&left);
}

void bench_sleepers(void)
{
	size_t i, nr = bench_count(10000);

	late = calloc(nr * ROUNDS, sizeof(*late));
	kaus_waitgroup_add(&left, (int)nr);
	for (i = 0; i < nr; i++)
		bench_go(sleeper, (void *)(uintptr_t)i);
	kaus_waitgroup_wait(&left);
	bench_report_percentiles("sleepers_late", late, nr * ROUNDS);
	free(late);
}

struct timer {
	struct kaus_timer timer;
	uint64_t due;
};

static struct timer *timers;

static void fire(void *arg)
{
	const struct timer *t = arg;

	late[t - timers] = kaus_now_ns() - t->due;
	kaus_waitgroup_done(&left);
}

static double cpu_s(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
	       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

void bench_timers(void)
{
	size_t i, nr = bench_count(1000000);
	uint64_t start;
	double cpu;

	late = calloc(nr, sizeof(*late));
	timers = calloc(nr, sizeof(*timers));
	kaus_waitgroup_add(&left, (int)nr);
	cpu = cpu_s();
	start = kaus_now_ns();
	for (i = 0; i < nr; i++) {
		uint64_t now = kaus_now_ns();

		/* What is due before it is armed is late from then on. */
		timers[i].due = start + sleep_ns(i);
		if (timers[i].due < now)
			timers[i].due = now;
		kaus_timer_init(&timers[i].timer, fire, &timers[i]);
		bench_check(kaus_timer_start(&timers[i].timer, timers[i].due,
					     0), "kaus_timer_start");
	}
	kaus_waitgroup_wait(&left);
	bench_report("timers_cpu", (cpu_s() - cpu) * 1000, "ms");
	bench_report_percentiles("timers_late", late, nr);
	free(late);
	free(timers);
}
