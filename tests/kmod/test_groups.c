// SPDX-License-Identifier: GPL-2.0-only
/*
 * More than one group: several of one process, and several processes on the
 * same CPU. A bug shows as a redirect into the other group's trampoline, as an
 * index that means something in the wrong group, or as one that starves.
 */
#include "kw_test.h"

#include <sys/prctl.h>

struct hog {
	struct kw_thread t;
	unsigned int stop;
	unsigned int bad;
};

static __thread uint64_t nr_wrong_tramp;

/* Not ours: the return address says which trampoline called. */
__attribute__((target("general-regs-only")))
static void check_tramp(struct kw_regs *regs, unsigned int events)
{
	(void)events;
	/* The saved ip is never inside of either trampoline. */
	if ((regs->ip >= (uint64_t)kw_tramp &&
	     regs->ip < (uint64_t)kw_tramp_end) ||
	    (regs->ip >= (uint64_t)kw_tramp_x &&
	     regs->ip < (uint64_t)kw_tramp_x_end))
		nr_wrong_tramp++;
}

static void hog(struct kw_thread *t)
{
	struct hog *h = t->arg;
	uint64_t ref = kw_sum(20000);

	kw_carry(t->kw, 0);
	while (!KW_LOAD(h->stop)) {
		if (kw_sum(20000) != ref)
			KW_ADD(h->bad, 1);
	}
	t->value = nr_wrong_tramp;
}

TEST(two_groups_of_one_process)
{
	struct hog h[2] = { { .t.hook = check_tramp },
			    { .t.hook = check_tramp } };
	struct kw k[2];

	ASSERT_EQ(0, kw_pin(0));
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, kw_open(&k[i], 1, 4));
		if (i) {
			k[i].tramp_lo = (uint64_t)kw_tramp_x;
			k[i].tramp_hi = (uint64_t)kw_tramp_x_end;
		}
		ASSERT_EQ(0, kw_setup(&k[i]));
		kw_waiters(&k[i], 0, 1);
		ASSERT_EQ(0, kw_thread_start(&h[i].t, &k[i], 2 + i, hog,
					     &h[i]));
	}
	for (int i = 0; i < 2; i++) {
		EXPECT_TRUE(KW_WAIT(KW_LOAD(k[i].stat[2 + i].nr_preempt) > 50))
			TH_LOG("group %d is not served", i);
		/* The other group's index is nobody here. */
		EXPECT_EQ(-ESRCH, kw_wake(&k[i], 3 - i, KAUS_NONE, 0));
		EXPECT_EQ(-ESRCH, kw_kick(&k[i], 3 - i, NULL));
		EXPECT_EQ(0, KW_LOAD(k[i].stat[3 - i].nr_entries));
		EXPECT_EQ(0, kw_kick(&k[i], 2 + i, NULL));
	}
	/* One ends, the other goes on. */
	kw_close(&k[0]);
	for (int i = 0; i < 2; i++) {
		uint64_t before = KW_LOAD(k[1].stat[3].nr_preempt);

		EXPECT_TRUE(KW_WAIT(KW_LOAD(k[1].stat[3].nr_preempt) >
				    before + 5));
	}
	for (int i = 0; i < 2; i++) {
		KW_STORE(h[i].stop, 1);
		kw_thread_join(&h[i].t);
		EXPECT_EQ(0, h[i].bad);
		EXPECT_EQ(0, h[i].t.value);
	}
	kw_close(&k[1]);
}

/* A wake-up in one group takes nobody from the pool of another. */
static void nobody(struct kw_thread *t, uint32_t proc)
{
	(void)t;
	(void)proc;
}

TEST(pools_are_separate)
{
	struct kw_pool pool = { .given = nobody, .home = KAUS_NONE };
	struct kw_thread t = { 0 };
	struct kw k[2];

	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, kw_group(&k[i], 1, 4));
	}
	ASSERT_EQ(0, kw_pool_start(&pool, &k[0], &t, 1, 1));
	EXPECT_EQ(-EAGAIN, kw_wake(&k[1], KAUS_ANY, 0, 0));
	EXPECT_EQ(0, kw_wake(&k[0], KAUS_ANY, 0, 0));
	EXPECT_TRUE(KW_WAIT(KW_LOAD(t.count) == 1));
	kw_pool_stop(&pool, &t, 1);
	for (int i = 0; i < 2; i++)
		kw_close(&k[i]);
}

#define NR_CHILDREN	3

static int child(struct kw *k)
{
	uint64_t ref = kw_sum(20000), end_ns = kw_now() + KW_PATIENCE_NS;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (kw_group(k, 1, 2) || kw_register(k, 1))
		return 1;
	kw_carry(k, 0);
	kw_waiters(k, 0, 1);
	while (kw_self.stat->nr_preempt < 150) {
		if (kw_sum(20000) != ref)
			return 2;
		if (kw_now() > end_ns)
			return 3;
	}
	return kw_self.stat->nr_foreign || kw_self.stat->nr_empty ? 4 : 0;
}

TEST(processes_on_one_cpu)
{
	pid_t pid[NR_CHILDREN];
	int status;

	ASSERT_EQ(0, kw_pin(0));
	for (int i = 0; i < NR_CHILDREN; i++) {
		struct kw k;

		pid[i] = fork();
		if (!pid[i])
			_exit(child(&k));
		ASSERT_LT(0, pid[i]);
	}
	for (int i = 0; i < NR_CHILDREN; i++) {
		ASSERT_EQ(pid[i], waitpid(pid[i], &status, 0));
		EXPECT_EQ(0, status) TH_LOG("status %#x", status);
	}
}

/* Many short-lived groups, most of them closed with a worker in them. */
TEST(groups_come_and_go)
{
	for (int i = 0; i < 100; i++) {
		struct kw k;

		ASSERT_EQ(0, kw_group(&k, 1 + i % 5, 1 + i % 7));
		ASSERT_TRUE(KW_WAIT(kw_register(&k, i % (1 + i % 7)) == 0));
		kw_carry(&k, 0);
		kw_waiters(&k, 0, 1);
		kw_sum(50000);
		if (i % 8 == 0) {
			EXPECT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt)));
		}
		if (i & 1)
			kw_unregister(&k);
		kw_close(&k);
	}
}

KW_TEST_MAIN
