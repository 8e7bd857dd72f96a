// SPDX-License-Identifier: GPL-2.0-only
/*
 * A goroutine that comes back from the kernel, where its P was taken from it,
 * comes before those that compute; but all that do so get no more than a part of
 * the P's time.
 *
 * If it is broken: a call that blocks for a millisecond takes a second beside a
 * hundred goroutines that compute, or nobody else computes beside some that block
 * again and again.
 */
#include "utest.h"

#include "sched/sched.h"

#define NR_HOGS		40
#define NR_SLEEPS	20
#define NR_COMERS	4
#define RUN_NS		(5 * MSEC)	/* half a slice */
#define NR_TURNS	60

static atomic_bool stop;
static atomic_int nr_turns;
static struct kaus_waitgroup wg;

/* Apart from each other. */
static struct {
	unsigned long nr;
	char pad[120];
} steps[NR_HOGS + NR_COMERS];

static void step(unsigned long *nr)
{
	for (volatile int i = 0; i < 100; i++)
		;
	++*nr;
	if (UT_TSAN)
		kaus_yield();
}

static void hog(void *arg)
{
	while (!atomic_load(&stop))
		step(arg);
	kaus_waitgroup_done(&wg);
}

static void go_hogs(int nr)
{
	kaus_waitgroup_add(&wg, nr);
	for (int i = 0; i < nr; i++)
		ut_go(hog, &steps[i].nr);
}

static void block(uint64_t ns)
{
	const struct timespec ts = { .tv_nsec = (long)ns };

	CHECK_EQ(0, kaus_block_begin());
	nanosleep(&ts, NULL);
	CHECK_EQ(0, kaus_block_end());
}

static uint64_t count_preempts(void)
{
	struct kaus_stats st = { .size = sizeof(st) };

	CHECK_EQ(0, kaus_stats_read(&st));
	return st.nr_preempts;
}

static uint64_t count_lost(void)
{
	uint64_t nr = 0;

	for (uint32_t i = 1; i < READ_ONCE(sched.nr_ms); i++)
		nr += READ_ONCE(sched.allm[i]->nr_lost);
	return nr;
}

static int before_hogs(void *arg)
{
	uint64_t nr = count_preempts(), nr_lost = count_lost();

	go_hogs(NR_HOGS);
	kaus_yield();
	for (int i = 0; i < NR_SLEEPS; i++)
		block(20 * MSEC);
	nr = count_preempts() - nr;
	CHECK(count_lost() - nr_lost >= NR_SLEEPS / 2);
	/* Two slices of each sleep, and one that was under way. */
	if (!CHECK(nr < NR_SLEEPS * NR_HOGS / 3))
		dprintf(2, "# %lu slices in %d sleeps\n", nr, NR_SLEEPS);
	atomic_store(&stop, true);
	kaus_waitgroup_wait(&wg);
	return 0;
}

/* Slices as on signals: two of them while it sleeps. */
static struct kaus_options one_proc(void)
{
	struct kaus_options opts = ut_procs(1);

	opts.slice_ns = 10 * MSEC;
	return opts;
}

TEST(before_those_that_compute)
{
	const struct kaus_options opts = one_proc();

	if (UT_TSAN)
		SKIP(return, "nobody is preempted");
	RUN_WITH(&opts, before_hogs, NULL);
}

/* ---- the queues ---- */

#define NR_GS	5

static struct g *gs[NR_GS];

static void check_next(int i)
{
	struct g *gp = kr_globq_get(NULL);

	CHECK(gp == gs[i]);
}

/* With the only P in hand, so nobody else takes any. */
static int queues(void *arg)
{
	struct m *mp = kr_enter();
	uint32_t was_there = sched.hdr->nr_global;

	CHECK_EQ(0u, was_there);
	for (int i = 0; i < NR_GS; i++)
		gs[i] = kr_g_alloc(mp);
	/* In the order in which they were put. */
	kr_globq_put(gs[0]);
	kr_globq_put_back(gs[1]);
	kr_globq_put_back(gs[2]);
	kr_globq_put(gs[3]);
	CHECK_EQ(4u, sched.hdr->nr_global);
	CHECK_EQ(2u, sched.gq_nr_back);
	for (int i = 0; i < 4; i++)
		check_next(i);
	CHECK(!kr_globq_get(NULL));
	/* Or those back from the kernel first. */
	kr_globq_put(gs[0]);
	kr_globq_put_back(gs[1]);
	kr_globq_put_back(gs[2]);
	CHECK(kr_globq_get_back() == gs[1]);
	check_next(0);
	check_next(2);
	CHECK(!kr_globq_get_back());
	/* The first one leaves, one in the midst leaves and comes back. */
	for (int i = 0; i < 4; i++)
		kr_globq_put_back(gs[i]);
	kr_globq_put(gs[4]);
	CHECK(kr_globq_cancel(gs[0]));
	CHECK(!kr_globq_cancel(gs[0]));
	CHECK(kr_globq_cancel(gs[2]));
	CHECK_EQ(3u, sched.gq_nr_back);
	CHECK_EQ(3u, sched.hdr->nr_global);
	kr_globq_put_back(gs[0]);
	check_next(1);
	kr_globq_put_again(gs[2]);
	CHECK(kr_globq_cancel(gs[3]));
	check_next(2);
	check_next(4);
	check_next(0);
	CHECK(!kr_globq_get(NULL));
	CHECK_EQ(0u, sched.gq_nr_back);
	CHECK_EQ(0u, sched.hdr->nr_global);
	for (int i = 0; i < NR_GS; i++)
		kr_g_free(mp, gs[i]);
	kr_exit(mp);
	return 0;
}

TEST(in_the_order_they_were_put)
{
	const struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, queues, NULL);
}

/* ---- how much ---- */

static uint64_t wait_ns(void)
{
	uint64_t after_ns = sched.back_after_ns, now_ns = kr_clock_now_ns();

	return after_ns > now_ns ? after_ns - now_ns : 0;
}

/* What one has had is never more than the others wait for. */
static int debt(void *arg)
{
	struct m *mp = kr_enter();
	struct p *pp = mp->p;

	gs[0] = kr_g_alloc(mp);
	gs[0]->is_back = true;
	CHECK(kr_back_has_turn());
	for (int i = 0; i < 100; i++) {
		pp->turn_is_back = true;
		pp->globq_turn_ns = kr_clock_now_ns() - 5 * MSEC;
		kr_back_given(pp, gs[0]);
	}
	CHECK(!kr_back_has_turn());
	CHECK(wait_ns() > 100 * MSEC && wait_ns() < 500 * MSEC);
	/* Not its turn: it goes on, and nobody counts. */
	CHECK(!pp->globq_turn_ns && !pp->turn_is_back);
	kr_g_free(mp, gs[0]);
	kr_exit(mp);
	return 0;
}

TEST(what_they_had_is_not_summed_up_for_ever)
{
	const struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, debt, NULL);
}

static void comer(void *arg)
{
	while (!atomic_load(&stop)) {
		uint64_t end_ns;

		block(100 * USEC);
		end_ns = kaus_now_ns() + RUN_NS;
		while (kaus_now_ns() < end_ns)
			step(arg);
		atomic_fetch_add(&nr_turns, 1);
	}
	kaus_waitgroup_done(&wg);
}

static int part(void *arg)
{
	unsigned long hogs = 0, comers = 0;
	int i;

	go_hogs(NR_COMERS);
	kaus_waitgroup_add(&wg, NR_COMERS);
	for (i = 0; i < NR_COMERS; i++)
		ut_go(comer, &steps[NR_HOGS + i].nr);
	while (atomic_load(&nr_turns) < NR_TURNS)
		kaus_sleep(10 * MSEC);
	for (i = 0; i < NR_HOGS; i++)
		hogs += steps[i].nr;
	for (i = NR_HOGS; i < NR_HOGS + NR_COMERS; i++)
		comers += steps[i].nr;
	/* It should be three times as many. */
	if (!CHECK(hogs > comers))
		dprintf(2, "# %lu steps of hogs, %lu of the others\n", hogs,
			comers);
	atomic_store(&stop, true);
	kaus_waitgroup_wait(&wg);
	return 0;
}

TEST(a_part_of_the_time)
{
	const struct kaus_options opts = one_proc();

	if (UT_TSAN)
		SKIP(return, "nobody is preempted");
	RUN_WITH(&opts, part, NULL);
}

TEST_HARNESS_MAIN
