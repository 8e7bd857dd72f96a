/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The thread that makes concurrent cycles where there are no goroutines to make
 * them: in a program of plain threads, which allocates with libkausgc and knows of
 * no runtime. It is there from the first such cycle on, has no signal, is not
 * registered, and refers to no object.
 *
 * DOC: back.lock is held while it marks, and while it or another one has the world
 * stopped: so a stop finds it between two steps, and so does fork(), which takes
 * the lock before. What is left to a child is a thread that has no lock but that
 * of the stop it may be waiting for (kr_stw_forked()). Order: stw.lock, back.lock,
 * what hooks lock, the lock of the heap's cache for plain threads.
 *
 * While a runtime runs its goroutines do all this (concurrent.c), also in a cycle
 * that the thread has begun.
 */
#include <pthread.h>

#include "base/barrier.h"
#include "base/bug.h"
#include "gc/special.h"
#include "gc/state.h"
#include "mem/cache.h"
#include "mem/heap.h"
#include "mem/persist.h"
#include "os/os.h"
#include "sched/sched.h"
#include "sched/stw.h"

#define STACK_BYTES	(128UL << 10)
#define STEP_BUDGET	(64UL << 10)
#define SWEEP_STEP	16
#define NAP_NS		50000ULL

static struct {
	uint32_t lock KR_PAIR_ALIGNED;
	uint32_t nr_waiting;		/* for it: the thread lets them */
	uint32_t wanted;		/* futex */
	uint32_t init_lock;
	bool tried, hooked;
	struct kr_gc_p *own;		/* it is there */
} back;

void kr_back_lock(void)
{
	kr_add(&back.nr_waiting, 1);
	kr_lock(&back.lock);
	kr_sub(&back.nr_waiting, 1);
}

void kr_back_unlock(void)
{
	kr_unlock(&back.lock);
}

struct kr_gc_p *kr_back_own(void)
{
	return smp_load_acquire(&back.own);
}

/* The thread's own: after all that wait. */
static void lock(void)
{
	while (READ_ONCE(back.nr_waiting))
		kr_clock_sleep_ns(NAP_NS);
	kr_lock(&back.lock);
}

static void sweep(void)
{
	bool any = true;
	size_t bytes;

	while (any) {
		lock();
		any = kr_outside_lock();
		for (int i = 0; any && i < SWEEP_STEP; i++)
			any = kr_heap_sweep_one(&bytes);
		kr_outside_unlock();
		kr_back_unlock();
	}
}

static void mark(void)
{
	uint64_t nr = READ_ONCE(kr_gc.nr);

	while (!kr_gc_is_over(nr) && kr_gc_is_possible()) {
		uint64_t done = 0;

		lock();
		if (!kr_gc_is_over(nr))
			done = kr_gc_step(&back.own->marker, STEP_BUDGET);
		kr_back_unlock();
		if (done)
			continue;
		kr_gc_try_end(NULL, nr);
		/* Others mark, or are about to stop the world. */
		if (!kr_gc_is_over(nr))
			kr_clock_sleep_ns(NAP_NS);
	}
}

static void *main_of_thread(void *arg)
{
	(void)arg;
	for (;;) {
		while (!kr_xchg(&back.wanted, 0))
			kr_futex_wait(&back.wanted, 0, UINT64_MAX);
		if (!kr_gc_is_possible())
			continue;
		if (!READ_ONCE(kr_heap.marking)) {
			if (!kr_gc_is_due())
				continue;
			sweep();
			kr_gc_begin(NULL, false);
		}
		if (!READ_ONCE(kr_heap.marking))
			continue;
		mark();
		sweep();
		lock();
		kr_final_look();
		kr_back_unlock();
	}
	return NULL;
}

/* ---- fork ---- */

/* The thread has the lock. */
static __thread bool is_forking
	__attribute__((tls_model("initial-exec")));

static void before_fork(void)
{
	/* A child collects nothing then, and this one could be stopped here. */
	if (READ_ONCE(sched.running))
		return;
	kr_back_lock();
	is_forking = true;
}

static void after_fork(void)
{
	if (!is_forking)
		return;
	is_forking = false;
	kr_back_unlock();
}

void kr_back_forked(void)
{
	back.lock = back.nr_waiting = back.wanted = back.init_lock = 0;
	back.tried = is_forking = false;
	back.own = NULL;
	kr_stw_forked();
}

/* ---- the start ---- */

static void start(void)
{
	struct kr_gc_p *own;
	pthread_t thread;

	kr_lock(&back.init_lock);
	if (back.tried) {
		kr_unlock(&back.init_lock);
		return;
	}
	/* Those that are called last in the child are there already. */
	if (!back.hooked)
		back.hooked = !pthread_atfork(before_fork, after_fork, NULL);
	own = back.hooked ? kr_persist_alloc(sizeof(*own)) : NULL;
	if (own) {
		/* Release: whoever stops the world looks at it. */
		smp_store_release(&back.own, own);
		if (kr_thread_create_quiet(main_of_thread, STACK_BYTES, &thread))
			smp_store_release(&back.own, NULL);
	}
	smp_store_release(&back.tried, true);
	kr_unlock(&back.init_lock);
}

bool kr_back_wake(void)
{
	if (unlikely(!smp_load_acquire(&back.tried)))
		start();
	if (!kr_back_own())
		return false;
	if (!READ_ONCE(back.wanted) && !kr_xchg(&back.wanted, 1))
		kr_futex_wake(&back.wanted, 1);
	return true;
}
