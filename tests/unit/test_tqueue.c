// SPDX-License-Identifier: GPL-2.0-only
/*
 * The timers of a P in order of their time, against a table that is searched
 * from end to end: what is armed comes out once, when it is the earliest, unless
 * it has been taken out, wherever it was.
 *
 * If it is broken: a timer fires early, late, twice or never, or an idle process
 * wakes to find nothing due.
 */
#include "utest.h"

#include "sched/tqueue.h"

#define NR_MODEL	3000
#define NR_MANY		100000
#define TICK		(1ULL << KR_TICK_SHIFT)

/* What the queue is given is the address of one of these; it never looks. */
struct entry {
	uint64_t when_ns;	/* 0: not armed */
	uint32_t slot;
};

struct model {
	struct kr_tqueue q;
	struct entry *all;
	uint32_t max, nr;
};

static void init(struct model *m, uint32_t max)
{
	memset(m, 0, sizeof(*m));
	m->all = calloc(max, sizeof(*m->all));
	m->max = max;
}

static void arm(struct model *m, struct entry *e, uint64_t when_ns)
{
	e->when_ns = when_ns;
	e->slot = kr_tqueue_insert(&m->q, (struct kr_timer *)e, when_ns);
	m->nr++;
}

static void stop(struct model *m, struct entry *e)
{
	kr_tqueue_remove(&m->q, e->slot);
	e->when_ns = 0;
	m->nr--;
}

static uint64_t earliest(const struct model *m)
{
	uint64_t first = 0;

	for (uint32_t i = 0; i < m->max; i++) {
		uint64_t when_ns = m->all[i].when_ns;

		if (when_ns && (!first || when_ns < first))
			first = when_ns;
	}
	return first;
}

static void settle(struct model *m)
{
	while (!kr_tqueue_settle(&m->q))
		;
}

/* The time of the timer that comes next, which is gone then. */
static uint64_t pop(struct model *m)
{
	struct entry *e;
	uint64_t when_ns;

	settle(m);
	when_ns = kr_tqueue_top_ns(&m->q);
	e = (struct entry *)kr_tqueue_pop(&m->q);
	CHECK_EQ(when_ns, e->when_ns);
	e->when_ns = 0;
	m->nr--;
	return when_ns;
}

static struct entry *any(struct model *m, uint64_t *rand)
{
	return &m->all[ut_rand(rand) % m->max];
}

/* Arm and stop at random, sometimes while the earliest is not known. */
static void disturb(struct model *m, uint64_t now_ns, uint64_t span_ns,
		    uint64_t *rand)
{
	for (uint32_t i = ut_rand(rand) % 100; i; i--) {
		struct entry *e = any(m, rand);
		uint64_t when_ns = now_ns + ut_rand(rand) % span_ns;

		if (e->when_ns)
			stop(m, e);
		else
			arm(m, e, when_ns < now_ns ? UINT64_MAX - 1 : when_ns);
		if (ut_rand(rand) % 64 == 0)
			kr_tqueue_settle(&m->q);
	}
}

static void against_model(struct __test_metadata *_metadata, uint64_t now_ns,
			  uint64_t span_ns)
{
	uint64_t rand = now_ns + span_ns;
	struct model m;

	init(&m, NR_MODEL);
	for (int i = 0; i < NR_MODEL; i++)
		arm(&m, &m.all[i], now_ns + ut_rand(&rand) % span_ns);
	for (int round = 0; round < 500; round++) {
		disturb(&m, now_ns, span_ns, &rand);
		settle(&m);
		ASSERT_EQ(m.nr, m.q.nr);
		ASSERT_EQ(earliest(&m), kr_tqueue_top_ns(&m.q));
		for (uint32_t i = ut_rand(&rand) % 50; i && m.nr; i--) {
			ASSERT_EQ(earliest(&m), kr_tqueue_top_ns(&m.q));
			now_ns = pop(&m);
			settle(&m);
		}
	}
	while (m.nr) {
		uint64_t when_ns = pop(&m);

		ASSERT_LE(now_ns, when_ns);
		now_ns = when_ns;
	}
	ASSERT_EQ(0u, m.q.nr);
	EXPECT_TRUE(kr_tqueue_settle(&m.q));
	EXPECT_EQ(UINT64_C(0), kr_tqueue_top_ns(&m.q));
	EXPECT_EQ(0, ut_failures);
	free(m.all);
}

TEST(as_a_table_that_is_searched)
{
	for (int bits = 0; bits < 64; bits += 3)
		against_model(_metadata, 1000 * SEC + 12345, 1ULL << bits);
}

TEST(at_the_ends_of_time)
{
	for (int bits = 0; bits < 64; bits += 9) {
		uint64_t span_ns = 1ULL << bits;

		against_model(_metadata, 1, span_ns);
		against_model(_metadata, UINT64_MAX - span_ns, span_ns);
	}
}

/* Where the digits of a tick carry. */
TEST(at_the_ends_of_buckets)
{
	for (int bits = KR_TICK_SHIFT; bits < 62; bits += KR_WHEEL_BITS) {
		uint64_t edge_ns = 1ULL << bits;

		against_model(_metadata, 3 * edge_ns - 1, 2);
		against_model(_metadata, 3 * edge_ns - 20 * TICK, 40 * TICK);
		against_model(_metadata, 3 * edge_ns - 20, 2 * edge_ns);
	}
}

/* Which is first of a hundred thousand is not found out at once. */
static void many(struct __test_metadata *_metadata, uint64_t first_ns,
		 uint64_t span_ns)
{
	uint64_t rand = span_ns, last_ns = 0;
	struct model m;
	int calls = 0;

	init(&m, NR_MANY + 300);
	/* The wheel is not used before these are there. */
	for (int i = 0; i < 300; i++)
		arm(&m, &m.all[NR_MANY + i], 1 + i);
	for (int i = 0; i < NR_MANY; i++)
		arm(&m, &m.all[i], first_ns + ut_rand(&rand) % span_ns);
	for (uint64_t i = 0; i < 300; i++)
		ASSERT_EQ(1 + i, pop(&m));
	/* Most of them are not sorted yet, however one looks at the table. */
	EXPECT_GT(1000u, m.q.nr_heap);
	while (!kr_tqueue_settle(&m.q))
		calls++;
	EXPECT_LT(20, calls);
	for (int i = 0; i < NR_MANY; i += 7)
		if (m.all[i].when_ns)
			stop(&m, &m.all[i]);
	while (m.nr) {
		uint64_t when_ns = pop(&m);

		ASSERT_LE(last_ns, when_ns);
		last_ns = when_ns;
	}
	EXPECT_EQ(0u, m.q.nr);
	EXPECT_EQ(0, ut_failures);
	free(m.all);
}

TEST(a_bucket_of_many_is_opened_by_and_by)
{
	many(_metadata, 1ULL << 50, 1);
	many(_metadata, 1ULL << 50, TICK);
	many(_metadata, 1ULL << 50, 10 * SEC);
}

static uint32_t take_all(struct model *m)
{
	struct entry *e;
	uint64_t when_ns;
	uint32_t nr = 0;

	while ((e = (struct entry *)kr_tqueue_pop_any(&m->q, &when_ns))) {
		CHECK_EQ(e->when_ns, when_ns);
		e->when_ns = 0;
		nr++;
	}
	return nr;
}

TEST(all_can_be_taken_at_any_time)
{
	uint64_t rand = 1;
	struct model m;

	init(&m, NR_MODEL);
	EXPECT_EQ(0u, take_all(&m));
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < NR_MODEL; i++)
			arm(&m, &m.all[i], 1 + ut_rand(&rand) % (100 * SEC));
		/* The one before is gone, and a bucket may be half open. */
		for (int i = 0; i < 300 + round * 10; i++) {
			settle(&m);
			pop(&m);
		}
		kr_tqueue_settle(&m.q);
		EXPECT_EQ(m.nr, take_all(&m));
		m.nr = 0;
	}
	EXPECT_EQ(0u, m.q.nr);
	EXPECT_EQ(0, ut_failures);
}

TEST(few_need_no_wheel)
{
	uint64_t rand = 1;
	struct model m;

	init(&m, 256);
	for (int round = 0; round < 1000; round++) {
		for (int i = 0; i < 256; i++) {
			if (m.all[i].when_ns)
				stop(&m, &m.all[i]);
			arm(&m, &m.all[i], 1 + ut_rand(&rand) % (100 * SEC));
		}
	}
	EXPECT_EQ(NULL, m.q.wheel);
	while (m.nr)
		pop(&m);
	EXPECT_EQ(0, ut_failures);
}

/* Deadlines of connections: most are stopped long before their time. */
TEST(those_that_are_stopped_leave_nothing_behind)
{
	uint64_t rand = 1, now_ns = 1;
	struct model m;

	init(&m, NR_MODEL);
	for (int i = 0; i < 3000000; i++, now_ns += 1000) {
		struct entry *e = any(&m, &rand);

		if (e->when_ns)
			stop(&m, e);
		arm(&m, e, now_ns + 30 * SEC + ut_rand(&rand) % SEC);
	}
	ASSERT_NE(NULL, m.q.wheel);
	/* No more than a chunk in part for each bucket that they may be in. */
	EXPECT_GT(NR_MODEL / KR_WHEEL_CHUNK + (2u << KR_WHEEL_BITS),
		  m.q.wheel->nr_chunks);
	EXPECT_GE(2u * NR_MODEL, m.q.max_slots);
	while (m.nr)
		pop(&m);
	EXPECT_EQ(0, ut_failures);
}

TEST_HARNESS_MAIN
