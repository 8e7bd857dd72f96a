/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Calls on files during which no thread sleeps.
 *
 * DOC: One thread owns a ring of io_uring. A goroutine parks, and from the M's
 * own stack its call is put on a list: it may be done before anybody looks. The
 * thread moves what is on the list to the ring, enters the kernel, and makes
 * those ready whose calls are done. While it does so more calls gather, so that
 * under load many go with one entry. It sleeps in the ring, where a read of an
 * eventfd is on its way too, which whoever puts a call on the list pokes:
 *
 *	goroutine's M			the thread
 *	put on the list			asleep := 1
 *	barrier				barrier
 *	load asleep, poke		load the list, sleep
 *
 * Rejected: a ring for each P, entered by its M. What is done is told to the
 * thread that has entered the call, and takes it out of whatever it sleeps in:
 * the C code of another goroutine on that M would see EINTR. Besides, calls that
 * go one by one gain little. Rejected: calls that take part in the position of
 * the file, as read(): two at a time would see the same one.
 */
#include "sched/filecall.h"

#include "sched/deadlock.h"
#include "sched/runq.h"
#include "sched/sched.h"
#include "sched/virtual.h"

#define STACK_BYTES	(64UL << 10)

enum ring_state {
	RING_NONE,
	RING_COMES,
	RING_READY,
	RING_OFF,
};

struct filecall {
	struct kr_uring_call call;
	struct kr_wait wait;
	struct filecall *next;
};

static struct {
	uint32_t state;		/* enum ring_state */
	uint32_t nr_threads;
	uint32_t nr_pending KR_PAIR_ALIGNED;
	uint32_t lock;
	struct filecall *first, *last;
	uint32_t asleep KR_PAIR_ALIGNED;
} files;

void kr_filecall_init(bool off)
{
	if (off)
		WRITE_ONCE(files.state, RING_OFF);
}

uint32_t kr_filecall_nr_pending(void)
{
	return READ_ONCE(files.nr_pending);
}

uint32_t kr_filecall_nr_threads(void)
{
	return READ_ONCE(files.nr_threads);
}

/* ---- the thread ---- */

static struct filecall *take_locked(void)
{
	struct filecall *fc = files.first;

	if (fc)
		WRITE_ONCE(files.first, fc->next);
	return fc;
}

/* To the ring, as many as fit; @nr are there already. Return: how many. */
static uint32_t queue(uint32_t nr)
{
	struct filecall *fc;
	uint32_t queued = 0;

	if (!READ_ONCE(files.first))
		return 0;
	kr_lock(&files.lock);
	while (nr + queued < KR_URING_CALLS && (fc = take_locked())) {
		kr_uring_queue(&fc->call, fc);
		queued++;
	}
	kr_unlock(&files.lock);
	return queued;
}

/* Make those ready that are done. Return: how many. */
static uint32_t finish(void)
{
	struct filecall *fc;
	uint32_t nr = 0;
	int result;

	while ((fc = kr_uring_take(&result))) {
		fc->wait.result = result;
		kr_wait_wake(NULL, &fc->wait);
		/* It is runnable before it is no longer pending. */
		kr_sub(&files.nr_pending, 1);
		nr++;
	}
	return nr;
}

static void sleep_in_ring(uint32_t nr)
{
	kr_xchg(&files.asleep, 1);
	kr_uring_enter(!READ_ONCE(files.first) || nr == KR_URING_CALLS);
	WRITE_ONCE(files.asleep, 0);
}

static void *files_main(void *arg)
{
	uint32_t nr = 0, queued, done;

	(void)arg;
	/* It was made by a goroutine, which may be bound to a CPU. */
	kr_cpu_unbind();
	if (kr_uring_open()) {
		kr_deadlock_thread_goes();
		WRITE_ONCE(files.nr_threads, 0);
		WRITE_ONCE(files.state, RING_OFF);
		return NULL;
	}
	smp_store_release(&files.state, RING_READY);
	for (;;) {
		queued = queue(nr);
		if (queued)
			kr_uring_enter(false);
		done = finish();
		nr += queued - done;
		if (!queued && !done)
			sleep_in_ring(nr);
	}
}

/* ---- goroutines ---- */

static void start(void)
{
	pthread_t thread;

	if (!kr_cas(&files.state, RING_NONE, RING_COMES))
		return;
	if (!kr_uring_is_there()) {
		WRITE_ONCE(files.state, RING_OFF);
		return;
	}
	kr_deadlock_thread_comes();
	WRITE_ONCE(files.nr_threads, 1);
	if (kr_thread_create(files_main, NULL, STACK_BYTES, &thread)) {
		WRITE_ONCE(files.nr_threads, 0);
		WRITE_ONCE(files.state, RING_NONE);
	}
	kr_deadlock_thread_came();
}

/* The goroutine is off its stack; what is on the list may be done, and gone. */
static void put(void *arg)
{
	struct filecall *fc = arg;

	fc->next = NULL;
	kr_lock(&files.lock);
	if (files.first)
		files.last->next = fc;
	else
		WRITE_ONCE(files.first, fc);
	files.last = fc;
	kr_unlock(&files.lock);
	smp_mb();
	if (READ_ONCE(files.asleep) && kr_xchg(&files.asleep, 0))
		kr_uring_poke();
}

/* Inside the runtime. */
static KR_NOINLINE int park(struct m *mp, const struct kr_uring_call *call)
{
	struct filecall fc = { .call = *call };

	kr_add(&files.nr_pending, 1);
	kr_wait_init(&fc.wait, mp, KAUS_NO_DEADLINE);
	mp = kr_wait_block_on(mp, &fc.wait, put, &fc, KAUS_NO_DEADLINE, "file");
	kr_exit(mp);
	return fc.wait.result;
}

int64_t kr_filecall(const struct kr_uring_call *call)
{
	struct m *mp;
	int n;

	/* Nor does a child of fork() start a ring. */
	if (!kr_self())
		return -EAGAIN;
	if (READ_ONCE(files.state) == RING_NONE)
		start();
	/* Virtual time stands still only while a thread is in the kernel. */
	if (smp_load_acquire(&files.state) != RING_READY ||
	    kr_time_is_virtual())
		return -EAGAIN;
	mp = kr_enter();
	if (!mp)
		return -EAGAIN;
	n = park(mp, call);
	/* Of the ring, not of the file. */
	return n == -EINTR || n == -ECANCELED ? -EAGAIN : n;
}
