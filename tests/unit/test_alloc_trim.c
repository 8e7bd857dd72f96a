// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of partly used spans go back to the kernel: those on which no object is,
 * all of them, once, and no other; and what is allocated there later is zero.
 *
 * If it is broken: a survivor or a new object that reads as zeros or is found
 * changed; a span that is lost, or handed out twice, while it is being trimmed;
 * or memory that stays.
 */
#include "utest.h"

#include "mem/cache.h"
#include "mem/scavenge.h"
#include "mem/trim.h"

#define NR_SIZES 6
static const size_t sizes[NR_SIZES] = { 48, 144, 512, 1000, 3000, 9000 };

#define BYTES (UT_TSAN ? 2UL << 20 : 6UL << 20)	/* of each size */

/* The tables are no part of the heap. */
static unsigned char **objs[NR_SIZES];
static struct kaus_gc_root roots[NR_SIZES];

static size_t nr_of(int size)
{
	return BYTES / sizes[size];
}

static bool is_all(const unsigned char *obj, size_t size, unsigned char value)
{
	return obj[0] == value && !memcmp(obj, obj + 1, size - 1);
}

static unsigned char value_of(size_t i)
{
	return i % 255 + 1;
}

static bool fill(int size)
{
	for (size_t i = 0; i < nr_of(size); i++) {
		if (objs[size][i])
			continue;
		objs[size][i] = kaus_alloc_noscan(sizes[size]);
		if (!CHECK(objs[size][i]) ||
		    !CHECK(is_all(objs[size][i], sizes[size], 0)))
			return false;
		memset(objs[size][i], value_of(i), sizes[size]);
	}
	return true;
}

static void drop_all_but(int size, size_t step)
{
	for (size_t i = 0; i < nr_of(size); i++) {
		if (i % step == 0)
			continue;
		kaus_free(objs[size][i]);
		objs[size][i] = NULL;
	}
}

static void check_rest(int size)
{
	for (size_t i = 0; i < nr_of(size); i++)
		if (objs[size][i])
			CHECK(is_all(objs[size][i], sizes[size], value_of(i)));
}

static bool make_tables(void)
{
	for (int s = 0; s < NR_SIZES; s++) {
		objs[s] = calloc(nr_of(s), sizeof(*objs[s]));
		if (!CHECK(objs[s]))
			return false;
		CHECK_EQ(0, kaus_gc_root_add(&roots[s], objs[s],
					     nr_of(s) * sizeof(*objs[s])));
	}
	return true;
}

static void free_tables(void)
{
	for (int s = 0; s < NR_SIZES; s++) {
		kaus_gc_root_del(&roots[s]);
		free(objs[s]);
	}
}

#define SIZE 2			/* 512 bytes: none is on two pages */

static bool is_trimmed(struct kr_span *s)
{
	return s->class == kr_class_of(sizes[SIZE]) &&
	       kr_state_where(kr_span_state(s)) == KR_SPAN_PARTIAL;
}

/* Pages of such spans that are in memory. */
static size_t nr_resident(size_t *ret_spans)
{
	size_t nr = 0;

	*ret_spans = 0;
	for (uint32_t i = 1; i < kr_heap.nr_spans; i++) {
		struct kr_span *s = &kr_heap.spans[i];
		size_t nr_pages = s->npages * KR_HPAGE_KERNEL;
		unsigned char in[64];

		if (!is_trimmed(s) || !CHECK(nr_pages <= sizeof(in)))
			continue;
		CHECK_EQ(0, mincore(s->base, nr_pages * 4096, in));
		for (size_t k = 0; k < nr_pages; k++)
			nr += in[k] & 1;
		(*ret_spans)++;
	}
	return nr;
}

static int compare(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

/* And those that have an object on them. */
static size_t nr_needed(void)
{
	size_t nr_objs = 0, nr = 0;
	uintptr_t *pages = calloc(nr_of(SIZE), sizeof(*pages));

	for (size_t i = 0; CHECK(pages) && i < nr_of(SIZE); i++)
		if (objs[SIZE][i] && is_trimmed(kr_span_of(objs[SIZE][i])))
			pages[nr_objs++] = (uintptr_t)objs[SIZE][i] / 4096;
	qsort(pages, nr_objs, sizeof(*pages), compare);
	for (size_t i = 0; i < nr_objs; i++)
		nr += !i || pages[i] != pages[i - 1];
	free(pages);
	return nr;
}

/* Each 40th: on 20 KiB there is one, on a page of 4 KiB. */
static int exact_main(void *arg)
{
	size_t nr_spans, step = 40;
	uint64_t bytes;

	if (!make_tables() || !fill(SIZE))
		return 1;
	drop_all_but(SIZE, step);
	bytes = kr_scavenge_spans(UINT64_MAX);
	CHECK_EQ(nr_needed(), nr_resident(&nr_spans));
	CHECK(nr_spans > BYTES / 32768 / 2);
	CHECK(bytes > nr_spans * 4096 * 2);
	check_rest(SIZE);
	/* That is all of it. Only what was used again goes a second time. */
	CHECK_EQ(0, kr_scavenge_spans(UINT64_MAX));
	fill(SIZE);
	check_rest(SIZE);
	drop_all_but(SIZE, step);
	CHECK(kr_scavenge_spans(UINT64_MAX) > nr_spans * 4096);
	check_rest(SIZE);
	free_tables();
	return 0;
}

TEST(exactly_the_unused_pages)
{
	RUN(exact_main, NULL);
}

/* ---- beside those who allocate, free and collect ---- */

static atomic_bool stop;
static atomic_ulong nr_bytes;

static void *trimmer(void *arg)
{
	while (!atomic_load(&stop)) {
		atomic_fetch_add(&nr_bytes, kr_scavenge_spans(UINT64_MAX));
		kr_scavenge(UINT64_MAX);
	}
	return NULL;
}

#define NR_ROUNDS (UT_TSAN ? 4 : 12)

static void *mutator(void *arg)
{
	int size = (int)(uintptr_t)arg;

	for (int i = 0; i < NR_ROUNDS; i++) {
		fill(size);
		kaus_yield();
		drop_all_but(size, i % 3 ? 40 : 7);
		check_rest(size);
		/* What nobody refers to is freed by a cycle as well. */
		for (int k = 0; k < 100; k++)
			CHECK(kaus_alloc_noscan(sizes[size]));
		if (i % 4 == size % 4)
			kaus_gc();
	}
	drop_all_but(size, nr_of(size));
	return NULL;
}

static int beside_main(void *arg)
{
	struct kaus_g *gs[NR_SIZES];
	pthread_t thread;

	if (!make_tables())
		return 1;
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_CONCURRENT, !!arg));
	CHECK_EQ(0, pthread_create(&thread, NULL, trimmer, NULL));
	for (int s = 0; s < NR_SIZES; s++)
		CHECK_EQ(0, kaus_spawn(mutator, (void *)(uintptr_t)s,
				       &gs[s]));
	for (int s = 0; s < NR_SIZES; s++)
		CHECK_EQ(0, kaus_join(gs[s], NULL));
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	CHECK(atomic_load(&nr_bytes) > BYTES);
	CHECK(kr_pages_check());
	free_tables();
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
