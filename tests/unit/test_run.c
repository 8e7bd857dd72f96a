// SPDX-License-Identifier: GPL-2.0-only
/*
 * kaus_run() and kaus_run_with(): the result of the first goroutine comes
 * back, the runtime runs once, bad options and a bad environment are refused
 * with a reason on stderr, and settings reach the runtime in the documented
 * order (option, environment, default).
 *
 * If it is broken: a typo in KAUS_PROCS is taken for 0 and nobody notices, a
 * program that demanded the module silently runs without it, or goroutines go
 * on using memory that main has freed after kaus_run() returned.
 */
#include "utest.h"

static int return_arg(void *arg)
{
	return *(int *)arg;
}

static int return_0(void *arg)
{
	return 0;
}

/* Call kaus_run_with() and collect what it prints to stderr. */
static int run_captured(const struct kaus_options *opts, char *buf, size_t size)
{
	int fd, saved, ret;
	ssize_t n;

	fd = memfd_create("stderr", 0);
	saved = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
	ret = kaus_run_with(opts, return_0, NULL);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	n = pread(fd, buf, size - 1, 0);
	buf[n > 0 ? n : 0] = '\0';
	close(saved);
	close(fd);
	return ret;
}

TEST(returns_what_fn_returns)
{
	int value = 42;

	EXPECT_EQ(42, kaus_run(return_arg, &value));
}

TEST(null_options_are_the_defaults)
{
	EXPECT_EQ(0, kaus_run_with(NULL, return_0, NULL));
}

TEST(second_run_is_busy)
{
	EXPECT_EQ(0, kaus_run(return_0, NULL));
	EXPECT_EQ(-EBUSY, kaus_run(return_0, NULL));
	EXPECT_EQ(-EBUSY, kaus_run_with(NULL, return_0, NULL));
}

static void *run_in_thread(void *arg)
{
	*(int *)arg = kaus_run(return_0, NULL);
	return NULL;
}

static int run_while_running(void *arg)
{
	int ret = 0;
	pthread_t thread;

	CHECK_EQ(-EBUSY, kaus_run(return_0, NULL));
	if (CHECK_EQ(0, pthread_create(&thread, NULL, run_in_thread, &ret))) {
		pthread_join(thread, NULL);
		CHECK_EQ(-EBUSY, ret);
	}
	return 0;
}

TEST(run_while_running_is_busy)
{
	RUN(run_while_running, NULL);
}

TEST(any_thread_may_run)
{
	pthread_t thread;
	int ret = -1;

	ASSERT_EQ(0, pthread_create(&thread, NULL, run_in_thread, &ret));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, ret);
}

/* Each bad value alone; a reason must be printed and the next run must work. */
TEST(bad_options_are_refused)
{
	static const struct {
		const char *what;
		struct kaus_options opts;
	} bad[] = {
#define SZ .size = sizeof(struct kaus_options)
		{ "size 0", { .size = 0 } },
		{ "short size", { .size = sizeof(struct kaus_options) - 4 } },
		{ "long size", { .size = sizeof(struct kaus_options) + 8 } },
		{ "nr_procs", { SZ, .nr_procs = 1000000 } },
		{ "assist", { SZ, .assist = 3 } },
		{ "assist < 0", { SZ, .assist = -1 } },
		{ "bind", { SZ, .bind = 2 } },
		{ "bind < -1", { SZ, .bind = -2 } },
		{ "virtual time", { SZ, .virtual_time = 2 } },
#undef SZ
	};
	char buf[512];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, run_captured(&bad[i].opts, buf, sizeof(buf)))
			TH_LOG("%s", bad[i].what);
		EXPECT_NE(0UL, strlen(buf))
			TH_LOG("no reason given for %s", bad[i].what);
	}
	EXPECT_EQ(0, kaus_run(return_0, NULL));
}

TEST(bad_environment_is_refused)
{
	static const struct {
		const char *name;
		const char *value;
	} bad[] = {
		{ "KAUS_PROCS", "two" },
		{ "KAUS_PROCS", "-1" },
		{ "KAUS_PROCS", "2x" },
		{ "KAUS_PROCS", "1000000" },
		{ "KAUS_ASSIST", "kernel" },
		{ "KAUS_ASSIST", "Module" },
		{ "KAUS_BIND", "yes" },
		{ "KAUS_BIND", "2" },
		{ "KAUS_SLICE_US", "fast" },
		{ "KAUS_SLICE_US", "-5" },
		{ "KAUS_STACK_KB", "64k" },
		{ "KAUS_STACK_KB", "-64" },
		{ "KAUS_SCHED_RANDOM", "yes" },
	};
	char buf[512], old[64];
	const char *before;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		before = getenv(bad[i].name);
		if (before)
			snprintf(old, sizeof(old), "%s", before);
		setenv(bad[i].name, bad[i].value, 1);
		EXPECT_EQ(-EINVAL, run_captured(NULL, buf, sizeof(buf)))
			TH_LOG("%s=%s", bad[i].name, bad[i].value);
		EXPECT_NE(NULL, strstr(buf, bad[i].name))
			TH_LOG("%s=%s: message '%s' does not name it",
			       bad[i].name, bad[i].value, buf);
		if (before)
			setenv(bad[i].name, old, 1);
		else
			unsetenv(bad[i].name);
	}
	EXPECT_EQ(0, kaus_run(return_0, NULL));
}

static int expect_procs(void *arg)
{
	CHECK_EQ(*(unsigned int *)arg, ut_nr_procs());
	return 0;
}

TEST(environment_sets_procs)
{
	unsigned int nr = 3;

	setenv("KAUS_PROCS", "3", 1);
	RUN(expect_procs, &nr);
}

TEST(options_win_over_environment)
{
	struct kaus_options opts = ut_procs(2);
	unsigned int nr = 2;

	setenv("KAUS_PROCS", "3", 1);
	RUN_WITH(&opts, expect_procs, &nr);
}

TEST(default_is_a_proc_for_each_allowed_cpu)
{
	unsigned int nr;
	cpu_set_t set;

	unsetenv("KAUS_PROCS");
	ASSERT_EQ(0, sched_getaffinity(0, sizeof(set), &set));
	nr = (unsigned int)CPU_COUNT(&set);
	RUN(expect_procs, &nr);
}

static int expect_assist(void *arg)
{
	struct kaus_stats st = ut_stats();

	if (!CHECK(!strcmp(st.assist, arg)))
		dprintf(STDERR_FILENO, "# assist is \"%s\"\n", st.assist);
	return 0;
}

TEST(assist_signal_by_option)
{
	struct kaus_options opts = ut_procs(0);

	setenv("KAUS_ASSIST", "module", 1);
	opts.assist = KAUS_ASSIST_SIGNAL;
	RUN_WITH(&opts, expect_assist, "signal");
}

TEST(assist_signal_by_environment)
{
	setenv("KAUS_ASSIST", "signal", 1);
	RUN(expect_assist, "signal");
}

TEST(assist_module_where_there_is_one)
{
	if (access("/dev/kaus", R_OK | W_OK))
		SKIP(return, "there is no /dev/kaus");
	setenv("KAUS_ASSIST", "module", 1);
	RUN(expect_assist, "module");
}

TEST(auto_takes_the_module_if_it_is_there)
{
	setenv("KAUS_ASSIST", "auto", 1);
	if (access("/dev/kaus", R_OK | W_OK))
		RUN(expect_assist, "signal");
	else
		RUN(expect_assist, "module");
}

TEST(demanded_module_is_missing)
{
	struct kaus_options opts = ut_procs(0);
	char buf[512];

	if (!access("/dev/kaus", F_OK))
		SKIP(return, "there is a /dev/kaus");
	setenv("KAUS_ASSIST", "module", 1);
	EXPECT_EQ(-ENODEV, run_captured(NULL, buf, sizeof(buf)));
	EXPECT_NE(NULL, strstr(buf, "/dev/kaus"));
	setenv("KAUS_ASSIST", "auto", 1);
	opts.assist = KAUS_ASSIST_MODULE;
	EXPECT_EQ(-ENODEV, run_captured(&opts, buf, sizeof(buf)));
	EXPECT_NE(NULL, strstr(buf, "/dev/kaus"));
	EXPECT_EQ(0, kaus_run(return_0, NULL));
}

static int exit_main(void *arg)
{
	kaus_exit();
	return 7;
}

TEST(exit_in_main_is_status_0)
{
	EXPECT_EQ(0, kaus_run(exit_main, NULL));
}

static void exit_outside(void)
{
	kaus_exit();
}

TEST(exit_outside_aborts)
{
	int status = ut_child(exit_outside);

	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGABRT, WTERMSIG(status));
}

static atomic_ulong turns;

static void take_turns(void *arg)
{
	for (;;) {
		atomic_fetch_add(&turns, 1);
		kaus_yield();
	}
}

static int leave_others_behind(void *arg)
{
	int i;

	for (i = 0; i < 20; i++)
		ut_go(take_turns, NULL);
	while (atomic_load(&turns) < 100)
		kaus_yield();
	return 0;
}

/* What runs at that moment may go on to its next yield, and no further. */
TEST(others_stop_when_main_returns)
{
	unsigned long before, after = 0;
	int i;

	RUN(leave_others_behind, NULL);
	for (i = 0; i < 100; i++) {
		before = atomic_load(&turns);
		usleep(20000);
		after = atomic_load(&turns);
		if (before == after)
			break;
	}
	EXPECT_EQ(before, after);
}

static int start_hogs(void *arg)
{
	ut_go_hogs();
	kaus_sleep(20 * MSEC);
	return 0;
}

TEST(hogs_do_not_keep_run_from_returning)
{
	RUN(start_hogs, NULL);
}

static void do_nothing(void *arg)
{
}

TEST(nothing_runs_after_the_run)
{
	EXPECT_EQ(0, kaus_run(return_0, NULL));
	EXPECT_EQ(-EPERM, kaus_go(do_nothing, NULL));
	EXPECT_EQ(0UL, kaus_goid());
}

/*
 * Main ends while a hog wants its P, at any moment of a slice: in 100 programs.
 * One that hangs has lost main's goroutine between "stop" and telling so.
 */
static int end_among_hogs(void *arg)
{
	uint64_t end = kaus_now_ns() + *(uint64_t *)arg;

	CHECK_EQ(0, kaus_set_slice(1));
	ut_go(ut_hog, NULL);
	ut_go(ut_hog, NULL);
	while (kaus_now_ns() < end)
		;
	return 7;
}

TEST(main_ends_at_any_moment_of_a_slice)
{
	struct kaus_options opts = ut_procs(1);
	uint64_t seed = kaus_now_ns() | 1;

	for (int i = 0; i < 100; i++) {
		uint64_t ns = ut_rand(&seed) % (300 * USEC);
		int status = -1;
		pid_t pid = fork();

		if (!pid)
			_exit(kaus_run_with(&opts, end_among_hogs, &ns));
		ASSERT_LT(0, pid);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFEXITED(status));
		ASSERT_EQ(7, WEXITSTATUS(status));
	}
}

TEST_HARNESS_MAIN
