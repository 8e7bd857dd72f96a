// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that was freed goes back to the kernel, by itself, and without making
 * an idle process wake up; what is in use is not touched by it.
 *
 * If it is broken: the process stays as large as it ever was, which is a test
 * that does not end; or an object reads as zeros.
 */
#include "utest.h"

#include "mem/cache.h"
#include "mem/scavenge.h"

/*
 * Not more than the account of the thread bears at once, even where a page costs
 * ten times as much as it should: an emulated machine that is short of time.
 */
#define NR_OBJS 1024
#define OBJ_BYTES (UT_TSAN ? 16000UL : 32000UL)
/* May stay: some MiB, and a tenth of what is used. */
#define RESERVE_BYTES (10UL << 20)

static unsigned char *objs[NR_OBJS];

static void fill(void)
{
	for (int i = 0; i < NR_OBJS; i++) {
		objs[i] = kaus_alloc_noscan(OBJ_BYTES);
		if (!CHECK(objs[i]))
			return;
		memset(objs[i], i % 255 + 1, OBJ_BYTES);
	}
}

/* All but every @step-th group: spans have several objects. */
static void drop(int step)
{
	for (int i = 0; i < NR_OBJS; i++) {
		if (i / 16 % step == 0)
			continue;
		kaus_free(objs[i]);
		objs[i] = NULL;
	}
}

static void check_rest(void)
{
	for (int i = 0; i < NR_OBJS; i++)
		if (objs[i]) {
			CHECK_EQ(i % 255 + 1, objs[i][0]);
			CHECK(!memcmp(objs[i], objs[i] + 1, OBJ_BYTES - 1));
		}
}

static size_t returnable_bytes(void)
{
	struct kr_page_stats st;

	kr_pages_read_stats(&st);
	return st.returnable_pages * KR_HPAGE_BYTES;
}

/* Pages of the process's memory, as the kernel counts them. */
static long resident_pages(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long size = 0, resident = 0;

	if (f) {
		CHECK_EQ(2, fscanf(f, "%ld %ld", &size, &resident));
		fclose(f);
	}
	return resident;
}

static int by_itself_main(void *arg)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };
	uint64_t told = 0;
	long before;

	for (int round = 0; round < 2; round++) {
		fill();
		before = resident_pages();
		drop(16);
		while (returnable_bytes() > RESERVE_BYTES)
			kaus_sleep(10 * MSEC);
		if (!UT_TSAN)
			CHECK(resident_pages() <
			      before - (long)(NR_OBJS * OBJ_BYTES / 4096 / 2));
		check_rest();
		/* And it is told, with what it has cost. */
		CHECK_EQ(0, kaus_gc_stats_read(&st));
		CHECK(st.returned_bytes - told >
		      (NR_OBJS * OBJ_BYTES - RESERVE_BYTES) / 2);
		told = st.returned_bytes;
		CHECK(st.scavenge_cpu_ns > 0);
		for (int i = 0; i < NR_OBJS; i++)
			kaus_free(objs[i]);
	}
	return 0;
}

TEST(what_is_dropped_goes_back)
{
	RUN(by_itself_main, NULL);
}

/* All at once, as when memory is short. */
static int at_once_main(void *arg)
{
	size_t before;

	fill();
	drop(2);
	before = returnable_bytes();
	CHECK(before > NR_OBJS / 4 * OBJ_BYTES);
	kr_scavenge(500);
	CHECK(returnable_bytes() <= before - 500 * KR_HPAGE_BYTES);
	while (returnable_bytes() > 4 << 20)
		kr_scavenge(UINT64_MAX);
	CHECK(kr_pages_check());
	check_rest();
	/* And used again it is zero. */
	for (int i = 0; i < NR_OBJS; i++) {
		unsigned char *p = objs[i];

		if (p)
			continue;
		p = kaus_alloc_noscan(OBJ_BYTES);
		CHECK(p && !p[0] && !memcmp(p, p + 1, OBJ_BYTES - 1));
		memset(p, i % 255 + 1, OBJ_BYTES);
		objs[i] = p;
	}
	check_rest();
	return 0;
}

TEST(all_goes_back_when_asked)
{
	RUN(at_once_main, NULL);
}

TEST_HARNESS_MAIN
