// SPDX-License-Identifier: GPL-2.0-only
/*
 * KAUS_IOC_PARK: flags, deadlines, signals, and wake-ups that come too early.
 * A bug shows as a thread that never wakes (a lost wake-up), that wakes
 * without a reason, or as a P that is given and then forgotten.
 */
#include "kw_test.h"

FIXTURE(park) {
	struct kw k;
	struct kaus_park arg;
};

FIXTURE_SETUP(park)
{
	ASSERT_EQ(0, kw_group(&self->k, 2, 8));
	ASSERT_EQ(0, kw_register(&self->k, 0));
	self->arg = (struct kaus_park){
		.size = sizeof(self->arg),
		.home = KAUS_NONE,
		.proc = 0x12345678,
	};
}

FIXTURE_TEARDOWN(park)
{
	kw_close(&self->k);
}

static int park(FIXTURE_DATA(park) *self)
{
	return kw_ioctl(self->k.fd, KAUS_IOC_PARK, &self->arg);
}

TEST_F(park, arguments)
{
	struct {
		struct kaus_park arg;
		char more[8];
	} a;

	for (int bit = 0; bit < 32; bit++) {
		self->arg.flags = 1u << bit;
		EXPECT_EQ(bit < 2 ? -ETIMEDOUT : -EINVAL, park(self))
			TH_LOG("flag %d", bit);
		self->arg.flags = 0;
		self->arg.pad = 1u << bit;
		EXPECT_EQ(-EINVAL, park(self)) TH_LOG("pad bit %d", bit);
		self->arg.pad = 0;
	}
	self->arg.flags = KAUS_PARK_POOL | KAUS_PARK_SERVICE;
	EXPECT_EQ(-EINVAL, park(self));
	self->arg.flags = KAUS_PARK_POOL;
	self->arg.home = 1;
	EXPECT_EQ(-ETIMEDOUT, park(self));
	for (uint32_t home = 2; home; home <<= 1) {
		self->arg.home = home;
		EXPECT_EQ(-EINVAL, park(self)) TH_LOG("home %u", home);
	}
	self->arg.home = KAUS_ANY;
	EXPECT_EQ(-EINVAL, park(self));
	self->arg.home = KAUS_NONE;
	for (unsigned int size = 0; size < sizeof(self->arg); size++) {
		self->arg.size = size;
		EXPECT_EQ(-EINVAL, park(self)) TH_LOG("size %u", size);
	}
	self->arg.size = sizeof(self->arg);
	a.arg = self->arg;
	a.arg.size = sizeof(a);
	memset(a.more, 0, sizeof(a.more));
	EXPECT_EQ(-ETIMEDOUT, kw_ioctl(self->k.fd, KAUS_IOC_PARK, &a));
	a.more[0] = 1;
	EXPECT_EQ(-E2BIG, kw_ioctl(self->k.fd, KAUS_IOC_PARK, &a));
	EXPECT_EQ(-EFAULT, kw_ioctl(self->k.fd, KAUS_IOC_PARK, NULL));
	EXPECT_EQ(0x12345678, self->arg.proc) TH_LOG("written on failure");
}

TEST_F(park, wrong_worker)
{
	self->arg.worker = 1;
	EXPECT_EQ(-ESRCH, park(self));
	self->arg.worker = 8;
	EXPECT_TRUE(park(self) < 0);
	self->arg.worker = KAUS_NONE;
	EXPECT_TRUE(park(self) < 0);
}

TEST_F(park, deadline)
{
	uint64_t deadline;

	self->arg.deadline_ns = 0;
	EXPECT_EQ(-ETIMEDOUT, park(self));
	self->arg.deadline_ns = kw_now();
	EXPECT_EQ(-ETIMEDOUT, park(self));
	for (int i = 0; i < 20; i++) {
		deadline = kw_now() + 1000000;
		self->arg.deadline_ns = deadline;
		EXPECT_EQ(-ETIMEDOUT, park(self));
		EXPECT_LE(deadline, kw_now()) TH_LOG("too early");
	}
	EXPECT_EQ(0x12345678, self->arg.proc) TH_LOG("written on failure");
}

TEST_F(park, wake_before_park)
{
	ASSERT_EQ(0, kw_wake(&self->k, 0, KAUS_NONE, 0));
	self->arg.deadline_ns = KAUS_FOREVER;
	ASSERT_EQ(0, park(self));
	EXPECT_EQ(KAUS_NONE, self->arg.proc);
	/* Used up. */
	self->arg.deadline_ns = 0;
	EXPECT_EQ(-ETIMEDOUT, park(self));
}

TEST_F(park, proc_before_park)
{
	uint64_t owner = KAUS_OWNER(KAUS_P_IDLE, 0, 7);

	self->k.procs[1].owner = owner;
	ASSERT_EQ(0, kw_wake(&self->k, 0, 1, owner));
	EXPECT_EQ(KAUS_OWNER(KAUS_P_RUNNING, 0, 8), kw_owner(&self->k, 1));
	/* Even past the deadline: nothing is lost. */
	self->arg.deadline_ns = 0;
	ASSERT_EQ(0, park(self));
	EXPECT_EQ(1, self->arg.proc);
	EXPECT_EQ(-ETIMEDOUT, park(self));
}

struct parker {
	struct kw_thread t;
	uint32_t flags;
	int ret;
	uint32_t proc;
	unsigned int nr_rets;
	unsigned int nr_given;
	unsigned int go_on;
	uint64_t deadline_ns;
};

/* Parks once, or again and again while it is told to. */
static void parker(struct kw_thread *t)
{
	struct parker *p = t->arg;

	do {
		p->proc = 0xabcd;
		p->ret = kw_park(t->kw, p->flags, KAUS_NONE, p->deadline_ns,
				 &p->proc);
		KW_ADD(p->nr_rets, 1);
		if (!p->ret && p->proc != KAUS_NONE)
			KW_ADD(p->nr_given, 1);
	} while (KW_LOAD(p->go_on));
}

static volatile unsigned int nr_signals;

static void on_signal(int sig)
{
	(void)sig;
	nr_signals++;
}

static void catch(int flags)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = flags };

	sigaction(SIGUSR1, &sa, NULL);
}

TEST_F(park, wake_ends_it)
{
	struct parker p = { .deadline_ns = KAUS_FOREVER };

	ASSERT_EQ(0, kw_thread_start(&p.t, &self->k, 3, parker, &p));
	ASSERT_TRUE(KW_WAIT(kw_parked(p.t.tid)));
	EXPECT_EQ('S', kw_thread_state(p.t.tid));
	ASSERT_EQ(0, kw_wake(&self->k, 3, KAUS_NONE, 0));
	ASSERT_EQ(0, kw_thread_join(&p.t));
	EXPECT_EQ(0, p.ret);
	EXPECT_EQ(KAUS_NONE, p.proc);
}

TEST_F(park, signal_without_restart_is_eintr)
{
	struct parker p = { .deadline_ns = KAUS_FOREVER };

	catch(0);
	ASSERT_EQ(0, kw_thread_start(&p.t, &self->k, 3, parker, &p));
	ASSERT_TRUE(KW_WAIT(kw_parked(p.t.tid)));
	ASSERT_EQ(0, pthread_kill(p.t.thread, SIGUSR1));
	ASSERT_EQ(0, kw_thread_join(&p.t));
	EXPECT_EQ(-EINTR, p.ret);
	EXPECT_EQ(0xabcd, p.proc);
}

TEST_F(park, signal_with_restart_goes_on)
{
	struct parker p = { .deadline_ns = KAUS_FOREVER };

	catch(SA_RESTART);
	nr_signals = 0;
	ASSERT_EQ(0, kw_thread_start(&p.t, &self->k, 3, parker, &p));
	for (unsigned int i = 0; i < 20; i++) {
		ASSERT_TRUE(KW_WAIT(kw_parked(p.t.tid)));
		ASSERT_EQ(0, pthread_kill(p.t.thread, SIGUSR1));
		ASSERT_TRUE(KW_WAIT(nr_signals == i + 1));
	}
	EXPECT_TRUE(KW_WAIT(kw_parked(p.t.tid)) || KW_LOAD(p.nr_rets));
	EXPECT_EQ(0, KW_LOAD(p.nr_rets)) TH_LOG("returned %d", p.ret);
	ASSERT_EQ(0, kw_wake(&self->k, 3, KAUS_NONE, 0));
	ASSERT_EQ(0, kw_thread_join(&p.t));
	EXPECT_EQ(0, p.ret);
}

TEST_F(park, stop_and_continue_do_not_end_it)
{
	struct parker p = { .deadline_ns = KAUS_FOREVER };
	pid_t me = getpid(), pid;

	ASSERT_EQ(0, kw_thread_start(&p.t, &self->k, 3, parker, &p));
	ASSERT_TRUE(KW_WAIT(kw_parked(p.t.tid)));
	pid = fork();
	if (!pid) {
		for (int i = 0; i < 10; i++) {
			kill(me, SIGSTOP);
			usleep(2000);
			kill(me, SIGCONT);
			usleep(2000);
		}
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	ASSERT_TRUE(KW_WAIT(kw_parked(p.t.tid)));
	EXPECT_EQ(0, KW_LOAD(p.nr_rets)) TH_LOG("returned %d", p.ret);
	ASSERT_EQ(0, kw_wake(&self->k, 3, KAUS_NONE, 0));
	ASSERT_EQ(0, kw_thread_join(&p.t));
}

/* Each P counted, with signals hitting the parked thread at the same time. */
TEST_F(park, signal_storm_loses_no_proc)
{
	struct parker p = { .deadline_ns = KAUS_FOREVER, .go_on = 1 };

	catch(0);
	ASSERT_EQ(0, kw_thread_start(&p.t, &self->k, 3, parker, &p));
	for (unsigned int i = 0; i < 400; i++) {
		uint64_t owner = KAUS_OWNER(KAUS_P_IDLE, 0, i * 2);

		KW_STORE(self->k.procs[0].owner, owner);
		if (i & 1)
			pthread_kill(p.t.thread, SIGUSR1);
		ASSERT_EQ(0, kw_wake(&self->k, 3, 0, owner)) TH_LOG("%u", i);
		if (!(i & 1))
			pthread_kill(p.t.thread, SIGUSR1);
		ASSERT_TRUE(KW_WAIT(KW_LOAD(p.nr_given) == i + 1))
			TH_LOG("P given in round %u is lost", i);
	}
	EXPECT_LT(0, nr_signals);
	KW_STORE(p.go_on, 0);
	kw_wake(&self->k, 3, KAUS_NONE, 0);
	ASSERT_EQ(0, kw_thread_join(&p.t));
	EXPECT_EQ(400, p.nr_given);
}

KW_TEST_MAIN
