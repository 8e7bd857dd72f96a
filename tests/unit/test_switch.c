// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module goes and comes back while goroutines run.
 *
 * Each kind of waiting and working is there at every change: channels, timers,
 * sleeps in the kernel, hogs, goroutines locked to their threads, plain
 * threads that wake some. A P that nobody has any more, a goroutine in no
 * queue, an M that waits in the one pool while it is woken in the other show
 * as a test that hangs; a system call that fails, a sum that is wrong, a module
 * that cannot be unloaded are seen.
 *
 * Needs root, and the module to itself.
 */
#include <fcntl.h>
#include <sys/syscall.h>

#include "utest.h"

#define DRAIN	"/sys/module/kaus/parameters/drain"
#define REFCNT	"/sys/module/kaus/refcnt"
#define ROUNDS	5

static bool drain(bool on)
{
	int fd = open(DRAIN, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, on ? "1" : "0", 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok;
}

static int nr_refs(void)
{
	char buf[16] = "-1";
	int fd = open(REFCNT, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, buf, sizeof(buf) - 1) < 1)
		buf[0] = '-';
	if (fd >= 0)
		close(fd);
	return atoi(buf);
}

static void undrain(void)
{
	drain(false);
}

/* The last users of a test before this one take a moment to disappear. */
static bool may_drain(void)
{
	if (geteuid() || access(DRAIN, W_OK) || getenv("KAUS_ASSIST"))
		return false;
	undrain();
	for (int i = 0; i < 1000 && nr_refs() != 0; i++)
		usleep(10000);
	return nr_refs() == 0;
}

__attribute__((constructor)) static void clean_up(void)
{
	if (!access(DRAIN, W_OK))
		atexit(undrain);
}

#define NEEDS_DRAIN()                                                 \
	do {                                                          \
		if (!may_drain())                                     \
			SKIP(return, "no module that may be drained"); \
	} while (0)

static bool is_assisted_by(const char *name)
{
	struct kaus_stats st = { .size = sizeof(st) };

	return !kaus_stats_read(&st) && !strcmp(st.assist, name);
}

static atomic_bool stop;

static void await_assist(const char *name)
{
	while (!is_assisted_by(name))
		kaus_sleep(1000000);
}

static void await_free(void)
{
	while (nr_refs() != 0)
		kaus_sleep(1000000);
}

/* --- the load --- */

static struct kaus_waitgroup wg;
static atomic_ulong nr_sent, nr_received, nr_slept, nr_read, nr_computed;
static atomic_ulong nr_woken, nr_stayed;

struct pair {
	struct kaus_chan *there, *back;
};

static void pinger(void *arg)
{
	struct pair *pair = arg;

	for (uint64_t i = 0, j; !atomic_load(&stop); i++) {
		CHECK_EQ(0, kaus_chan_send(pair->there, &i));
		atomic_fetch_add(&nr_sent, 1);
		CHECK_EQ(0, kaus_chan_recv(pair->back, &j));
		CHECK(i == j);
	}
	kaus_chan_close(pair->there);
	kaus_waitgroup_done(&wg);
}

static void ponger(void *arg)
{
	struct pair *pair = arg;
	uint64_t i;

	while (!kaus_chan_recv(pair->there, &i)) {
		atomic_fetch_add(&nr_received, 1);
		CHECK_EQ(0, kaus_chan_send(pair->back, &i));
	}
	kaus_waitgroup_done(&wg);
}

static void sleeper(void *arg)
{
	while (!atomic_load(&stop)) {
		kaus_sleep(2000000);
		atomic_fetch_add(&nr_slept, 1);
	}
	kaus_waitgroup_done(&wg);
}

/*
 * In the kernel, over and over. Without the module a signal may hit one that
 * has just fallen asleep (sysmon.c).
 */
static void kernel_sleeper(void *arg)
{
	struct timespec nap = { .tv_nsec = 3000000 };

	while (!atomic_load(&stop)) {
		CHECK(!nanosleep(&nap, NULL) || ut_errno() == EINTR);
		atomic_fetch_add(&nr_read, 1);
	}
	kaus_waitgroup_done(&wg);
}

/* And once, from the first change to the last. */
static void long_sleeper(void *arg)
{
	int *fds = arg;
	char byte;

	CHECK_EQ(1, read(fds[0], &byte, 1));
	kaus_waitgroup_done(&wg);
}

static uint64_t sum(void)
{
	uint64_t x = 1;

	for (int i = 0; i < 200000; i++)
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
	return x;
}

static void hog(void *arg)
{
	uint64_t ref = sum();

	while (!atomic_load(&stop)) {
		CHECK(sum() == ref);
		atomic_fetch_add(&nr_computed, 1);
	}
	kaus_waitgroup_done(&wg);
}

static void locked(void *arg)
{
	long tid;

	kaus_lock_thread();
	tid = syscall(SYS_gettid);
	while (!atomic_load(&stop)) {
		kaus_sleep(1000000);
		CHECK(tid == syscall(SYS_gettid));
		atomic_fetch_add(&nr_stayed, 1);
	}
	kaus_unlock_thread();
	kaus_waitgroup_done(&wg);
}

static struct kaus_chan *from_outside;

static void *plain_thread(void *arg)
{
	uint64_t i = 0;

	while (!atomic_load(&stop)) {
		usleep(1000);
		if (kaus_chan_try_send(from_outside, &i) != -EAGAIN)
			i++;
	}
	kaus_chan_close(from_outside);
	return NULL;
}

static void woken_from_outside(void *arg)
{
	uint64_t i;

	while (!kaus_chan_recv(from_outside, &i))
		atomic_fetch_add(&nr_woken, 1);
	kaus_waitgroup_done(&wg);
}

/* Everything moves on. */
static void await_progress(void)
{
	atomic_ulong *counters[] = {
		&nr_sent, &nr_received, &nr_slept, &nr_read, &nr_computed,
		&nr_woken, &nr_stayed,
	};
	unsigned long seen[ARRAY_SIZE(counters)];

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		seen[i] = atomic_load(counters[i]);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		while (atomic_load(counters[i]) < seen[i] + 3)
			kaus_sleep(1000000);
}

#define NR_PAIRS	20
#define NR_EACH		6

static struct pair pairs[NR_PAIRS];
static int long_fds[2];
static pthread_t outside;

static void start_load(void)
{
	CHECK_EQ(0, kaus_waitgroup_add(&wg, 2 * NR_PAIRS + 3 * NR_EACH + 4));
	for (int i = 0; i < NR_PAIRS; i++) {
		pairs[i].there = kaus_chan_make(sizeof(uint64_t), i % 3);
		pairs[i].back = kaus_chan_make(sizeof(uint64_t), 0);
		CHECK_EQ(0, kaus_go(pinger, &pairs[i]));
		CHECK_EQ(0, kaus_go(ponger, &pairs[i]));
	}
	for (int i = 0; i < NR_EACH; i++) {
		CHECK_EQ(0, kaus_go(sleeper, NULL));
		CHECK_EQ(0, kaus_go(kernel_sleeper, NULL));
		CHECK_EQ(0, kaus_go(locked, NULL));
	}
	CHECK_EQ(0, pipe(long_fds));
	CHECK_EQ(0, kaus_go(long_sleeper, long_fds));
	CHECK_EQ(0, kaus_go(hog, NULL));
	CHECK_EQ(0, kaus_go(hog, NULL));
	from_outside = kaus_chan_make(sizeof(uint64_t), 1);
	CHECK_EQ(0, kaus_go(woken_from_outside, NULL));
	CHECK_EQ(0, pthread_create(&outside, NULL, plain_thread, NULL));
}

static void end_load(void)
{
	atomic_store(&stop, true);
	CHECK_EQ(1, write(long_fds[1], "x", 1));
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	pthread_join(outside, NULL);
}

static int back_and_forth(void *arg)
{
	CHECK(is_assisted_by(arg ? "signal" : "module"));
	start_load();
	if (arg) {
		await_progress();
		CHECK(drain(false));
		await_assist("module");
	}
	for (int i = 0; i < ROUNDS; i++) {
		await_progress();
		CHECK(drain(true));
		await_assist("signal");
		/* What lets go of the module may still be about to. */
		await_free();
		await_progress();
		CHECK(drain(false));
		await_assist("module");
	}
	await_progress();
	end_load();
	return 0;
}

TEST(goes_and_comes_back)
{
	NEEDS_DRAIN();
	RUN(back_and_forth, NULL);
}

TEST(comes_for_the_first_time)
{
	NEEDS_DRAIN();
	ASSERT_TRUE(drain(true));
	RUN(back_and_forth, "");
}

/* As fast as can be: what the one change has begun the next one finds. */
static int no_pause(void *arg)
{
	start_load();
	for (int i = 0; i < 6 * ROUNDS; i++) {
		CHECK(drain(i % 2 == 0));
		if (i % 3 == 0)
			kaus_yield();
		else
			kaus_sleep((uint64_t)(i % 5) * 3000000);
	}
	CHECK(drain(true));
	await_progress();
	CHECK(drain(false));
	await_assist("module");
	await_progress();
	end_load();
	return 0;
}

TEST(without_a_pause)
{
	NEEDS_DRAIN();
	RUN(no_pause, NULL);
}

/* One that has nothing to do lets go as well, and does not wait for a load. */
static int idle(void *arg)
{
	struct kaus_chan *chan = kaus_chan_make(0, 0);
	int *refs = arg;

	CHECK(is_assisted_by("module"));
	CHECK(drain(true));
	CHECK_EQ(-ETIMEDOUT, kaus_chan_recv_until(chan, NULL,
						  kaus_now_ns() + 300000000));
	await_free();
	*refs = nr_refs();
	return 0;
}

TEST(idle_process_lets_go)
{
	int refs = -1;

	NEEDS_DRAIN();
	RUN(idle, &refs);
	EXPECT_EQ(0, refs);
}

static int nothing(void *arg)
{
	CHECK(is_assisted_by("module"));
	return 0;
}

/* Its threads are still there, and so is its descriptor. */
TEST(after_the_end_of_main)
{
	NEEDS_DRAIN();
	RUN(nothing, NULL);
	ASSERT_TRUE(drain(true));
	while (nr_refs() != 0)
		usleep(1000);
}

static int fork_and_drain(void *arg)
{
	int status, fds[2];
	char byte;
	pid_t pid;

	CHECK_EQ(0, pipe(fds));
	pid = fork();
	if (!pid) {
		close(fds[1]);
		_exit(read(fds[0], &byte, 1) == 0 ? 0 : 1);
	}
	CHECK(pid > 0);
	CHECK(drain(true));
	await_free();
	close(fds[1]);
	CHECK_EQ(pid, waitpid(pid, &status, 0));
	CHECK_EQ(0, status);
	return 0;
}

TEST(a_child_does_not_hold_the_module)
{
	NEEDS_DRAIN();
	RUN(fork_and_drain, NULL);
}

/* Who asked for signals gets no module. */
static int stays(void *arg)
{
	CHECK(drain(false));
	for (int i = 0; i < 500; i++) {
		CHECK(is_assisted_by("signal"));
		kaus_sleep(1000000);
	}
	return 0;
}

TEST(signals_by_choice)
{
	struct kaus_options opts = { .assist = KAUS_ASSIST_SIGNAL };

	opts.size = sizeof(opts);
	NEEDS_DRAIN();
	ASSERT_TRUE(drain(true));
	RUN_WITH(&opts, stays, NULL);
}

TEST_HARNESS_MAIN
