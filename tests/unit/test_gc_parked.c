// SPDX-License-Identifier: GPL-2.0-only
/*
 * Goroutines that are parked while a cycle begins, and looked at only afterwards:
 * what they have on their stacks stays, also if they go on at once and move it to
 * where the cycle has looked already, or hand it to each other.
 *
 * If it is broken: an object that was only on the stack of a goroutine that was
 * woken at the wrong time is freed and used for something else.
 */
#include <kaus/gc.h>

#include "gctest.h"

#define NR	(UT_TSAN ? 400 : 2000)
#define ROUNDS	(UT_TSAN ? 4 : 15)
#define DEPTH	2
#define TREE	7UL	/* nodes of one */

static struct {
	struct kaus_chan *wake;
	struct node *seen;	/* a variable: no store to it needs a barrier */
} keepers[NR];

static struct kaus_waitgroup parked;
static atomic_bool has_begun;

/* In functions of their own, for no register to keep it. */
__attribute__((noinline))
static void take(struct node *volatile *mine, uintptr_t id)
{
	*mine = make_tree(DEPTH, id + 1);
}

__attribute__((noinline))
static void show(struct node *volatile *mine, uintptr_t id)
{
	keepers[id].seen = *mine;
	*mine = NULL;
}

static void wait_for(struct kaus_chan *ch)
{
	struct node *none;

	kaus_waitgroup_done(&parked);
	CHECK_EQ(0, kaus_chan_recv(ch, &none));
}

static void *keeper(void *arg)
{
	uintptr_t id = (uintptr_t)arg;
	struct node *volatile mine = NULL;

	for (int i = 0; i < ROUNDS; i++) {
		take(&mine, id);
		wait_for(keepers[id].wake);
		show(&mine, id);
		wait_for(keepers[id].wake);
		CHECK_EQ(TREE, check_tree(keepers[id].seen, id + 1));
		keepers[id].seen = NULL;
	}
	return NULL;
}

static void *collect(void *arg)
{
	(void)arg;
	atomic_store(&has_begun, true);
	CHECK_EQ(0, kaus_gc());
	return NULL;
}

/* Those that are looked at last come first. */
static void wake_all(void)
{
	struct node *none = NULL;

	kaus_waitgroup_add(&parked, NR);
	for (int id = NR; id-- > 0;)
		CHECK_EQ(0, kaus_chan_send(keepers[id].wake, &none));
}

static void litter(void)
{
	for (int i = 0; i < 4 * NR; i++)
		make_tree(DEPTH, ~0UL >> 1);
}

/* A cycle begins, and @fn is called while it looks at goroutines. */
static void in_cycle(void (*fn)(void))
{
	struct kaus_g *gc;

	atomic_store(&has_begun, false);
	gc = ut_spawn(collect, NULL);
	while (!atomic_load(&has_begun))
		kaus_yield();
	/* On one P it is marking when it gives way. */
	for (int i = 0; i < 100000 && !kaus_gc_barrier_on; i++)
		if (i % 100 == 0)
			kaus_yield();
	fn();
	CHECK_EQ(0, kaus_join(gc, NULL));
}

static void round_of_all(void)
{
	kaus_waitgroup_wait(&parked);
	in_cycle(wake_all);
	kaus_waitgroup_wait(&parked);
	litter();
}

static struct kaus_g *gs[NR];

static void begin(int check)
{
	concurrent(check);
	for (int id = 0; id < NR; id++)
		keepers[id].wake = kaus_chan_make(sizeof(struct node *), 0);
	elsewhere(make_ballast, (void *)12UL);
}

static int end(void)
{
	for (int id = 0; id < NR; id++)
		kaus_chan_free(keepers[id].wake);
	CHECK_EQ(0, gc_stats().nr_missed);
	return 0;
}

/* ---- moved by the goroutine itself ---- */

static int stacks(void *arg)
{
	struct node *none = NULL;

	begin((int)(intptr_t)arg);
	kaus_waitgroup_add(&parked, NR);
	for (uintptr_t id = 0; id < NR; id++)
		gs[id] = ut_spawn(keeper, (void *)id);
	for (int i = 0; i < ROUNDS; i++) {
		round_of_all();
		/* And they look at what they have shown. */
		kaus_waitgroup_add(&parked, i == ROUNDS - 1 ? 0 : NR);
		for (int id = 0; id < NR; id++)
			CHECK_EQ(0, kaus_chan_send(keepers[id].wake, &none));
	}
	for (int id = 0; id < NR; id++)
		CHECK_EQ(0, kaus_join(gs[id], NULL));
	return end();
}

/* ---- taken from it by another, and overwritten by what it receives ---- */

static struct node *volatile *places[NR];

static void *receiver(void *arg)
{
	uintptr_t id = (uintptr_t)arg;
	struct node *volatile mine = NULL;

	take(&mine, id);
	places[id] = &mine;
	kaus_waitgroup_done(&parked);
	CHECK_EQ(0, kaus_chan_recv(keepers[id].wake, (void *)(uintptr_t)&mine));
	CHECK_EQ(TREE, check_tree(mine, id + 2));
	return NULL;
}

static void overwrite(int id)
{
	struct node *other = make_tree(DEPTH, (uint64_t)id + 2);

	keepers[id].seen = *places[id];
	CHECK_EQ(0, kaus_chan_send(keepers[id].wake, &other));
}

static void overwrite_all(void)
{
	for (int id = NR; id-- > 0;)
		overwrite(id);
}

static void check_seen(void)
{
	for (uint64_t id = 0; id < NR; id++) {
		CHECK_EQ(TREE, check_tree(keepers[id].seen, id + 1));
		keepers[id].seen = NULL;
	}
}

static int received(void *arg)
{
	begin(0);
	for (int i = 0; i < ROUNDS; i++) {
		kaus_waitgroup_add(&parked, NR);
		for (uintptr_t id = 0; id < NR; id++)
			gs[id] = ut_spawn(receiver, (void *)id);
		kaus_waitgroup_wait(&parked);
		in_cycle(overwrite_all);
		litter();
		for (int id = 0; id < NR; id++)
			CHECK_EQ(0, kaus_join(gs[id], NULL));
		check_seen();
	}
	return end();
}

/* ---- returned, and fetched ---- */

static void *maker(void *arg)
{
	return make_tree(DEPTH, (uint64_t)(uintptr_t)arg + 1);
}

static void fetch_all(void)
{
	for (int id = NR; id-- > 0;)
		CHECK_EQ(0, kaus_join(gs[id], (void **)&keepers[id].seen));
}

static int results(void *arg)
{
	begin(0);
	for (int i = 0; i < ROUNDS; i++) {
		for (uintptr_t id = 0; id < NR; id++)
			gs[id] = ut_spawn(maker, (void *)id);
		/* They have ended. */
		for (int k = 0; k < 100; k++)
			kaus_yield();
		in_cycle(fetch_all);
		litter();
		check_seen();
	}
	return end();
}

TEST(what_is_overwritten_on_a_stack_stays)
{
	RUN(received, NULL);
}

TEST(what_was_returned_stays)
{
	RUN(results, NULL);
}

TEST(what_is_on_a_stack_stays)
{
	RUN(stacks, NULL);
}

TEST(what_is_on_a_stack_stays_by_the_check)
{
	RUN(stacks, (void *)1L);
}

TEST_HARNESS_MAIN
