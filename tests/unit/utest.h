/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the unit tests share.
 *
 * The harness's ASSERT_*() leave a test by longjmp() and its EXPECT_*() write
 * to the test's metadata without a lock: both are for the thread that runs the
 * TEST() body. Goroutines and helper threads use CHECK() and CHECK_EQ(), which
 * print and count; RUN() starts the runtime and fails the test if any check
 * did. A test that would hang if its subject were broken needs no clock of its
 * own: the harness kills it.
 */
#ifndef UTEST_H
#define UTEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kaus.h>

/* The harness leaves parameters unused, its TEST() in our files as well. */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "kselftest_harness.h"
#pragma GCC diagnostic pop

#include "../lib/slow.h"

/* An emulated CPU is ten times slower than a real one. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 60

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UT_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(UT_TSAN)
#define UT_TSAN 1
#endif
#ifndef UT_TSAN
#define UT_TSAN 0
#endif

/*
 * ThreadSanitizer runs signal handlers when it likes, on a copy of the frame:
 * the fallback cannot preempt a goroutine in mid code. What tests just that is
 * skipped there: a program by UT_PREEMPTS, a test by UT_SKIP_TSAN(). So is
 * what the sanitizer's own threads and memory would be measured with.
 */
#define UT_WHY_TSAN "no preemption in mid code under ThreadSanitizer"
#define UT_PREEMPTS                                                    \
	__attribute__((constructor)) static void ut_preempts(void)     \
	{                                                              \
		if (!UT_TSAN)                                          \
			return;                                        \
		dprintf(STDOUT_FILENO, "1..0 # SKIP " UT_WHY_TSAN "\n"); \
		_exit(KSFT_SKIP);                                      \
	}
#define UT_SKIP_TSAN(why)                           \
	do {                                        \
		if (UT_TSAN)                        \
			SKIP(return, why);          \
	} while (0)

/*
 * Goroutines enough to fill every queue. ThreadSanitizer has room for 8000, and
 * each atomic operation takes it the longer the more there are.
 */
#define UT_MANY (UT_TSAN ? 1000 : 10000)

#define USEC 1000ULL
#define MSEC 1000000ULL
#define SEC 1000000000ULL

/* Report so many failed checks of a test, then only count. */
#define UT_MAX_REPORTS 10

static atomic_int ut_failures;

static inline bool ut_check(bool ok, int line, const char *what)
{
	if (!ok && atomic_fetch_add(&ut_failures, 1) < UT_MAX_REPORTS)
		dprintf(STDERR_FILENO, "# line %d: G %llu: not so: %s\n", line,
			(unsigned long long)kaus_goid(), what);
	return ok;
}

static inline bool ut_check_eq(long long expected, long long seen, int line,
			       const char *what)
{
	bool ok = expected == seen;

	if (!ok && atomic_fetch_add(&ut_failures, 1) < UT_MAX_REPORTS)
		dprintf(STDERR_FILENO,
			"# line %d: G %llu: %s is %lld, expected %lld\n", line,
			(unsigned long long)kaus_goid(), what, seen, expected);
	return ok;
}

#define CHECK(cond) ut_check(!!(cond), __LINE__, #cond)
#define CHECK_EQ(expected, seen) \
	ut_check_eq((long long)(expected), (long long)(seen), __LINE__, #seen)

#define RUN_WITH(opts, fn, arg)                               \
	do {                                                  \
		EXPECT_EQ(0, kaus_run_with(opts, fn, arg));   \
		EXPECT_EQ(0, atomic_load(&ut_failures));      \
	} while (0)
#define RUN(fn, arg) RUN_WITH(NULL, fn, arg)

/*
 * Calls for a reason: the compiler may take the address of errno once and keep
 * it, and an address from before a park is another thread's.
 */
__attribute__((noinline, unused)) static int ut_errno(void)
{
	__asm__ volatile("");
	return errno;
}

__attribute__((noinline, unused)) static void ut_set_errno(int value)
{
	__asm__ volatile("");
	errno = value;
}

/* Options for a run with @nr_procs Ps. */
static inline struct kaus_options ut_procs(unsigned int nr_procs)
{
	return (struct kaus_options){
		.size = sizeof(struct kaus_options),
		.nr_procs = nr_procs,
	};
}

static inline struct kaus_stats ut_stats(void)
{
	struct kaus_stats st = { .size = sizeof(st) };

	CHECK_EQ(0, kaus_stats_read(&st));
	return st;
}

static inline unsigned int ut_nr_procs(void)
{
	return ut_stats().nr_procs;
}

static inline bool ut_has_module(void)
{
	return !strcmp(ut_stats().assist, "module");
}

static inline void ut_go(void (*fn)(void *), void *arg)
{
	CHECK_EQ(0, kaus_go(fn, arg));
}

static inline struct kaus_g *ut_spawn(void *(*fn)(void *), void *arg)
{
	struct kaus_g *g = NULL;

	CHECK_EQ(0, kaus_spawn(fn, arg, &g));
	return g;
}

/* Compute for @loops loops, each of which touches memory. */
static inline void ut_spin(unsigned long loops)
{
	volatile unsigned long i;

	for (i = 0; i < loops; i++)
		;
}

/* A goroutine that computes for ever; where it must, it gives way itself. */
static inline void ut_hog(void *arg)
{
	for (;;) {
		__asm__ volatile("");
		if (UT_TSAN) {
			ut_spin(1000);
			kaus_yield();
		}
	}
}

/* One hog for each P, and one more so that no P is without. */
static inline void ut_go_hogs(void)
{
	unsigned int i, nr = ut_nr_procs() + 1;

	for (i = 0; i < nr; i++)
		ut_go(ut_hog, NULL);
}

/* Run @fn in a child process without core dumps: its wait status. */
static inline int ut_child(void (*fn)(void))
{
	static const struct rlimit no_core = { 0, 0 };
	int status = -1;
	pid_t pid;

	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_CORE, &no_core);
		fn();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

/* A small generator with the state in the caller's hands (xorshift64). */
static inline uint64_t ut_rand(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

#endif /* UTEST_H */
