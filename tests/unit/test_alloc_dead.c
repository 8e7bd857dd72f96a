// SPDX-License-Identifier: GPL-2.0-only
/*
 * Structures of spans that are no more go back to the kernel: the pages on which
 * there are no others, once, and they are used again before there are new ones.
 *
 * If it is broken: a live span loses its structure, which is a crash or an object
 * that is somebody else's as well; or the memory of structures stays, or grows
 * each time.
 */
#include "gctest.h"

#include "mem/heap.h"

#define SIZE		128UL	/* the most of a span of one page */
#define NR_OBJS		(UT_TSAN ? 400000 : 800000)

static uint64_t **objs;
static struct kaus_gc_root root;

static bool make_table(void)
{
	objs = calloc(NR_OBJS, sizeof(*objs));
	return CHECK(objs) &&
	       CHECK_EQ(0, kaus_gc_root_add(&root, objs,
					    NR_OBJS * sizeof(*objs)));
}

static void fill(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		uint64_t *obj = kaus_alloc_noscan(SIZE);

		if (!CHECK(obj) || !CHECK(!obj[0] && !obj[15]))
			return;
		obj[0] = i;
		obj[15] = ~i;
		objs[i] = obj;
	}
}

static void drop(size_t from, size_t to, size_t step)
{
	for (size_t i = from; i < to; i++) {
		if (!objs[i])
			continue;
		if (!CHECK(objs[i][0] == i && objs[i][15] == ~i))
			return;
		if (step && i % step == 0)
			continue;
		kaus_free(objs[i]);
		objs[i] = NULL;
	}
}

/* Of the structures; nobody looks at them before it is called. */
static size_t resident_bytes(void)
{
	size_t bytes = (kr_heap.nr_spans * sizeof(struct kr_span) + 4095) &
		       ~4095UL;
	unsigned char *there = calloc(1, bytes / 4096);
	size_t nr = 0;

	CHECK_EQ(0, mincore(kr_heap.spans, bytes, there));
	for (size_t i = 0; i < bytes / 4096; i++)
		nr += there[i] & 1;
	free(there);
	return nr * 4096;
}

/* The scavenger may be at it, or have been. */
static void return_until(size_t left)
{
	while (resident_bytes() > left)
		kr_heap_return_dead();
}

/* ---- all of them ---- */

static int all_main(void *arg)
{
	size_t before, after, nr_spans;
	uint64_t bytes;

	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, -1));
	if (!make_table())
		return 1;
	CHECK_EQ(0, kr_heap_return_dead());
	fill(0, NR_OBJS);
	CHECK_EQ(0, kr_heap_return_dead());
	nr_spans = kr_heap.nr_spans;
	CHECK(nr_spans > NR_OBJS / 64);
	before = resident_bytes();
	drop(0, NR_OBJS, 0);
	/* Those that are empty leave the lists of their classes. */
	CHECK_EQ(0, kaus_gc());
	bytes = kr_heap_return_dead();
	after = resident_bytes();
	CHECK(after <= before && before - after >= bytes / 10 * 9);
	return_until(before / 10);
	/* Once. */
	CHECK(kr_heap_return_dead() < before / 10);
	/* And they are used again. */
	fill(0, NR_OBJS);
	CHECK(kr_heap.nr_spans < nr_spans + 100);
	CHECK_EQ(0, kaus_gc());
	CHECK(gc_stats().nr_marked >= NR_OBJS);
	drop(0, NR_OBJS, 0);
	CHECK_EQ(0, kaus_gc());
	return_until(before / 10);
	CHECK(kr_pages_check());
	kaus_gc_root_del(&root);
	return 0;
}

TEST(all_but_the_last_page)
{
	RUN(all_main, NULL);
}

/* ---- among live ones ---- */

static int some_main(void *arg)
{
	const size_t part = NR_OBJS / 4;
	size_t before;

	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, -1));
	if (!make_table())
		return 1;
	fill(0, NR_OBJS);
	before = resident_bytes();
	/* Of the first and the third quarter each 1000th stays. */
	drop(0, part, 1000);
	drop(part, 2 * part, 0);
	drop(2 * part, 3 * part, 1000);
	drop(3 * part, NR_OBJS, 0);
	CHECK_EQ(0, kaus_gc());
	return_until(before / 10 * 6);
	/* Those that are there, and those that were returned. */
	fill(part, 2 * part);
	fill(3 * part, NR_OBJS);
	CHECK_EQ(0, kaus_gc());
	drop(0, NR_OBJS, 3);
	drop(0, NR_OBJS, 0);
	CHECK(kr_pages_check());
	kaus_gc_root_del(&root);
	return 0;
}

TEST(those_among_others_stay)
{
	RUN(some_main, NULL);
}

/* ---- beside those who make and end spans ---- */

#define NR_GS 8
#define NR_ROUNDS (UT_TSAN ? 3 : 5)

static atomic_bool stop;
static atomic_ulong nr_bytes;

static void *returner(void *arg)
{
	while (!atomic_load(&stop)) {
		atomic_fetch_add(&nr_bytes, kr_heap_return_dead());
		/* Without it an emulated machine does little else. */
		usleep(200);
	}
	return NULL;
}

static void *mutator(void *arg)
{
	size_t from = (uintptr_t)arg * (NR_OBJS / NR_GS);
	size_t to = from + NR_OBJS / NR_GS;

	for (int i = 0; i < NR_ROUNDS; i++) {
		for (size_t k = from; k < to; k++)
			if (!objs[k])
				fill(k, k + 1);
		kaus_yield();
		drop(from, to, i % 3 ? 0 : 500);
		if (i % 4 == 0)
			CHECK_EQ(0, kaus_gc());
	}
	drop(from, to, 0);
	return NULL;
}

static int beside_main(void *arg)
{
	struct kaus_g *gs[NR_GS];
	pthread_t threads[2];

	CHECK_EQ(0, kaus_gc_set(KAUS_GC_CONCURRENT, !!arg));
	if (!make_table())
		return 1;
	for (int i = 0; i < 2; i++)
		CHECK_EQ(0, pthread_create(&threads[i], NULL, returner, NULL));
	for (int i = 0; i < NR_GS; i++)
		gs[i] = ut_spawn(mutator, (void *)(uintptr_t)i);
	for (int i = 0; i < NR_GS; i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	/* All are dead by now. The scavenger may have been before the two. */
	while (!atomic_load(&nr_bytes)) {
		fill(0, NR_OBJS);
		drop(0, NR_OBJS, 0);
		CHECK_EQ(0, kaus_gc());
		kaus_sleep(MSEC);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK(kr_pages_check());
	kaus_gc_root_del(&root);
	return 0;
}

TEST(beside_those_who_allocate)
{
	RUN(beside_main, NULL);
}

TEST(beside_cycles_that_run_meanwhile)
{
	RUN(beside_main, &stop);
}

TEST_HARNESS_MAIN
