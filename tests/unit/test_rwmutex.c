// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reader-writer mutexes: many readers or one writer; neither side waits for
 * ever for the other; a deadline leaves nothing behind.
 *
 * If it is broken: a reader sees half of what a writer has done, readers
 * exclude each other (a hang), a writer waits behind readers that come and come
 * (a hang), or readers stay out because of a writer that has given up (a hang).
 */
#include "utest.h"

#define NR_READERS 12
#define NR_WRITERS 4

struct pair {
	struct kaus_rwmutex rw;
	struct kaus_waitgroup ended;
	long a, b;
	atomic_long writes;
	atomic_bool stop;
	int rounds;
};

static void errors(void)
{
	struct kaus_rwmutex rw = KAUS_RWMUTEX_INIT;

	CHECK_EQ(-EPERM, kaus_rwmutex_rdunlock(&rw));
	CHECK_EQ(-EPERM, kaus_rwmutex_wrunlock(&rw));

	CHECK_EQ(0, kaus_rwmutex_rdlock(&rw));
	CHECK_EQ(0, kaus_rwmutex_tryrdlock(&rw));
	CHECK_EQ(-EPERM, kaus_rwmutex_wrunlock(&rw));
	CHECK_EQ(-EAGAIN, kaus_rwmutex_trywrlock(&rw));
	CHECK_EQ(0, kaus_rwmutex_rdunlock(&rw));
	CHECK_EQ(-EAGAIN, kaus_rwmutex_trywrlock(&rw));
	CHECK_EQ(0, kaus_rwmutex_rdunlock(&rw));
	CHECK_EQ(-EPERM, kaus_rwmutex_rdunlock(&rw));

	CHECK_EQ(0, kaus_rwmutex_wrlock_until(&rw, 0));
	CHECK_EQ(-EPERM, kaus_rwmutex_rdunlock(&rw));
	CHECK_EQ(-EAGAIN, kaus_rwmutex_tryrdlock(&rw));
	CHECK_EQ(-EAGAIN, kaus_rwmutex_trywrlock(&rw));
	CHECK_EQ(0, kaus_rwmutex_wrunlock(&rw));
	CHECK_EQ(-EPERM, kaus_rwmutex_wrunlock(&rw));

	CHECK_EQ(0, kaus_rwmutex_trywrlock(&rw));
	CHECK_EQ(0, kaus_rwmutex_wrunlock(&rw));
	CHECK_EQ(0, kaus_rwmutex_rdlock_until(&rw, 0));
	CHECK_EQ(0, kaus_rwmutex_rdunlock(&rw));
}

static int timeouts(void *arg)
{
	struct kaus_rwmutex rw = KAUS_RWMUTEX_INIT;

	errors();
	CHECK_EQ(0, kaus_rwmutex_wrlock(&rw));
	CHECK_EQ(-ETIMEDOUT, kaus_rwmutex_rdlock_until(&rw, 0));
	CHECK_EQ(-ETIMEDOUT, kaus_rwmutex_wrlock_until(&rw, 0));
	CHECK_EQ(-ETIMEDOUT,
		 kaus_rwmutex_rdlock_until(&rw, kaus_now_ns() + MSEC));
	CHECK_EQ(0, kaus_rwmutex_wrunlock(&rw));

	CHECK_EQ(0, kaus_rwmutex_rdlock(&rw));
	CHECK_EQ(-ETIMEDOUT,
		 kaus_rwmutex_wrlock_until(&rw, kaus_now_ns() + MSEC));
	/* It no longer keeps readers out. */
	CHECK_EQ(0, kaus_rwmutex_rdlock(&rw));
	CHECK_EQ(0, kaus_rwmutex_rdunlock(&rw));
	CHECK_EQ(0, kaus_rwmutex_rdunlock(&rw));
	CHECK_EQ(0, kaus_rwmutex_trywrlock(&rw));
	CHECK_EQ(0, kaus_rwmutex_wrunlock(&rw));
	return 0;
}

TEST(wrong_calls_and_deadlines_change_nothing)
{
	RUN(timeouts, NULL);
}

TEST(without_the_runtime)
{
	struct kaus_rwmutex rw = KAUS_RWMUTEX_INIT;

	errors();
	EXPECT_EQ(0, kaus_rwmutex_rdlock(&rw));
	EXPECT_EQ(-EPERM, kaus_rwmutex_wrlock(&rw));
	EXPECT_EQ(0, kaus_rwmutex_rdlock(&rw));
	EXPECT_EQ(0, kaus_rwmutex_rdunlock(&rw));
	EXPECT_EQ(0, kaus_rwmutex_rdunlock(&rw));
	EXPECT_EQ(0, kaus_rwmutex_wrlock(&rw));
	EXPECT_EQ(-EPERM, kaus_rwmutex_rdlock(&rw));
	EXPECT_EQ(0, kaus_rwmutex_wrunlock(&rw));
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

static void look(struct pair *p)
{
	long a = p->a;

	ut_spin(200);
	CHECK_EQ(a, p->b);
}

static void change(struct pair *p)
{
	p->a++;
	ut_spin(200);
	p->b++;
	atomic_fetch_add(&p->writes, 1);
}

static void reader(void *arg)
{
	struct pair *p = arg;
	int i;

	for (i = 0; i < p->rounds; i++) {
		CHECK_EQ(0, kaus_rwmutex_rdlock(&p->rw));
		look(p);
		CHECK_EQ(0, kaus_rwmutex_rdunlock(&p->rw));
	}
	CHECK_EQ(0, kaus_waitgroup_done(&p->ended));
}

static void writer(void *arg)
{
	struct pair *p = arg;
	int i;

	for (i = 0; i < p->rounds; i++) {
		CHECK_EQ(0, kaus_rwmutex_wrlock(&p->rw));
		change(p);
		CHECK_EQ(0, kaus_rwmutex_wrunlock(&p->rw));
	}
	CHECK_EQ(0, kaus_waitgroup_done(&p->ended));
}

static void hurried(void *arg)
{
	struct pair *p = arg;
	uint64_t rand = kaus_now_ns() | 1;
	int i, err;

	for (i = 0; i < p->rounds; i++) {
		uint64_t deadline = kaus_now_ns() +
				    ut_rand(&rand) % (40 * USEC);

		if (ut_rand(&rand) % 4) {
			err = kaus_rwmutex_rdlock_until(&p->rw, deadline);
			if (!err) {
				look(p);
				CHECK_EQ(0, kaus_rwmutex_rdunlock(&p->rw));
			}
		} else {
			err = kaus_rwmutex_wrlock_until(&p->rw, deadline);
			if (!err) {
				change(p);
				CHECK_EQ(0, kaus_rwmutex_wrunlock(&p->rw));
			}
		}
		CHECK(!err || err == -ETIMEDOUT);
	}
	CHECK_EQ(0, kaus_waitgroup_done(&p->ended));
}

static void *hurried_thread(void *arg)
{
	hurried(arg);
	return NULL;
}

static void check_free(struct pair *p)
{
	CHECK_EQ(p->writes, p->a);
	CHECK_EQ(p->writes, p->b);
	CHECK_EQ(0, kaus_rwmutex_trywrlock(&p->rw));
	CHECK_EQ(0, kaus_rwmutex_wrunlock(&p->rw));
}

static int exclusion(void *arg)
{
	struct pair p = { .rounds = 2000 };
	pthread_t thread;
	bool hurry = arg;
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&p.ended, NR_READERS + NR_WRITERS + 1));
	pthread_create(&thread, NULL, hurried_thread, &p);
	for (i = 0; i < NR_READERS; i++)
		ut_go(hurry && i % 2 ? hurried : reader, &p);
	for (i = 0; i < NR_WRITERS; i++)
		ut_go(hurry && i % 2 ? hurried : writer, &p);
	CHECK_EQ(0, kaus_waitgroup_wait(&p.ended));
	pthread_join(thread, NULL);
	CHECK(p.writes >= (hurry ? NR_WRITERS / 2 : NR_WRITERS) * 2000);
	check_free(&p);
	return 0;
}

TEST(readers_see_all_or_nothing)
{
	struct kaus_options opts = ut_procs(4);

	opts.slice_ns = 100 * USEC;
	RUN_WITH(&opts, exclusion, NULL);
}

TEST(deadlines_race_with_unlock)
{
	struct kaus_options opts = ut_procs(4);

	opts.slice_ns = 200 * USEC;
	RUN_WITH(&opts, exclusion, "in a hurry");
}

struct meeting {
	struct kaus_rwmutex rw;
	struct kaus_waitgroup in, ended;
};

/* All are in before one leaves. */
static void meet(void *arg)
{
	struct meeting *m = arg;

	CHECK_EQ(0, kaus_rwmutex_rdlock(&m->rw));
	CHECK_EQ(0, kaus_waitgroup_done(&m->in));
	CHECK_EQ(0, kaus_waitgroup_wait(&m->in));
	CHECK_EQ(0, kaus_rwmutex_rdunlock(&m->rw));
	CHECK_EQ(0, kaus_waitgroup_done(&m->ended));
}

static int together(void *arg)
{
	struct meeting m = { .rw = KAUS_RWMUTEX_INIT };
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&m.in, NR_READERS));
	CHECK_EQ(0, kaus_waitgroup_add(&m.ended, NR_READERS));
	/* They wait for the writer, and are let in together. */
	CHECK_EQ(0, kaus_rwmutex_wrlock(&m.rw));
	for (i = 0; i < NR_READERS; i++)
		ut_go(meet, &m);
	CHECK_EQ(0, kaus_sleep(MSEC));
	CHECK_EQ(0, kaus_rwmutex_wrunlock(&m.rw));
	CHECK_EQ(0, kaus_waitgroup_wait(&m.ended));
	return 0;
}

TEST(readers_are_in_together)
{
	RUN(together, NULL);
}

static void *write_once(void *arg)
{
	struct pair *p = arg;

	CHECK_EQ(0, kaus_rwmutex_wrlock(&p->rw));
	change(p);
	CHECK_EQ(0, kaus_rwmutex_wrunlock(&p->rw));
	return NULL;
}

static void *read_once(void *arg)
{
	struct pair *p = arg;

	CHECK_EQ(0, kaus_rwmutex_rdlock(&p->rw));
	CHECK_EQ(1, p->a);
	CHECK_EQ(0, kaus_rwmutex_rdunlock(&p->rw));
	return NULL;
}

/* Reader in; a writer waits; new readers come after it. */
static int writer_first(void *arg)
{
	struct pair p = { .rounds = 0 };
	struct kaus_g *w, *r;

	CHECK_EQ(0, kaus_rwmutex_rdlock(&p.rw));
	w = ut_spawn(write_once, &p);
	while (!kaus_rwmutex_tryrdlock(&p.rw)) {
		CHECK_EQ(0, kaus_rwmutex_rdunlock(&p.rw));
		kaus_yield();
	}
	r = ut_spawn(read_once, &p);
	CHECK_EQ(0, kaus_sleep(MSEC));
	CHECK_EQ(0, p.a);
	CHECK_EQ(0, kaus_rwmutex_rdunlock(&p.rw));
	CHECK_EQ(0, kaus_join(w, NULL));
	CHECK_EQ(0, kaus_join(r, NULL));
	return 0;
}

TEST(waiting_writer_keeps_readers_out)
{
	RUN(writer_first, NULL);
}

static void read_on(void *arg)
{
	struct pair *p = arg;

	while (!p->stop) {
		CHECK_EQ(0, kaus_rwmutex_rdlock(&p->rw));
		ut_spin(2000);
		CHECK_EQ(0, kaus_rwmutex_rdunlock(&p->rw));
	}
	CHECK_EQ(0, kaus_waitgroup_done(&p->ended));
}

static void write_on(void *arg)
{
	struct pair *p = arg;

	while (!p->stop) {
		CHECK_EQ(0, kaus_rwmutex_wrlock(&p->rw));
		ut_spin(2000);
		CHECK_EQ(0, kaus_rwmutex_wrunlock(&p->rw));
	}
	CHECK_EQ(0, kaus_waitgroup_done(&p->ended));
}

static int no_starvation(void *arg)
{
	void (*others)(void *) = arg ? read_on : write_on;
	struct pair p = { .rounds = 100 };
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&p.ended, 5));
	for (i = 0; i < 4; i++)
		ut_go(others, &p);
	/* Done, it takes itself off the group's count. */
	if (arg)
		writer(&p);
	else
		reader(&p);
	p.stop = true;
	CHECK_EQ(0, kaus_waitgroup_wait(&p.ended));
	check_free(&p);
	return 0;
}

TEST(readers_do_not_starve_a_writer)
{
	RUN(no_starvation, "readers");
}

TEST(writers_do_not_starve_a_reader)
{
	RUN(no_starvation, NULL);
}

TEST_HARNESS_MAIN
