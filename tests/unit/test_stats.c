// SPDX-License-Identifier: GPL-2.0-only
/*
 * kaus_stats_read() and kaus_dump(): the counters say what happened, and the
 * dump has one line for each goroutine, whatever state it is in.
 *
 * If it is broken: monitoring shows goroutines that ended long ago or a
 * scheduler that never preempts, and the one who debugs a hang misses the very
 * goroutine that hangs.
 */
#include "utest.h"

static int return_0(void *arg)
{
	return 0;
}

static int sizes(void *arg)
{
	struct kaus_stats st;

	memset(&st, 0xa5, sizeof(st));
	st.size = 0;
	CHECK_EQ(-EINVAL, kaus_stats_read(&st));
	st.size = sizeof(st) - 8;
	CHECK_EQ(-EINVAL, kaus_stats_read(&st));
	st.size = SIZE_MAX;
	CHECK_EQ(-EINVAL, kaus_stats_read(&st));
	CHECK_EQ(0xa5a5a5a5, st.nr_procs);
	st.size = sizeof(st);
	CHECK_EQ(0, kaus_stats_read(&st));
	CHECK_EQ(sizeof(st), st.size);
	return 0;
}

TEST(unknown_sizes_are_refused)
{
	RUN(sizes, NULL);
}

static void park(void *arg)
{
	kaus_chan_recv(arg, NULL);
}

static int gauges(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 0);
	struct kaus_stats st = ut_stats();
	int i;

	CHECK(st.nr_procs >= 1);
	CHECK(st.nr_idle_procs < st.nr_procs);
	CHECK(st.nr_sleeping_procs <= st.nr_procs);
	CHECK(st.nr_threads >= 1);
	CHECK_EQ(1, st.nr_gs);
	CHECK(!strcmp(st.assist, "module") || !strcmp(st.assist, "signal"));

	for (i = 0; i < 100; i++)
		ut_go(park, ch);
	CHECK_EQ(101, ut_stats().nr_gs);
	while (ut_stats().nr_runnable)
		kaus_yield();
	CHECK_EQ(101, ut_stats().nr_gs);
	kaus_chan_close(ch);
	while (ut_stats().nr_gs > 1)
		kaus_yield();
	kaus_chan_free(ch);
	return 0;
}

TEST(gauges_follow)
{
	RUN(gauges, NULL);
}

static int runnable(void *arg)
{
	int i;

	for (i = 0; i < 50; i++)
		ut_go(ut_hog, NULL);
	while (ut_stats().nr_runnable < 40)
		kaus_sleep(1 * MSEC);
	CHECK(ut_stats().nr_runnable <= 51);
	return 0;
}

TEST(waiting_hogs_count_as_runnable)
{
	struct kaus_options opts = ut_procs(2);

	RUN_WITH(&opts, runnable, NULL);
}

static int switches(void *arg)
{
	struct kaus_stats before, after;
	int i;

	for (i = 0; i < 3; i++)
		ut_go(ut_hog, NULL);
	before = ut_stats();
	for (i = 0; i < 100; i++)
		kaus_sleep(100 * USEC);
	after = ut_stats();
	CHECK(after.nr_switches >= before.nr_switches + 100);
	CHECK(after.nr_preempts > before.nr_preempts);
	CHECK(after.nr_redirects >= after.nr_preempts);
	return 0;
}

TEST(switches_and_preemptions_are_counted)
{
	struct kaus_options opts = ut_procs(1);

	UT_SKIP_TSAN(UT_WHY_TSAN);
	RUN_WITH(&opts, switches, NULL);
}

static void nap(void *arg)
{
	usleep(20000);
	kaus_waitgroup_done(arg);
}

static int handoffs(void *arg)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;
	int i;

	kaus_waitgroup_add(&wg, 8);
	for (i = 0; i < 8; i++)
		ut_go(nap, &wg);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	CHECK(ut_stats().nr_handoffs > 0);
	CHECK(ut_stats().nr_threads > 1);
	return 0;
}

TEST(handoffs_are_counted)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, handoffs, NULL);
}

static void read_pipe(void *arg)
{
	char c;

	CHECK_EQ(0, read(*(int *)arg, &c, 1));
}

static void yield_on(void *arg)
{
	for (;;)
		kaus_yield();
}

static void doze(void *arg)
{
	kaus_sleep(3600 * SEC);
}

static void *joined(void *arg)
{
	kaus_sleep_until(UINT64_MAX);
	return NULL;
}

static void joiner(void *arg)
{
	kaus_join(ut_spawn(joined, NULL), NULL);
}

/* Lines in @fd, and how many of them are not empty. */
static void count_lines(int fd, int *ret_lines, int *ret_filled)
{
	char line[1024];
	FILE *f;

	*ret_lines = *ret_filled = 0;
	lseek(fd, 0, SEEK_SET);
	f = fdopen(dup(fd), "r");
	while (fgets(line, sizeof(line), f)) {
		if (!*ret_lines)
			CHECK(!strncmp(line, "heap: live ", 11) &&
			      strstr(line, ", cycles ") &&
			      strstr(line, ", waits for its lock "));
		++*ret_lines;
		*ret_filled += strspn(line, " \n") < strlen(line);
		CHECK(line[strlen(line) - 1] == '\n');
	}
	fclose(f);
}

/*
 * Main, 3 hogs, 3 readers, 3 yielders, 3 sleepers, 3 receivers, 2 * 3 joins; and
 * the heap.
 */
static int dump_main(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 0);
	int i, fds[2], fd, lines, filled;

	CHECK_EQ(0, pipe(fds));
	for (i = 0; i < 3; i++) {
		ut_go(ut_hog, NULL);
		ut_go(read_pipe, &fds[0]);
		ut_go(yield_on, NULL);
		ut_go(doze, NULL);
		ut_go(park, ch);
		ut_go(joiner, NULL);
	}
	while (ut_stats().nr_gs < 22)
		kaus_sleep(1 * MSEC);
	for (i = 0; i < 20; i++) {
		fd = memfd_create("dump", 0);
		CHECK_EQ(0, kaus_dump(fd));
		count_lines(fd, &lines, &filled);
		if (!CHECK_EQ(23, lines) || !CHECK_EQ(23, filled)) {
			lseek(fd, 0, SEEK_SET);
			CHECK_EQ(0, kaus_dump(STDERR_FILENO));
			break;
		}
		close(fd);
		kaus_sleep(1 * MSEC);
	}
	CHECK_EQ(-EBADF, kaus_dump(-1));
	return 0;
}

TEST(dump_has_a_line_for_each)
{
	RUN(dump_main, NULL);
}

static atomic_bool stop;

static void *watch(void *arg)
{
	struct kaus_stats st = { .size = sizeof(st) };
	int fd = memfd_create("dump", 0);

	while (!atomic_load(&stop)) {
		CHECK_EQ(0, kaus_stats_read(&st));
		lseek(fd, 0, SEEK_SET);
		CHECK_EQ(0, kaus_dump(fd));
	}
	close(fd);
	return NULL;
}

static void *short_lived(void *arg)
{
	kaus_yield();
	return arg;
}

/* A plain thread reads and dumps while goroutines come and go. */
static int watched(void *arg)
{
	struct kaus_g *gs[50];
	pthread_t thread;
	int i, round;

	pthread_create(&thread, NULL, watch, NULL);
	for (round = 0; round < 100; round++) {
		for (i = 0; i < 50; i++)
			gs[i] = ut_spawn(short_lived, NULL);
		for (i = 0; i < 50; i++)
			CHECK_EQ(0, kaus_join(gs[i], NULL));
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	return 0;
}

TEST(watching_does_not_disturb)
{
	RUN(watched, NULL);
}

TEST(counters_stay_after_the_run)
{
	struct kaus_stats st = { .size = sizeof(st) };

	RUN(return_0, NULL);
	EXPECT_EQ(0, kaus_stats_read(&st));
	EXPECT_LT(0UL, st.nr_switches);
}

TEST_HARNESS_MAIN
