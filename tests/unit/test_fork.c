// SPDX-License-Identifier: GPL-2.0-only
/*
 * fork() and exec in a goroutine: the child may _exit() or exec, the parent
 * waits for it in an ordinary waitpid() and goes on undisturbed.
 *
 * If it is broken: the child touches what it shares with the parent's
 * scheduler and brings it down, is preempted into a runtime whose threads it
 * does not have, or a goroutine that waits for a child holds its P (a hang).
 */
#include "utest.h"

#define EXEC_MARK "KAUS_TEST_EXEC_CHILD"

/* After exec: this same program, which then does only this. */
__attribute__((constructor)) static void exec_child(void)
{
	if (getenv(EXEC_MARK))
		_exit(9);
}

static struct kaus_waitgroup wg;

static void wait_status(pid_t pid, int expected)
{
	int status = -1;
	pid_t ret;

	if (!CHECK(pid > 0))
		return;
	do {
		ret = waitpid(pid, &status, 0);
	} while (ret < 0 && errno == EINTR);
	CHECK_EQ(pid, ret);
	if (CHECK(WIFEXITED(status)))
		CHECK_EQ(expected, WEXITSTATUS(status));
	else
		dprintf(STDERR_FILENO, "# status %#x\n", (unsigned int)status);
}

static int fork_main(void *arg)
{
	pid_t pid;
	int i;

	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid)
			_exit(i);
		wait_status(pid, i);
		kaus_yield();
	}
	return 0;
}

TEST(child_exits)
{
	RUN(fork_main, NULL);
}

static int fork_among_hogs(void *arg)
{
	ut_go_hogs();
	return fork_main(arg);
}

TEST(child_exits_among_hogs)
{
	RUN(fork_among_hogs, NULL);
}

/* A child that computes for many slices is no goroutine of anybody's. */
static int busy_child(void *arg)
{
	pid_t pid;

	ut_go_hogs();
	kaus_sleep(1 * MSEC);
	pid = fork();
	if (!pid) {
		ut_spin(30000000);
		_exit(5);
	}
	wait_status(pid, 5);
	return 0;
}

TEST(child_computes_undisturbed)
{
	RUN(busy_child, NULL);
}

static void fork_one(void *arg)
{
	int expected = (int)(uintptr_t)arg;
	pid_t pid;

	pid = fork();
	if (!pid) {
		usleep(5000);
		_exit(expected);
	}
	wait_status(pid, expected);
	kaus_waitgroup_done(&wg);
}

static int many_waiters(void *arg)
{
	int i, nr = (int)ut_nr_procs() * 2 + 6;

	kaus_waitgroup_add(&wg, nr);
	for (i = 0; i < nr; i++)
		ut_go(fork_one, (void *)(uintptr_t)i);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(more_waiting_parents_than_procs)
{
	RUN(many_waiters, NULL);
}

static int exec_main(void *arg)
{
	pid_t pid;
	int i;

	setenv(EXEC_MARK, "1", 1);
	ut_go_hogs();
	for (i = 0; i < 5; i++) {
		pid = fork();
		if (!pid) {
			execl("/proc/self/exe", "child", (char *)NULL);
			_exit(1);
		}
		wait_status(pid, 9);
	}
	unsetenv(EXEC_MARK);
	return 0;
}

TEST(child_executes_a_program)
{
	RUN(exec_main, NULL);
}

/* exec in the runtime itself ends it, threads and all. */
static int exec_self(void *arg)
{
	setenv(EXEC_MARK, "1", 1);
	ut_go_hogs();
	kaus_sleep(5 * MSEC);
	execl("/proc/self/exe", "child", (char *)NULL);
	return 1;
}

static void run_exec_self(void)
{
	kaus_run(exec_self, NULL);
}

TEST(exec_replaces_the_runtime)
{
	int status = ut_child(run_exec_self);

	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(9, WEXITSTATUS(status));
}

/* So does exit(), from whichever goroutine. */
static void exit_now(void *arg)
{
	exit(11);
}

static int exit_main(void *arg)
{
	ut_go_hogs();
	ut_go(exit_now, NULL);
	for (;;)
		kaus_sleep(1 * MSEC);
	return 0;
}

static void run_exit(void)
{
	kaus_run(exit_main, NULL);
}

TEST(exit_ends_the_process)
{
	int status = ut_child(run_exit);

	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(11, WEXITSTATUS(status));
}

TEST_HARNESS_MAIN
