// SPDX-License-Identifier: GPL-2.0-only
/*
 * Values of goroutines: each has its own, wherever it runs, they are gone in
 * the next goroutine that gets the same object, and destructors see them.
 *
 * If it is broken: a goroutine sees what another one left, or a value leaks.
 */
#include <kaus/local.h>

#include "utest.h"

static uint32_t key, plain_key;
static atomic_int nr_destroyed;

static void destroy(void *value)
{
	CHECK(kaus_goid() > 0);
	CHECK_EQ(NULL, kaus_local_get(key));
	atomic_fetch_add(&nr_destroyed, (int)(intptr_t)value);
}

static void own_value(void *arg)
{
	struct kaus_waitgroup *wg = arg;
	void *mine = (void *)(intptr_t)kaus_goid();

	CHECK_EQ(NULL, kaus_local_get(key));
	CHECK_EQ(NULL, kaus_local_get(plain_key));
	CHECK_EQ(0, kaus_local_set(key, (void *)1));
	CHECK_EQ(0, kaus_local_set(plain_key, mine));
	for (int i = 0; i < 100; i++) {
		kaus_yield();
		CHECK_EQ((intptr_t)mine, (intptr_t)kaus_local_get(plain_key));
		CHECK_EQ(1, (intptr_t)kaus_local_get(key));
	}
	/* After it the destructors run, before the next wait group's Gs. */
	CHECK_EQ(0, kaus_waitgroup_done(wg));
	if (kaus_goid() % 2)
		kaus_exit();
}

static void *set_one(void *arg)
{
	CHECK_EQ(0, kaus_local_set(key, (void *)1));
	return NULL;
}

static int many(void *arg)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;

	for (int round = 0; round < 3; round++) {
		CHECK_EQ(0, kaus_waitgroup_add(&wg, 50));
		for (int i = 0; i < 50; i++)
			ut_go(own_value, &wg);
		CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	}
	/* Joining comes after the destructor. */
	CHECK_EQ(0, kaus_join(ut_spawn(set_one, NULL), NULL));
	while (atomic_load(&nr_destroyed) < 151)
		kaus_yield();
	CHECK_EQ(151, atomic_load(&nr_destroyed));
	return 0;
}

TEST(each_has_its_own)
{
	ASSERT_EQ(0, kaus_local_create(destroy, &key));
	ASSERT_EQ(0, kaus_local_create(NULL, &plain_key));
	RUN(many, NULL);
}

static void destroy_and_set(void *value)
{
	intptr_t left = (intptr_t)value;

	atomic_fetch_add(&nr_destroyed, 1);
	if (left > 1)
		CHECK_EQ(0, kaus_local_set(key, (void *)(left - 1)));
}

static void *set_arg(void *arg)
{
	CHECK_EQ(0, kaus_local_set(key, arg));
	return NULL;
}

static int again(void *arg)
{
	CHECK_EQ(0, kaus_join(ut_spawn(set_arg, (void *)3), NULL));
	CHECK_EQ(3, atomic_load(&nr_destroyed));
	/* One that never ends with it is given up. */
	CHECK_EQ(0, kaus_join(ut_spawn(set_arg, (void *)1000), NULL));
	CHECK_EQ(3 + 4, atomic_load(&nr_destroyed));
	return 0;
}

TEST(a_destructor_may_set_values)
{
	ASSERT_EQ(0, kaus_local_create(destroy_and_set, &key));
	RUN(again, NULL);
}

static int bad(void *arg)
{
	CHECK_EQ(-EINVAL, kaus_local_set(KAUS_LOCAL_MAX - 1, "value"));
	CHECK_EQ(-EINVAL, kaus_local_set(UINT32_MAX, "value"));
	CHECK_EQ(NULL, kaus_local_get(UINT32_MAX));
	for (int i = 0; i < KAUS_LOCAL_MAX; i++)
		CHECK_EQ(0, kaus_local_create(NULL, &key));
	CHECK_EQ(-EAGAIN, kaus_local_create(NULL, &key));
	CHECK_EQ(KAUS_LOCAL_MAX - 1, key);
	CHECK_EQ(0, kaus_local_set(key, "value"));
	return 0;
}

TEST(bad_and_too_many_keys)
{
	EXPECT_EQ(-EPERM, kaus_local_set(0, NULL));
	EXPECT_EQ(NULL, kaus_local_get(0));
	RUN(bad, NULL);
}

TEST_HARNESS_MAIN
