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

/*
 * 64 groups of 8 workers each on two CPUs, all of them spinning with somebody
 * waiting. Each worker must get its share of both the CPUs (from the scheduler,
 * whose business that is) and of the redirects that go with it, and nothing may
 * look like a lock-up to the kernel, whose log is read after the tests.
 */
#define NR_GROUPS	64
#define GROUP_SIZE	8
#define NR_HOGS		(NR_GROUPS * GROUP_SIZE)

static pthread_rwlock_t all_go = PTHREAD_RWLOCK_INITIALIZER;
static unsigned int all_stop;

static void small_hog(struct kw_thread *t)
{
	uint64_t ref = kw_sum(2000);

	/*
	 * Together, or the last ones would wait for a CPU to be made on. Asleep:
	 * 512 that look every now and then are too much for a debug kernel.
	 */
	pthread_rwlock_rdlock(&all_go);
	pthread_rwlock_unlock(&all_go);
	kw_carry(t->kw, t->worker);
	while (!KW_LOAD(all_stop)) {
		if (kw_sum(2000) != ref)
			t->value++;
		KW_STORE(t->count, t->count + 1);
	}
}

TEST(many_workers_in_many_groups)
{
	struct kw_thread *t = calloc(NR_HOGS, sizeof(*t));
	struct kw *k = calloc(NR_GROUPS, sizeof(*k));
	uint64_t min = UINT64_MAX, max = 0, sum = 0, bad = 0, entries = 0;
	uint32_t idle = 0;

	ASSERT_NE(NULL, t);
	ASSERT_NE(NULL, k);
	for (int g = 0; g < NR_GROUPS; g++) {
		ASSERT_EQ(0, kw_group(&k[g], GROUP_SIZE, GROUP_SIZE));
		k[g].hdr->slice_ns = 1000000;
		for (int i = 0; i < GROUP_SIZE; i++)
			kw_waiters(&k[g], i, 1);
	}
	pthread_rwlock_wrlock(&all_go);
	for (int i = 0; i < NR_HOGS; i++) {
		ASSERT_EQ(0, kw_thread_start(&t[i], &k[i / GROUP_SIZE],
					     i % GROUP_SIZE, small_hog, NULL));
	}
	pthread_rwlock_unlock(&all_go);
	/* Until every one of them has been redirected, which takes a turn. */
	for (int i = 0; i < NR_HOGS; i++) {
		struct kw_stat *stat = &k[i / GROUP_SIZE].stat[i % GROUP_SIZE];

		ASSERT_TRUE(KW_WAIT(KW_LOAD(stat->nr_preempt) > 3))
			TH_LOG("worker %d of group %d starves",
			       i % GROUP_SIZE, i / GROUP_SIZE);
	}
	KW_STORE(all_stop, 1);
	for (int i = 0; i < NR_HOGS; i++) {
		kw_thread_join(&t[i]);
		min = t[i].count < min ? t[i].count : min;
		max = t[i].count > max ? t[i].count : max;
		sum += t[i].count;
		bad += t[i].value;
		idle += !t[i].count;
		entries += k[i / GROUP_SIZE].stat[i % GROUP_SIZE].nr_preempt;
	}
	TH_LOG("rounds of a worker: %lu to %lu, mean %lu; %lu redirects",
	       (unsigned long)min, (unsigned long)max,
	       (unsigned long)sum / NR_HOGS, (unsigned long)entries);
	EXPECT_EQ(0, bad) TH_LOG("wrong results");
	EXPECT_EQ(0, idle);
	/*
	 * Where the scheduler put how many on which CPU is its business, and who
	 * begins when. Each has had its turns: see above.
	 */
	EXPECT_LT(sum / NR_HOGS / 100, min) TH_LOG("one has nearly nothing");
	for (int g = 0; g < NR_GROUPS; g++)
		kw_close(&k[g]);
}

KW_TEST_MAIN
