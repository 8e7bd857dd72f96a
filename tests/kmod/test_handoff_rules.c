// SPDX-License-Identifier: GPL-2.0-only
/*
 * When a sleeping worker's P is handed off and when it must not be: .defer,
 * timers, the delay, the worker that has the next goroutine, an empty pool and
 * the service worker, job control, a
 * worker that was preempted but does not sleep, more sleepers than pool
 * workers. A bug shows as a P that is taken from a critical section, as one
 * that nobody runs although it has work, or as a pool emptied by SIGSTOP.
 */
#include "kw_test.h"

#include <sys/prctl.h>

#define A	0	/* worker that sleeps */
#define B	1	/* the pool */
#define C	2	/* parks outside it */

FIXTURE(rules) {
	struct kw k;
	int fd[2];
	struct kw_thread a, b, c;
	struct kw_pool pool;
	/* By worker A */
	uint32_t rounds;
	uint32_t defer;
	uint32_t carried;
	uint64_t before_ns;
	uint64_t sleep_ns;	/* nanosleep for so long instead of reading */
	uint64_t timer_ns;	/* P's timer, from now */
	uint32_t waiters;
	uint32_t nr_slept;
	/* By worker B */
	uint32_t nr_given;
	uint64_t given_ns;
	uint32_t hold;		/* B keeps the P while this is set */
	/* By worker C */
	uint32_t nr_direct;
};

FIXTURE_SETUP(rules)
{
	ASSERT_EQ(0, pipe(self->fd));
	ASSERT_EQ(0, kw_group(&self->k, 2, 8));
	self->rounds = 1;
	self->waiters = 1;
}

FIXTURE_TEARDOWN(rules)
{
	kw_close(&self->k);
}

static void wake_a(FIXTURE_DATA(rules) *self)
{
	if (write(self->fd[1], "x", 1) != 1)
		abort();
}

/* Sleeps with P 0, until somebody writes. */
static void sleeper(struct kw_thread *t)
{
	FIXTURE_DATA(rules) *self = t->arg;
	char byte;

	for (uint32_t i = 0; i < self->rounds; i++) {
		KW_STORE(kw_self.slot->defer, self->defer);
		kw_carry(&self->k, 0);
		self->before_ns = kw_now();
		if (self->timer_ns)
			KW_STORE(self->k.procs[0].timer_ns,
				 self->before_ns + self->timer_ns);
		kw_waiters(&self->k, 0, self->waiters);
		KW_STORE(self->carried, i + 1);
		if (self->sleep_ns) {
			struct timespec ts = { .tv_nsec = self->sleep_ns };

			nanosleep(&ts, NULL);
		} else if (read(self->fd[0], &byte, 1) != 1) {
			break;
		}
		KW_STORE(kw_self.slot->defer, 0);
		KW_ADD(self->nr_slept, 1);
		if (kw_owner_is(&self->k, 0, KAUS_P_RUNNING, A)) {
			kw_drop(&self->k);
			continue;
		}
		KW_STORE(kw_self.slot->proc, KAUS_NONE);
		if (!KW_SPIN(kw_owner_is(&self->k, 0, KAUS_P_IDLE, 0)))
			break;
	}
}

/* Takes the P, lets A go on unless it sleeps by the clock, drops the P. */
static void given(struct kw_thread *t, uint32_t proc)
{
	struct kw_pool *pool = t->arg;
	FIXTURE_DATA(rules) *self = pool->arg;

	(void)proc;
	self->given_ns = kw_now();
	kw_waiters(&self->k, 0, 0);
	KW_STORE(self->k.procs[0].timer_ns, 0);
	KW_ADD(self->nr_given, 1);
	while (KW_LOAD(self->hold))
		kw_nap();
	kw_drop(&self->k);
	if (!self->sleep_ns)
		wake_a(self);
}

static int start(FIXTURE_DATA(rules) *self)
{
	int ret;

	self->pool.given = given;
	self->pool.arg = self;
	ret = kw_pool_start(&self->pool, &self->k, &self->b, B, 1);
	return ret ? ret : kw_thread_start(&self->a, &self->k, A, sleeper,
					   self);
}

static bool finish(FIXTURE_DATA(rules) *self)
{
	if (!KW_WAIT(KW_LOAD(self->a.done)))
		return false;
	kw_thread_join(&self->a);
	kw_pool_stop(&self->pool, &self->b, 1);
	return true;
}

static bool asleep(FIXTURE_DATA(rules) *self)
{
	return KW_WAIT(KW_LOAD(self->carried) &&
		       kw_in_syscall(self->a.tid, SYS_read));
}

/* Time for a bug to show; nothing depends on how long it really is. */
static void let_time_pass(void)
{
	usleep(30000);
}

TEST_F(rules, a_thousand_times)
{
	self->rounds = 1000;
	ASSERT_EQ(0, start(self));
	EXPECT_TRUE(finish(self))
		TH_LOG("hangs after %u, owner %#lx", self->nr_given,
		       (unsigned long)kw_owner(&self->k, 0));
	EXPECT_EQ(1000, self->nr_given);
	EXPECT_EQ(1000, self->nr_slept);
	EXPECT_EQ(1000, self->k.workers[A].nr_handoffs);
}

/*
 * With a third thread computing on the same CPU the scheduler may keep a
 * blocked thread on the run queue (delayed dequeue, 6.12): asleep all the same.
 */
TEST_F(rules, with_a_busy_cpu)
{
	pid_t pid;

	ASSERT_EQ(0, kw_pin(0));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			kw_sum(1000);
	}
	self->rounds = 60;
	ASSERT_EQ(0, start(self));
	EXPECT_TRUE(finish(self))
		TH_LOG("hangs after %u", self->nr_given);
	EXPECT_EQ(60, self->nr_given);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

TEST_F(rules, each_way_to_wait)
{
	struct kaus_proc *pp = &self->k.procs[0];

	self->waiters = 0;
	for (int i = 0; i < 3; i++) {
		if (i == 0)
			KW_STORE(pp->runnext, 1ULL << 63);
		else if (i == 1)
			KW_STORE(self->k.hdr->nr_global, 1);
		else
			KW_STORE(pp->timer_ns, 1);
		ASSERT_EQ(0, start(self));
		EXPECT_TRUE(KW_WAIT(KW_LOAD(self->nr_given) == i + 1))
			TH_LOG("reason %d", i);
		KW_STORE(pp->runnext, 0);
		KW_STORE(self->k.hdr->nr_global, 0);
		ASSERT_TRUE(finish(self));
		self->pool.stop = 0;
	}
}

TEST_F(rules, not_with_defer)
{
	self->defer = 1;
	ASSERT_EQ(0, start(self));
	ASSERT_TRUE(asleep(self));
	let_time_pass();
	EXPECT_TRUE(kw_owner_is(&self->k, 0, KAUS_P_RUNNING, A))
		TH_LOG("owner %#lx", (unsigned long)kw_owner(&self->k, 0));
	EXPECT_FALSE(kw_sleeping_bit(&self->k, 0));
	EXPECT_EQ(0, KW_LOAD(self->nr_given));
	wake_a(self);
	ASSERT_TRUE(finish(self));
	EXPECT_EQ(0, self->k.workers[A].nr_handoffs);
	EXPECT_EQ(0, self->k.workers[A].nr_lost);
}

/* A slot that names no P, or one that is not its own, loses nothing. */
TEST_F(rules, only_the_holders)
{
	uint64_t owner = KAUS_OWNER(KAUS_P_RUNNING, 5, 3);

	self->rounds = 0;
	ASSERT_EQ(0, start(self));
	ASSERT_TRUE(KW_WAIT(KW_LOAD(self->a.done)));
	ASSERT_EQ(0, kw_register(&self->k, 2));
	kw_waiters(&self->k, 0, 1);
	KW_STORE(self->k.procs[0].owner, owner);
	for (uint32_t proc = 0; proc < 4; proc++) {
		KW_STORE(kw_self.slot->proc, proc == 3 ? KAUS_NONE : proc);
		usleep(3000);
		EXPECT_EQ(owner, kw_owner(&self->k, 0));
		EXPECT_EQ(0, kw_owner(&self->k, 1));
	}
	EXPECT_EQ(0, KW_LOAD(self->nr_given));
	EXPECT_EQ(0, kw_self.stat->nr_lost);
	kw_unregister(&self->k);
	kw_thread_join(&self->a);
	kw_pool_stop(&self->pool, &self->b, 1);
}

TEST_F(rules, timer_comes_due_in_the_sleep)
{
	self->waiters = 0;
	self->timer_ns = 10000000;
	self->rounds = 10;
	ASSERT_EQ(0, start(self));
	ASSERT_TRUE(finish(self)) TH_LOG("timer of a sleeping P forgotten");
	EXPECT_EQ(10, self->nr_given);
	EXPECT_LE(self->before_ns + self->timer_ns, self->given_ns)
		TH_LOG("too early");
}

/* Sleeps shorter than the delay keep their P, longer ones do not. */
TEST_F(rules, delay)
{
	KW_STORE(self->k.hdr->handoff_delay_ns, 8000000);
	ASSERT_EQ(0, start(self));
	ASSERT_TRUE(finish(self)) TH_LOG("never handed off");
	EXPECT_EQ(1, self->nr_given);
	EXPECT_LE(self->before_ns + 8000000, self->given_ns);

	/* Only most: nothing bounds how long a nanosleep takes here. */
	self->pool.stop = 0;
	self->sleep_ns = 50000;
	self->rounds = 50;
	self->nr_given = 0;
	ASSERT_EQ(0, start(self));
	ASSERT_TRUE(finish(self));
	EXPECT_GT(25, self->nr_given);

	/* Clamped: for ever is 10 ms. */
	self->pool.stop = 0;
	self->sleep_ns = 0;
	self->rounds = 1;
	KW_STORE(self->k.hdr->handoff_delay_ns, UINT64_MAX);
	ASSERT_EQ(0, start(self));
	EXPECT_TRUE(finish(self)) TH_LOG("delay not clamped");
}

static void service(struct kw_thread *t)
{
	uint32_t proc = 77;

	t->value = -kw_park(t->kw, KAUS_PARK_SERVICE, KAUS_NONE, KAUS_FOREVER,
			    &proc);
	if (proc != KAUS_NONE)
		t->value = 1000 + proc;
	KW_STORE(t->count, 1);
}

TEST_F(rules, empty_pool_wakes_the_service_worker)
{
	struct kw_thread s = { 0 };
	uint64_t word;

	/* Nobody waits: no reason to. */
	self->waiters = 0;
	ASSERT_EQ(0, kw_thread_start(&s, &self->k, 5, service, NULL));
	ASSERT_TRUE(KW_WAIT(kw_parked(s.tid)));
	ASSERT_EQ(0, kw_thread_start(&self->a, &self->k, A, sleeper, self));
	ASSERT_TRUE(asleep(self));
	let_time_pass();
	EXPECT_EQ(0, KW_LOAD(s.count));
	wake_a(self);
	ASSERT_TRUE(KW_WAIT(KW_LOAD(self->a.done)));
	kw_thread_join(&self->a);

	self->waiters = 1;
	ASSERT_EQ(0, kw_thread_start(&self->a, &self->k, A, sleeper, self));
	ASSERT_TRUE(KW_WAIT(KW_LOAD(s.count))) TH_LOG("not woken");
	kw_thread_join(&s);
	EXPECT_EQ(0, s.value);
	/* It is told, not given: the runtime takes the P for a new worker. */
	ASSERT_TRUE(KW_WAIT(kw_owner_is(&self->k, 0, KAUS_P_SLEEPING, A)));
	word = kw_owner(&self->k, 0);
	EXPECT_TRUE(kw_take(&self->k, 0, word, 5));
	KW_STORE(self->k.procs[0].owner, KAUS_OWNER(KAUS_P_IDLE, 0, 99));
	wake_a(self);
	EXPECT_TRUE(KW_WAIT(KW_LOAD(self->a.done)));
	kw_thread_join(&self->a);
	EXPECT_EQ(1, self->k.workers[A].nr_lost);
}

/* A pool worker that parks behind a P with work gets it at once. */
TEST_F(rules, parking_finds_the_work)
{
	ASSERT_EQ(0, kw_thread_start(&self->a, &self->k, A, sleeper, self));
	ASSERT_TRUE(KW_WAIT(kw_owner_is(&self->k, 0, KAUS_P_SLEEPING, A)));
	self->pool.given = given;
	self->pool.arg = self;
	self->pool.home = 0;
	ASSERT_EQ(0, kw_thread_start(&self->b, &self->k, B, kw_pool_loop,
				     &self->pool));
	EXPECT_TRUE(KW_WAIT(KW_LOAD(self->nr_given)))
		TH_LOG("waits on a P with work, sleepers and all");
	if (!self->nr_given)
		wake_a(self);
	EXPECT_TRUE(finish(self));
}

/* More than one interrupt looks at. */
#define NR_STARVED	40

/* P @proc SLEEPING with work and nobody there for it, as far as the module saw. */
static bool starve(struct kw *k, uint32_t proc)
{
	struct timespec ts = { .tv_nsec = 100000 };
	long before = kw_on_cpus("starved");

	kw_carry(k, proc);
	kw_waiters(k, proc, 1);
	if (!KW_WAIT(nanosleep(&ts, NULL) || kw_on_cpus("starved") > before))
		return false;
	KW_STORE(k->procs[proc].owner,
		 KAUS_OWNER(KAUS_P_SLEEPING, 0, kw_owner(k, proc) >> 32));
	KW_STORE(kw_self.slot->proc, KAUS_NONE);
	return true;
}

TEST(parking_begins_again_with_all_that_starve)
{
	uint32_t proc = KAUS_NONE;
	struct kw k;
	long before;

	if (kw_on_cpus("starved") < 0)
		SKIP(return, "cannot read the counters");
	ASSERT_EQ(0, kw_group(&k, NR_STARVED, 1));
	ASSERT_EQ(0, kw_register(&k, 0));
	for (uint32_t i = 0; i < NR_STARVED; i++)
		ASSERT_TRUE(starve(&k, i));
	before = kw_on_cpus("starved");
	ASSERT_EQ(0, kw_park(&k, KAUS_PARK_POOL, KAUS_NONE, KAUS_FOREVER, &proc));
	EXPECT_GT(NR_STARVED, proc);
	EXPECT_TRUE(KW_WAIT(kw_on_cpus("starved") >= before + NR_STARVED - 1))
		TH_LOG("%ld", kw_on_cpus("starved") - before);
	EXPECT_EQ(before + NR_STARVED - 1, kw_on_cpus("starved"));
	kw_unregister(&k);
	kw_close(&k);
}

/* The work has gone when a worker parks at last: a timer is still to come. */
TEST_F(rules, parking_does_not_forget_the_timer)
{
	struct kw_thread s = { 0 };

	self->timer_ns = 1000000000;
	ASSERT_EQ(0, kw_thread_start(&s, &self->k, 5, service, NULL));
	ASSERT_TRUE(KW_WAIT(kw_parked(s.tid)));
	ASSERT_EQ(0, kw_thread_start(&self->a, &self->k, A, sleeper, self));
	ASSERT_TRUE(KW_WAIT(KW_LOAD(s.count)));
	kw_thread_join(&s);
	kw_waiters(&self->k, 0, 0);
	self->pool.given = given;
	self->pool.arg = self;
	ASSERT_EQ(0, kw_thread_start(&self->b, &self->k, B, kw_pool_loop,
				     &self->pool));
	EXPECT_TRUE(KW_WAIT(KW_LOAD(self->nr_given)))
		TH_LOG("nobody looks at the timer");
	if (!self->nr_given)
		wake_a(self);
	EXPECT_TRUE(finish(self));
}

/* Has the next goroutine on it: gets a P, or is woken without when it is over. */
static void next_worker(struct kw_thread *t)
{
	FIXTURE_DATA(rules) *self = t->arg;
	uint32_t proc;

	if (kw_park(&self->k, 0, KAUS_NONE, KAUS_FOREVER, &proc) ||
	    proc == KAUS_NONE)
		return;
	KW_STORE(kw_self.slot->proc, proc);
	KW_ADD(self->nr_direct, 1);
	KW_STORE(self->k.hdr->nr_global, 0);
	kw_waiters(&self->k, 0, 0);
	kw_drop(&self->k);
	wake_a(self);
}

static const struct {
	const char *what;
	uint32_t next;		/* kaus_header.next_worker */
	uint32_t nr_own;	/* in the P's own queue */
	uint64_t timer_ns;
	uint32_t nr_direct;
} next_cases[] = {
	{ "nobody", 0, 0, 0, 0 },
	{ "the worker outside the pool", C + 1, 0, 0, 1 },
	{ "the P has goroutines of its own", C + 1, 1, 0, 0 },
	{ "the P has a timer that is due", C + 1, 0, 1, 0 },
	{ "the P has a timer that is not", C + 1, 0, 3600000000000, 1 },
	{ "the sleeper", A + 1, 0, 0, 0 },
	{ "a worker of the pool", B + 1, 0, 0, 0 },
	{ "no worker on the slot", 5 + 1, 0, 0, 0 },
	{ "the first index that is too high", 8 + 1, 0, 0, 0 },
	{ "the highest number", 0xffffffff, 0, 0, 0 },
};

TEST_F(rules, next_worker)
{
	for (size_t i = 0; i < sizeof(next_cases) / sizeof(*next_cases); i++) {
		self->nr_given = 0;
		self->nr_direct = 0;
		self->nr_slept = 0;
		self->pool.stop = 0;
		self->waiters = next_cases[i].nr_own;
		self->timer_ns = next_cases[i].timer_ns;
		KW_STORE(self->k.hdr->next_worker, next_cases[i].next);
		ASSERT_EQ(0, kw_thread_start(&self->c, &self->k, C,
					     next_worker, self));
		ASSERT_TRUE(KW_WAIT(kw_parked(self->c.tid)));
		KW_STORE(self->k.hdr->nr_global, 1);
		ASSERT_EQ(0, start(self));
		EXPECT_TRUE(KW_WAIT(KW_LOAD(self->nr_slept)))
			TH_LOG("%s: nobody got the P", next_cases[i].what);
		kw_wake(&self->k, C, KAUS_NONE, 0);
		kw_thread_join(&self->c);
		EXPECT_EQ(next_cases[i].nr_direct, self->nr_direct)
			TH_LOG("%s", next_cases[i].what);
		EXPECT_EQ(1, self->nr_direct + self->nr_given)
			TH_LOG("%s", next_cases[i].what);
		ASSERT_TRUE(finish(self));
	}
}

KW_TEST_MAIN
