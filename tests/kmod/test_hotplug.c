// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUs that go and come back under running, sleeping and parked workers. Each
 * CPU has a timer and a notifier of the module; a bug shows as a worker that
 * is no longer preempted after its CPU went, as a timer that fires for a CPU
 * that is not there, or as a CPU that does not come back.
 */
#include "kw_test.h"

#define CPU1	"/sys/devices/system/cpu/cpu1/online"

static bool set_online(bool on)
{
	int fd = open(CPU1, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, on ? "1" : "0", 1) == 1;
	close(fd);
	return ok;
}

struct worker {
	struct kw_thread t;
	unsigned int stop;
	unsigned int bad;
};

static void spin(struct kw_thread *t)
{
	struct worker *w = t->arg;
	uint64_t ref = kw_sum(20000);

	kw_carry(t->kw, t->worker);
	while (!KW_LOAD(w->stop)) {
		if (kw_sum(20000) != ref)
			KW_ADD(w->bad, 1);
	}
}

static void nap(struct kw_thread *t)
{
	struct worker *w = t->arg;

	while (!KW_LOAD(w->stop)) {
		if (!kw_owner_is(t->kw, t->worker, KAUS_P_RUNNING, t->worker))
			kw_carry(t->kw, t->worker);
		kw_nap();
	}
}

TEST(cpu_goes_and_comes)
{
	struct worker w[4] = { 0 };
	struct kw k;

	if (access(CPU1, W_OK))
		SKIP(return, "no CPU that can go");
	ASSERT_EQ(0, kw_group(&k, 4, 4));
	for (int i = 0; i < 4; i++) {
		kw_waiters(&k, i, 1);
		ASSERT_EQ(0, kw_thread_start(&w[i].t, &k, i, i < 3 ? spin : nap,
					     &w[i]));
	}
	for (int round = 0; round < 6; round++) {
		ASSERT_TRUE(set_online(round & 1)) TH_LOG("round %d", round);
		for (int i = 0; i < 3; i++) {
			uint64_t before = KW_LOAD(k.stat[i].nr_preempt);

			EXPECT_TRUE(KW_WAIT(KW_LOAD(k.stat[i].nr_preempt) >
					    before + 5))
				TH_LOG("round %d, worker %d", round, i);
		}
		EXPECT_EQ(0, kw_kick(&k, KAUS_ALL, NULL));
	}
	set_online(true);
	for (int i = 0; i < 4; i++) {
		KW_STORE(w[i].stop, 1);
		kw_thread_join(&w[i].t);
		EXPECT_EQ(0, w[i].bad);
	}
	kw_close(&k);
}

KW_TEST_MAIN
