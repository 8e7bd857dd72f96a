// SPDX-License-Identifier: GPL-2.0-only
/*
 * What one preemption costs: the time from the interrupt of the slice timer to
 * the trampoline and back, beside a POSIX timer with a signal handler and a
 * kick of oneself. Run it with
 *
 *	tests/vm/run.sh --icount -- bench_redirect
 *
 * where CLOCK_MONOTONIC counts instructions, and read "ns" as "instructions".
 *
 * Method: a fixed amount of work is timed alone, then with N preemptions in
 * it; the difference over N is the cost of one, timer interrupt included.
 * Each is repeated; the smallest difference counts, as background work of the
 * kernel only adds. It begins when the kernel has been left alone for a while,
 * and the first measurement is thrown away.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kw.h"

#define ROUNDS		4000000ULL	/* some 30 million instructions */
#define REPEAT		5
/* The target, for one redirect with its interrupt. */
#define LIMIT		1300

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id	_sigev_un._tid
#endif

struct result {
	const char *what;
	uint64_t n;
	double each;
};

static volatile uint64_t nr_signals;

static void on_signal(int sig)
{
	(void)sig;
	nr_signals++;
}

static uint64_t timed(void)
{
	uint64_t start = kw_now();

	kw_sum(ROUNDS);
	return kw_now() - start;
}

static uint64_t undisturbed(void)
{
	uint64_t best = UINT64_MAX, t;

	for (int i = 0; i < REPEAT; i++) {
		t = timed();
		if (i && t < best)
			best = t;
	}
	return best;
}

/* The cost of each of the @nr() that come while the work is done. */
static struct result measure(const char *what, uint64_t base,
			     uint64_t (*nr)(void))
{
	struct result r = { .what = what, .each = 1e18 };

	for (int i = 0; i < REPEAT; i++) {
		uint64_t before = nr(), t = timed(), n = nr() - before;
		double each = n ? (double)(int64_t)(t - base) / n : 1e18;

		if (i && each < r.each) {
			r.each = each;
			r.n = n;
		}
	}
	return r;
}

static uint64_t signals(void)
{
	return nr_signals;
}

static uint64_t redirects(void)
{
	return KW_LOAD(kw_self.stat->nr_entries);
}

static struct result bench_signal(uint64_t base, uint64_t period_ns)
{
	struct sigaction sa = {
		.sa_handler = on_signal, .sa_flags = SA_RESTART,
	};
	struct sigevent ev = {
		.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG,
	};
	struct itimerspec it = {
		.it_interval.tv_nsec = period_ns, .it_value.tv_nsec = period_ns,
	};
	struct result r = { .what = "POSIX timer, signal, sigreturn" };
	timer_t timer;

	ev.sigev_notify_thread_id = syscall(SYS_gettid);
	sigaction(SIGURG, &sa, NULL);
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) ||
	    timer_settime(timer, 0, &it, NULL)) {
		perror("timer");
		return r;
	}
	r = measure(r.what, base, signals);
	timer_delete(timer);
	return r;
}

/* A redirect per slice of @slice_ns; all registers by kw_tramp, or all state. */
static struct result bench_slice(const char *what, uint64_t base,
				 uint64_t slice_ns, bool all_state)
{
	struct result r = { .what = what };
	struct kw k;
	int err;

	err = kw_open(&k, 1, 2);
	if (!err && all_state) {
		k.tramp_lo = (uint64_t)kw_tramp_x;
		k.tramp_hi = (uint64_t)kw_tramp_x_end;
	}
	if (!err)
		err = kw_setup(&k);
	if (!err)
		err = kw_register(&k, 0);
	if (err) {
		fprintf(stderr, "kaus: %s\n", strerror(-err));
		return r;
	}
	k.hdr->slice_ns = slice_ns;
	kw_carry(&k, 0);
	kw_waiters(&k, 0, 1);
	r = measure(what, base, redirects);
	kw_unregister(&k);
	kw_close(&k);
	return r;
}

/* KICK of oneself: call, event, return to the trampoline and back. */
static struct result bench_kick(void)
{
	struct result r = { .what = "KICK of oneself, call included", .n = 1000,
			    .each = 1e18 };
	struct kw k;

	if (kw_group(&k, 1, 2) || kw_register(&k, 0))
		return (struct result){ .what = r.what };
	for (int i = 0; i < REPEAT; i++) {
		uint64_t start = kw_now();
		double each;

		for (uint64_t n = 0; n < r.n; n++)
			kw_kick(&k, 0, NULL);
		each = (double)(kw_now() - start) / r.n;
		if (i && each < r.each)
			r.each = each;
	}
	kw_unregister(&k);
	kw_close(&k);
	return r;
}

static void print(const struct result *r)
{
	if (!r->n)
		printf("%-40s %8s %10s\n", r->what, "-", "-");
	else
		printf("%-40s %8lu %10.0f\n", r->what, (unsigned long)r->n,
		       r->each);
	fflush(stdout);
}

int main(void)
{
	const char *icount = getenv("KAUS_VM_ICOUNT");
	struct result r;
	uint64_t base;
	int ret = 0;

	if (access(KW_DEV, R_OK | W_OK)) {
		printf("1..0 # SKIP no " KW_DEV "\n");
		return 4;
	}
	sleep(3);
	undisturbed();
	base = undisturbed();
	printf("%-40s %8s %10s\n", "per preemption",
	       "number", icount && *icount ? "insns" : "ns");
	r = bench_slice("slice timer, redirect, trampoline", base, 200000,
			false);
	print(&r);
	if (icount && *icount && (!r.n || r.each > LIMIT)) {
		printf("FAIL: more than %d instructions\n", LIMIT);
		ret = 1;
	}
	r = bench_slice("the same with a slice of 50 us", base, 50000, false);
	print(&r);
	r = bench_slice("the same, all extended state saved", base, 200000,
			true);
	print(&r);
	r = bench_signal(base, 200000);
	print(&r);
	r = bench_kick();
	print(&r);
	return ret;
}
