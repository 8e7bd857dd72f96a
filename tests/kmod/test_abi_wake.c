// SPDX-License-Identifier: GPL-2.0-only
/*
 * KAUS_IOC_WAKE: who is woken, with which P, and each error path. A bug shows
 * as a P with two holders or none (the owner word changed although the call
 * failed, or the other way round), as a pool that is not LIFO, or as a wake-up
 * that reaches the wrong worker.
 */
#include "kw_test.h"

#define NR_PARKED	4

struct parked {
	struct kw_thread t;
	uint32_t flags;
	uint32_t home;
	int ret;
	uint32_t proc;
	unsigned int rets;
};

FIXTURE(wake) {
	struct kw k;
	struct parked p[NR_PARKED];
};

FIXTURE_SETUP(wake)
{
	ASSERT_EQ(0, kw_group(&self->k, 3, 8));
}

FIXTURE_TEARDOWN(wake)
{
	kw_close(&self->k);
}

static void parked(struct kw_thread *t)
{
	struct parked *p = t->arg;

	p->proc = 0xabcd;
	p->ret = kw_park(t->kw, p->flags, p->home, KAUS_FOREVER, &p->proc);
	KW_ADD(p->rets, 1);
}

/* Worker @i parks; when this returns it sits in the module. */
static bool park_one(FIXTURE_DATA(wake) *self, int i, uint32_t flags,
		     uint32_t home)
{
	self->p[i].flags = flags;
	self->p[i].home = home;
	return !kw_thread_start(&self->p[i].t, &self->k, i, parked,
				&self->p[i]) &&
	       KW_WAIT(kw_parked(self->p[i].t.tid));
}

static bool returned(FIXTURE_DATA(wake) *self, int i)
{
	return KW_WAIT(KW_LOAD(self->p[i].rets));
}

static void set_owner(FIXTURE_DATA(wake) *self, uint32_t proc, uint64_t word)
{
	KW_STORE(self->k.procs[proc].owner, word);
}

TEST_F(wake, arguments)
{
	struct {
		struct kaus_wake arg;
		char more[8];
	} a = { .arg = { .proc = KAUS_NONE } };
	int fd = self->k.fd;

	ASSERT_EQ(0, kw_register(&self->k, 0));
	for (unsigned int size = 0; size < sizeof(a.arg); size++) {
		a.arg.size = size;
		EXPECT_EQ(-EINVAL, kw_ioctl(fd, KAUS_IOC_WAKE, &a))
			TH_LOG("size %u", size);
	}
	a.arg.size = sizeof(a.arg);
	for (int bit = 0; bit < 32; bit++) {
		a.arg.flags = 1u << bit;
		EXPECT_EQ(-EINVAL, kw_ioctl(fd, KAUS_IOC_WAKE, &a))
			TH_LOG("flag %d", bit);
	}
	a.arg.flags = 0;
	a.arg.size = sizeof(a);
	a.more[7] = 1;
	EXPECT_EQ(-E2BIG, kw_ioctl(fd, KAUS_IOC_WAKE, &a));
	EXPECT_EQ(-EFAULT, kw_ioctl(fd, KAUS_IOC_WAKE, NULL));

	/* Index out of range; KAUS_ANY without a P. */
	EXPECT_EQ(-EINVAL, kw_wake(&self->k, 8, KAUS_NONE, 0));
	EXPECT_EQ(-EINVAL, kw_wake(&self->k, KAUS_NONE, KAUS_NONE, 0));
	EXPECT_EQ(-EINVAL, kw_wake(&self->k, KAUS_ALL, KAUS_NONE, 0));
	EXPECT_EQ(-EINVAL, kw_wake(&self->k, 0, 3, 0));
	EXPECT_EQ(-EINVAL, kw_wake(&self->k, 0, 0x80000000, 0));
	EXPECT_EQ(-EINVAL, kw_wake(&self->k, 0, KAUS_ANY, 0));
	EXPECT_EQ(-EINVAL, kw_wake(&self->k, KAUS_ANY, KAUS_NONE, 0));
	EXPECT_EQ(-EINVAL, kw_wake(&self->k, KAUS_ANY, 3, 0));
	EXPECT_EQ(-ESRCH, kw_wake(&self->k, 7, KAUS_NONE, 0));
	EXPECT_EQ(-ETIMEDOUT, kw_park(&self->k, 0, KAUS_NONE, 0, NULL))
		TH_LOG("woken by a call that failed");
}

TEST_F(wake, from_every_state_that_allows_it)
{
	static const uint32_t states[] = {
		KAUS_P_IDLE, KAUS_P_RUNNING, KAUS_P_SLEEPING,
	};
	uint32_t proc = 0;

	ASSERT_EQ(0, kw_register(&self->k, 0));
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		uint64_t old = KAUS_OWNER(states[i], 5, 41 + i);

		set_owner(self, 2, old);
		ASSERT_EQ(0, kw_wake(&self->k, 0, 2, old))
			TH_LOG("state %u", states[i]);
		EXPECT_EQ(KAUS_OWNER(KAUS_P_RUNNING, 0, 42 + i),
			  kw_owner(&self->k, 2));
		ASSERT_EQ(0, kw_park(&self->k, 0, KAUS_NONE, 0, &proc));
		EXPECT_EQ(2, proc);
	}
	/* The generation wraps. */
	set_owner(self, 2, KAUS_OWNER(KAUS_P_IDLE, 0, UINT32_MAX));
	ASSERT_EQ(0, kw_wake(&self->k, 0, 2,
			     KAUS_OWNER(KAUS_P_IDLE, 0, UINT32_MAX)));
	EXPECT_EQ(KAUS_OWNER(KAUS_P_RUNNING, 0, 0), kw_owner(&self->k, 2));
}

TEST_F(wake, wrong_owner_is_ebusy)
{
	uint64_t owner = KAUS_OWNER(KAUS_P_IDLE, 0, 9);

	ASSERT_TRUE(park_one(self, 0, KAUS_PARK_POOL, KAUS_NONE));
	set_owner(self, 1, owner);
	for (int bit = 0; bit < 64; bit++) {
		EXPECT_EQ(-EBUSY, kw_wake(&self->k, 0, 1, owner ^ 1ULL << bit))
			TH_LOG("bit %d", bit);
		EXPECT_EQ(-EBUSY,
			  kw_wake(&self->k, KAUS_ANY, 1, owner ^ 1ULL << bit))
			TH_LOG("bit %d", bit);
		EXPECT_EQ(owner, kw_owner(&self->k, 1));
	}
	EXPECT_EQ(0, KW_LOAD(self->p[0].rets));
	ASSERT_EQ(0, kw_wake(&self->k, 0, 1, owner));
	ASSERT_TRUE(returned(self, 0));
	EXPECT_EQ(1, self->p[0].proc);
}

TEST_F(wake, second_proc_before_the_first_is_fetched_is_ebusy)
{
	uint32_t proc = KAUS_NONE;

	ASSERT_EQ(0, kw_register(&self->k, 0));
	ASSERT_EQ(0, kw_wake(&self->k, 0, 0, 0));
	EXPECT_EQ(-EBUSY, kw_wake(&self->k, 0, 1, 0));
	EXPECT_EQ(0, kw_owner(&self->k, 1)) TH_LOG("P 1 is taken all the same");
	/* A bare wake-up is always possible. */
	EXPECT_EQ(0, kw_wake(&self->k, 0, KAUS_NONE, 0));
	ASSERT_EQ(0, kw_park(&self->k, 0, KAUS_NONE, 0, &proc));
	EXPECT_EQ(0, proc);
	ASSERT_EQ(0, kw_wake(&self->k, 0, 1, 0));
	ASSERT_EQ(0, kw_park(&self->k, 0, KAUS_NONE, KAUS_FOREVER, &proc));
}

TEST_F(wake, empty_pool_is_eagain)
{
	EXPECT_EQ(-EAGAIN, kw_wake(&self->k, KAUS_ANY, 0, 0));
	EXPECT_EQ(0, kw_owner(&self->k, 0)) TH_LOG("P 0 given to nobody");
	/* Parked, but not in the pool. */
	ASSERT_TRUE(park_one(self, 0, 0, 0));
	ASSERT_TRUE(park_one(self, 1, KAUS_PARK_SERVICE, 0));
	EXPECT_EQ(-EAGAIN, kw_wake(&self->k, KAUS_ANY, 0, 0));
	EXPECT_EQ(0, kw_owner(&self->k, 0));
	EXPECT_EQ(0, KW_LOAD(self->p[0].rets));
	/* But by name. */
	ASSERT_EQ(0, kw_wake(&self->k, 0, 0, 0));
	ASSERT_EQ(0, kw_wake(&self->k, 1, 1, 0));
	ASSERT_TRUE(returned(self, 0) && returned(self, 1));
	EXPECT_EQ(0, self->p[0].proc);
	EXPECT_EQ(1, self->p[1].proc);
	EXPECT_TRUE(kw_owner_is(&self->k, 0, KAUS_P_RUNNING, 0));
	EXPECT_TRUE(kw_owner_is(&self->k, 1, KAUS_P_RUNNING, 1));
}

TEST_F(wake, pool_is_lifo)
{
	for (int i = 0; i < NR_PARKED; i++) {
		ASSERT_TRUE(park_one(self, i, KAUS_PARK_POOL, 0));
	}
	for (int i = NR_PARKED - 1; i >= 0; i--) {
		uint64_t owner = kw_owner(&self->k, 0);

		ASSERT_EQ(0, kw_wake(&self->k, KAUS_ANY, 0, owner));
		EXPECT_TRUE(kw_owner_is(&self->k, 0, KAUS_P_RUNNING, i))
			TH_LOG("not the last to park: %#lx",
			       (unsigned long)kw_owner(&self->k, 0));
		ASSERT_TRUE(returned(self, i));
		EXPECT_EQ(0, self->p[i].ret);
		EXPECT_EQ(0, self->p[i].proc);
	}
	EXPECT_EQ(-EAGAIN, kw_wake(&self->k, KAUS_ANY, 0,
				   kw_owner(&self->k, 0)));
}

TEST_F(wake, home_pool_first_then_the_others)
{
	ASSERT_TRUE(park_one(self, 0, KAUS_PARK_POOL, 1));
	ASSERT_TRUE(park_one(self, 1, KAUS_PARK_POOL, 0));
	ASSERT_TRUE(park_one(self, 2, KAUS_PARK_POOL, KAUS_NONE));
	ASSERT_EQ(0, kw_wake(&self->k, KAUS_ANY, 1, 0));
	EXPECT_TRUE(kw_owner_is(&self->k, 1, KAUS_P_RUNNING, 0))
		TH_LOG("not the one whose home it is");
	ASSERT_TRUE(returned(self, 0));
	EXPECT_EQ(1, self->p[0].proc);
	/* Nobody is at home at P 2 now: anybody will do. */
	ASSERT_EQ(0, kw_wake(&self->k, KAUS_ANY, 2, 0));
	ASSERT_EQ(0, kw_wake(&self->k, KAUS_ANY, 0, 0));
	ASSERT_TRUE(returned(self, 1) && returned(self, 2));
}

TEST_F(wake, by_name_leaves_the_pool)
{
	ASSERT_TRUE(park_one(self, 0, KAUS_PARK_POOL, 0));
	ASSERT_TRUE(park_one(self, 1, KAUS_PARK_POOL, 0));
	ASSERT_TRUE(park_one(self, 2, KAUS_PARK_POOL, 0));
	/* Out of the middle. */
	ASSERT_EQ(0, kw_wake(&self->k, 1, KAUS_NONE, 0));
	ASSERT_TRUE(returned(self, 1));
	EXPECT_EQ(0, self->p[1].ret);
	EXPECT_EQ(KAUS_NONE, self->p[1].proc);
	ASSERT_EQ(0, kw_wake(&self->k, KAUS_ANY, 0, 0));
	EXPECT_TRUE(kw_owner_is(&self->k, 0, KAUS_P_RUNNING, 2));
	ASSERT_EQ(0, kw_wake(&self->k, KAUS_ANY, 1, 0));
	EXPECT_TRUE(kw_owner_is(&self->k, 1, KAUS_P_RUNNING, 0));
	EXPECT_EQ(-EAGAIN, kw_wake(&self->k, KAUS_ANY, 2, 0));
	ASSERT_TRUE(returned(self, 0) && returned(self, 2));
}

/* Two wakers and one pool: each P has one holder, each holder one P. */
static void give_back(struct kw_thread *t, uint32_t proc)
{
	if (!kw_owner_is(t->kw, proc, KAUS_P_RUNNING, t->worker))
		KW_ADD(t->value, 1);
	kw_drop(t->kw);
}

struct waker {
	struct kw *k;
	uint32_t proc;
	unsigned int given;
	int bad;
};

static void *waker(void *arg)
{
	struct waker *w = arg;
	uint64_t end_ns = kw_now() + KW_PATIENCE_NS;

	while (w->given < 600 && kw_now() < end_ns) {
		uint64_t owner = kw_owner(w->k, w->proc);
		int ret;

		if (KAUS_OWNER_STATE(owner) != KAUS_P_IDLE) {
			sched_yield();
			continue;
		}
		ret = kw_wake(w->k, KAUS_ANY, w->proc, owner);
		if (!ret)
			w->given++;
		else if (ret == -EAGAIN)
			sched_yield();
		else
			w->bad = ret;
	}
	return NULL;
}

TEST_F(wake, two_wakers_one_pool)
{
	struct kw_pool pool = { .given = give_back, .home = KAUS_NONE };
	struct kw_thread t[3] = { 0 };
	struct waker w[2] = {
		{ .k = &self->k, .proc = 0 }, { .k = &self->k, .proc = 1 },
	};
	pthread_t thread[2];
	uint64_t taken = 0;

	ASSERT_EQ(0, kw_pool_start(&pool, &self->k, t, 0, 3));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, waker, &w[i]));
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_EQ(0, w[i].bad);
		EXPECT_EQ(600, w[i].given);
	}
	EXPECT_TRUE(KW_WAIT(KAUS_OWNER_STATE(kw_owner(&self->k, 0)) ==
			    KAUS_P_IDLE &&
			    KAUS_OWNER_STATE(kw_owner(&self->k, 1)) ==
			    KAUS_P_IDLE)) TH_LOG("a P got lost");
	kw_pool_stop(&pool, t, 3);
	for (int i = 0; i < 3; i++) {
		taken += t[i].count;
		EXPECT_EQ(0, t[i].value) TH_LOG("P of another, or errno");
	}
	EXPECT_EQ(1200, taken);
}

KW_TEST_MAIN
