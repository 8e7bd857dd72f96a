// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long a P is idle when its worker falls asleep: from the last user
 * instruction of the sleeper, before the system call, to the first one of the
 * pool worker that got the P, after PARK. On one CPU, a thousand times, every
 * one reported. Run it with
 *
 *	tests/vm/run.sh --icount -- bench_handoff
 *
 * where CLOCK_MONOTONIC counts instructions, and read "ns" as "instructions".
 * Rounds in which the kernel did something of its own, a tick, a soft interrupt or
 * a thread, are told apart: the module has none of these.
 * Beside it what the calls cost that a runtime would use without the module
 * noticing by itself.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kw.h"

#define ROUNDS		1000
#define WARM_UP		50
/*
 * The target for one CPU, for the worst of all rounds but those with something
 * beside, of which there may be so many, and but two: a tick that is a little
 * early does not move the clock that tells of it.
 */
#define LIMIT		10000
#define MAX_BESIDE	(ROUNDS / 10)
#define MAX_UNSEEN	2

static uint64_t asleep_ns;
static uint64_t took[ROUNDS + WARM_UP];
static unsigned int nr_taken;
static bool is_icount;
static int fds[2];

/* Ticks, soft interrupts and context switches on the only CPU. */
struct work {
	uint64_t tick_ns;
	unsigned long softirqs;
	unsigned long switches;
};

static struct work before, beside[ROUNDS + WARM_UP];

static struct work kernels_work(void)
{
	static int fd = -1;
	static char text[16384];
	struct work w = { 0 };
	const char *s;
	ssize_t len;

	if (fd < 0)
		fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
	len = pread(fd, text, sizeof(text) - 1, 0);
	text[len > 0 ? len : 0] = 0;
	s = strstr(text, "\nctxt ");
	if (s)
		w.switches = strtoul(s + 6, NULL, 10);
	s = strstr(text, "\nsoftirq ");
	if (s)
		w.softirqs = strtoul(s + 9, NULL, 10);
	return w;
}

/* This clock moves with the tick. */
static uint64_t tick_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int print(const char *what, uint64_t *ns, unsigned int n)
{
	if (!n) {
		printf("%-36s no rounds\n", what);
		return 1;
	}
	qsort(ns, n, sizeof(*ns), compare);
	printf("%-36s %6u %8lu %8lu %8lu %8lu\n", what, n,
	       (unsigned long)ns[0], (unsigned long)ns[n / 2],
	       (unsigned long)ns[n * 99 / 100], (unsigned long)ns[n - 1]);
	fflush(stdout);
	return 0;
}

static void given(struct kw_thread *t, uint32_t proc)
{
	uint64_t now_ns = kw_now(), now_tick_ns = tick_ns();
	struct work w;

	(void)proc;
	kw_waiters(t->kw, 0, 0);
	kw_drop(t->kw);
	w = kernels_work();
	w.tick_ns = now_tick_ns - before.tick_ns;
	w.softirqs -= before.softirqs;
	w.switches -= before.switches;
	if (nr_taken < ROUNDS + WARM_UP) {
		took[nr_taken] = now_ns - KW_LOAD(asleep_ns);
		beside[nr_taken] = w;
	}
	KW_STORE(nr_taken, nr_taken + 1);
	if (write(fds[1], "x", 1) != 1)
		abort();
}

enum how { READ, NAP };

/* Worker 0: sleeps with P 0 and somebody waiting. */
static int sleeper(struct kw *k, enum how how, pid_t pool)
{
	struct timespec ts = { .tv_nsec = 200000 };
	char byte;

	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		/* The pool worker must be back in its place. */
		if (!KW_WAIT(kw_parked(pool)))
			return 1;
		before = kernels_work();
		kw_carry(k, 0);
		kw_waiters(k, 0, 1);
		before.tick_ns = tick_ns();
		KW_STORE(asleep_ns, kw_now());
		if (how == NAP)
			kw_syscall(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
		if (kw_syscall(SYS_read, fds[0], (long)&byte, 1, 0, 0, 0) != 1)
			return 1;
		KW_STORE(kw_self.slot->proc, KAUS_NONE);
		if (!KW_SPIN(kw_owner_is(k, 0, KAUS_P_IDLE, 0)))
			return 1;
	}
	return 0;
}

/* Rounds that were disturbed go to the end; how many were not. */
static unsigned int sort_out(void)
{
	unsigned long least = ~0UL;
	unsigned int i, n = WARM_UP;
	uint64_t t;

	for (i = WARM_UP; i < ROUNDS + WARM_UP; i++)
		if (beside[i].switches < least)
			least = beside[i].switches;
	for (i = WARM_UP; i < ROUNDS + WARM_UP; i++) {
		if (beside[i].tick_ns || beside[i].softirqs ||
		    beside[i].switches > least)
			continue;
		t = took[i];
		took[i] = took[n];
		took[n] = t;
		beside[i] = beside[n];
		n++;
	}
	return n - WARM_UP;
}

static int bench_sleep(struct kw *k, const char *what, enum how how)
{
	struct kw_pool pool = { .given = given };
	struct kw_thread t = { 0 };
	unsigned int alone;
	uint64_t handoffs;
	int ret;

	nr_taken = 0;
	handoffs = k->workers[0].nr_handoffs;
	ret = kw_pool_start(&pool, k, &t, 1, 1);
	if (!ret)
		ret = kw_register(k, 0);
	if (ret) {
		fprintf(stderr, "kaus: %s\n", strerror(-ret));
		return 1;
	}
	ret = sleeper(k, how, t.tid);
	kw_unregister(k);
	kw_pool_stop(&pool, &t, 1);
	handoffs = k->workers[0].nr_handoffs - handoffs;
	if (ret || handoffs != ROUNDS + WARM_UP) {
		printf("FAIL: %lu of %d sleeps handed off\n",
		       (unsigned long)handoffs, ROUNDS + WARM_UP);
		return 1;
	}
	alone = sort_out();
	ret = print(what, took + WARM_UP, alone);
	if (is_icount && alone < ROUNDS - MAX_BESIDE) {
		printf("FAIL: %u rounds with something beside\n", ROUNDS - alone);
		ret = 1;
	}
	if (is_icount && how == READ && alone > MAX_UNSEEN &&
	    took[WARM_UP + alone - 1 - MAX_UNSEEN] > LIMIT) {
		printf("FAIL: more than %d instructions\n", LIMIT);
		ret = 1;
	}
	if (alone < ROUNDS)
		print("... and something of the kernel's", took + WARM_UP + alone,
		      ROUNDS - alone);
	return ret;
}

/* A bare wake-up of a parked worker, to its first instruction. */
static uint64_t woken_ns;
static unsigned int nr_woken;

static void parker(struct kw_thread *t)
{
	while (!kw_park(t->kw, 0, KAUS_NONE, KAUS_FOREVER, NULL)) {
		woken_ns = kw_now();
		KW_ADD(nr_woken, 1);
		if (KW_LOAD(*(unsigned int *)t->arg))
			return;
	}
}

static int bench_wake(struct kw *k)
{
	struct kw_thread t = { 0 };
	unsigned int stop = 0;
	int ret;

	ret = kw_thread_start(&t, k, 2, parker, &stop);
	if (ret)
		return 1;
	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		uint64_t start;

		if (!KW_WAIT(kw_parked(t.tid)))
			return 1;
		start = kw_now();
		kw_wake(k, 2, KAUS_NONE, 0);
		while (KW_LOAD(nr_woken) != i + 1)
			sched_yield();
		took[i] = woken_ns - start;
	}
	KW_STORE(stop, 1);
	kw_wake(k, 2, KAUS_NONE, 0);
	kw_thread_join(&t);
	return print("WAKE to the woken worker", took + WARM_UP, ROUNDS);
}

/*
 * KICK of another that computes, to its first instruction in the trampoline:
 * how long a stop of the world waits for it. With one CPU it has just been
 * preempted by the one that kicks, so a sleep and a switch are in it.
 */
static uint64_t kicked_ns;

__attribute__((target("general-regs-only")))
static void on_kick(struct kw_regs *regs, unsigned int events)
{
	static const char byte = 'x';

	(void)regs;
	if (!(events & KAUS_EV_KICK))
		return;
	kicked_ns = kw_now();
	kw_syscall(SYS_write, fds[1], (long)&byte, 1, 0, 0, 0);
}

static void computes(struct kw_thread *t)
{
	while (!KW_LOAD(*(unsigned int *)t->arg))
		kw_sum(100);
}

static int bench_kick(struct kw *k)
{
	struct kw_thread t = { .hook = on_kick };
	struct timespec ts = { .tv_nsec = 200000 };
	unsigned int stop = 0;
	char byte;

	if (kw_thread_start(&t, k, 5, computes, &stop))
		return 1;
	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		uint64_t start;

		nanosleep(&ts, NULL);
		start = kw_now();
		if (kw_kick(k, 5, NULL) || read(fds[0], &byte, 1) != 1)
			return 1;
		took[i] = kicked_ns - start;
	}
	KW_STORE(stop, 1);
	kw_thread_join(&t);
	return print("KICK, sleep, to the kicked stopped", took + WARM_UP, ROUNDS);
}

/* HANDOFF back and forth between two workers: half a round trip each. */
static void partner(struct kw_thread *t)
{
	struct kaus_handoff arg = {
		.worker = t->worker, .home = KAUS_NONE,
		.deadline_ns = KAUS_FOREVER, .target = 3,
		.target_proc = KAUS_NONE,
	};

	if (kw_park(t->kw, 0, KAUS_NONE, KAUS_FOREVER, NULL))
		return;
	while (!KW_LOAD(*(unsigned int *)t->arg)) {
		arg.woken = 0;
		if (kw_handoff(t->kw, &arg))
			return;
	}
}

static int bench_pingpong(struct kw *k)
{
	struct kaus_handoff arg = {
		.worker = 3, .home = KAUS_NONE, .deadline_ns = KAUS_FOREVER,
		.target = 4, .target_proc = KAUS_NONE,
	};
	struct kw_thread t = { 0 };
	unsigned int stop = 0;

	if (kw_register(k, 3) || kw_thread_start(&t, k, 4, partner, &stop))
		return 1;
	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		uint64_t start = kw_now();

		arg.woken = 0;
		if (kw_handoff(k, &arg))
			return 1;
		took[i] = (kw_now() - start) / 2;
	}
	KW_STORE(stop, 1);
	kw_wake(k, 4, KAUS_NONE, 0);
	kw_thread_join(&t);
	kw_unregister(k);
	return print("HANDOFF, one way", took + WARM_UP, ROUNDS);
}

/* The yardstick: futex wake and wait, back and forth. */
static uint32_t turn;

static void *futex_partner(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		while (KW_LOAD(turn) != 1)
			syscall(SYS_futex, &turn, FUTEX_WAIT, 0, NULL, NULL, 0);
		KW_STORE(turn, 0);
		syscall(SYS_futex, &turn, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	return NULL;
}

static int bench_futex(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, futex_partner, NULL))
		return 1;
	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		uint64_t start = kw_now();

		KW_STORE(turn, 1);
		syscall(SYS_futex, &turn, FUTEX_WAKE, 1, NULL, NULL, 0);
		while (KW_LOAD(turn) != 0)
			syscall(SYS_futex, &turn, FUTEX_WAIT, 1, NULL, NULL, 0);
		took[i] = (kw_now() - start) / 2;
	}
	pthread_join(thread, NULL);
	return print("futex wake and wait, one way", took + WARM_UP, ROUNDS);
}

int main(void)
{
	const char *icount = getenv("KAUS_VM_ICOUNT");
	struct kw k;
	int ret;

	is_icount = icount && *icount;
	if (access(KW_DEV, R_OK | W_OK)) {
		printf("1..0 # SKIP no " KW_DEV "\n");
		return 4;
	}
	ret = kw_group(&k, 1, 8);
	if (ret || pipe(fds) || kw_pin(0)) {
		fprintf(stderr, "kaus: %s\n", strerror(-ret));
		return 1;
	}
	/* What the kernel does after boot is not of interest. */
	sleep(3);
	printf("%-36s %6s %8s %8s %8s %8s  (%s)\n", "", "number", "min",
	       "median", "99%", "max", is_icount ? "insns" : "ns");
	ret = bench_sleep(&k, "sleep in read() to pool worker", READ);
	ret |= bench_sleep(&k, "nanosleep() to pool worker", NAP);
	ret |= bench_wake(&k);
	ret |= bench_kick(&k);
	ret |= bench_pingpong(&k);
	ret |= bench_futex();
	return ret;
}
