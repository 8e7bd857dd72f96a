/* SPDX-License-Identifier: GPL-2.0-only */
/* What tests of libkausgc share. */
#ifndef LIBGCTEST_H
#define LIBGCTEST_H

/* Whoever includes it has said how (GC_THREADS). */
#include <gc.h>

#include "utest.h"

/*
 * A thread that waits for another is suspended here in nearly every test, and
 * ThreadSanitizer calls handlers when it likes: where that thread's stack ends
 * is not known then.
 */
__attribute__((constructor)) static void skip_tsan(void)
{
	if (!UT_TSAN)
		return;
	dprintf(STDOUT_FILENO, "1..0 # SKIP a suspended thread has no known stack under ThreadSanitizer\n");
	_exit(KSFT_SKIP);
}

#define NR_OBJS	1000
#define SOME	(NR_OBJS * 9 / 10)	/* a stale word may keep a few */

struct cell {
	struct cell *next;
	int nr;
};

/* In a thread of its own. */
static inline void elsewhere(void *(*fn)(void *arg), void *arg)
{
	pthread_t t;

	CHECK_EQ(0, pthread_create(&t, NULL, fn, arg));
	CHECK_EQ(0, pthread_join(t, NULL));
}

/* A stack is used again: holes in new frames would have what was there. */
__attribute__((noinline)) static void scrub(void)
{
	volatile char junk[64 << 10];

	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = 0;
}

static inline void *collect_fn(void *arg)
{
	scrub();
	GC_gcollect();
	return arg;
}

static inline void collect(void)
{
	elsewhere(collect_fn, NULL);
}

/* Stale words come and go with the threads; what is reachable stays. */
static inline void collect_until(const int *nr, int wanted)
{
	for (int i = 0; i < 20 && *nr < wanted; i++)
		collect();
	CHECK_EQ(wanted, *nr);
}

/* How many have been finalized of those that are watched. */
static atomic_int nr_gone __attribute__((unused));

static inline void gone(void *obj, void *data)
{
	CHECK(GC_base(obj) == obj);
	atomic_fetch_add(&nr_gone, data ? (int)(intptr_t)data : 1);
}

static inline void watch(void *obj)
{
	GC_REGISTER_FINALIZER(obj, gone, NULL, NULL, NULL);
}

static inline void *make_garbage(void *arg)
{
	for (int i = 0; i < NR_OBJS; i++)
		watch(GC_MALLOC(100));
	return arg;
}

#define END() EXPECT_EQ(0, atomic_load(&ut_failures))

#endif /* LIBGCTEST_H */
