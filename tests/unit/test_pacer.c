// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pacer, with a simulated program and a simulated clock: where cycles begin,
 * how far the heap gets beyond its goal, how much allocations must help.
 *
 * If it is broken: the heap grows far beyond what KAUS_GC_PERCENT promises, or
 * cycles follow each other without end, or a program at its memory limit does
 * nothing but collect.
 */
#include "utest.h"

#include "gc/pacer.h"

#define MB	(1ULL << 20)
#define GB	(1ULL << 30)
#define TICK_NS	10000ULL

/* A program as the simulator sees it; rates are per ns of one CPU. */
struct program {
	double alloc;			/* bytes allocated */
	double mark;			/* bytes scanned by a collector's CPU */
	uint64_t live;			/* what a cycle will find */
	double scannable;		/* share of it */
	uint64_t stacks, globals;
};

struct result {
	unsigned int nr_cycles;
	uint64_t peak;			/* of heap_live */
	double worst_over;		/* heap at the end of a cycle / goal */
	double most_assist_share;	/* of the program's CPU, of a cycle */
	double gc_share;		/* of all CPU time */
};

/* Called before each tick: may change the program. */
typedef void (*change_fn)(struct program *prog, double seconds,
			  unsigned int cycle);

#define NR_PROCS 4

/*
 * Run @seconds of it, in ticks. A quarter of the CPUs mark while a cycle goes
 * on; the rest is the program's, which gives up what it needs to help.
 */
static struct result simulate(struct kr_pacer *p, struct program *prog,
			      change_fn change, double seconds, bool stw)
{
	struct result r = { 0 };
	uint64_t live = prog->live, allocated = 0;
	uint64_t gc_ns = 0, since_gc = 0, since_total = 0;
	double t = 0;

	while (t < seconds) {
		double tick = (double)TICK_NS, assist_ns = 0, program_ns = 0;
		uint64_t work, start = 0;
		double scanned = 0, credit = 0;

		if (change)
			change(prog, t, r.nr_cycles);
		if (live < p->trigger_bytes) {
			uint64_t bytes = (uint64_t)(prog->alloc * tick *
						    NR_PROCS);

			live += bytes;
			since_total += TICK_NS * NR_PROCS;
			t += tick / 1e9;
			if (live > r.peak)
				r.peak = live;
			continue;
		}
		/* A cycle. */
		work = (uint64_t)((double)prog->live * prog->scannable) +
		       prog->stacks + prog->globals;
		allocated = 0;
		while (scanned < (double)work) {
			double bg = stw ? NR_PROCS : NR_PROCS * 0.25;
			double bytes = 0, ratio, cost, helped;

			start += TICK_NS;
			scanned += bg * tick * prog->mark;
			gc_ns += (uint64_t)(bg * tick);
			since_gc += (uint64_t)(bg * tick);
			since_total += TICK_NS * NR_PROCS;
			if (stw)
				continue;
			/*
			 * What is owed is paid from what the background has
			 * done, and the rest by helping.
			 */
			credit += bg * tick * prog->mark;
			ratio = kr_pacer_assist(p, live, (uint64_t)scanned);
			bytes = (NR_PROCS - bg) * tick * prog->alloc;
			if (bytes * ratio > credit) {
				cost = prog->alloc * ratio / prog->mark;
				bytes = ((NR_PROCS - bg) * tick +
					 credit / prog->mark) / (1 + cost) *
					prog->alloc;
				helped = bytes * ratio - credit;
				credit = 0;
			} else {
				credit -= bytes * ratio;
				helped = 0;
			}
			scanned += helped;
			assist_ns += helped / prog->mark;
			program_ns += (NR_PROCS - bg) * tick;
			live += (uint64_t)bytes;
			allocated += (uint64_t)bytes;
			if (live > r.peak)
				r.peak = live;
		}
		t += (double)start / 1e9;
		gc_ns += (uint64_t)assist_ns;
		since_gc += (uint64_t)assist_ns;
		/* The first ones know nothing yet. */
		if (r.nr_cycles >= 5) {
			double over = (double)live / (double)p->goal_bytes;

			if (over > r.worst_over)
				r.worst_over = over;
			if (program_ns > 0 &&
			    assist_ns / program_ns > r.most_assist_share)
				r.most_assist_share = assist_ns / program_ns;
		}
		kr_pacer_spent(p, since_gc, since_total);
		since_gc = since_total = 0;
		kr_pacer_cycle(p, &(struct kr_pacer_cycle){
			.heap_marked_bytes = prog->live + allocated,
			.heap_scan_bytes = (uint64_t)((double)prog->live *
						      prog->scannable),
			.stack_bytes = prog->stacks,
			.global_bytes = prog->globals,
			.alloc_bytes = allocated,
			.mark_ns = start,
			.mark_cpu_ns = (uint64_t)((stw ? NR_PROCS :
						   NR_PROCS * 0.25) *
						  (double)start + assist_ns),
			.concurrent = !stw,
		});
		/* Black: what was allocated meanwhile is found dead next time. */
		live = prog->live + allocated;
		r.nr_cycles++;
	}
	r.gc_share = (double)gc_ns / (t * 1e9 * NR_PROCS);
	return r;
}

static const struct program usual = {
	.alloc = 0.25, .mark = 1.0, .live = 100 * MB, .scannable = 0.8,
	.stacks = 64 << 10, .globals = 256 << 10,
};

TEST(defaults)
{
	struct kr_pacer p;

	kr_pacer_init(&p, NR_PROCS);
	EXPECT_EQ(KR_PACER_MIN_HEAP, p.goal_bytes);
	EXPECT_EQ(p.goal_bytes, p.trigger_bytes);
	kr_pacer_set_percent(&p, 200);
	EXPECT_EQ(2 * KR_PACER_MIN_HEAP, p.goal_bytes);
	kr_pacer_set_percent(&p, KR_PACER_OFF);
	EXPECT_EQ(UINT64_MAX, p.goal_bytes);
	EXPECT_EQ(UINT64_MAX, p.trigger_bytes);
	kr_pacer_set_percent(&p, 0);
	EXPECT_EQ(0ULL, p.goal_bytes);
}

/* Where the world stops nothing is allocated in a cycle: the goal is exact. */
TEST(stopped_world_meets_its_goal)
{
	struct program prog = usual;
	struct kr_pacer p;
	struct result r;

	kr_pacer_init(&p, NR_PROCS);
	r = simulate(&p, &prog, NULL, 20, true);
	EXPECT_GT(r.nr_cycles, 50U);
	EXPECT_EQ(p.goal_bytes, p.trigger_bytes);
	EXPECT_EQ(2 * prog.live + prog.stacks + prog.globals, p.goal_bytes);
	EXPECT_LT(r.worst_over, 1.001);
}

TEST(steady)
{
	struct program prog = usual;
	struct kr_pacer p;
	struct result r;

	kr_pacer_init(&p, NR_PROCS);
	r = simulate(&p, &prog, NULL, 30, false);
	TH_LOG("cycles %u over %.3f assist %.3f gc %.3f", r.nr_cycles,
	       r.worst_over, r.most_assist_share, r.gc_share);
	EXPECT_GT(r.nr_cycles, 50U);
	EXPECT_LT(r.worst_over, 1.05);
	/* The trigger leaves enough runway: hardly anybody helps. */
	EXPECT_LT(r.most_assist_share, 0.10);
	EXPECT_LT(p.trigger_bytes, p.goal_bytes);
	EXPECT_GT(r.worst_over, 0.80);
}

static void grow(struct program *prog, double t, unsigned int cycle)
{
	(void)cycle;
	prog->live = t < 10 ? 50 * MB : 400 * MB;
	prog->alloc = t < 10 ? 0.05 : 0.5;
}

TEST(step)
{
	struct program prog = usual;
	struct kr_pacer p;
	struct result r;

	prog.live = 50 * MB;
	kr_pacer_init(&p, NR_PROCS);
	r = simulate(&p, &prog, grow, 30, false);
	TH_LOG("cycles %u over %.3f assist %.3f gc %.3f", r.nr_cycles,
	       r.worst_over, r.most_assist_share, r.gc_share);
	/* It settles on the new size: about twice what is live. */
	EXPECT_LT(p.goal_bytes, 3 * prog.live);
	EXPECT_GT(p.goal_bytes, 3 * prog.live / 2);
	EXPECT_LT(r.peak, 4 * prog.live);
	EXPECT_LT(r.gc_share, 0.50);
}

static void oscillate(struct program *prog, double t, unsigned int cycle)
{
	(void)t;
	prog->alloc = cycle % 2 ? 0.4 : 0.1;
	prog->live = cycle % 3 ? 100 * MB : 120 * MB;
}

TEST(oscillating)
{
	struct program prog = usual;
	struct kr_pacer p;
	struct result r;

	kr_pacer_init(&p, NR_PROCS);
	r = simulate(&p, &prog, oscillate, 30, false);
	TH_LOG("cycles %u over %.3f assist %.3f gc %.3f", r.nr_cycles,
	       r.worst_over, r.most_assist_share, r.gc_share);
	EXPECT_LT(r.worst_over, 1.15);
	EXPECT_LT(r.gc_share, 0.50);
}

/*
 * Work that is not in the heap counts, or cycles would follow each other: the
 * heap alone, 8 MB, would have one each 40 ms, that looks at 300 MB.
 */
static void check_big_roots(struct __test_metadata *_metadata, uint64_t stacks,
			    uint64_t globals)
{
	uint64_t goal = 2 * 8 * MB + stacks + globals, most;
	struct program prog = usual;
	struct kr_pacer p;
	struct result r;

	prog.live = 8 * MB;
	prog.stacks = stacks;
	prog.globals = globals;
	prog.alloc = 0.05;
	kr_pacer_init(&p, NR_PROCS);
	r = simulate(&p, &prog, NULL, 20, false);
	TH_LOG("cycles %u over %.3f assist %.3f gc %.3f", r.nr_cycles,
	       r.worst_over, r.most_assist_share, r.gc_share);
	EXPECT_GE(p.goal_bytes, goal);
	/* What was allocated meanwhile counts as live once. */
	EXPECT_LT(p.goal_bytes, goal + goal / 2);
	EXPECT_LT(r.worst_over, 1.05);
	EXPECT_LT(r.gc_share, 0.30);
	/* From the trigger on it is 70 % of the way at least. */
	most = (uint64_t)(20e9 * NR_PROCS * prog.alloc) / (goal * 6 / 10);
	EXPECT_LE(r.nr_cycles, most + 2);
}

TEST(big_stacks)
{
	check_big_roots(_metadata, 300 * MB, 256 << 10);
}

TEST(big_globals)
{
	check_big_roots(_metadata, 64 << 10, 300 * MB);
}

TEST(big_stacks_and_globals)
{
	check_big_roots(_metadata, 200 * MB, 100 * MB);
}

/* Goroutines that come and go: the roots of the last cycle are not the next's. */
static void oscillate_stacks(struct program *prog, double t, unsigned int cycle)
{
	(void)t;
	prog->stacks = cycle % 2 ? 200 * MB : 1 * MB;
}

TEST(stacks_that_come_and_go)
{
	struct program prog = usual;
	struct kr_pacer p;
	struct result r;

	kr_pacer_init(&p, NR_PROCS);
	r = simulate(&p, &prog, oscillate_stacks, 30, false);
	TH_LOG("cycles %u over %.3f assist %.3f gc %.3f", r.nr_cycles,
	       r.worst_over, r.most_assist_share, r.gc_share);
	/* It was not to be foreseen: who allocates helps, and that bounds it. */
	EXPECT_LT(r.worst_over, 1.25);
	EXPECT_LT(r.peak, 600 * MB);
	EXPECT_LT(r.gc_share, 0.50);
}

TEST(percent_decides_how_often)
{
	unsigned int nr[3];
	const int percents[] = { 50, 100, 400 };

	for (int i = 0; i < 3; i++) {
		struct program prog = usual;
		struct kr_pacer p;

		kr_pacer_init(&p, NR_PROCS);
		kr_pacer_set_percent(&p, percents[i]);
		nr[i] = simulate(&p, &prog, NULL, 30, true).nr_cycles;
	}
	TH_LOG("50: %u 100: %u 400: %u", nr[0], nr[1], nr[2]);
	EXPECT_GT(nr[0], nr[1] * 3 / 2);
	EXPECT_GT(nr[1], nr[2] * 3);
}

TEST(limit_lowers_the_goal)
{
	struct program prog = usual;
	struct kr_pacer p;
	struct result r;

	kr_pacer_init(&p, NR_PROCS);
	kr_pacer_set_limit(&p, 160 * MB);
	kr_pacer_set_other(&p, 10 * MB);
	prog.alloc = 0.02;
	r = simulate(&p, &prog, NULL, 20, true);
	EXPECT_TRUE(p.goal_is_limit);
	EXPECT_LT(p.goal_bytes, 150 * MB);
	EXPECT_LT(r.peak, 150 * MB);
	EXPECT_EQ(0ULL, p.nr_limited);
	/* With the percentage off only the limit makes cycles. */
	kr_pacer_set_percent(&p, KR_PACER_OFF);
	EXPECT_LT(p.goal_bytes, 150 * MB);
	kr_pacer_set_limit(&p, KR_PACER_NO_LIMIT);
	EXPECT_EQ(UINT64_MAX, p.goal_bytes);
}

/* More is live than the limit allows: the program still gets on. */
TEST(no_death_spiral)
{
	struct program prog = usual;
	struct kr_pacer p;
	struct result r;

	prog.live = 300 * MB;
	kr_pacer_init(&p, NR_PROCS);
	kr_pacer_set_limit(&p, 256 * MB);
	r = simulate(&p, &prog, NULL, 20, true);
	TH_LOG("cycles %u gc %.3f limited %llu", r.nr_cycles, r.gc_share,
	       (unsigned long long)p.nr_limited);
	EXPECT_GT(p.nr_limited, 0ULL);
	EXPECT_LT(r.gc_share, 0.60);
	/* And gives the memory back to the limit once there is room. */
	prog.live = 50 * MB;
	r = simulate(&p, &prog, NULL, 20, true);
	EXPECT_FALSE(p.limiting);
	EXPECT_LT(p.goal_bytes, 256 * MB);
}

TEST(assist_grows_towards_the_goal)
{
	struct program prog = usual;
	double last = 0, ratio;
	struct kr_pacer p;

	kr_pacer_init(&p, NR_PROCS);
	simulate(&p, &prog, NULL, 5, false);
	for (uint64_t live = p.trigger_bytes; live < p.goal_bytes * 2;
	     live += 4 * MB) {
		ratio = kr_pacer_assist(&p, live, 0);
		EXPECT_GE(ratio, last);
		last = ratio;
	}
	/* Nothing left to do. */
	ratio = kr_pacer_assist(&p, p.goal_bytes, 100 * GB);
	EXPECT_EQ(0, (int)ratio);
}

TEST(numbers_at_the_edge)
{
	struct kr_pacer p;

	kr_pacer_init(&p, 0);
	kr_pacer_set_percent(&p, INT32_MAX);
	kr_pacer_cycle(&p, &(struct kr_pacer_cycle){
		.heap_marked_bytes = UINT64_MAX / 2,
		.heap_scan_bytes = UINT64_MAX,
		.stack_bytes = UINT64_MAX,
		.global_bytes = UINT64_MAX,
		.concurrent = true,
	});
	EXPECT_EQ(UINT64_MAX, p.goal_bytes);
	kr_pacer_set_limit(&p, 0);
	EXPECT_EQ(UINT64_MAX / 2, p.goal_bytes);
	kr_pacer_spent(&p, UINT64_MAX, UINT64_MAX);
	kr_pacer_spent(&p, UINT64_MAX, UINT64_MAX);
	EXPECT_TRUE(p.limiting);
	kr_pacer_spent(&p, 0, UINT64_MAX);
	EXPECT_FALSE(p.limiting);
}

TEST_HARNESS_MAIN
