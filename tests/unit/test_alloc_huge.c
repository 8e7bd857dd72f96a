// SPDX-License-Identifier: GPL-2.0-only
/*
 * KAUS_GC_HUGE_PAGES: the kernel is asked to make the heap of huge pages, or not
 * to, as it grows; what is in it does not change.
 *
 * If it is broken: the heap is in the other kind of pages, from the beginning or
 * since it has grown.
 */
#include "utest.h"

#include "mem/pages.h"

#define OBJ_BYTES (1UL << 20)
#define NR_OBJS 96		/* more than what the heap grows by */

static unsigned char *objs[NR_OBJS];

static bool fill(int from, int to)
{
	for (int i = from; i < to; i++) {
		objs[i] = kaus_alloc_noscan(OBJ_BYTES);
		if (!CHECK(objs[i]))
			return false;
		memset(objs[i], i + 1, OBJ_BYTES);
	}
	return true;
}

static void check_all(void)
{
	for (int i = 0; i < NR_OBJS; i++)
		CHECK(objs[i][0] == i + 1 &&
		      !memcmp(objs[i], objs[i] + 1, OBJ_BYTES - 1));
}

/* Of the mapping at @addr: its flags, and how much of it is in huge pages. */
static void look(const void *addr, bool *ret_asked, bool *ret_refused,
		 unsigned long *ret_kb)
{
	uintptr_t lo, hi, at = (uintptr_t)addr;
	bool there = false;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");

	*ret_asked = *ret_refused = false;
	*ret_kb = 0;
	while (CHECK(f) && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
			there = lo <= at && at < hi;
		else if (there && !strncmp(line, "VmFlags:", 8)) {
			*ret_asked = strstr(line, " hg");
			*ret_refused = strstr(line, " nh");
		} else if (there) {
			(void)sscanf(line, "AnonHugePages: %lu kB", ret_kb);
		}
	}
	if (f)
		fclose(f);
}

static void check_kind(bool on)
{
	/* Where objects are that are there since, and of the heap's growth. */
	for (int i = NR_OBJS / 2; i < NR_OBJS; i += NR_OBJS / 2 - 1) {
		bool asked, refused;
		unsigned long kb;

		look(objs[i], &asked, &refused, &kb);
		CHECK_EQ(on, asked);
		CHECK_EQ(!on, refused);
		/* Whether it has some to give is up to the kernel. */
		if (!on)
			CHECK_EQ(0, kb);
	}
}

static int from_env(void *arg)
{
	CHECK_EQ((intptr_t)arg, kaus_gc_get(KAUS_GC_HUGE_PAGES));
	if (!fill(0, NR_OBJS))
		return 1;
	check_kind(arg);
	check_all();
	return 0;
}

static bool is_known(void)
{
	return !access("/sys/kernel/mm/transparent_hugepage", F_OK);
}

TEST(environment)
{
	setenv("KAUS_GC_HUGE_PAGES", "2", 1);
	EXPECT_EQ(-EINVAL, kaus_run(from_env, NULL));
}

TEST(asked_for)
{
	if (!is_known())
		SKIP(return, "this kernel has no huge pages");
	setenv("KAUS_GC_HUGE_PAGES", "1", 1);
	RUN(from_env, (void *)1L);
}

TEST(kept_away)
{
	if (!is_known())
		SKIP(return, "this kernel has no huge pages");
	setenv("KAUS_GC_HUGE_PAGES", "0", 1);
	RUN(from_env, NULL);
}

/* What there is of the heap already counts, too. */
static int later(void *arg)
{
	(void)arg;
	CHECK_EQ(-1, kaus_gc_get(KAUS_GC_HUGE_PAGES));
	CHECK_EQ(-EINVAL, kaus_gc_set(KAUS_GC_HUGE_PAGES, 2));
	CHECK_EQ(-EINVAL, kaus_gc_set(KAUS_GC_HUGE_PAGES, -1));
	if (!fill(0, 8))
		return 1;
	if (!is_known()) {
		CHECK_EQ(-EOPNOTSUPP, kaus_gc_set(KAUS_GC_HUGE_PAGES, 1));
		return 0;
	}
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_HUGE_PAGES, 1));
	CHECK_EQ(1, kaus_gc_get(KAUS_GC_HUGE_PAGES));
	if (!fill(8, NR_OBJS))
		return 1;
	check_kind(true);
	check_all();
	CHECK(kr_pages_check());
	return 0;
}

TEST(while_it_runs)
{
	RUN(later, NULL);
}

TEST_HARNESS_MAIN
