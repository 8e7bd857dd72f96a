// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that are not needed any more end: a burst of goroutines that sleep in
 * the kernel makes a thread for each, and a program that does so once shall not
 * keep them for ever.
 *
 * If it is broken: a server that was once under load holds hundreds of idle
 * threads; or one that is needed ends, with a P, a goroutine or the time that it
 * keeps, and the program hangs.
 */
#include <sys/syscall.h>

#include "utest.h"

#include "sched/sched.h"

extern uint64_t kr_reap_ns;

/* Else sanitizers' handlers of signals would count as ways to go on. */
#define NO_HANDLERS "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:" \
	"handle_abort=0:handle_sigill=0:allow_user_segv_handler=1"
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return NO_HANDLERS;
}

#define NR_BURST 100

/* Few enough: the least that is kept, and one that is about to go. */
#define FEW (kr_keep_ms() + 1)

static int pipe_fds[2];
static atomic_uint nr_inside;
static struct kaus_waitgroup wg;

static void reading(void *arg)
{
	char c;

	(void)arg;
	atomic_fetch_add(&nr_inside, 1);
	CHECK_EQ(1, read(pipe_fds[0], &c, 1));
	kaus_waitgroup_done(&wg);
}

/* Each goroutine in read() at the same time, thus on a thread of its own. */
static void burst(void)
{
	char bytes[NR_BURST] = { 0 };

	atomic_store(&nr_inside, 0);
	kaus_waitgroup_add(&wg, NR_BURST);
	for (int i = 0; i < NR_BURST; i++)
		ut_go(reading, NULL);
	while (atomic_load(&nr_inside) < NR_BURST)
		kaus_sleep(1 * MSEC);
	CHECK(ut_stats().nr_threads >= NR_BURST);
	CHECK_EQ(NR_BURST, write(pipe_fds[1], bytes, NR_BURST));
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
}

static unsigned int nr_threads(void)
{
	unsigned int nr = 0;
	uint64_t caught;

	CHECK_EQ(0, kr_proc_status(&nr, &caught));
	return nr;
}

static void wait_for_few(void)
{
	while (ut_stats().nr_threads > FEW)
		kaus_sleep(2 * MSEC);
	/* The kernel says so too: service, spawner, sysmon, a sanitizer's. */
	while (nr_threads() > FEW + 4)
		kaus_sleep(2 * MSEC);
}

static int bursts(void *arg)
{
	int nr = *(int *)arg;

	CHECK_EQ(0, pipe(pipe_fds));
	for (int i = 0; i < nr; i++) {
		burst();
		wait_for_few();
	}
	burst();
	return 0;
}

TEST(threads_end_after_a_burst)
{
	struct kaus_options opts = ut_procs(2);
	int nr = 4;

	kr_reap_ns = 5 * MSEC;
	RUN_WITH(&opts, bursts, &nr);
}

TEST(threads_end_with_one_proc)
{
	struct kaus_options opts = ut_procs(1);
	int nr = 2;

	kr_reap_ns = 5 * MSEC;
	RUN_WITH(&opts, bursts, &nr);
}

TEST(threads_end_in_their_own_time)
{
	struct kaus_options opts = ut_procs(2);
	int nr = 1;

	/* As it is in programs, but for the last few. */
	kr_reap_ns /= 2;
	RUN_WITH(&opts, bursts, &nr);
}

/* While threads come and go as fast as they can. */
static atomic_bool stop;

static void napping(void *arg)
{
	struct timespec ts = { 0, 1 * MSEC };

	(void)arg;
	while (!atomic_load(&stop)) {
		kaus_sleep(500 * USEC);
		nanosleep(&ts, NULL);
	}
	kaus_waitgroup_done(&wg);
}

static void locked(void *arg)
{
	long tid;

	(void)arg;
	CHECK_EQ(0, kaus_lock_thread());
	tid = syscall(SYS_gettid);
	while (!atomic_load(&stop)) {
		kaus_sleep(500 * USEC);
		CHECK_EQ(tid, syscall(SYS_gettid));
	}
	CHECK_EQ(0, kaus_unlock_thread());
	kaus_waitgroup_done(&wg);
}

static int all_the_time(void *arg)
{
	(void)arg;
	for (int round = 0; round < 15; round++) {
		atomic_store(&stop, false);
		kaus_waitgroup_add(&wg, 21);
		for (int i = 0; i < 20; i++)
			ut_go(napping, NULL);
		ut_go(locked, NULL);
		kaus_sleep(20 * MSEC);
		atomic_store(&stop, true);
		CHECK_EQ(0, kaus_waitgroup_wait(&wg));
		kaus_sleep(round * 200 * USEC);
	}
	return 0;
}

TEST(threads_come_and_go)
{
	struct kaus_options opts = ut_procs(2);

	kr_reap_ns = 100 * USEC;
	RUN_WITH(&opts, all_the_time, NULL);
}

/* ---- the end of a thread ---- */

static pthread_key_t key;
static atomic_uint nr_destroyed, nr_started;

static void started(void *arg)
{
	(void)arg;
	atomic_fetch_add(&nr_started, 1);
}

static void destroy(void *value)
{
	CHECK(value == &key);
	/* On a plain thread by now. */
	CHECK_EQ(0, kaus_goid());
	CHECK_EQ(-EPERM, kaus_lock_thread());
	CHECK_EQ(0, kaus_go(started, NULL));
	atomic_fetch_add(&nr_destroyed, 1);
}

static void reading_with_value(void *arg)
{
	CHECK_EQ(0, pthread_setspecific(key, &key));
	reading(arg);
}

/* As many threads, each with a value that @destructor gets. */
static void burst_with_values(void (*destructor)(void *value))
{
	char bytes[NR_BURST] = { 0 };

	CHECK_EQ(0, pipe(pipe_fds));
	CHECK_EQ(0, pthread_key_create(&key, destructor));
	kaus_waitgroup_add(&wg, NR_BURST);
	for (int i = 0; i < NR_BURST; i++)
		ut_go(reading_with_value, NULL);
	while (atomic_load(&nr_inside) < NR_BURST)
		kaus_sleep(1 * MSEC);
	CHECK_EQ(NR_BURST, write(pipe_fds[1], bytes, NR_BURST));
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
}

static int destructors(void *arg)
{
	(void)arg;
	burst_with_values(destroy);
	while (atomic_load(&nr_destroyed) < NR_BURST / 2)
		kaus_sleep(1 * MSEC);
	wait_for_few();
	while (atomic_load(&nr_started) < atomic_load(&nr_destroyed))
		kaus_sleep(1 * MSEC);
	return 0;
}

TEST(destructors_run_on_a_plain_thread)
{
	struct kaus_options opts = ut_procs(2);

	kr_reap_ns = 5 * MSEC;
	RUN_WITH(&opts, destructors, NULL);
}

/* A thread that does not go, as one that has its number by now would not. */
static atomic_bool may_go;

static void linger(void *value)
{
	(void)value;
	atomic_fetch_add(&nr_destroyed, 1);
	while (!atomic_load(&may_go))
		usleep(1000);
}

static int lingering(void *arg)
{
	(void)arg;
	burst_with_values(linger);
	while (ut_stats().nr_threads > FEW || !atomic_load(&nr_destroyed) ||
	       READ_ONCE(sched.reaping))
		kaus_sleep(1 * MSEC);
	atomic_store(&may_go, true);
	return 0;
}

TEST(nobody_waits_for_ever_for_a_thread)
{
	struct kaus_options opts = ut_procs(2);

	kr_reap_ns = 5 * MSEC;
	RUN_WITH(&opts, lingering, NULL);
}

/* ---- a deadlock is still seen ---- */

static struct kaus_chan *never;

static int waits_for_ever(void *arg)
{
	never = kaus_chan_make(0, 0);
	CHECK_EQ(0, pipe(pipe_fds));
	burst();
	/* Also when it happens while threads are going. */
	if (!arg)
		wait_for_few();
	return kaus_chan_recv(never, NULL);
}

static void silent(void)
{
	kr_reap_ns = 5 * MSEC;
	if (!freopen("/dev/null", "w", stderr))
		_exit(1);
}

static void deadlock_afterwards(void)
{
	silent();
	kaus_run(waits_for_ever, NULL);
}

static void deadlock_meanwhile(void)
{
	silent();
	kaus_run(waits_for_ever, &wg);
}

TEST(a_deadlock_is_reported)
{
	int status;

	UT_SKIP_TSAN("ThreadSanitizer has a thread and signal handlers");
	status = ut_child(deadlock_afterwards);
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(2, WEXITSTATUS(status));
	status = ut_child(deadlock_meanwhile);
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(2, WEXITSTATUS(status));
}

TEST_HARNESS_MAIN
