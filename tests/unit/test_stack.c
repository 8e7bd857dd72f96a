// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stacks: a goroutine has the 256 KiB it was promised, or what the options or
 * the environment say, aligned as the ABI wants, its own for as long as it
 * lives; one that uses more dies by SIGSEGV on the guard page. It has it from its
 * first step to its last: stacks are used again, their memory goes back to the
 * system when nobody needs it, and a goroutine that could be made will run.
 *
 * If it is broken: two goroutines write to the same memory, a function with
 * vector variables crashes on its first aligned store, or an overflow quietly
 * destroys a neighbour's data.
 */
#include "utest.h"

#define KIB 1024

/* Sanitizers ask this; they would report and exit instead of dying. */
#define DIE_OF_SEGV "handle_segv=0:allow_user_segv_handler=1"
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return DIE_OF_SEGV;
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return DIE_OF_SEGV;
}

/* Go down until @bytes below @top; each frame is written, read and unwound. */
__attribute__((noinline)) static unsigned int recurse(uintptr_t top, long bytes)
{
	volatile unsigned char frame[KIB];
	unsigned int below = 0, i;
	unsigned char mark;

	mark = (unsigned char)((uintptr_t)frame >> 8);
	for (i = 0; i < KIB; i += 64)
		frame[i] = mark;
	if ((long)(top - (uintptr_t)frame) < bytes)
		below = recurse(top, bytes);
	for (i = 0; i < KIB; i += 64)
		if (frame[i] != mark)
			return UINT_MAX;
	return below == UINT_MAX ? UINT_MAX : below + 1;
}

static unsigned int use_stack(long bytes)
{
	return recurse((uintptr_t)__builtin_frame_address(0), bytes);
}

static void *recurse_g(void *arg)
{
	return (void *)(uintptr_t)use_stack((long)(uintptr_t)arg);
}

/* On main's stack and on those of others, at once, twice each. */
static int recurse_main(void *arg)
{
	struct kaus_g *gs[20];
	long bytes = *(long *)arg;
	void *value;
	int i, round;

	CHECK(use_stack(bytes) != UINT_MAX);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < 20; i++)
			gs[i] = ut_spawn(recurse_g, (void *)(uintptr_t)bytes);
		for (i = 0; i < 20; i++) {
			value = NULL;
			CHECK_EQ(0, kaus_join(gs[i], &value));
			CHECK((uintptr_t)value > 1);
			CHECK((uintptr_t)value != UINT_MAX);
		}
	}
	return 0;
}

TEST(default_is_256_kib)
{
	long bytes = 200 * KIB;

	unsetenv("KAUS_STACK_KB");
	RUN(recurse_main, &bytes);
}

TEST(size_by_option)
{
	struct kaus_options opts = ut_procs(0);
	long bytes = 3900 * KIB;

	opts.stack_size = 4096 * KIB;
	RUN_WITH(&opts, recurse_main, &bytes);
}

TEST(size_by_environment)
{
	long bytes = 1900 * KIB;

	setenv("KAUS_STACK_KB", "2048", 1);
	RUN(recurse_main, &bytes);
}

TEST(size_is_rounded_up)
{
	struct kaus_options opts = ut_procs(0);
	long bytes = 60 * KIB;

	opts.stack_size = 127 * KIB + 1;
	RUN_WITH(&opts, recurse_main, &bytes);
}

static int overflow_main(void *arg)
{
	use_stack((long)(uintptr_t)arg);
	return 0;
}

static void overflow_go(void *arg)
{
	use_stack((long)(uintptr_t)arg);
}

static int overflow_other(void *arg)
{
	ut_go(overflow_go, arg);
	for (;;)
		kaus_sleep(1 * MSEC);
	return 0;
}

static void run_overflow_main(void)
{
	kaus_run(overflow_main, (void *)(1024UL * KIB));
}

static void run_overflow_other(void)
{
	kaus_run(overflow_other, (void *)(1024UL * KIB));
}

/* One page more than there is, not a megabyte: the guard begins right there. */
static void run_overflow_just(void)
{
	kaus_run(overflow_other, (void *)(260UL * KIB));
}

TEST(overflow_of_main_is_sigsegv)
{
	int status = ut_child(run_overflow_main);

	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGSEGV, WTERMSIG(status));
}

TEST(overflow_of_another_is_sigsegv)
{
	int status = ut_child(run_overflow_other);

	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGSEGV, WTERMSIG(status));
}

TEST(overflow_by_little_is_sigsegv)
{
	int status;

	unsetenv("KAUS_STACK_KB");
	status = ut_child(run_overflow_just);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGSEGV, WTERMSIG(status));
}

/* With neighbours on both sides whose stacks must not be hit instead. */
static void guarded_neighbour(void *arg)
{
	volatile unsigned char mine[8 * KIB];
	size_t i;

	for (i = 0; i < sizeof(mine); i++)
		mine[i] = 0x5a;
	for (;;) {
		kaus_sleep(1 * MSEC);
		for (i = 0; i < sizeof(mine); i++)
			if (mine[i] != 0x5a)
				_exit(99);
	}
}

static int overflow_among(void *arg)
{
	int i;

	for (i = 0; i < 50; i++)
		ut_go(guarded_neighbour, NULL);
	kaus_sleep(1 * MSEC);
	ut_go(overflow_go, arg);
	for (i = 0; i < 50; i++)
		ut_go(guarded_neighbour, NULL);
	for (;;)
		kaus_sleep(1 * MSEC);
	return 0;
}

static void run_overflow_among(void)
{
	kaus_run(overflow_among, (void *)(1024UL * KIB));
}

TEST(overflow_does_not_reach_a_neighbour)
{
	int status = ut_child(run_overflow_among);

	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGSEGV, WTERMSIG(status));
}

/* The first thing a compiler may do is an aligned store to the stack. */
__attribute__((noinline)) static void aligned(void *arg)
{
	_Alignas(64) volatile unsigned char line[64];
	_Alignas(16) volatile unsigned char vec[16];
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);

	CHECK_EQ(0, (uintptr_t)line % 64);
	CHECK_EQ(0, (uintptr_t)vec % 16);
	CHECK_EQ(0, frame % 16);
	line[0] = vec[0] = 1;
	if (arg)
		atomic_fetch_add((atomic_int *)arg, 1);
}

static int alignment(void *arg)
{
	atomic_int count = 0;
	int i;

	aligned(arg);
	for (i = 0; i < 100; i++)
		ut_go(aligned, &count);
	while (atomic_load(&count) < 100)
		kaus_yield();
	return 0;
}

TEST(alignment_is_that_of_the_abi)
{
	RUN(alignment, NULL);
}

/* Parked goroutines keep what they have on their stacks. */
static void keeper(void *arg)
{
	volatile unsigned char mine[16 * KIB];
	unsigned char value = (unsigned char)kaus_goid();
	size_t i;
	int round;

	for (i = 0; i < sizeof(mine); i++)
		mine[i] = value;
	for (round = 0; round < 20; round++) {
		if (round % 4)
			kaus_yield();
		else
			kaus_sleep(100 * USEC);
		for (i = 0; i < sizeof(mine); i += 61)
			if (!CHECK_EQ(value, mine[i]))
				break;
	}
	kaus_waitgroup_done(arg);
}

static int keepers(void *arg)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;
	int i;

	kaus_waitgroup_add(&wg, 200);
	for (i = 0; i < 200; i++)
		ut_go(keeper, &wg);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(stacks_are_not_shared)
{
	RUN(keepers, NULL);
}

/* What is reserved is not used: 10,000 stacks are 2.5 GB of addresses. */
static void parked(void *arg)
{
	kaus_chan_recv(arg, NULL);
}

static int many_stacks(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 0);
	int i;

	for (i = 0; i < UT_MANY; i++)
		ut_go(parked, ch);
	while (ut_stats().nr_runnable)
		kaus_yield();
	CHECK_EQ(UT_MANY + 1, ut_stats().nr_gs);
	CHECK_EQ(0, kaus_chan_close(ch));
	while (ut_stats().nr_gs > 1)
		kaus_yield();
	kaus_chan_free(ch);
	return 0;
}

TEST(ten_thousand_stacks)
{
	RUN(many_stacks, NULL);
}

static atomic_uint nr_ok;

static void recurse_go(void *arg)
{
	if (use_stack((long)(uintptr_t)arg) != UINT_MAX)
		atomic_fetch_add(&nr_ok, 1);
}

static int sized(void *arg)
{
	size_t kb;

	for (int round = 0; round < 3; round++) {
		for (kb = 16; kb <= 16384; kb *= 2) {
			CHECK_EQ(0, kaus_go_sized(recurse_go,
				(void *)((kb * KIB - 8 * KIB) * 7 / 8),
				kb * KIB));
			ut_go(recurse_go, (void *)(100UL * KIB));
		}
		while (ut_stats().nr_gs > 1)
			kaus_yield();
	}
	CHECK_EQ(3 * 2 * 11, atomic_load(&nr_ok));
	CHECK_EQ(-EINVAL, kaus_go_sized(recurse_go, NULL, 0));
	CHECK_EQ(-EINVAL, kaus_go_sized(recurse_go, NULL, 16 * KIB - 1));
	CHECK_EQ(-EINVAL, kaus_go_sized(recurse_go, NULL,
					(1024UL << 20) + 1));
	CHECK_EQ(-EINVAL, kaus_go_sized(recurse_go, NULL, SIZE_MAX));
	CHECK_EQ(1, ut_stats().nr_gs);
	return 0;
}

TEST(sizes_side_by_side)
{
	RUN(sized, NULL);
}

TEST(sized_outside_the_runtime_is_refused)
{
	EXPECT_EQ(-EPERM, kaus_go_sized(recurse_go, NULL, 64 * KIB));
}

static int overflow_small(void *arg)
{
	CHECK_EQ(0, kaus_go_sized(overflow_go, (void *)(70UL * KIB),
				  64 * KIB));
	for (;;)
		kaus_sleep(1 * MSEC);
	return 0;
}

static void run_overflow_small(void)
{
	kaus_run(overflow_small, NULL);
}

TEST(overflow_of_a_small_one_is_sigsegv)
{
	int status = ut_child(run_overflow_small);

	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGSEGV, WTERMSIG(status));
}

/* What started so far, and from where it had its stack. */
static int cache_counters(void *arg)
{
	struct kaus_stats before = ut_stats(), st;
	void *value;
	int i;

	for (i = 0; i < 500; i++) {
		value = NULL;
		CHECK_EQ(0, kaus_join(ut_spawn(recurse_g, (void *)KIB),
				      &value));
		CHECK(value != NULL);
	}
	st = ut_stats();
	CHECK_EQ(500, st.nr_stack_hits - before.nr_stack_hits +
		      st.nr_stack_misses - before.nr_stack_misses);
	/* All but the first take turns on the same few. */
	CHECK(st.nr_stack_misses - before.nr_stack_misses < 20);
	CHECK(st.nr_stacks >= 2);
	return 0;
}

TEST(stacks_are_used_again)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, cache_counters, NULL);
}

/* A thousand that end before the next one starts: a stack or two for all. */
static int burst(void *arg)
{
	struct kaus_stats before = ut_stats(), st;
	int i;

	for (i = 0; i < 1000; i++)
		ut_go(recurse_go, (void *)KIB);
	while (ut_stats().nr_gs > 1)
		kaus_yield();
	st = ut_stats();
	CHECK_EQ(1000, st.nr_stack_hits - before.nr_stack_hits +
		       st.nr_stack_misses - before.nr_stack_misses);
	CHECK(st.nr_stack_misses - before.nr_stack_misses < 50);
	return 0;
}

TEST(queued_goroutines_need_no_stack)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, burst, NULL);
}

/*
 * Their memory: of the whole process, in KiB, as the page tables have it. What
 * statm says is behind by up to 64 pages for each thread before Linux 6.2.
 */
static long rss_kb(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	long kb = 0;
	char line[256];

	if (!CHECK(f != NULL))
		return 0;
	while (fgets(line, sizeof(line), f) &&
	       sscanf(line, "Rss: %ld kB", &kb) != 1)
		;
	fclose(f);
	CHECK(kb > 0);
	return kb;
}

static void deep_parked(void *arg)
{
	use_stack(32 * KIB);
	kaus_chan_recv(arg, NULL);
	use_stack(32 * KIB);
}

static int trim(void *arg)
{
	const int nr = UT_TSAN ? 500 : 1000;
	long full;

	for (int round = 0; round < 2; round++) {
		struct kaus_chan *ch = kaus_chan_make(0, 0);
		uint64_t trimmed = ut_stats().nr_trimmed_stacks;

		for (int i = 0; i < nr; i++)
			ut_go(deep_parked, ch);
		while (ut_stats().nr_runnable)
			kaus_yield();
		full = rss_kb();
		CHECK(full > nr * 32L);
		CHECK_EQ(0, kaus_chan_close(ch));
		while (ut_stats().nr_gs > 1)
			kaus_sleep(1 * MSEC);
		/* Hangs if nothing is given back. */
		while (ut_stats().nr_pooled_stacks > 100)
			kaus_sleep(10 * MSEC);
		CHECK(ut_stats().nr_trimmed_stacks - trimmed >=
		      (uint64_t)nr / 2);
		if (!UT_TSAN)
			CHECK(rss_kb() < full - nr * 32L / 2);
		kaus_chan_free(ch);
	}
	return 0;
}

TEST(memory_of_idle_stacks_goes_back)
{
	RUN(trim, NULL);
}

/* Without address space it is kaus_go() that fails, and only that. */
static void count_and_park(void *arg)
{
	atomic_fetch_add(&nr_ok, 1);
	kaus_chan_recv(arg, NULL);
}

static int no_space(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 0);
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	struct rlimit lim;
	unsigned int nr = 0;
	int err;

	if (!CHECK(f && fscanf(f, "%ld", &pages) == 1))
		return 0;
	fclose(f);
	CHECK_EQ(0, getrlimit(RLIMIT_AS, &lim));
	lim.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) +
		       (512UL << 20);
	CHECK_EQ(0, setrlimit(RLIMIT_AS, &lim));
	while (!(err = kaus_go(count_and_park, ch)))
		nr++;
	CHECK_EQ(-ENOMEM, err);
	CHECK(nr > 100);
	/* Each that was accepted runs. */
	while (atomic_load(&nr_ok) < nr)
		kaus_yield();
	CHECK_EQ(0, kaus_chan_close(ch));
	while (ut_stats().nr_gs > 1)
		kaus_yield();
	CHECK_EQ(nr, atomic_load(&nr_ok));
	/* Those that ended make room. */
	ut_go(count_and_park, ch);
	while (ut_stats().nr_gs > 1)
		kaus_yield();
	CHECK_EQ(nr + 1, atomic_load(&nr_ok));
	kaus_chan_free(ch);
	return 0;
}

TEST(without_address_space_none_is_lost)
{
#if defined(__SANITIZE_ADDRESS__)
	SKIP(return, "AddressSanitizer needs the address space");
#endif
	UT_SKIP_TSAN("ThreadSanitizer needs the address space");
	RUN(no_space, NULL);
}

TEST_HARNESS_MAIN
