// SPDX-License-Identifier: GPL-2.0-only
/*
 * kaus_join_until(), and joining from plain threads: a timeout leaves the
 * goroutine as joinable as it was, its end and the deadline at one moment give
 * one of the two results and never both, and only one may join at a time.
 *
 * If it is broken: a goroutine that ends wakes a wait that is over (memory of
 * others is written), its value is lost, or a join sleeps for ever.
 */
#include "utest.h"

struct target {
	struct kaus_sem end;
	void *value;
};

#define TARGET_INIT(v) { KAUS_SEM_INIT(0), v }

static void *until_told(void *arg)
{
	struct target *t = arg;

	CHECK_EQ(0, kaus_sem_acquire(&t->end, 1));
	return t->value;
}

/* As goroutine or as plain thread. */
static void join_late(void)
{
	struct target t = TARGET_INIT("value");
	struct kaus_g *g = ut_spawn(until_told, &t);
	void *untouched = &t, *value = untouched;
	int i;

	CHECK_EQ(-ETIMEDOUT, kaus_join_until(g, &value, 0));
	CHECK_EQ(-ETIMEDOUT, kaus_join_until(g, &value, 1));
	for (i = 0; i < 5; i++) {
		uint64_t deadline = kaus_now_ns() + 1 * MSEC;

		CHECK_EQ(-ETIMEDOUT, kaus_join_until(g, &value, deadline));
		CHECK(kaus_now_ns() >= deadline);
	}
	CHECK(value == untouched);
	CHECK_EQ(0, kaus_sem_release(&t.end, 1));
	CHECK_EQ(0, kaus_join_until(g, &value, kaus_now_ns() + 60 * SEC));
	CHECK(value == t.value);
}

static int join_late_main(void *arg)
{
	join_late();
	return 0;
}

TEST(a_timeout_leaves_it_joinable)
{
	RUN(join_late_main, NULL);
}

TEST(a_timeout_leaves_it_joinable_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, join_late_main, NULL);
}

static void *join_late_thread(void *arg)
{
	join_late();
	return NULL;
}

static void on_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	if (CHECK_EQ(0, pthread_create(&thread, NULL, fn, arg)))
		pthread_join(thread, NULL);
}

static int from_thread_main(void *arg)
{
	on_thread(join_late_thread, NULL);
	return 0;
}

TEST(plain_threads_join_with_a_deadline)
{
	RUN(from_thread_main, NULL);
}

static void *same(void *arg)
{
	return arg;
}

/* Memory of those that have ended is used again: else there would be many. */
static void *join_many_thread(void *arg)
{
	uintptr_t i, nr = UT_MANY;
	void *value;

	for (i = 1; i <= nr; i++) {
		struct kaus_g *g = ut_spawn(same, (void *)i);

		value = NULL;
		CHECK_EQ(0, kaus_join(g, &value));
		CHECK_EQ(i, (uintptr_t)value);
	}
	return NULL;
}

static int join_many_main(void *arg)
{
	uint64_t before = ut_stats().nr_gs;

	on_thread(join_many_thread, NULL);
	CHECK_EQ(before, ut_stats().nr_gs);
	return 0;
}

TEST(plain_threads_join_many)
{
	RUN(join_many_main, NULL);
}

static int ended_main(void *arg)
{
	struct kaus_g *g = ut_spawn(same, "x");
	void *value = NULL;

	while (kaus_join_until(g, &value, 0) == -ETIMEDOUT)
		kaus_yield();
	CHECK(value && !strcmp(value, "x"));
	return 0;
}

TEST(what_has_ended_is_joined_past_the_deadline)
{
	RUN(ended_main, NULL);
}

/* The end and the deadline come at about the same time, again and again. */
static void *after(void *arg)
{
	kaus_sleep_until(*(uint64_t *)arg);
	return arg;
}

static void race(uint64_t *seed, int *nr_timeouts)
{
	uint64_t at = kaus_now_ns() + 100 * USEC, deadline;
	struct kaus_g *g = ut_spawn(after, &at);
	void *value = NULL;
	int err;

	deadline = at + ut_rand(seed) % (100 * USEC);
	err = kaus_join_until(g, &value, deadline);
	if (err) {
		CHECK_EQ(-ETIMEDOUT, err);
		CHECK(!value);
		++*nr_timeouts;
		err = kaus_join(g, &value);
	}
	CHECK_EQ(0, err);
	CHECK(value == &at);
}

#define NR_RACES 500

static void *race_often(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	int i, nr_timeouts = 0;

	for (i = 0; i < NR_RACES; i++)
		race(&seed, &nr_timeouts);
	return NULL;
}

static int race_main(void *arg)
{
	struct kaus_g *gs[8];
	uintptr_t i;

	for (i = 0; i < 8; i++)
		gs[i] = ut_spawn(race_often, (void *)(i + 1));
	on_thread(race_often, (void *)99);
	for (i = 0; i < 8; i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	return 0;
}

TEST(the_end_and_the_deadline_race)
{
	RUN(race_main, NULL);
}

struct joiner {
	struct kaus_g *g;
	uint64_t deadline_ns;
	atomic_int *nr_joined;
	atomic_int *nr_refused;
};

static void *join_one(void *arg)
{
	struct joiner *j = arg;
	void *value = NULL;
	int err;

	do {
		err = kaus_join_until(j->g, &value, j->deadline_ns);
	} while (err == -ETIMEDOUT);
	if (!err) {
		CHECK(value && !strcmp(value, "value"));
		atomic_fetch_add(j->nr_joined, 1);
	} else {
		CHECK_EQ(-EINVAL, err);
		CHECK(!value);
		atomic_fetch_add(j->nr_refused, 1);
	}
	return NULL;
}

/* The first one waits, whichever it is: the rest must be refused. */
static int refused_main(void *arg)
{
	const uint64_t deadlines[] = { KAUS_NO_DEADLINE,
				       kaus_now_ns() + 3600 * SEC };
	atomic_int nr_joined, nr_refused;
	unsigned int i, k;

	for (i = 0; i < 8; i++) {
		struct target t = TARGET_INIT("value");
		struct joiner js[3];
		struct kaus_g *gs[2];
		pthread_t thread;

		atomic_store(&nr_joined, 0);
		atomic_store(&nr_refused, 0);
		js[0].g = ut_spawn(until_told, &t);
		for (k = 0; k < 3; k++)
			js[k] = (struct joiner){ js[0].g, deadlines[i >> k & 1],
						 &nr_joined, &nr_refused };
		for (k = 0; k < 2; k++)
			gs[k] = ut_spawn(join_one, &js[k]);
		CHECK_EQ(0, pthread_create(&thread, NULL, join_one, &js[2]));
		while (atomic_load(&nr_refused) < 2)
			kaus_yield();
		CHECK_EQ(0, atomic_load(&nr_joined));
		CHECK_EQ(0, kaus_sem_release(&t.end, 1));
		for (k = 0; k < 2; k++)
			CHECK_EQ(0, kaus_join(gs[k], NULL));
		pthread_join(thread, NULL);
		CHECK_EQ(1, atomic_load(&nr_joined));
		CHECK_EQ(2, atomic_load(&nr_refused));
	}
	return 0;
}

TEST(two_cannot_join_at_a_time)
{
	RUN(refused_main, NULL);
}

TEST_HARNESS_MAIN
