// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where Gs, Ms and Ps lie, and what lies side by side in them: no two
 * objects share a pair of cache lines, nor do fields of one object that
 * different threads write all the time; what a switch needs is one line.
 *
 * If it is broken: nothing fails, but Ps that have nothing to do with each
 * other slow each other down. bench/lib's "sharing" shows by how much.
 */
#include "utest.h"

#include "sched/gpool.h"
#include "sched/sched.h"

#define PAIR		KR_CACHE_PAIR
#define PAIR_OF(type, field) (offsetof(type, field) / PAIR)
#define LINE_OF(type, field) (offsetof(type, field) / 64)
#define IS_PAIRED(p)	((uintptr_t)(p) % PAIR == 0)

TEST(whole_pairs)
{
	EXPECT_EQ(0U, sizeof(struct g) % PAIR);
	EXPECT_EQ(0U, sizeof(struct m) % PAIR);
	EXPECT_EQ(0U, sizeof(struct p) % PAIR);
	EXPECT_EQ((size_t)PAIR, _Alignof(struct g));
	EXPECT_EQ((size_t)PAIR, _Alignof(struct m));
	EXPECT_EQ((size_t)PAIR, _Alignof(struct p));
	EXPECT_EQ(0U, offsetof(struct g_slab, gs) % PAIR);
	EXPECT_EQ(0U, sizeof(struct kaus_proc) % PAIR);
	EXPECT_EQ(0U, sizeof(struct kaus_worker) % PAIR);
}

TEST(goroutine_by_use)
{
#if KR_ASAN || KR_TSAN
	SKIP(return, "the sanitizer's fields are in between");
#endif
	/* One page and this is what a parked goroutine costs. */
	EXPECT_GE(256U, sizeof(struct g));
	/* A switch. */
	EXPECT_EQ(0U, LINE_OF(struct g, ctx));
	EXPECT_EQ(0U, LINE_OF(struct g, state));
	EXPECT_EQ(0U, LINE_OF(struct g, nopreempt));
	EXPECT_EQ(0U, LINE_OF(struct g, saved_errno));
	EXPECT_EQ(0U, LINE_OF(struct g, lockedm));
	EXPECT_EQ(0U, LINE_OF(struct g, stack.hi));
	/* Its life: made, parked, joined, free. */
	EXPECT_EQ(1U, LINE_OF(struct g, goid));
	EXPECT_EQ(1U, LINE_OF(struct g, arg));
	EXPECT_EQ(1U, LINE_OF(struct g, join));
	EXPECT_EQ(1U, LINE_OF(struct g, next));
	EXPECT_EQ(1U, LINE_OF(struct g, wait_reason));
	EXPECT_EQ(1U, LINE_OF(struct g, locals));
	/* The global queue and what others write. */
	EXPECT_LE(1U, PAIR_OF(struct g, offer));
	EXPECT_LE(1U, PAIR_OF(struct g, gq_node));
	EXPECT_LE(1U, PAIR_OF(struct g, gq_claim));
	EXPECT_LE(1U, PAIR_OF(struct g, join_lock));
}

TEST(p_by_writer)
{
	/* What all read; the holder's; thieves'; timer_lock's. */
	EXPECT_EQ(0U, PAIR_OF(struct p, slot));
	EXPECT_LT(PAIR_OF(struct p, slot), PAIR_OF(struct p, sched_tick));
	EXPECT_LT(PAIR_OF(struct p, cpu), PAIR_OF(struct p, sched_tick));
	EXPECT_LT(PAIR_OF(struct p, nr_gs), PAIR_OF(struct p, runq));
	EXPECT_EQ(0U, offsetof(struct p, runq) % PAIR);
	EXPECT_EQ(0U, offsetof(struct p, timer_lock) % PAIR);
	EXPECT_LT(PAIR_OF(struct p, runq), PAIR_OF(struct p, timer_lock));
}

TEST(m_by_writer)
{
	EXPECT_LT(PAIR_OF(struct m, curg), PAIR_OF(struct m, token));
	EXPECT_EQ(0U, offsetof(struct m, token) % PAIR);
}

TEST(scheduler_by_writer)
{
	const size_t at[] = {
		PAIR_OF(struct kr_sched, nr_procs),
		PAIR_OF(struct kr_sched, nr_spinning),
		PAIR_OF(struct kr_sched, nr_idle),
		PAIR_OF(struct kr_sched, next_goid),
		PAIR_OF(struct kr_sched, lock),
		PAIR_OF(struct kr_sched, nr_ms),
		PAIR_OF(struct kr_sched, gq.tail),
		PAIR_OF(struct kr_sched, gq.head),
		PAIR_OF(struct kr_sched, gq_back.tail),
		PAIR_OF(struct kr_sched, gq_back.head),
	};

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		for (size_t j = 0; j < i; j++)
			EXPECT_NE(at[i], at[j]);
	EXPECT_TRUE(IS_PAIRED(&sched));
}

static void *wait_g(void *arg)
{
	kaus_chan_recv(arg, NULL);
	return NULL;
}

static int addresses(void *arg)
{
	enum { NR = 300 };
	struct kaus_chan *ch = kaus_chan_make(0, 0), *others[NR];
	struct kaus_g *gs[NR];

	CHECK(IS_PAIRED(ch));
	for (int i = 0; i < NR; i++) {
		gs[i] = ut_spawn(wait_g, ch);
		others[i] = kaus_chan_make(8, (size_t)i % 5);
		CHECK(IS_PAIRED(gs[i]));
		CHECK(IS_PAIRED(others[i]));
	}
	for (int i = 0; i < NR; i++)
		for (int j = 0; j < i; j++)
			CHECK((uintptr_t)gs[i] / PAIR !=
			      (uintptr_t)gs[j] / PAIR);
	for (uint32_t i = 0; i < sched.nr_procs; i++) {
		CHECK(IS_PAIRED(sched.allp[i]));
		CHECK(IS_PAIRED(sched.allp[i]->slot));
	}
	for (uint32_t i = 0; i < READ_ONCE(sched.nr_ms); i++) {
		CHECK(IS_PAIRED(sched.allm[i]));
		CHECK(IS_PAIRED(sched.allm[i]->slot));
	}
	kaus_chan_close(ch);
	for (int i = 0; i < NR; i++) {
		CHECK_EQ(0, kaus_join(gs[i], NULL));
		kaus_chan_free(others[i]);
	}
	kaus_chan_free(ch);
	return 0;
}

TEST(no_two_share_a_pair)
{
	RUN(addresses, NULL);
}

TEST_HARNESS_MAIN
