// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a redirect and a hand-off cost, in a machine whose clock counts
 * instructions (tests/vm/run.sh --icount) and nowhere else: there is nothing
 * to assert about time on any other. The limits are loose, bench/kmod has the
 * table and the targets. A bug shows as an operation that became twice as
 * expensive, or as a slice that is twice as long as it was asked for.
 */
#include "kw_test.h"

#define WORK		3000000ULL
#define SLICE_NS	200000
#define MAX_REDIRECT	2000
#define MAX_HANDOFF	20000
#define NR_HANDOFFS	300
#define NR_SLICES	40

FIXTURE(cost) {
	struct kw k;
	int fd[2];
	uint64_t asleep_ns;
	uint64_t worst_ns;
	uint32_t nr_given;
	uint32_t nr_slices;
	uint64_t sum_ns;
};

FIXTURE_SETUP(cost)
{
	const char *icount = getenv("KAUS_VM_ICOUNT");

	if (!icount || !*icount)
		SKIP(return, "the clock does not count instructions");
	/* Leave what the kernel does after boot behind. */
	sleep(2);
	ASSERT_EQ(0, pipe(self->fd));
	ASSERT_EQ(0, kw_group(&self->k, 1, 2));
	self->k.hdr->slice_ns = SLICE_NS;
	ASSERT_EQ(0, kw_register(&self->k, 0));
}

FIXTURE_TEARDOWN(cost)
{
	kw_unregister(&self->k);
	kw_close(&self->k);
}

static uint64_t timed(void)
{
	uint64_t start = kw_now();

	kw_sum(WORK);
	return kw_now() - start;
}

static uint64_t best_of(int n)
{
	uint64_t best = UINT64_MAX;

	while (n--) {
		uint64_t t = timed();

		best = t < best ? t : best;
	}
	return best;
}

TEST_F(cost, redirect)
{
	uint64_t alone, with, n;

	/* A worker without a P is looked at as well. */
	ASSERT_EQ(0, kw_unregister(&self->k));
	timed();
	alone = best_of(3);
	ASSERT_EQ(0, kw_register(&self->k, 0));
	kw_carry(&self->k, 0);
	kw_waiters(&self->k, 0, 1);
	timed();
	n = kw_self.stat->nr_preempt;
	with = best_of(3);
	n = (kw_self.stat->nr_preempt - n) / 3;
	ASSERT_LT(30, n);
	TH_LOG("%ld instructions", (long)(with - alone) / (long)n);
	EXPECT_GT(MAX_REDIRECT, (long)(with - alone) / (long)n);
}

static void given(struct kw_thread *t, uint32_t proc)
{
	struct kw_pool *pool = t->arg;
	FIXTURE_DATA(cost) *self = pool->arg;
	uint64_t took = kw_now() - self->asleep_ns;

	(void)proc;
	/* The first ones find cold code. */
	if (KW_ADD(self->nr_given, 1) > 20 && took > self->worst_ns)
		self->worst_ns = took;
	kw_waiters(t->kw, 0, 0);
	kw_drop(t->kw);
	if (write(self->fd[1], "x", 1) != 1)
		abort();
}

TEST_F(cost, handoff)
{
	struct kw_pool pool = { .given = given, .arg = self };
	struct kw_thread t = { 0 };
	char byte;

	ASSERT_EQ(0, kw_pool_start(&pool, &self->k, &t, 1, 1));
	for (int i = 0; i < NR_HANDOFFS; i++) {
		ASSERT_TRUE(KW_WAIT(kw_parked(t.tid)));
		kw_carry(&self->k, 0);
		kw_waiters(&self->k, 0, 1);
		self->asleep_ns = kw_now();
		ASSERT_EQ(1, read(self->fd[0], &byte, 1));
		KW_STORE(kw_self.slot->proc, KAUS_NONE);
		ASSERT_TRUE(KW_SPIN(kw_owner_is(&self->k, 0, KAUS_P_IDLE, 0)));
	}
	kw_pool_stop(&pool, &t, 1);
	EXPECT_EQ(NR_HANDOFFS, self->nr_given);
	TH_LOG("worst of %d: %lu instructions", NR_HANDOFFS - 20,
	       (unsigned long)self->worst_ns);
	EXPECT_GT(MAX_HANDOFF, self->worst_ns);
}

/* A goroutine that computes, on a worker that was parked for it. */
static void given_slice(struct kw_thread *t, uint32_t proc)
{
	struct kw_pool *pool = t->arg;
	FIXTURE_DATA(cost) *self = pool->arg;
	struct kaus_proc *pp = &t->kw->procs[proc];
	uint64_t start = kw_now(), took;
	uint64_t nr = kw_self.stat->nr_preempt;

	/* PARK has set .proc in the slot; this is the switch to the goroutine. */
	KW_STORE(pp->sched_tick, pp->sched_tick + 1);
	KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) != nr);
	took = kw_now() - start;
	self->worst_ns = took > self->worst_ns ? took : self->worst_ns;
	self->sum_ns += took;
	kw_drop(t->kw);
	KW_ADD(self->nr_slices, 1);
}

/*
 * The slice of a goroutine begins when its worker is given the P. If it began
 * when the module first sees the worker carry it, that were a slice later.
 */
TEST_F(cost, slice_after_a_grant)
{
	struct kw_pool pool = { .given = given_slice, .arg = self };
	struct kw_thread t = { 0 };

	kw_waiters(&self->k, 0, 1);
	ASSERT_EQ(0, kw_pool_start(&pool, &self->k, &t, 1, 1));
	for (uint32_t i = 0; i < NR_SLICES; i++) {
		ASSERT_TRUE(KW_WAIT(kw_parked(t.tid)));
		ASSERT_EQ(0, kw_wake(&self->k, 1, 0, kw_owner(&self->k, 0)));
		ASSERT_TRUE(KW_WAIT(KW_LOAD(self->nr_slices) == i + 1));
	}
	kw_pool_stop(&pool, &t, 1);
	TH_LOG("slice of %u: mean %lu, worst %lu", SLICE_NS,
	       (unsigned long)(self->sum_ns / NR_SLICES),
	       (unsigned long)self->worst_ns);
	EXPECT_LT(SLICE_NS * 9 / 10, self->sum_ns / NR_SLICES);
	EXPECT_GT(SLICE_NS * 11 / 10, self->sum_ns / NR_SLICES);
}

KW_TEST_MAIN
