// SPDX-License-Identifier: GPL-2.0-only
/*
 * KAUS_IOC_REGISTER and UNREGISTER: each error path, and the slot's life. A
 * bug shows as two threads on one slot, one thread on two, a slot that stays
 * taken after its thread is gone, or an unregistered thread that is redirected.
 */
#include "kw_test.h"

FIXTURE(reg) {
	struct kw k;
	struct kaus_register arg;
};

FIXTURE_SETUP(reg)
{
	ASSERT_EQ(0, kw_group(&self->k, 2, 8));
	self->arg = (struct kaus_register){ .size = sizeof(self->arg) };
}

FIXTURE_TEARDOWN(reg)
{
	kw_close(&self->k);
}

static int reg(FIXTURE_DATA(reg) *self, uint32_t worker)
{
	self->arg.worker = worker;
	return kw_ioctl(self->k.fd, KAUS_IOC_REGISTER, &self->arg);
}

static int unreg(FIXTURE_DATA(reg) *self, uint32_t worker)
{
	self->arg.worker = worker;
	return kw_ioctl(self->k.fd, KAUS_IOC_UNREGISTER, &self->arg);
}

TEST_F(reg, index_out_of_range)
{
	static const uint32_t bad[] = {
		8, 9, 256, 65536, 0x7fffffff, 0x80000000, KAUS_ALL, KAUS_ANY,
		KAUS_NONE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, reg(self, bad[i])) TH_LOG("%u", bad[i]);
	}
	EXPECT_EQ(0, reg(self, 7));
}

TEST_F(reg, padding_flags_size)
{
	for (int bit = 0; bit < 32; bit++) {
		self->arg.pad = 1u << bit;
		EXPECT_EQ(-EINVAL, reg(self, 0)) TH_LOG("pad bit %d", bit);
		self->arg.pad = 0;
		self->arg.flags = 1u << bit;
		EXPECT_EQ(-EINVAL, reg(self, 0)) TH_LOG("flag %d", bit);
		self->arg.flags = 0;
	}
	for (unsigned int size = 0; size < sizeof(self->arg); size++) {
		self->arg.size = size;
		EXPECT_EQ(-EINVAL, reg(self, 0)) TH_LOG("size %u", size);
	}
	self->arg.size = sizeof(self->arg);
	ASSERT_EQ(0, reg(self, 0));
	self->arg.pad = 1;
	EXPECT_EQ(-EINVAL, unreg(self, 0));
	self->arg.pad = 0;
	self->arg.flags = 1;
	EXPECT_EQ(-EINVAL, unreg(self, 0));
	self->arg.flags = 0;
	EXPECT_EQ(0, unreg(self, 0));
}

TEST_F(reg, tail)
{
	struct {
		struct kaus_register arg;
		char more[16];
	} a = { .arg.size = sizeof(a), .more[15] = 1 };

	EXPECT_EQ(-E2BIG, kw_ioctl(self->k.fd, KAUS_IOC_REGISTER, &a));
	EXPECT_EQ(-E2BIG, kw_ioctl(self->k.fd, KAUS_IOC_UNREGISTER, &a));
	EXPECT_EQ(-EFAULT, kw_ioctl(self->k.fd, KAUS_IOC_REGISTER, NULL));
	EXPECT_EQ(-EFAULT, kw_ioctl(self->k.fd, KAUS_IOC_UNREGISTER, NULL));
	a.more[15] = 0;
	EXPECT_EQ(0, kw_ioctl(self->k.fd, KAUS_IOC_REGISTER, &a));
	EXPECT_EQ(0, kw_ioctl(self->k.fd, KAUS_IOC_UNREGISTER, &a));
}

TEST_F(reg, a_thread_is_one_worker)
{
	struct kw other;

	ASSERT_EQ(0, reg(self, 3));
	EXPECT_EQ(-EBUSY, reg(self, 3));
	EXPECT_EQ(-EBUSY, reg(self, 4));
	ASSERT_EQ(0, kw_group(&other, 1, 8));
	EXPECT_EQ(-EBUSY, kw_register(&other, 4)) TH_LOG("of two groups");
	EXPECT_EQ(-ESRCH, kw_unregister(&other));
	ASSERT_EQ(0, unreg(self, 3));
	EXPECT_EQ(0, kw_register(&other, 4));
	EXPECT_EQ(0, kw_unregister(&other));
	kw_close(&other);
}

static void wait_for_stop(struct kw_thread *t)
{
	KW_WAIT(KW_LOAD(*(unsigned int *)t->arg));
}

TEST_F(reg, a_slot_is_one_thread)
{
	struct kw_thread t = { 0 };
	unsigned int stop = 0;

	ASSERT_EQ(0, kw_thread_start(&t, &self->k, 5, wait_for_stop, &stop));
	EXPECT_EQ(-EBUSY, reg(self, 5));
	EXPECT_EQ(0, reg(self, 6));
	EXPECT_EQ(0, unreg(self, 6));
	KW_STORE(stop, 1);
	ASSERT_EQ(0, kw_thread_join(&t));
	EXPECT_EQ(0, reg(self, 5)) TH_LOG("still taken after UNREGISTER");
}

/* There is no exit hook: the module has to notice by itself. */
TEST_F(reg, exit_frees_the_slot)
{
	for (int i = 0; i < 20; i++) {
		struct kw_thread t = { .keep = true };
		unsigned int stop = 1;

		ASSERT_EQ(0, kw_thread_start(&t, &self->k, 5, wait_for_stop,
					     &stop));
		ASSERT_EQ(0, kw_thread_join(&t));
		ASSERT_TRUE(KW_WAIT(reg(self, 5) == 0))
			TH_LOG("slot taken for ever, round %d", i);
		ASSERT_EQ(0, unreg(self, 5));
	}
}

TEST_F(reg, unregister_needs_the_right_thread)
{
	EXPECT_EQ(-ESRCH, unreg(self, 0));
	ASSERT_EQ(0, reg(self, 0));
	EXPECT_EQ(-ESRCH, unreg(self, 1));
	EXPECT_TRUE(unreg(self, 8) < 0);
	EXPECT_TRUE(unreg(self, KAUS_NONE) < 0);
	EXPECT_EQ(0, unreg(self, 0));
	EXPECT_EQ(-ESRCH, unreg(self, 0));
}

TEST_F(reg, unregistered_is_esrch)
{
	struct kaus_handoff handoff = {
		.home = KAUS_NONE, .target = 1, .target_proc = KAUS_NONE,
	};

	kw_self.worker = 0;
	EXPECT_EQ(-ESRCH, kw_park(&self->k, 0, KAUS_NONE, 0, NULL));
	EXPECT_EQ(-ESRCH, kw_handoff(&self->k, &handoff));
	EXPECT_EQ(-ESRCH, kw_wake(&self->k, 0, KAUS_NONE, 0));
	EXPECT_EQ(-ESRCH, kw_kick(&self->k, 0, NULL));
}

TEST_F(reg, unregister_leaves_the_p_and_ends_redirects)
{
	uint64_t owner, entries;

	ASSERT_EQ(0, kw_register(&self->k, 2));
	kw_carry(&self->k, 1);
	kw_waiters(&self->k, 1, 1);
	ASSERT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) >= 3));
	owner = kw_owner(&self->k, 1);
	ASSERT_EQ(0, kw_unregister(&self->k));
	EXPECT_EQ(owner, kw_owner(&self->k, 1));
	entries = kw_self.stat->nr_entries;
	kw_sum(20000000);
	EXPECT_EQ(entries, kw_self.stat->nr_entries)
		TH_LOG("redirected while not registered");
	/* A sleep says nothing to the module any more either. */
	usleep(3000);
	EXPECT_EQ(owner, kw_owner(&self->k, 1));
	EXPECT_EQ(entries, kw_self.stat->nr_entries);
	/* And once more. */
	ASSERT_EQ(0, kw_register(&self->k, 2));
	kw_carry(&self->k, 1);
	EXPECT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_entries) > entries));
	EXPECT_EQ(0, kw_unregister(&self->k));
}

struct churn {
	unsigned int stop;
	uint64_t rounds;
	int bad;
	struct kw *k;
};

static void *churn(void *arg)
{
	struct churn *c = arg;

	/* Two threads, one slot: exactly one wins each time. */
	while (!KW_LOAD(c->stop)) {
		int ret = kw_register(c->k, 0);

		if (ret == -EBUSY)
			continue;
		if (!ret)
			ret = kw_unregister(c->k);
		if (ret)
			KW_STORE(c->bad, ret);
		KW_ADD(c->rounds, 1);
	}
	return NULL;
}

TEST_F(reg, churn_on_one_slot)
{
	struct churn c[2] = { { .k = &self->k }, { .k = &self->k } };
	pthread_t thread[2];

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, churn, &c[i]));
	}
	EXPECT_TRUE(KW_WAIT(KW_LOAD(c[0].rounds) >= 200 &&
			    KW_LOAD(c[1].rounds) >= 200));
	for (int i = 0; i < 2; i++) {
		KW_STORE(c[i].stop, 1);
		pthread_join(thread[i], NULL);
		EXPECT_EQ(0, c[i].bad);
	}
	EXPECT_EQ(0, reg(self, 0));
}

KW_TEST_MAIN
