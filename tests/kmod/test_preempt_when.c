// SPDX-License-Identifier: GPL-2.0-only
/*
 * When a running worker is redirected and when it must not be: each reason
 * that counts as somebody waiting, and each condition of <linux/kaus.h> that
 * puts a redirect off. A bug shows as a hog that is never preempted, as one
 * that is preempted for nothing, or as a trampoline entered where it cannot
 * return from.
 */
#include "kw_test.h"

FIXTURE(when) {
	struct kw k;
	struct kw_stat *stat;
	struct kaus_worker *slot;
};

FIXTURE_SETUP(when)
{
	ASSERT_EQ(0, kw_group(&self->k, 2, 4));
	ASSERT_EQ(0, kw_register(&self->k, 1));
	self->stat = kw_self.stat;
	self->slot = kw_self.slot;
	kw_carry(&self->k, 0);
}

FIXTURE_TEARDOWN(when)
{
	kw_unregister(&self->k);
	kw_close(&self->k);
}

/* Computes, in user mode, until @nr more preemptions came. */
static bool preempted(FIXTURE_DATA(when) *self, uint64_t nr)
{
	uint64_t want = self->stat->nr_preempt + nr;

	return KW_SPIN(KW_LOAD(self->stat->nr_preempt) >= want);
}

/*
 * Computes for many slices; true if the trampoline was left alone. This is
 * time for a bug to show, a slow machine cannot make it fail.
 */
static bool left_alone(FIXTURE_DATA(when) *self)
{
	uint64_t entries = self->stat->nr_entries;
	uint64_t end_ns = kw_now() + 100 * KW_SLICE_NS;

	while (kw_now() < end_ns)
		kw_sum(1000);
	return self->stat->nr_entries == entries;
}

/* Computes until the module has put off a redirect @nr times more. */
static bool refused(FIXTURE_DATA(when) *self, uint64_t nr)
{
	uint64_t want = KW_LOAD(self->slot->nr_refused) + nr;
	uint64_t entries = self->stat->nr_entries;

	return KW_SPIN(KW_LOAD(self->slot->nr_refused) >= want) &&
	       self->stat->nr_entries == entries;
}

TEST_F(when, nobody_waits)
{
	EXPECT_TRUE(left_alone(self));
	EXPECT_EQ(0, self->slot->nr_redirects);
	/* Head and tail wrap. */
	self->k.procs[0].runq_head = UINT32_MAX - 1;
	self->k.procs[0].runq_tail = UINT32_MAX - 1;
	EXPECT_TRUE(left_alone(self));
	self->k.procs[0].runq_tail = 2;
	EXPECT_TRUE(preempted(self, 3));
}

TEST_F(when, each_way_to_wait)
{
	struct kaus_proc *pp = &self->k.procs[0];
	struct kaus_header *hdr = self->k.hdr;

	kw_waiters(&self->k, 0, 1);
	EXPECT_TRUE(preempted(self, 3)) TH_LOG("runq");
	kw_waiters(&self->k, 0, 0);

	KW_STORE(pp->runnext, 1ULL << 40);
	EXPECT_TRUE(preempted(self, 3)) TH_LOG("runnext");
	KW_STORE(pp->runnext, 0);

	KW_STORE(pp->timer_ns, kw_now());
	EXPECT_TRUE(preempted(self, 3)) TH_LOG("timer");
	KW_STORE(pp->timer_ns, 0);

	KW_STORE(hdr->nr_global, 1);
	EXPECT_TRUE(preempted(self, 3)) TH_LOG("nr_global");
	KW_STORE(hdr->nr_global, 0);

	KW_STORE(hdr->stop, 1);
	EXPECT_TRUE(preempted(self, 3)) TH_LOG("stop");
	KW_STORE(hdr->stop, 0);

	/* One that was on its way may still come. */
	left_alone(self);
	EXPECT_TRUE(left_alone(self));
	EXPECT_EQ(self->stat->nr_entries, KW_LOAD(self->slot->nr_redirects));
	EXPECT_EQ(0, self->stat->nr_empty);
	EXPECT_EQ(0, self->stat->nr_lost);
	EXPECT_EQ(0, self->stat->nr_kick);
	EXPECT_EQ(0, self->stat->nr_foreign);
}

TEST_F(when, timer_not_due_yet)
{
	KW_STORE(self->k.procs[0].timer_ns, kw_now() + 3600ULL * 1000000000);
	EXPECT_TRUE(left_alone(self));
	KW_STORE(self->k.procs[0].timer_ns, KAUS_FOREVER);
	EXPECT_TRUE(left_alone(self));
}

TEST_F(when, somebody_else_waits)
{
	/* For the other P. */
	kw_waiters(&self->k, 1, 1);
	EXPECT_TRUE(left_alone(self));
}

/* A worker whose P says it belongs to somebody else is not the holder. */
TEST_F(when, slot_and_owner_disagree)
{
	uint64_t mine = kw_owner(&self->k, 0);

	kw_waiters(&self->k, 0, 1);
	ASSERT_TRUE(preempted(self, 3));
	KW_STORE(self->slot->proc, KAUS_NONE);
	left_alone(self);
	EXPECT_TRUE(left_alone(self)) TH_LOG("proc is NONE");
	KW_STORE(self->slot->proc, 1);
	EXPECT_TRUE(left_alone(self)) TH_LOG("P 1 is idle");
	KW_STORE(self->slot->proc, 2);
	EXPECT_TRUE(left_alone(self)) TH_LOG("no such P");
	KW_STORE(self->slot->proc, 0);
	KW_STORE(self->k.procs[0].owner, KAUS_OWNER(KAUS_P_RUNNING, 2, 1));
	EXPECT_TRUE(left_alone(self)) TH_LOG("P 0 is worker 2's");
	KW_STORE(self->k.procs[0].owner, KAUS_OWNER(KAUS_P_IDLE, 1, 1));
	EXPECT_TRUE(left_alone(self)) TH_LOG("P 0 is idle");
	KW_STORE(self->k.procs[0].owner, mine);
	EXPECT_TRUE(preempted(self, 3)) TH_LOG("not again");
}

/*
 * A new tick is a new slice. Two phases of equal length: without ticks every
 * slice ends in the trampoline, with them hardly one does.
 */
TEST_F(when, new_tick_is_a_new_slice)
{
	struct kaus_info info;
	uint64_t start, took, before;
	uint32_t tick = 0;

	ASSERT_EQ(0, kw_info(self->k.fd, &info));
	KW_STORE(self->k.hdr->slice_ns, 5000000);
	if (info.max_slice_ns < 5000000)
		KW_STORE(self->k.hdr->slice_ns, info.max_slice_ns);
	kw_waiters(&self->k, 0, 1);
	start = kw_now();
	ASSERT_TRUE(preempted(self, 40));
	took = kw_now() - start;
	before = self->stat->nr_preempt;
	start = kw_now();
	while (kw_now() - start < took)
		KW_STORE(self->k.procs[0].sched_tick, ++tick);
	EXPECT_GT(20, self->stat->nr_preempt - before)
		TH_LOG("slices of goroutines that just began");
}

TEST_F(when, slice_is_clamped)
{
	kw_waiters(&self->k, 0, 1);
	KW_STORE(self->k.hdr->slice_ns, 1);
	EXPECT_TRUE(preempted(self, 20)) TH_LOG("1 ns: no progress");
	KW_STORE(self->k.hdr->slice_ns, 0);
	EXPECT_TRUE(preempted(self, 3)) TH_LOG("default");
	/* A second, or 584 years, is no way to switch preemption off. */
	KW_STORE(self->k.hdr->slice_ns, UINT64_MAX);
	EXPECT_TRUE(preempted(self, 2)) TH_LOG("UINT64_MAX");
	KW_STORE(self->k.hdr->slice_ns, 1ULL << 63);
	EXPECT_TRUE(preempted(self, 2)) TH_LOG("1 << 63");
}

TEST_F(when, defer)
{
	kw_waiters(&self->k, 0, 1);
	ASSERT_TRUE(preempted(self, 3));
	KW_STORE(self->slot->defer, 1);
	EXPECT_TRUE(refused(self, 3));
	EXPECT_EQ(KAUS_EV_PREEMPT, KW_LOAD(self->slot->events));
	/* It is a count: any nonzero value will do. */
	KW_STORE(self->slot->defer, 0x80000000);
	EXPECT_TRUE(refused(self, 3));
	KW_STORE(self->slot->defer, 0);
	EXPECT_TRUE(preempted(self, 3)) TH_LOG("not tried again");
}

TEST_F(when, busy)
{
	kw_waiters(&self->k, 0, 1);
	ASSERT_TRUE(preempted(self, 3));
	KW_STORE(self->slot->busy, 1);
	EXPECT_TRUE(refused(self, 3));
	KW_STORE(self->slot->busy, 0);
	EXPECT_TRUE(preempted(self, 3)) TH_LOG("not tried again");
}

TEST_F(when, stack_pointer_outside)
{
	const uint64_t lo = self->slot->stack_lo, hi = self->slot->stack_hi;
	const uint64_t sp = (uint64_t)__builtin_frame_address(0);

	kw_waiters(&self->k, 0, 1);
	ASSERT_TRUE(preempted(self, 3));
	kw_stack_none(self->slot);
	EXPECT_TRUE(left_alone(self)) TH_LOG("no stack");
	/* Above and below the one in use. */
	KW_STORE(self->slot->stack_hi, hi);
	KW_STORE(self->slot->stack_lo, sp + 4096);
	EXPECT_TRUE(refused(self, 3)) TH_LOG("below stack_lo");
	KW_STORE(self->slot->stack_lo, lo);
	KW_STORE(self->slot->stack_hi, sp - 16384);
	EXPECT_TRUE(refused(self, 3)) TH_LOG("above stack_hi");
	KW_STORE(self->slot->stack_lo, UINT64_MAX);
	KW_STORE(self->slot->stack_hi, 0);
	EXPECT_TRUE(left_alone(self)) TH_LOG("upside down");
	KW_STORE(self->slot->stack_lo, lo);
	KW_STORE(self->slot->stack_hi, hi);
	EXPECT_TRUE(preempted(self, 3)) TH_LOG("not tried again");
	EXPECT_EQ(0, self->stat->nr_foreign);
}

struct freer {
	struct kaus_worker *slot;
	unsigned int flag;
};

static void *free_after_refusals(void *arg)
{
	struct freer *f = arg;
	uint64_t want = KW_LOAD(f->slot->nr_refused) + 10;

	KW_WAIT(KW_LOAD(f->slot->nr_refused) >= want);
	KW_STORE(f->flag, 1);
	return NULL;
}

static unsigned int nr_inside;

__attribute__((target("general-regs-only")))
static void note_inside(struct kw_regs *regs, unsigned int events)
{
	(void)events;
	if (regs->ip >= (uint64_t)kw_tramp && regs->ip < (uint64_t)kw_tramp_end)
		nr_inside++;
}

/* Spinning in the trampoline's own code, with defer and busy both zero. */
TEST_F(when, inside_the_trampoline)
{
	struct freer f = { .slot = self->slot };
	uint64_t refused;
	pthread_t thread;

	kw_self.hook = note_inside;
	kw_waiters(&self->k, 0, 1);
	ASSERT_TRUE(preempted(self, 3));
	ASSERT_EQ(0, pthread_create(&thread, NULL, free_after_refusals, &f));
	refused = KW_LOAD(self->slot->nr_refused);
	kw_tramp_spin(&f.flag);
	EXPECT_LE(10, KW_LOAD(self->slot->nr_refused) - refused);
	pthread_join(thread, NULL);
	EXPECT_TRUE(preempted(self, 3)) TH_LOG("not tried again");
	EXPECT_EQ(0, nr_inside);
}

KW_TEST_MAIN
