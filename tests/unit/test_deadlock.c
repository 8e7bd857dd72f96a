// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reports: when no goroutine can ever go on the program says so, says where
 * each of them is, and ends with status 2; when something else may wake one it
 * does not. A stack overflow names the goroutine and its stack.
 *
 * If it is broken: a program hangs for ever without a word, or one that waits
 * for a thread or a signal of its own is ended.
 */
#include <dlfcn.h>
#include <sys/time.h>

#include "utest.h"

/* Else sanitizers' handlers of signals would count as ways to go on. */
#define NO_HANDLERS "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:" \
	"handle_abort=0:handle_sigill=0:allow_user_segv_handler=1"
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return NO_HANDLERS;
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return NO_HANDLERS;
}

/* The library makes its threads with this one: they may be long in coming. */
static atomic_bool is_slow;

int pthread_create(pthread_t *thread, const pthread_attr_t *attr,
		   void *(*fn)(void *), void *arg)
{
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
		      void *);

	*(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
	if (is_slow)
		usleep(400000);
	return create(thread, attr, fn, arg);
}

static char report[16384];

/* Run @fn as a program of its own; its wait status, stderr in report[]. */
static int run_child(int (*fn)(void *))
{
	size_t len = 0;
	int fd[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe(fd))
		return -1;
	pid = fork();
	if (!pid) {
		static const struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		dup2(fd[1], STDERR_FILENO);
		close(fd[0]);
		close(fd[1]);
		/* The harness's timer would count as a way to go on. */
		signal(SIGALRM, SIG_DFL);
		exit(kaus_run(fn, NULL));
	}
	close(fd[1]);
	while ((n = read(fd[0], report + len, sizeof(report) - 1 - len)) > 0)
		len += (size_t)n;
	report[len] = 0;
	close(fd[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

/* How often the report says it. */
static int times(const char *what)
{
	const char *at = report;
	int nr = 0;

	while ((at = strstr(at, what))) {
		at += strlen(what);
		nr++;
	}
	return nr;
}

static struct kaus_chan *never;

__attribute__((noinline)) static int receive_in_vain(void)
{
	int err = kaus_chan_recv(never, NULL);

	__asm__ volatile("");
	return err;
}

static void waiter(void *arg)
{
	kaus_set_name("waiter");
	receive_in_vain();
}

static int stuck(void *arg)
{
	struct kaus_case c;

	never = kaus_chan_make(0, 0);
	c = (struct kaus_case)KAUS_RECV(never, NULL);
	ut_go(waiter, NULL);
	ut_go(waiter, NULL);
	/* After some life. */
	for (int i = 0; i < 100; i++)
		kaus_yield();
	kaus_sleep(MSEC);
	return kaus_select(&c, 1);
}

TEST(all_asleep_is_reported)
{
	int status;

	UT_SKIP_TSAN("ThreadSanitizer's own threads count as help");
	status = run_child(stuck);
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(2, WEXITSTATUS(status));
	EXPECT_NE(NULL, strstr(report, "all goroutines are asleep - deadlock"));
	EXPECT_NE(NULL, strstr(report, "goroutine 1 [select]:"));
	EXPECT_NE(NULL, strstr(report, "goroutine 2 \"waiter\" [chan receive]:"));
	/* The other one has another number if main changed its P in between. */
	EXPECT_EQ(2, times("\"waiter\" [chan receive]:"));
	EXPECT_NE(NULL, strstr(report, " receive_in_vain"));
	EXPECT_NE(NULL, strstr(report, " stuck"));
	EXPECT_EQ(NULL, strstr(report, "kr_context_peek"));
	if (_metadata->exit_code == KSFT_FAIL)
		TH_LOG("%s", report);
}

static void *send_later(void *arg)
{
	usleep(300000);
	CHECK_EQ(0, kaus_chan_send(never, NULL));
	return NULL;
}

static int helped_by_thread(void *arg)
{
	pthread_t thread;

	never = kaus_chan_make(0, 0);
	if (!CHECK_EQ(0, pthread_create(&thread, NULL, send_later, NULL)))
		return 1;
	pthread_detach(thread);
	return kaus_chan_recv(never, NULL);
}

TEST(a_thread_may_still_help)
{
	EXPECT_EQ(0, run_child(helped_by_thread));
	EXPECT_STREQ("", report);
}

static void sleep_in_kernel(void *arg)
{
	usleep(20000);
}

static void *send_much_later(void *arg)
{
	usleep(300000);
	return send_later(arg);
}

/* They want new Ms, each of which is counted long before it is there. */
static int helped_while_threads_come(void *arg)
{
	pthread_t thread;

	never = kaus_chan_make(0, 0);
	if (!CHECK_EQ(0, pthread_create(&thread, NULL, send_much_later, NULL)))
		return 1;
	pthread_detach(thread);
	is_slow = true;
	for (int i = 0; i < 12; i++)
		ut_go(sleep_in_kernel, NULL);
	return kaus_chan_recv(never, NULL);
}

TEST(a_thread_is_not_taken_for_one_that_is_yet_to_come)
{
	EXPECT_EQ(0, run_child(helped_while_threads_come));
	EXPECT_STREQ("", report);
}

static struct kaus_chan *empty;

/* It has called the library, so its end is noticed. */
static void *ends_later(void *arg)
{
	usleep(100000);
	CHECK_EQ(-EAGAIN, kaus_chan_try_send(never, NULL));
	usleep(100000);
	return NULL;
}

static int left_by_thread(void *arg)
{
	pthread_t thread;

	empty = kaus_chan_make(0, 0);
	never = kaus_chan_make(0, 0);
	if (!CHECK_EQ(0, pthread_create(&thread, NULL, ends_later, NULL)))
		return 1;
	pthread_detach(thread);
	return kaus_chan_recv(empty, NULL);
}

TEST(a_thread_that_has_ended_does_not_help)
{
	int status;

	UT_SKIP_TSAN("ThreadSanitizer's own threads count as help");
	status = run_child(left_by_thread);
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(2, WEXITSTATUS(status));
	EXPECT_NE(NULL, strstr(report, "all goroutines are asleep - deadlock"));
}

/* So much free memory that the heap has a thread that gives it back. */
static int after_much_memory(void *arg)
{
	void *objs[16];

	never = kaus_chan_make(0, 0);
	for (int i = 0; i < 16; i++)
		objs[i] = memset(kaus_alloc_noscan(4 << 20), 1, 4 << 20);
	for (int i = 0; i < 16; i++)
		kaus_free(objs[i]);
	kaus_sleep(300 * MSEC);
	receive_in_vain();
	return 0;
}

TEST(the_thread_of_the_heap_does_not_help)
{
	int status;

	UT_SKIP_TSAN("ThreadSanitizer's own threads count as help");
	status = run_child(after_much_memory);
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(2, WEXITSTATUS(status));
	EXPECT_NE(NULL, strstr(report, "all goroutines are asleep - deadlock"));
}

static int helped_by_process(void *arg)
{
	kaus_fd_t ends[2];
	char c;

	if (!CHECK_EQ(0, kaus_fd_pipe(ends)))
		return 1;
	if (!fork()) {
		usleep(300000);
		_exit(write(kaus_fd_num(ends[1]), "x", 1) != 1);
	}
	return kaus_fd_read(ends[0], &c, 1) == 1 ? 0 : 1;
}

TEST(an_open_descriptor_may_still_help)
{
	EXPECT_EQ(0, run_child(helped_by_process));
	EXPECT_STREQ("", report);
}

static int closed_and_stuck(void *arg)
{
	kaus_fd_t ends[2];

	never = kaus_chan_make(0, 0);
	if (!CHECK_EQ(0, kaus_fd_pipe(ends)) ||
	    !CHECK_EQ(0, kaus_fd_close(ends[0])) ||
	    !CHECK_EQ(0, kaus_fd_close(ends[1])))
		return 1;
	return kaus_chan_recv(never, NULL);
}

TEST(the_poller_of_closed_descriptors_does_not_help)
{
	int status;

	UT_SKIP_TSAN("ThreadSanitizer's own threads count as help");
	status = run_child(closed_and_stuck);
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(2, WEXITSTATUS(status));
	EXPECT_NE(NULL, strstr(report, "all goroutines are asleep - deadlock"));
}

/* Time for an idle M to go to wait for the network, while this one runs. */
static void compute(void)
{
	uint64_t end = kaus_now_ns() + 30 * MSEC;

	while (kaus_now_ns() < end)
		;
}

static void go_idle(void *arg)
{
}

static int closed_under_an_m(void *arg)
{
	kaus_fd_t ends[2];

	never = kaus_chan_make(0, 0);
	if (!CHECK_EQ(0, kaus_fd_pipe(ends)))
		return 1;
	ut_go(go_idle, NULL);
	compute();
	/* It is told of this, finds the other one still open, and stays. */
	CHECK_EQ(0, kaus_fd_close(ends[0]));
	compute();
	CHECK_EQ(0, kaus_fd_close(ends[1]));
	return kaus_chan_recv(never, NULL);
}

TEST(an_m_that_polls_closed_descriptors_does_not_help)
{
	int status;

	UT_SKIP_TSAN("ThreadSanitizer's own threads count as help");
	setenv("KAUS_PROCS", "2", 1);
	status = run_child(closed_under_an_m);
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(2, WEXITSTATUS(status));
	EXPECT_NE(NULL, strstr(report, "all goroutines are asleep - deadlock"));
}

static void on_alarm(int sig)
{
	_exit(7);
}

static int ended_by_signal(void *arg)
{
	struct itimerval in = { .it_value.tv_usec = 300000 };

	never = kaus_chan_make(0, 0);
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &in, NULL);
	return kaus_chan_recv(never, NULL);
}

TEST(a_signal_handler_may_still_do_something)
{
	int status = run_child(ended_by_signal);

	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(7, WEXITSTATUS(status));
	EXPECT_STREQ("", report);
}

static void sleeper(void *arg)
{
	int *fd = arg;
	char c;

	CHECK_EQ(1, read(fd[0], &c, 1));
	CHECK_EQ(0, kaus_chan_send(never, NULL));
}

static void *write_later(void *arg)
{
	int *fd = arg;

	kaus_sleep(100 * MSEC);
	CHECK_EQ(1, write(fd[1], "x", 1));
	return NULL;
}

static int one_in_the_kernel(void *arg)
{
	int fd[2];

	never = kaus_chan_make(0, 0);
	CHECK_EQ(0, pipe(fd));
	ut_go(sleeper, fd);
	CHECK_EQ(0, kaus_join(ut_spawn(write_later, fd), NULL));
	return kaus_chan_recv(never, NULL);
}

TEST(one_that_sleeps_in_the_kernel_is_not_asleep)
{
	EXPECT_EQ(0, run_child(one_in_the_kernel));
	EXPECT_STREQ("", report);
}

__attribute__((noinline)) static int recurse(int depth)
{
	volatile char frame[512];

	frame[0] = (char)depth;
	if (depth < INT_MAX)
		depth = recurse(depth + 1);
	return depth + frame[0];
}

static void overflow(void *arg)
{
	kaus_set_name("a name that is longer than fits");
	recurse(0);
}

static int overflow_main(void *arg)
{
	ut_go(overflow, NULL);
	return kaus_sleep_until(KAUS_NO_DEADLINE);
}

TEST(stack_overflow_is_reported)
{
	int status = run_child(overflow_main);

	ASSERT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGSEGV, WTERMSIG(status));
	EXPECT_NE(NULL, strstr(report, "goroutine 2 has overflowed its stack"));
	EXPECT_NE(NULL, strstr(report,
			       "goroutine 2 \"a name that is longer t\" [run"));
	EXPECT_NE(NULL, strstr(report, " recurse"));
	EXPECT_NE(NULL, strstr(report, " like this\n"));
	/* To the very end of the stack. */
	EXPECT_NE(NULL, strstr(report, " kr_context_entry+"));
	if (_metadata->exit_code == KSFT_FAIL)
		TH_LOG("%s", report);
}

static void crash(void *arg)
{
	/* Not an address that a compiler can see. */
	*(volatile int *)(kaus_goid() << 4) = 0;
}

static int crash_main(void *arg)
{
	ut_go(crash, NULL);
	return kaus_sleep_until(KAUS_NO_DEADLINE);
}

TEST(another_crash_is_not_called_an_overflow)
{
	int status = run_child(crash_main);

	ASSERT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGSEGV, WTERMSIG(status));
	EXPECT_EQ(NULL, strstr(report, "overflowed"));
}

TEST_HARNESS_MAIN
