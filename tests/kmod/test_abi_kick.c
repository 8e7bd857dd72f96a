// SPDX-License-Identifier: GPL-2.0-only
/*
 * KAUS_IOC_KICK: redirect a worker now, wherever it runs. A bug shows as a
 * worker that never hears of the kick, as a sleep that ends early, or as
 * registers that differ after an interprocessor interrupt.
 */
#include "kw_test.h"

FIXTURE(kick) {
	struct kw k;
};

FIXTURE_SETUP(kick)
{
	ASSERT_EQ(0, kw_group(&self->k, 2, 8));
}

FIXTURE_TEARDOWN(kick)
{
	kw_close(&self->k);
}

TEST_F(kick, arguments)
{
	struct {
		struct kaus_kick arg;
		char more[8];
	} a = { 0 };
	int fd = self->k.fd;

	for (unsigned int size = 0; size < sizeof(a.arg); size++) {
		a.arg.size = size;
		EXPECT_EQ(-EINVAL, kw_ioctl(fd, KAUS_IOC_KICK, &a))
			TH_LOG("size %u", size);
	}
	a.arg.size = sizeof(a.arg);
	for (int bit = 0; bit < 32; bit++) {
		a.arg.flags = 1u << bit;
		EXPECT_EQ(-EINVAL, kw_ioctl(fd, KAUS_IOC_KICK, &a))
			TH_LOG("flag %d", bit);
	}
	a.arg.flags = 0;
	a.arg.worker = KAUS_ALL;
	a.arg.kicked = 1;
	EXPECT_EQ(-EINVAL, kw_ioctl(fd, KAUS_IOC_KICK, &a));
	a.arg.kicked = 0;
	EXPECT_EQ(0, kw_ioctl(fd, KAUS_IOC_KICK, &a));
	EXPECT_EQ(0, a.arg.kicked);
	a.arg.size = sizeof(a);
	a.more[0] = 1;
	EXPECT_EQ(-E2BIG, kw_ioctl(fd, KAUS_IOC_KICK, &a));
	EXPECT_EQ(-EFAULT, kw_ioctl(fd, KAUS_IOC_KICK, NULL));
	EXPECT_EQ(-ESRCH, kw_kick(&self->k, 0, NULL));
	EXPECT_EQ(-ESRCH, kw_kick(&self->k, 7, NULL));
	EXPECT_EQ(-EINVAL, kw_kick(&self->k, 8, NULL));
	EXPECT_EQ(-EINVAL, kw_kick(&self->k, KAUS_NONE, NULL));
	EXPECT_EQ(-EINVAL, kw_kick(&self->k, KAUS_ANY, NULL));
	/* A newer caller's struct is fine as long as it asks for nothing new. */
	memset(&a, 0, sizeof(a));
	a.arg.size = sizeof(a);
	a.arg.worker = KAUS_ALL;
	EXPECT_EQ(0, kw_ioctl(fd, KAUS_IOC_KICK, &a));
	EXPECT_EQ(0, a.arg.kicked);
}

/* A slot is empty before its worker registers and after it unregistered. */
TEST_F(kick, empty_slots)
{
	struct kaus_worker *slot = &self->k.workers[3];
	uint32_t kicked = 77;

	EXPECT_EQ(-ESRCH, kw_kick(&self->k, 3, &kicked));
	EXPECT_EQ(77, kicked) TH_LOG("set by a call that failed");
	ASSERT_EQ(0, kw_register(&self->k, 3));
	ASSERT_EQ(0, kw_kick(&self->k, 3, &kicked));
	EXPECT_EQ(1, kicked);
	ASSERT_TRUE(KW_SPIN(KW_LOAD(self->k.stat[3].nr_kick) == 1));
	EXPECT_EQ(-ESRCH, kw_kick(&self->k, 2, NULL));
	EXPECT_EQ(-ESRCH, kw_kick(&self->k, 4, NULL));
	ASSERT_EQ(0, kw_unregister(&self->k));
	EXPECT_EQ(-ESRCH, kw_kick(&self->k, 3, NULL));
	ASSERT_EQ(0, kw_kick(&self->k, KAUS_ALL, &kicked));
	EXPECT_EQ(0, kicked);
	EXPECT_EQ(1, slot->nr_kicks);
	EXPECT_EQ(0, slot->events) TH_LOG("left for the next worker");
}

/* A worker that computes; with a P if arg says so. */
struct runner {
	struct kw_thread t;
	bool carry;
	unsigned int stop;
	unsigned int bad;
	unsigned int rounds;
};

static void run(struct kw_thread *t)
{
	struct runner *r = t->arg;
	uint64_t ref = kw_sum(100000);

	if (r->carry)
		kw_carry(t->kw, t->worker & 1);
	while (!KW_LOAD(r->stop)) {
		if (kw_sum(100000) != ref)
			KW_ADD(r->bad, 1);
		KW_ADD(r->rounds, 1);
	}
}

TEST_F(kick, running_worker)
{
	for (int carry = 0; carry < 2; carry++) {
		struct runner r = { .carry = carry };
		struct kw_stat *stat = &self->k.stat[1];
		uint64_t kicks = self->k.workers[1].nr_kicks;
		uint32_t kicked = 77;

		memset(stat, 0, sizeof(*stat));
		ASSERT_EQ(0, kw_thread_start(&r.t, &self->k, 1, run, &r));
		ASSERT_TRUE(KW_WAIT(KW_LOAD(r.rounds)));
		for (unsigned int i = 1; i <= 50; i++) {
			ASSERT_EQ(0, kw_kick(&self->k, 1, &kicked));
			EXPECT_EQ(1, kicked);
			ASSERT_TRUE(KW_WAIT(KW_LOAD(stat->nr_kick) == i))
				TH_LOG("kick %u, with P %d", i, carry);
		}
		EXPECT_EQ(0, stat->nr_preempt);
		EXPECT_EQ(0, stat->nr_empty);
		EXPECT_EQ(kicks + 50, KW_LOAD(self->k.workers[1].nr_kicks));
		KW_STORE(r.stop, 1);
		kw_thread_join(&r.t);
		EXPECT_EQ(0, r.bad);
	}
}

TEST_F(kick, oneself)
{
	ASSERT_EQ(0, kw_register(&self->k, 0));
	for (unsigned int i = 1; i <= 50; i++) {
		uint32_t kicked = 0;

		ASSERT_EQ(0, kw_kick(&self->k, 0, &kicked));
		EXPECT_EQ(1, kicked);
		ASSERT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_kick) == i));
	}
	EXPECT_EQ(0, kw_unregister(&self->k));
}

TEST_F(kick, all_but_the_caller)
{
	struct runner r[3] = { 0 };
	uint32_t kicked = 77;

	ASSERT_EQ(0, kw_register(&self->k, 0));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, kw_thread_start(&r[i].t, &self->k, 1 + i, run,
					     &r[i]));
	}
	for (unsigned int round = 1; round <= 10; round++) {
		ASSERT_EQ(0, kw_kick(&self->k, KAUS_ALL, &kicked));
		EXPECT_EQ(3, kicked);
		for (int i = 1; i <= 3; i++) {
			ASSERT_TRUE(KW_WAIT(KW_LOAD(self->k.stat[i].nr_kick) ==
					    round))
				TH_LOG("worker %d, round %u", i, round);
		}
	}
	EXPECT_EQ(0, kw_self.stat->nr_kick) TH_LOG("caller is kicked, too");
	/* From a thread that is no worker, all means all. */
	ASSERT_EQ(0, kw_unregister(&self->k));
	ASSERT_EQ(0, kw_kick(&self->k, KAUS_ALL, &kicked));
	EXPECT_EQ(3, kicked);
	for (int i = 0; i < 3; i++) {
		KW_STORE(r[i].stop, 1);
		kw_thread_join(&r[i].t);
		EXPECT_EQ(0, r[i].bad);
	}
}

struct reader {
	struct kw_thread t;
	int fd[2];
	ssize_t ret;
	char byte;
	unsigned int returned;
	unsigned int stop;
};

static void reader(struct kw_thread *t)
{
	struct reader *r = t->arg;
	char byte = 0;

	r->ret = kw_syscall(SYS_read, r->fd[0], (long)&byte, 1, 0, 0, 0);
	r->byte = byte;
	KW_STORE(r->returned, 1);
	KW_SPIN(KW_LOAD(r->stop));
}

/* The sleep goes on, and the event waits for the return to user mode. */
TEST_F(kick, sleeping_worker)
{
	struct kw_stat *stat = &self->k.stat[1];
	struct reader r = { .t.worker = 1 };
	uint32_t kicked = 77;

	ASSERT_EQ(0, pipe(r.fd));
	ASSERT_EQ(0, kw_thread_start(&r.t, &self->k, 1, reader, &r));
	ASSERT_TRUE(KW_WAIT(kw_in_syscall(r.t.tid, SYS_read)));
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, kw_kick(&self->k, 1, &kicked));
		EXPECT_EQ(1, kicked);
		kw_nap();
	}
	EXPECT_TRUE(KW_WAIT(kw_in_syscall(r.t.tid, SYS_read)));
	EXPECT_EQ(0, KW_LOAD(r.returned)) TH_LOG("read returned %zd", r.ret);
	EXPECT_EQ(0, KW_LOAD(stat->nr_entries));
	EXPECT_EQ(KAUS_EV_KICK, KW_LOAD(self->k.workers[1].events));
	ASSERT_EQ(1, write(r.fd[1], "x", 1));
	ASSERT_TRUE(KW_WAIT(KW_LOAD(r.returned)));
	EXPECT_EQ(1, r.ret);
	EXPECT_EQ('x', r.byte);
	EXPECT_TRUE(KW_WAIT(KW_LOAD(stat->nr_kick) == 1))
		TH_LOG("kick forgotten: entries %lu",
		       (unsigned long)stat->nr_entries);
	KW_STORE(r.stop, 1);
	kw_thread_join(&r.t);
}

static void park_once(struct kw_thread *t)
{
	t->value = -kw_park(t->kw, KAUS_PARK_POOL, KAUS_NONE, KAUS_FOREVER,
			    NULL);
	KW_STORE(t->count, 1);
	KW_SPIN(KW_LOAD(t->kw->stat[t->worker].nr_kick));
}

TEST_F(kick, parked_worker)
{
	struct kw_thread t = { 0 };

	ASSERT_EQ(0, kw_thread_start(&t, &self->k, 1, park_once, NULL));
	ASSERT_TRUE(KW_WAIT(kw_parked(t.tid)));
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, kw_kick(&self->k, 1, NULL));
		kw_nap();
	}
	EXPECT_TRUE(KW_WAIT(kw_parked(t.tid)));
	EXPECT_EQ(0, KW_LOAD(t.count)) TH_LOG("PARK ended: %lu", t.value);
	ASSERT_EQ(0, kw_wake(&self->k, 1, KAUS_NONE, 0));
	ASSERT_EQ(0, kw_thread_join(&t));
	EXPECT_EQ(0, t.value);
	EXPECT_EQ(1, self->k.stat[1].nr_kick);
}

static void deferring(struct kw_thread *t)
{
	struct runner *r = t->arg;

	KW_STORE(kw_self.slot->defer, 1);
	KW_STORE(r->rounds, 1);
	KW_SPIN(KW_LOAD(r->stop));
	r->bad = KW_LOAD(kw_self.stat->nr_entries);
	KW_STORE(kw_self.slot->defer, 0);
	/* No system call here: the module has to come back by itself. */
	KW_SPIN(KW_LOAD(kw_self.stat->nr_kick));
}

TEST_F(kick, put_off_while_defer_is_set)
{
	struct kaus_worker *slot = &self->k.workers[1];
	struct runner r = { 0 };
	uint64_t refused;

	ASSERT_EQ(0, kw_thread_start(&r.t, &self->k, 1, deferring, &r));
	ASSERT_TRUE(KW_WAIT(KW_LOAD(r.rounds)));
	refused = KW_LOAD(slot->nr_refused);
	ASSERT_EQ(0, kw_kick(&self->k, 1, NULL));
	EXPECT_TRUE(KW_WAIT(KW_LOAD(slot->nr_refused) != refused));
	EXPECT_EQ(KAUS_EV_KICK, KW_LOAD(slot->events));
	KW_STORE(r.stop, 1);
	EXPECT_TRUE(KW_WAIT(KW_LOAD(self->k.stat[1].nr_kick)))
		TH_LOG("never tried again");
	kw_thread_join(&r.t);
	EXPECT_EQ(0, r.bad) TH_LOG("redirected with defer set");
	EXPECT_EQ(1, self->k.stat[1].nr_kick);
}

/* Kicks as fast as they go, on top of preemption, into sums and sleeps. */
static void busy(struct kw_thread *t)
{
	struct runner *r = t->arg;
	uint64_t ref = kw_sum(20000);

	kw_carry(t->kw, t->worker & 1);
	while (!KW_LOAD(r->stop)) {
		if (kw_sum(20000) != ref)
			KW_ADD(r->bad, 1);
		if (kw_syscall(SYS_getppid, 0, 0, 0, 0, 0, 0) != getppid())
			KW_ADD(r->bad, 1);
		if (KW_ADD(r->rounds, 1) % 16 == 0)
			usleep(50);
		/* A P lost in the sleep comes back from nobody but us. */
		if (!kw_owner_is(t->kw, t->worker & 1, KAUS_P_RUNNING,
				 t->worker))
			kw_carry(t->kw, t->worker & 1);
	}
}

TEST_F(kick, storm)
{
	struct runner r[2] = { 0 };

	kw_waiters(&self->k, 0, 1);
	kw_waiters(&self->k, 1, 1);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, kw_thread_start(&r[i].t, &self->k, 2 + i, busy,
					     &r[i]));
	}
	for (int i = 0; i < 4000; i++) {
		ASSERT_EQ(0, kw_kick(&self->k, i % 3 ? 2 + i % 2 : KAUS_ALL,
				     NULL));
		if (i % 8 == 0)
			kw_nap();
	}
	for (int i = 0; i < 2; i++) {
		EXPECT_TRUE(KW_WAIT(KW_LOAD(self->k.stat[2 + i].nr_kick) >= 20));
		KW_STORE(r[i].stop, 1);
		kw_thread_join(&r[i].t);
		EXPECT_EQ(0, r[i].bad) TH_LOG("wrong results");
		EXPECT_EQ(0, self->k.stat[2 + i].nr_empty)
			TH_LOG("redirected for nothing");
		EXPECT_EQ(0, self->k.stat[2 + i].nr_foreign);
	}
}

KW_TEST_MAIN
