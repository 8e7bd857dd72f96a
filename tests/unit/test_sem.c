// SPDX-License-Identifier: GPL-2.0-only
/*
 * Semaphores: never more permits out than there are, first come first served
 * by weight, a deadline leaves nothing behind.
 *
 * If it is broken: too many are inside, a small one overtakes a big one that
 * then never gets its permits, those behind one that has given up are not
 * served (a hang), or permits get lost.
 */
#include "utest.h"

#define NR_GS 16
#define NR_PERMITS 5

struct pool {
	struct kaus_sem sem;
	struct kaus_waitgroup ended;
	atomic_int out;
	atomic_long got;
	int rounds;
	bool hurry;
};

static void errors(void)
{
	struct kaus_sem sem = KAUS_SEM_INIT(3), zeroed = { 0 };

	CHECK_EQ(-EAGAIN, kaus_sem_try_acquire(&zeroed, 1));
	CHECK_EQ(0, kaus_sem_try_acquire(&zeroed, 0));
	CHECK_EQ(0, kaus_sem_acquire(&zeroed, 0));
	CHECK_EQ(-EAGAIN, kaus_sem_try_acquire(&sem, 4));
	CHECK_EQ(0, kaus_sem_try_acquire(&sem, 3));
	CHECK_EQ(-EAGAIN, kaus_sem_try_acquire(&sem, 1));
	CHECK_EQ(0, kaus_sem_release(&sem, 1));
	CHECK_EQ(0, kaus_sem_acquire_until(&sem, 1, 0));

	kaus_sem_init(&sem, UINT32_MAX);
	CHECK_EQ(-EOVERFLOW, kaus_sem_release(&sem, 1));
	CHECK_EQ(0, kaus_sem_acquire(&sem, UINT32_MAX));
	CHECK_EQ(-EAGAIN, kaus_sem_try_acquire(&sem, 1));
	CHECK_EQ(0, kaus_sem_release(&sem, UINT32_MAX));
	CHECK_EQ(-EOVERFLOW, kaus_sem_release(&sem, UINT32_MAX));
	CHECK_EQ(0, kaus_sem_acquire(&sem, UINT32_MAX));
}

static int errors_main(void *arg)
{
	struct kaus_sem sem = KAUS_SEM_INIT(1);

	errors();
	CHECK_EQ(-ETIMEDOUT, kaus_sem_acquire_until(&sem, 2, 0));
	CHECK_EQ(-ETIMEDOUT,
		 kaus_sem_acquire_until(&sem, 2, kaus_now_ns() + MSEC));
	CHECK_EQ(0, kaus_sem_acquire(&sem, 1));
	return 0;
}

TEST(wrong_calls_change_nothing)
{
	RUN(errors_main, NULL);
}

TEST(without_the_runtime)
{
	struct kaus_sem sem = KAUS_SEM_INIT(1);

	errors();
	EXPECT_EQ(-EPERM, kaus_sem_acquire(&sem, 2));
	EXPECT_EQ(0, kaus_sem_acquire(&sem, 1));
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

static void user(void *arg)
{
	struct pool *p = arg;
	uint64_t rand = kaus_now_ns() | 1;
	int i, err;

	for (i = 0; i < p->rounds; i++) {
		int n = (int)(ut_rand(&rand) % NR_PERMITS) + 1;
		uint64_t deadline = KAUS_NO_DEADLINE;

		if (p->hurry && i % 2)
			deadline = kaus_now_ns() +
				   ut_rand(&rand) % (40 * USEC);
		err = kaus_sem_acquire_until(&p->sem, (uint32_t)n, deadline);
		if (err) {
			CHECK_EQ(-ETIMEDOUT, err);
			CHECK(deadline != KAUS_NO_DEADLINE);
			continue;
		}
		CHECK(atomic_fetch_add(&p->out, n) + n <= NR_PERMITS);
		ut_spin(300);
		atomic_fetch_sub(&p->out, n);
		atomic_fetch_add(&p->got, 1);
		CHECK_EQ(0, kaus_sem_release(&p->sem, (uint32_t)n));
	}
	CHECK_EQ(0, kaus_waitgroup_done(&p->ended));
}

static void *using_thread(void *arg)
{
	user(arg);
	return NULL;
}

static int stress(void *arg)
{
	struct pool p = {
		.sem = KAUS_SEM_INIT(NR_PERMITS),
		.rounds = 2000,
		.hurry = arg,
	};
	pthread_t thread;
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&p.ended, NR_GS + 1));
	pthread_create(&thread, NULL, using_thread, &p);
	for (i = 0; i < NR_GS; i++)
		ut_go(user, &p);
	CHECK_EQ(0, kaus_waitgroup_wait(&p.ended));
	pthread_join(thread, NULL);
	CHECK(p.got >= (NR_GS + 1) * p.rounds / (p.hurry ? 2 : 1));
	CHECK_EQ(0, kaus_sem_try_acquire(&p.sem, NR_PERMITS));
	CHECK_EQ(-EAGAIN, kaus_sem_try_acquire(&p.sem, 1));
	return 0;
}

TEST(never_more_than_there_are)
{
	struct kaus_options opts = ut_procs(4);

	opts.slice_ns = 100 * USEC;
	RUN_WITH(&opts, stress, NULL);
}

TEST(deadlines_race_with_release)
{
	struct kaus_options opts = ut_procs(4);

	opts.slice_ns = 200 * USEC;
	RUN_WITH(&opts, stress, "in a hurry");
}

struct queue {
	struct kaus_sem sem;
	struct kaus_waitgroup ended;
	atomic_int nr;
	atomic_uint order[8];
};

struct want {
	struct queue *q;
	uint32_t n;
	uint64_t deadline;
	int result;
	atomic_bool done;
};

static void queue_up(void *arg)
{
	struct want *w = arg;

	w->result = kaus_sem_acquire_until(&w->q->sem, w->n, w->deadline);
	if (!w->result)
		w->q->order[atomic_fetch_add(&w->q->nr, 1)] = w->n;
	w->done = true;
	CHECK_EQ(0, kaus_waitgroup_done(&w->q->ended));
}

/* Start one that waits, and return when it does, or has done so. */
static void go_wait(struct want *w, struct queue *q, uint32_t n,
		    uint64_t deadline)
{
	struct kaus_waitlist *wl = &q->sem.waiters;
	struct kr_waiter *last = __atomic_load_n(&wl->last, __ATOMIC_ACQUIRE);

	*w = (struct want){ .q = q, .n = n, .deadline = deadline };
	CHECK_EQ(0, kaus_waitgroup_add(&q->ended, 1));
	ut_go(queue_up, w);
	while (!w->done && __atomic_load_n(&wl->last, __ATOMIC_ACQUIRE) == last)
		kaus_yield();
}

static void release_until(struct queue *q, int nr)
{
	CHECK_EQ(0, kaus_sem_release(&q->sem, 1));
	/* It is counted before it says which one it is. */
	while (q->nr < nr || (nr && !q->order[nr - 1]))
		kaus_yield();
}

static int in_order(void *arg)
{
	struct queue q = { .nr = 0 };
	struct want wants[3];

	go_wait(&wants[0], &q, 3, KAUS_NO_DEADLINE);
	go_wait(&wants[1], &q, 1, KAUS_NO_DEADLINE);
	go_wait(&wants[2], &q, 2, KAUS_NO_DEADLINE);
	/* There is one, but not for those who come later. */
	release_until(&q, 0);
	CHECK_EQ(-EAGAIN, kaus_sem_try_acquire(&q.sem, 1));
	CHECK_EQ(-ETIMEDOUT, kaus_sem_acquire_until(&q.sem, 1, 0));
	release_until(&q, 0);
	release_until(&q, 1);
	CHECK_EQ(3, q.order[0]);
	release_until(&q, 2);
	CHECK_EQ(1, q.order[1]);
	release_until(&q, 2);
	release_until(&q, 3);
	CHECK_EQ(2, q.order[2]);
	CHECK_EQ(0, kaus_waitgroup_wait(&q.ended));
	return 0;
}

TEST(first_come_first_served)
{
	RUN(in_order, NULL);
}

/* The big one in front gives up: the small ones behind it have waited for it. */
static int give_way(void *arg)
{
	struct queue q = { .sem = KAUS_SEM_INIT(2) };
	struct want wants[3];

	go_wait(&wants[0], &q, 3, kaus_now_ns() + 20 * MSEC);
	go_wait(&wants[1], &q, 1, KAUS_NO_DEADLINE);
	go_wait(&wants[2], &q, 1, KAUS_NO_DEADLINE);
	CHECK_EQ(0, kaus_waitgroup_wait(&q.ended));
	CHECK_EQ(-ETIMEDOUT, wants[0].result);
	CHECK_EQ(2, q.nr);
	CHECK_EQ(-EAGAIN, kaus_sem_try_acquire(&q.sem, 1));
	CHECK_EQ(0, kaus_sem_release(&q.sem, 1));
	CHECK_EQ(0, kaus_sem_try_acquire(&q.sem, 1));
	return 0;
}

TEST(one_that_gives_up_makes_way)
{
	RUN(give_way, NULL);
}

TEST_HARNESS_MAIN
