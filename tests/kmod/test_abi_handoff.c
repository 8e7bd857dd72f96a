// SPDX-License-Identifier: GPL-2.0-only
/*
 * KAUS_IOC_HANDOFF: wake one and park, as one call. A bug shows as a caller
 * that parks although nobody was woken (all sleep for ever), or as a wake-up
 * that is done twice because the call was restarted.
 */
#include "kw_test.h"

FIXTURE(handoff) {
	struct kw k;
	struct kaus_handoff arg;
};

FIXTURE_SETUP(handoff)
{
	ASSERT_EQ(0, kw_group(&self->k, 2, 4));
	ASSERT_EQ(0, kw_register(&self->k, 0));
	self->arg = (struct kaus_handoff){
		.home = KAUS_NONE,
		.deadline_ns = KAUS_FOREVER,
		.target = 1,
		.target_proc = KAUS_NONE,
		.proc = 0x12345678,
	};
}

FIXTURE_TEARDOWN(handoff)
{
	kw_close(&self->k);
}

static int handoff(FIXTURE_DATA(handoff) *self)
{
	self->arg.woken = 0;
	return kw_handoff(&self->k, &self->arg);
}

static int expect_nothing_done(struct __test_metadata *_metadata,
			       FIXTURE_DATA(handoff) *self, int error)
{
	EXPECT_EQ(error, handoff(self));
	EXPECT_EQ(0, self->arg.woken);
	EXPECT_EQ(0x12345678, self->arg.proc);
	EXPECT_EQ(0, kw_owner(&self->k, 0));
	return 0;
}

TEST_F(handoff, arguments)
{
	struct {
		struct kaus_handoff arg;
		char more[8];
	} a;

	/* FOREVER: a call that parks by mistake runs into the timeout. */
	expect_nothing_done(_metadata, self, -ESRCH);
	self->arg.target = 0;
	expect_nothing_done(_metadata, self, -EINVAL);
	self->arg.target = 4;
	expect_nothing_done(_metadata, self, -EINVAL);
	self->arg.target = KAUS_NONE;
	expect_nothing_done(_metadata, self, -EINVAL);
	self->arg.target = KAUS_ANY;
	expect_nothing_done(_metadata, self, -EINVAL);
	self->arg.target_proc = 2;
	expect_nothing_done(_metadata, self, -EINVAL);
	self->arg.target_proc = 0;
	expect_nothing_done(_metadata, self, -EAGAIN);
	self->arg.flags = KAUS_PARK_POOL;
	expect_nothing_done(_metadata, self, -EAGAIN);
	self->arg.flags = KAUS_PARK_POOL | KAUS_PARK_SERVICE;
	expect_nothing_done(_metadata, self, -EINVAL);
	self->arg.flags = 4;
	expect_nothing_done(_metadata, self, -EINVAL);
	self->arg.flags = 0;
	self->arg.home = 2;
	expect_nothing_done(_metadata, self, -EINVAL);
	self->arg.home = KAUS_NONE;
	self->arg.worker = 2;
	expect_nothing_done(_metadata, self, -ESRCH);
	self->arg.worker = 0;

	self->arg.woken = 1;
	EXPECT_EQ(-EINVAL, kw_handoff(&self->k, &self->arg));
	self->arg.woken = 0;
	for (unsigned int size = 0; size < sizeof(self->arg); size++) {
		self->arg.size = size;
		EXPECT_EQ(-EINVAL, kw_ioctl(self->k.fd, KAUS_IOC_HANDOFF,
					    &self->arg))
			TH_LOG("size %u", size);
	}
	a.arg = self->arg;
	a.arg.size = sizeof(a);
	memset(a.more, 1, sizeof(a.more));
	EXPECT_EQ(-E2BIG, kw_ioctl(self->k.fd, KAUS_IOC_HANDOFF, &a));
	EXPECT_EQ(-EFAULT, kw_ioctl(self->k.fd, KAUS_IOC_HANDOFF, NULL));
}

static void park_once(struct kw_thread *t)
{
	uint32_t proc = KAUS_NONE;

	if (kw_park(t->kw, KAUS_PARK_POOL, KAUS_NONE, KAUS_FOREVER, &proc))
		return;
	KW_STORE(t->value, proc);
	KW_STORE(t->count, 1);
}

TEST_F(handoff, wrong_owner_is_ebusy_and_does_not_park)
{
	struct kw_thread t = { 0 };

	ASSERT_EQ(0, kw_thread_start(&t, &self->k, 1, park_once, NULL));
	ASSERT_TRUE(KW_WAIT(kw_parked(t.tid)));
	self->arg.target_proc = 0;
	self->arg.owner = 1;
	expect_nothing_done(_metadata, self, -EBUSY);
	EXPECT_EQ(0, KW_LOAD(t.count)) TH_LOG("woken all the same");
	ASSERT_EQ(0, kw_wake(&self->k, 1, KAUS_NONE, 0));
	kw_thread_join(&t);
}

TEST_F(handoff, deadline)
{
	struct kw_thread t = { 0 };

	ASSERT_EQ(0, kw_thread_start(&t, &self->k, 1, park_once, NULL));
	ASSERT_TRUE(KW_WAIT(kw_parked(t.tid)));
	self->arg.target = KAUS_ANY;
	self->arg.target_proc = 1;
	self->arg.deadline_ns = kw_now() + 1000000;
	EXPECT_EQ(-ETIMEDOUT, handoff(self));
	EXPECT_LE(self->arg.deadline_ns, kw_now());
	EXPECT_EQ(1, self->arg.woken);
	EXPECT_EQ(0x12345678, self->arg.proc);
	kw_thread_join(&t);
	EXPECT_EQ(1, t.count);
	EXPECT_EQ(1, t.value);
	EXPECT_EQ(KAUS_OWNER(KAUS_P_RUNNING, 1, 1), kw_owner(&self->k, 1));
}

struct caller {
	struct kw_thread t;
	struct kaus_handoff arg;
	int ret;
	unsigned int done;
};

static void caller(struct kw_thread *t)
{
	struct caller *c = t->arg;

	c->ret = kw_handoff(t->kw, &c->arg);
	KW_STORE(c->done, 1);
}

static void on_signal(int sig)
{
	(void)sig;
}

/*
 * The wake-up part must not be repeated, so there is no restart here even with
 * SA_RESTART: the caller goes on with PARK.
 */
TEST_F(handoff, signal_is_eintr_with_woken)
{
	for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
		struct sigaction sa = {
			.sa_handler = on_signal, .sa_flags = flags,
		};
		struct caller c = { .arg = self->arg };

		sigaction(SIGUSR1, &sa, NULL);
		c.arg.worker = 2;
		c.arg.target = 0;
		c.arg.target_proc = 0;
		c.arg.owner = kw_owner(&self->k, 0);
		ASSERT_EQ(0, kw_thread_start(&c.t, &self->k, 2, caller, &c));
		ASSERT_TRUE(KW_WAIT(kw_parked(c.t.tid)));
		pthread_kill(c.t.thread, SIGUSR1);
		ASSERT_TRUE(KW_WAIT(KW_LOAD(c.done)))
			TH_LOG("restarted, or not woken by the signal");
		kw_thread_join(&c.t);
		EXPECT_EQ(-EINTR, c.ret);
		EXPECT_EQ(1, c.arg.woken);
		EXPECT_EQ(0, kw_park(&self->k, 0, KAUS_NONE, 0, NULL));
		EXPECT_EQ(-ETIMEDOUT,
			  kw_park(&self->k, 0, KAUS_NONE, 0, NULL))
			TH_LOG("woken twice");
	}
}

#define ROUNDS	1500

struct pingpong {
	struct kw_thread t;
	uint32_t peer;
	uint64_t handoffs;
	unsigned int bad;
	unsigned int gave_up;
};

/* Whoever holds P 0 hands it to the other until the rounds are over. */
static void pingpong(struct kw_thread *t)
{
	struct pingpong *p = t->arg;
	struct kw *k = t->kw;
	uint32_t proc;
	int ret;

	ret = kw_park(k, 0, 0, KAUS_FOREVER, &proc);
	while (!ret && proc == 0) {
		struct kaus_handoff arg = {
			.worker = t->worker, .home = 0,
			.deadline_ns = KAUS_FOREVER,
			.target = p->peer, .target_proc = 0,
			.owner = kw_owner(k, 0),
		};

		if (!kw_owner_is(k, 0, KAUS_P_RUNNING, t->worker))
			KW_ADD(p->bad, 1);
		if (KAUS_OWNER_GEN(arg.owner) >= ROUNDS) {
			kw_wake(k, p->peer, KAUS_NONE, 0);
			return;
		}
		p->handoffs++;
		ret = kw_handoff(k, &arg);
		proc = arg.proc;
	}
	if (ret)
		KW_STORE(p->gave_up, -ret);
}

TEST_F(handoff, pingpong)
{
	struct pingpong p[2] = { { .peer = 3 }, { .peer = 2 } };

	ASSERT_EQ(0, kw_thread_start(&p[0].t, &self->k, 2, pingpong, &p[0]));
	ASSERT_EQ(0, kw_thread_start(&p[1].t, &self->k, 3, pingpong, &p[1]));
	ASSERT_EQ(0, kw_wake(&self->k, 2, 0, 0));
	ASSERT_TRUE(KW_WAIT(KW_LOAD(p[0].t.done) && KW_LOAD(p[1].t.done)))
		TH_LOG("both sleep: owner %#lx",
		       (unsigned long)kw_owner(&self->k, 0));
	for (int i = 0; i < 2; i++) {
		kw_thread_join(&p[i].t);
		EXPECT_EQ(0, p[i].bad) TH_LOG("woken without the P");
		EXPECT_EQ(0, p[i].gave_up);
	}
	EXPECT_EQ(ROUNDS - 1, p[0].handoffs + p[1].handoffs);
}

KW_TEST_MAIN
