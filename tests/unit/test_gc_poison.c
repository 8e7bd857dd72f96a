// SPDX-License-Identifier: GPL-2.0-only
/*
 * KAUS_GC_POISON: what is freed, by the program or by the collector, is filled, is
 * zero when it is used again, and nothing else is touched.
 *
 * If it is broken: a use after free reads what it always read, and goes
 * unnoticed; or an object that lives is damaged.
 */
#include "gctest.h"

#define POISON	0xdbdbdbdbdbdbdbdbULL
#define KB	1024UL
#define NR	2000

/* The compiler shall not know where it comes from. */
static uint64_t word_at(uintptr_t addr, size_t i)
{
	const volatile uint64_t *at = (const volatile uint64_t *)addr;

	return at[i];
}

static bool all_are(uintptr_t addr, size_t bytes, uint64_t word)
{
	for (size_t i = 0; i < bytes / 8; i++)
		if (word_at(addr, i) != word)
			return false;
	return true;
}

static void poison_on(void)
{
	CHECK_EQ(0, kaus_gc_get(KAUS_GC_POISON));
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_POISON, 1));
	CHECK_EQ(1, kaus_gc_get(KAUS_GC_POISON));
	CHECK_EQ(-EINVAL, kaus_gc_set(KAUS_GC_POISON, 2));
	CHECK_EQ(-EINVAL, kaus_gc_set(KAUS_GC_POISON, -1));
}

/* ---- by the program ---- */

#define NR_SIDE	600	/* by side: those in between stay, and so do pages */

static char *side[NR_SIDE];
static uintptr_t gone[NR_SIDE / 2];

static void free_some(size_t size)
{
	const uint64_t full = 0x5a5a5a5a5a5a5a5aULL;
	int nr_again = 0;
	char *again;

	for (int i = 0; i < NR_SIDE; i++) {
		side[i] = kaus_alloc_noscan(size);
		memset(side[i], 0x5a, kaus_alloc_size(side[i]));
	}
	for (int i = 0; i < NR_SIDE; i += 2) {
		gone[i / 2] = (uintptr_t)side[i];
		kaus_free(side[i]);
	}
	for (int i = 0; i < NR_SIDE; i += 2) {
		CHECK(all_are(gone[i / 2], size, POISON));
		CHECK(all_are((uintptr_t)side[i + 1], size, full));
	}
	/* Zero for the next one, some of whom are where others were. */
	for (int i = 0; i < 4 * NR_SIDE; i++) {
		again = kaus_alloc_noscan(size);
		if (!CHECK(all_are((uintptr_t)again, size, 0)))
			break;
		for (int k = 0; k < NR_SIDE / 2; k++)
			nr_again += (uintptr_t)again == gone[k];
	}
	CHECK(nr_again > 0);
}

static int by_program(void *arg)
{
	static const size_t sizes[] = { 16, 48, 256, 1024, 2048 };

	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, -1));
	poison_on();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		free_some(sizes[i]);
	return 0;
}

TEST(freed_by_the_program)
{
	RUN(by_program, NULL);
}

/* ---- by the collector ---- */

#define NR_LARGE	8
#define LARGE_BYTES	(100 * KB)

static struct node *live[NR];
static uintptr_t dead[NR];	/* inverted: no references */
static uintptr_t large[NR_LARGE];

static void *make_all(void *arg)
{
	for (uint64_t i = 0; i < NR; i++) {
		struct node *n = make_node(i);

		live[i] = make_node(i);
		n->left = live[i];
		dead[i] = ~(uintptr_t)n;
	}
	for (int i = 0; i < NR_LARGE; i++)
		large[i] = ~(uintptr_t)memset(kaus_alloc(LARGE_BYTES), 0x5a,
					      LARGE_BYTES);
	return NULL;
}

/* Pages without an object may be the kernel's by now, and are zero then. */
static bool is_dead(uintptr_t obj)
{
	for (size_t i = 0; i < LARGE_BYTES / 8; i++)
		if (word_at(obj, i) != POISON && word_at(obj, i))
			return false;
	return true;
}

static void *look_at_all(void *arg)
{
	int nr_kept = 0;

	for (uint64_t i = 0; i < NR; i++) {
		CHECK(live[i]->tag == i && is_sound(live[i]));
		if (is_sound((struct node *)~dead[i]))
			nr_kept++;
		else
			CHECK(all_are(~dead[i], sizeof(struct node), POISON));
	}
	/* Those that seem to be in use. */
	CHECK(nr_kept <= HELD_MAX);
	nr_kept = 0;
	for (int i = 0; i < NR_LARGE; i++)
		if (!is_dead(~large[i])) {
			CHECK(all_are(~large[i], LARGE_BYTES,
				      0x5a5a5a5a5a5a5a5aULL));
			nr_kept++;
		}
	CHECK(nr_kept < NR_LARGE);
	return NULL;
}

static int by_collector(void *arg)
{
	kaus_gc_set(KAUS_GC_CONCURRENT, (int)(intptr_t)arg);
	poison_on();
	elsewhere(make_all, NULL);
	CHECK_EQ(0, kaus_gc());
	elsewhere(look_at_all, NULL);
	for (int i = 0; i < 100000; i++)
		if (!CHECK(all_are((uintptr_t)make_node(1), 16, 0)))
			break;
	return 0;
}

TEST(swept)
{
	RUN(by_collector, NULL);
}

TEST(swept_after_a_concurrent_cycle)
{
	RUN(by_collector, (void *)1L);
}

/* ---- by the environment ---- */

static int from_env(void *arg)
{
	CHECK_EQ((intptr_t)arg, kaus_gc_get(KAUS_GC_POISON));
	return 0;
}

TEST(environment)
{
	setenv("KAUS_GC_POISON", "2", 1);
	EXPECT_EQ(-EINVAL, kaus_run(from_env, NULL));
	setenv("KAUS_GC_POISON", "1", 1);
	RUN(from_env, (void *)1L);
}

TEST_HARNESS_MAIN
