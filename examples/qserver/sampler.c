/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The sampler: idle-while-runnable time, context switches, CPU time, and the
 * alarm for a run that hangs.
 *
 * DOC: idle while runnable
 *
 * The time in which a CPU idles although a request could use it. The runtime
 * is not asked: it may be the one who is wrong, and threads have none. Each
 * sample takes
 *
 *	running = the kernel's number of running and runnable threads (field 4
 *		of /proc/loadavg), less the sampler
 *	active	= requests that have arrived, have not been answered and are not
 *		in a call that sleeps; arrived is what the clock says, not
 *		what the generator got done
 *	idle	= min(CPUs - running, active - running) if both are positive
 *
 * With fewer running threads than CPUs some CPU idles; with fewer running
 * threads than active requests some request does not run. "running" counts
 * threads of other kinds too, so the number errs on the low side. The sum over
 * all samples, divided by samples and CPUs, is the share of CPU time lost.
 *
 * The same thread samples in the same way whoever serves. It runs at real-time
 * priority where that is allowed, else its samples would avoid busy moments.
 */
#define _GNU_SOURCE
#include "sampler.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util.h"

#define PERIOD_NS	NS_PER_MS
/* How long after the last arrival a run is given up. */
#define PATIENCE_NS	(30 * NS_PER_S)

struct usage {
	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t nr_switches;
};

static pthread_t thread;
static bool stopping;
static int loadavg_fd = -1;

static struct load *load;
static struct result *result;
static const struct executor *executor;
static unsigned int nr_cpus;

/* Requests that have arrived by the last sample. */
static uint64_t nr_arrived;

static uint64_t timeval_ns(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * NS_PER_S + (uint64_t)tv->tv_usec * 1000;
}

static uint64_t rusage_cpu_ns(const struct rusage *ru)
{
	return timeval_ns(&ru->ru_utime) + timeval_ns(&ru->ru_stime);
}

static uint64_t rusage_switches(const struct rusage *ru)
{
	return (uint64_t)ru->ru_nvcsw + (uint64_t)ru->ru_nivcsw;
}

/* The process without this thread. */
static struct usage read_usage(void)
{
	struct rusage all, self;
	struct usage usage;

	getrusage(RUSAGE_SELF, &all);
	getrusage(RUSAGE_THREAD, &self);
	usage.wall_ns = now_ns();
	usage.cpu_ns = rusage_cpu_ns(&all) - rusage_cpu_ns(&self);
	usage.nr_switches = rusage_switches(&all) - rusage_switches(&self);
	return usage;
}

static int64_t count_running(void)
{
	char text[128];
	const char *field;
	ssize_t rc = pread(loadavg_fd, text, sizeof(text) - 1, 0);

	if (rc <= 0)
		return nr_cpus;
	text[rc] = 0;
	field = strchr(text, '/');
	if (!field)
		return nr_cpus;
	while (field > text && field[-1] != ' ')
		field--;
	return strtol(field, NULL, 10) - 1;
}

static int64_t count_active(uint64_t now)
{
	int64_t done, asleep;

	done = (int64_t)__atomic_load_n(&load->nr_done, __ATOMIC_RELAXED);
	asleep = (int64_t)__atomic_load_n(&load->nr_asleep, __ATOMIC_RELAXED);
	while (nr_arrived < load->nr_requests &&
	       load->requests[nr_arrived].intended_ns <= now)
		nr_arrived++;
	return (int64_t)nr_arrived - done - asleep;
}

static void take_sample(uint64_t now)
{
	int64_t running = count_running();
	int64_t active = count_active(now);
	int64_t idle = nr_cpus - running;

	if (idle > active - running)
		idle = active - running;
	result->nr_samples++;
	if (idle > 0)
		result->nr_idle += (uint64_t)idle;
}

static void give_up(void)
{
	warn("%llu of %llu requests are not answered after %llu s",
	     (unsigned long long)(load->nr_requests - load->nr_done),
	     (unsigned long long)load->nr_requests,
	     (unsigned long long)(PATIENCE_NS / NS_PER_S));
	if (executor->dump)
		executor->dump();
	_exit(1);
}

static void sleep_until(uint64_t when_ns)
{
	const struct timespec ts = {
		.tv_sec = (time_t)(when_ns / NS_PER_S),
		.tv_nsec = (long)(when_ns % NS_PER_S),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) ==
	       EINTR)
		;
}

static uint64_t await_start(void)
{
	uint64_t start_ns;

	do {
		sleep_until(now_ns() + PERIOD_NS);
		start_ns = __atomic_load_n(&load->start_ns, __ATOMIC_ACQUIRE);
	} while (!start_ns && !__atomic_load_n(&stopping, __ATOMIC_RELAXED));
	return start_ns;
}

static void *sample(void *arg)
{
	const uint64_t start_ns = await_start();
	const uint64_t end_ns = start_ns + load->end_ns;
	uint64_t next = start_ns + load->begin_ns, now;
	struct usage first, last;

	sleep_until(next);
	first = read_usage();
	while ((now = now_ns()) < end_ns) {
		take_sample(now);
		/* Samples missed are lost, not made up for in a burst. */
		while (next <= now)
			next += PERIOD_NS;
		sleep_until(next);
	}
	last = read_usage();
	result->wall_ns = last.wall_ns - first.wall_ns;
	result->cpu_ns = last.cpu_ns - first.cpu_ns;
	result->nr_switches = last.nr_switches - first.nr_switches;

	while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
		if (now_ns() > end_ns + PATIENCE_NS)
			give_up();
		sleep_until(now_ns() + 10 * PERIOD_NS);
	}
	return arg;
}

void sampler_start(struct load *the_load, struct result *res,
		   const struct executor *exec, unsigned int cpus)
{
	const struct sched_param param = { .sched_priority = 1 };
	sigset_t all, old;
	int err;

	load = the_load;
	result = res;
	executor = exec;
	nr_cpus = cpus;
	loadavg_fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	if (loadavg_fd < 0)
		warn("no /proc/loadavg: idle-while-runnable will show as 0");
	/* Signals are for those who serve. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&thread, NULL, sample, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		die("cannot start the sampler: %s", strerror(err));
	pthread_setschedparam(thread, SCHED_FIFO, &param);
}

void sampler_stop(void)
{
	__atomic_store_n(&stopping, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}
