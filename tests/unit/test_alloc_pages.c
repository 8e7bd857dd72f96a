// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page heap against a model: random runs taken and given back, through a
 * cache and without, returned to the kernel in between. After each step of a
 * sample the summaries are compared with the bitmaps.
 *
 * If it is broken: a run that overlaps another, is not the lowest that is long
 * enough, is said to be zero and is not, or is not found though it is there.
 */
#include "utest.h"

#include "mem/central.h"
#include "mem/heap.h"
#include "mem/pages.h"
#include "mem/scavenge.h"
#include "mem/sizeclass.h"
#include "os/os.h"

#define MAX_BYTES ((size_t)256 << 20)
#define MAX_PAGES (MAX_BYTES / KR_HPAGE_BYTES)
#define MAX_RUNS 4096
#define STEPS (UT_TSAN ? 2000 : 20000)

static struct kr_run runs[MAX_RUNS];
static uint32_t nr_runs;
/* The model: 1 taken; and 1 written to, LAZY that and not wanted, or 0. */
#define LAZY 2
static unsigned char taken[MAX_PAGES];
static unsigned char dirty[MAX_PAGES];

static char *addr_of(uint32_t page)
{
	return kr_pages.base + (size_t)page * KR_HPAGE_BYTES;
}

/* The lowest run of @nr free pages below @end in the model. */
static uint32_t model_find(uint32_t nr, uint32_t end)
{
	uint32_t len = 0;

	for (uint32_t p = 0; p < end; p++) {
		len = taken[p] ? 0 : len + 1;
		if (len == nr)
			return p + 1 - nr;
	}
	return KR_NO_PAGE;
}

/* True if the model agrees that the run may be had. */
static bool model_take(uint32_t page, uint32_t nr, bool clean)
{
	for (uint32_t p = page; p < page + nr; p++) {
		if (taken[p])
			return false;
		taken[p] = 1;
		if (clean && dirty[p])
			return false;
		if (clean && *(volatile long *)addr_of(p))
			return false;
		*(volatile long *)addr_of(p) = 1;
		dirty[p] = 1;
	}
	return true;
}

static void model_put(uint32_t page, uint32_t nr)
{
	memset(taken + page, 0, nr);
}

static uint32_t some_length(uint64_t *rand)
{
	uint64_t r = ut_rand(rand);

	if (r % 100 == 0)
		return 1 + (r >> 16) % 3000;
	if (r % 10 == 0)
		return 1 + (r >> 16) % 200;
	return 1 + (r >> 16) % 12;
}

/* False: it was given what it must not be given. */
static bool return_some(uint64_t *rand, uint32_t *nr_pages)
{
	struct kr_run got[16];
	struct kr_vm_range range;
	uint32_t cursor = UINT32_MAX, nr, sum = 0;
	uint32_t min = 1U << ut_rand(rand) % 9;
	uint32_t align = ut_rand(rand) & 1 ? min : 1;
	struct kr_page_wish wish = { min, align, ut_rand(rand) & 1 };

	while (cursor) {
		nr = kr_pages_take_returnable(&wish, &cursor, 1000, got, 16);
		for (uint32_t i = 0; i < nr; i++) {
			uint32_t end = got[i].page + got[i].nr;

			if (got[i].nr < min || got[i].page % align)
				return false;
			for (uint32_t p = got[i].page; p < end; p++) {
				if (taken[p] || !dirty[p] ||
				    (wish.lazy && dirty[p] == LAZY))
					return false;
				dirty[p] = wish.lazy ? LAZY : 0;
			}
			range.addr = addr_of(got[i].page);
			range.size = got[i].nr * KR_HPAGE_BYTES;
			if (wish.lazy ? kr_vm_free_lazily(&range, 1) :
					kr_vm_return(&range, 1))
				return false;
			sum += got[i].nr;
		}
		kr_pages_put_returned(got, nr, wish.lazy ? KR_PAGE_LAZY :
							   KR_PAGE_CLEAN);
		if (nr == 16 || sum >= 1000)
			break;
	}
	*nr_pages += sum;
	return true;
}

TEST(runs_against_a_model)
{
	struct kr_page_stats st;
	uint64_t rand = 12345;
	uint32_t nr_returned = 0;

	ASSERT_EQ(0, kr_pages_init(MAX_BYTES));
	/* The first page is nobody's. */
	taken[0] = 1;
	ASSERT_EQ(MAX_PAGES, kr_pages.max_pages);
	for (int step = 0; step < STEPS; step++) {
		uint64_t r = ut_rand(&rand);

		/* In waves, so that the heap is full and empty in turn. */
		if (r % 100 < (step / 1000 & 1 ? 35 : 65) &&
		    nr_runs < MAX_RUNS) {
			uint32_t nr = some_length(&rand), page, model;
			bool clean = false;

			model = model_find(nr, kr_pages.nr_pages);
			page = kr_pages_alloc(nr, &clean);
			if (model != KR_NO_PAGE)
				ASSERT_EQ(model, page);
			if (page == KR_NO_PAGE) {
				model = model_find(nr, MAX_PAGES);
				ASSERT_EQ(KR_NO_PAGE, model);
				continue;
			}
			ASSERT_TRUE(model_take(page, nr, clean));
			runs[nr_runs++] = (struct kr_run){ page, nr };
		} else if (nr_runs) {
			uint32_t i = (uint32_t)(r >> 32) % nr_runs;

			kr_pages_free(runs[i].page, runs[i].nr);
			model_put(runs[i].page, runs[i].nr);
			runs[i] = runs[--nr_runs];
		}
		if (r % 64 == 0)
			ASSERT_TRUE(return_some(&rand, &nr_returned));
		if (step % 16 == 0)
			ASSERT_TRUE(kr_pages_check());
	}
	EXPECT_LT(1000U, nr_returned);
	while (nr_runs) {
		nr_runs--;
		kr_pages_free(runs[nr_runs].page, runs[nr_runs].nr);
	}
	ASSERT_TRUE(kr_pages_check());
	kr_pages_read_stats(&st);
	EXPECT_EQ(st.committed_pages - 1, st.free_pages);
	EXPECT_LT(0U, st.lazy_pages);
	for (uint32_t p = 0; p < st.committed_pages; p++)
		st.lazy_pages -= dirty[p] == LAZY;
	EXPECT_EQ(0U, st.lazy_pages);
}

TEST(runs_through_a_cache)
{
	struct kr_page_cache pc = { 0 };
	struct kr_page_stats st;
	uint64_t rand = 99;

	ASSERT_EQ(0, kr_pages_init(MAX_BYTES));
	/* The first page is nobody's. */
	taken[0] = 1;
	for (int step = 0; step < STEPS; step++) {
		uint64_t r = ut_rand(&rand);

		if (r % 100 < (step / 1000 & 1 ? 40 : 60) &&
		    nr_runs < MAX_RUNS) {
			uint32_t nr = 1 + (r >> 16) % KR_PAGE_CACHE_MAX, page;
			bool clean = false;

			page = kr_pages_alloc_cached(&pc, nr, &clean);
			ASSERT_NE(KR_NO_PAGE, page);
			ASSERT_TRUE(model_take(page, nr, clean));
			runs[nr_runs++] = (struct kr_run){ page, nr };
		} else if (nr_runs) {
			uint32_t i = (uint32_t)(r >> 32) % nr_runs;

			kr_pages_free(runs[i].page, runs[i].nr);
			model_put(runs[i].page, runs[i].nr);
			runs[i] = runs[--nr_runs];
		}
		if (r % 256 == 0)
			kr_pages_flush(&pc);
		if (step % 16 == 0)
			ASSERT_TRUE(kr_pages_check());
	}
	while (nr_runs) {
		nr_runs--;
		kr_pages_free(runs[nr_runs].page, runs[nr_runs].nr);
	}
	kr_pages_flush(&pc);
	ASSERT_TRUE(kr_pages_check());
	kr_pages_read_stats(&st);
	EXPECT_EQ(st.committed_pages - 1, st.free_pages);
}

/* Every class divides offsets right, and is the least that is large enough. */
TEST(size_classes)
{
	for (unsigned int c = 1; c < KR_NR_CLASSES; c++) {
		uint32_t bytes = kr_class_bytes[c];
		uint32_t span = kr_class_pages[c] * KR_HPAGE_BYTES;

		EXPECT_EQ(0U, bytes % 16);
		EXPECT_LT(kr_class_bytes[c - 1], bytes);
		EXPECT_LE(span % bytes, span / 16);
		EXPECT_LE(span / bytes, KR_SPAN_WORDS * 64U);
		EXPECT_LE((uint32_t)kr_class_pages[c], KR_PAGE_CACHE_MAX);
		for (uint32_t off = 0; off < span; off++)
			if (off / bytes !=
			    (uint64_t)off * kr_class_magic[c] >> 32)
				ASSERT_EQ(off / bytes, UINT32_MAX);
	}
	for (uint32_t size = 1; size <= KR_SMALL_MAX; size++) {
		unsigned int c = kr_class_of(size);

		if (kr_class_bytes[c] < size || kr_class_bytes[c - 1] >= size)
			ASSERT_EQ(size, 0U);
	}
}

/*
 * What the kernel does with a range that is not of whole pages: it refuses a
 * beginning in mid page, and takes the page in which the end is as a whole,
 * that is, also what is beyond. The runtime asks for neither: its pages are
 * two of the kernel's, and kr_vm_return() refuses what is not.
 */
TEST(only_whole_pages_are_returned)
{
	struct kr_vm_range range;
	char *mem;

	mem = mmap(NULL, 4 * KR_PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	memset(mem, 1, 4 * KR_PAGE_SIZE);
	EXPECT_EQ(-1, madvise(mem + 16, KR_PAGE_SIZE, MADV_DONTNEED));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(1, mem[16]);
	EXPECT_EQ(0, madvise(mem, 16, MADV_DONTNEED));
	EXPECT_EQ(0, mem[KR_PAGE_SIZE - 1]);
	EXPECT_EQ(1, mem[KR_PAGE_SIZE]);

	range = (struct kr_vm_range){ mem + KR_PAGE_SIZE, 100 };
	EXPECT_EQ(-EINVAL, kr_vm_return(&range, 1));
	EXPECT_EQ(1, mem[KR_PAGE_SIZE]);
	range = (struct kr_vm_range){ mem + KR_PAGE_SIZE + 8, KR_PAGE_SIZE };
	EXPECT_EQ(-EINVAL, kr_vm_return(&range, 1));
	EXPECT_EQ(1, mem[2 * KR_PAGE_SIZE]);
	range = (struct kr_vm_range){ mem + KR_PAGE_SIZE, 2 * KR_PAGE_SIZE };
	EXPECT_EQ(0, kr_vm_return(&range, 1));
	EXPECT_EQ(0, mem[KR_PAGE_SIZE]);
	EXPECT_EQ(0, mem[3 * KR_PAGE_SIZE - 1]);
	EXPECT_EQ(1, mem[3 * KR_PAGE_SIZE]);
	munmap(mem, 4 * KR_PAGE_SIZE);
	_Static_assert(KR_HPAGE_BYTES % KR_PAGE_SIZE == 0, "whole pages");
}

/* ---- what is returned first ---- */

#define NR_ALL	4096U		/* pages */
#define NR_HUGE	256U		/* of ours in a huge page */

enum { LOW_HUGE, HIGH_HUGE, LONG, LOW_SHORT, HIGH_SHORT, NR_FREED };

static struct kr_run freed[NR_FREED];

/* All pages of a run have memory, or none has. */
static int is_resident(struct kr_run run)
{
	unsigned char there[NR_HUGE * KR_HPAGE_KERNEL];
	size_t nr = run.nr * KR_HPAGE_KERNEL, nr_there = 0;

	if (mincore(addr_of(run.page), nr * KR_PAGE_SIZE, there))
		return -1;
	for (size_t i = 0; i < nr; i++)
		nr_there += there[i] & 1;
	return nr_there == nr ? 1 : nr_there ? -2 : 0;
}

/* Those of @order from @from on are there, and those before are not. */
static bool are_left(const int *order, int from)
{
	for (int i = 0; i < NR_FREED; i++)
		if (is_resident(freed[order[i]]) != (i >= from))
			return false;
	return true;
}

/* Whole huge pages, then long runs, then short ones; high addresses first. */
TEST(the_largest_and_highest_goes_first)
{
	static const int order[NR_FREED] = {
		HIGH_HUGE, LOW_HUGE, LONG, HIGH_SHORT, LOW_SHORT,
	};
	uint32_t page, huge;
	bool clean;

	ASSERT_EQ(0, kr_pages_init(MAX_BYTES));
	page = kr_pages_alloc(NR_ALL, &clean);
	ASSERT_NE(KR_NO_PAGE, page);
	memset(addr_of(page), 1, NR_ALL * KR_HPAGE_BYTES);
	huge = (page + 2 * NR_HUGE) & ~(NR_HUGE - 1);
	freed[LOW_SHORT] = (struct kr_run){ page + 4, 3 };
	freed[LONG] = (struct kr_run){ page + 100, 20 };
	freed[LOW_HUGE] = (struct kr_run){ huge, NR_HUGE };
	freed[HIGH_HUGE] = (struct kr_run){ huge + 4 * NR_HUGE, NR_HUGE };
	freed[HIGH_SHORT] = (struct kr_run){ huge + 6 * NR_HUGE + 7, 3 };
	for (int i = 0; i < NR_FREED; i++)
		kr_pages_free(freed[i].page, freed[i].nr);
	EXPECT_TRUE(are_left(order, 0));
	for (int i = 0; i < NR_FREED; i++) {
		EXPECT_EQ(freed[order[i]].nr, kr_scavenge(freed[order[i]].nr));
		EXPECT_TRUE(are_left(order, i + 1)) TH_LOG("after %d", i);
	}
	EXPECT_EQ(0ULL, kr_scavenge(UINT64_MAX));
	EXPECT_TRUE(kr_pages_check());
}

/* ---- those who meet at the lock, or at a list ---- */

#define NR_THREADS 4

static atomic_bool enough;
static struct kr_central list;

static void *meet_at_lock(void *arg)
{
	bool clean;

	while (!atomic_load(&enough)) {
		uint32_t page = kr_pages_alloc(1, &clean);

		if (page != KR_NO_PAGE)
			kr_pages_free(page, 1);
	}
	return NULL;
}

static void *meet_at_list(void *arg)
{
	while (!atomic_load(&enough)) {
		struct kr_span *s = kr_central_pop(&list);

		if (s)
			kr_central_push(&list, s);
	}
	return NULL;
}

static void start_threads(struct __test_metadata *_metadata, pthread_t *threads,
			  void *(*fn)(void *arg))
{
	for (int i = 0; i < NR_THREADS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, fn, NULL));
}

static void stop_threads(pthread_t *threads)
{
	atomic_store(&enough, true);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* It hangs if nothing is counted. */
TEST(waits_are_counted)
{
	pthread_t threads[NR_THREADS];
	uint64_t ns;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "one CPU: nobody meets anybody");
	ASSERT_EQ(0, kr_heap_init());
	EXPECT_EQ(0ULL, kr_pages_lock_waits(&ns));
	EXPECT_EQ(0ULL, ns);
	start_threads(_metadata, threads, meet_at_lock);
	while (kr_pages_lock_waits(&ns) < 10)
		usleep(1000);
	stop_threads(threads);
	kr_pages_lock_waits(&ns);
	EXPECT_LT(0ULL, ns);
	EXPECT_TRUE(kr_pages_check());
}

TEST(lost_races_are_counted)
{
	struct kr_page_cache pc = { 0 };
	pthread_t threads[NR_THREADS];
	int nr = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "one CPU: nobody meets anybody");
	ASSERT_EQ(0, kr_heap_init());
	for (int i = 0; i < 3; i++)
		kr_central_push(&list, kr_span_new(&pc, 5, KR_NOSCAN, 0));
	EXPECT_EQ(0ULL, READ_ONCE(list.nr_retries));
	start_threads(_metadata, threads, meet_at_list);
	while (READ_ONCE(list.nr_retries) < 10)
		usleep(1000);
	stop_threads(threads);
	/* And none is lost by it. */
	while (kr_central_pop(&list))
		nr++;
	EXPECT_EQ(3, nr);
}

TEST_HARNESS_MAIN
