// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtual time (KAUS_VIRTUAL_TIME, kaus_options.virtual_time): sleeps of hours
 * end at once, at exactly the time they were to end, in order; time stands
 * still while a goroutine runs, sleeps in the kernel or waits for a
 * descriptor; a deadlock is still one.
 *
 * If it is broken: a test hangs, or a time is not the one expected.
 */
#include "utest.h"

/* Else sanitizers' handlers of signals would count as ways to go on. */
#define NO_HANDLERS "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:" \
	"handle_abort=0:handle_sigill=0:allow_user_segv_handler=1"
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return NO_HANDLERS;
}

#define HOUR (3600 * SEC)

static struct kaus_options virtual_procs(unsigned int nr_procs)
{
	struct kaus_options opts = ut_procs(nr_procs);

	opts.virtual_time = 1;
	return opts;
}

/* With one P, and with several. */
#define RUN_VIRTUAL(fn) \
	do { \
		for (unsigned int nr_ = 1; nr_ <= 3; nr_ += 2) { \
			struct kaus_options opts_ = virtual_procs(nr_); \
			EXPECT_EQ(0, run_child(&opts_, fn)); \
		} \
	} while (0)

/* The runtime runs once in a process. */
static int run_child(const struct kaus_options *opts, int (*fn)(void *))
{
	int status = -1;
	pid_t pid;

	pid = fork();
	if (!pid) {
		signal(SIGALRM, SIG_DFL);
		exit(kaus_run_with(opts, fn, NULL) || ut_failures);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : status;
}

static uint64_t began;

/* Time that has passed. */
static uint64_t passed(void)
{
	return kaus_now_ns() - began;
}

/* ---- sleeps ---- */

#define NR_SLEEPERS 100

static uint64_t woke[NR_SLEEPERS];
static atomic_int nr_woke;

static void *sleeper(void *arg)
{
	unsigned int i = (unsigned int)(uintptr_t)arg;
	/* Each at another time, in another order than they were started. */
	uint64_t ns = (i * 37 % NR_SLEEPERS + 1) * HOUR + i;

	CHECK_EQ(0, kaus_sleep_until(began + ns));
	CHECK_EQ(ns, passed());
	CHECK_EQ(i * 37 % NR_SLEEPERS, atomic_fetch_add(&nr_woke, 1));
	woke[i] = passed();
	return NULL;
}

static int sleepers(void *arg)
{
	struct kaus_g *gs[NR_SLEEPERS];

	began = kaus_now_ns();
	for (uintptr_t i = 0; i < NR_SLEEPERS; i++)
		gs[i] = ut_spawn(sleeper, (void *)i);
	for (int i = 0; i < NR_SLEEPERS; i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	CHECK_EQ(NR_SLEEPERS, nr_woke);
	/* i = 27 is the last: 27 * 37 = 999. */
	CHECK_EQ(NR_SLEEPERS * HOUR + 27, passed());
	return 0;
}

TEST(hours_pass_at_once_and_in_order)
{
	RUN_VIRTUAL(sleepers);
}

static int alone(void *arg)
{
	began = kaus_now_ns();
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(0, kaus_sleep(HOUR));
	CHECK_EQ(1000 * HOUR, passed());
	CHECK_EQ(0, kaus_sleep(0));
	CHECK_EQ(0, kaus_sleep_until(began));
	CHECK_EQ(1000 * HOUR, passed());
	return 0;
}

TEST(one_sleeps_alone)
{
	RUN_VIRTUAL(alone);
}

TEST(the_environment_says_so)
{
	setenv("KAUS_VIRTUAL_TIME", "1", 1);
	EXPECT_EQ(0, run_child(NULL, alone));
}

static int on_a_thread_of_its_own(void *arg)
{
	CHECK_EQ(0, kaus_lock_thread());
	return alone(arg);
}

TEST(one_that_is_locked_to_its_thread)
{
	RUN_VIRTUAL(on_a_thread_of_its_own);
}

/* ---- deadlines and timers ---- */

static atomic_int nr_ticks;

static void tick(void *arg)
{
	CHECK_EQ(HOUR / 2 + (uint64_t)atomic_fetch_add(&nr_ticks, 1) * HOUR,
		 passed());
}

static int deadlines(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 0);
	struct kaus_case c = KAUS_RECV(ch, NULL);
	struct kaus_mutex mu = KAUS_MUTEX_INIT;
	struct kaus_context *ctx;
	struct kaus_timer timer = KAUS_TIMER_INIT(tick, NULL);

	began = kaus_now_ns();
	CHECK_EQ(0, kaus_timer_start(&timer, began + HOUR / 2, HOUR));
	CHECK_EQ(-ETIMEDOUT, kaus_chan_recv_until(ch, NULL, began + HOUR));
	CHECK_EQ(HOUR, passed());
	CHECK_EQ(1, nr_ticks);
	CHECK_EQ(-ETIMEDOUT, kaus_select_until(&c, 1, began + 2 * HOUR));
	CHECK_EQ(2 * HOUR, passed());
	CHECK_EQ(0, kaus_mutex_lock(&mu));
	CHECK_EQ(-ETIMEDOUT, kaus_mutex_lock_until(&mu, began + 3 * HOUR));
	CHECK_EQ(3 * HOUR, passed());
	CHECK_EQ(0, kaus_context_with_deadline(NULL, began + 4 * HOUR, &ctx));
	CHECK_EQ(-EPIPE, kaus_chan_recv(kaus_context_done(ctx), NULL));
	CHECK_EQ(-ETIMEDOUT, kaus_context_err(ctx));
	CHECK_EQ(4 * HOUR, passed());
	kaus_context_put(ctx);
	CHECK_EQ(4, nr_ticks);
	CHECK_EQ(1, kaus_timer_stop(&timer));
	CHECK_EQ(0, kaus_sleep(HOUR));
	CHECK_EQ(4, nr_ticks);
	kaus_chan_free(ch);
	return 0;
}

TEST(deadlines_and_timers_are_exact)
{
	RUN_VIRTUAL(deadlines);
}

/* ---- when time stands still ---- */

static uint64_t real_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SEC + (uint64_t)ts.tv_nsec;
}

/* Time is to pass only when the channel is closed. */
static void *sleep_an_hour(void *arg)
{
	CHECK_EQ(0, kaus_sleep(HOUR));
	CHECK_EQ(HOUR, passed());
	CHECK(!kaus_chan_send(arg, NULL));
	return NULL;
}

static int busy(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 1);
	struct kaus_g *g = ut_spawn(sleep_an_hour, ch);
	uint64_t end = real_ns() + 30 * MSEC;

	began = kaus_now_ns();
	while (real_ns() < end) {
		kaus_yield();
		CHECK_EQ(0, passed());
	}
	CHECK_EQ(0, kaus_join(g, NULL));
	CHECK_EQ(HOUR, passed());
	kaus_chan_free(ch);
	return 0;
}

TEST(it_stands_still_while_one_runs)
{
	RUN_VIRTUAL(busy);
}

static int in_the_kernel(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 1);
	struct kaus_g *g = ut_spawn(sleep_an_hour, ch);

	began = kaus_now_ns();
	for (int i = 0; i < 5; i++) {
		usleep(10000);
		CHECK_EQ(0, passed());
	}
	kaus_block_begin();
	usleep(10000);
	kaus_block_end();
	CHECK_EQ(0, passed());
	CHECK_EQ(0, kaus_join(g, NULL));
	CHECK_EQ(HOUR, passed());
	kaus_chan_free(ch);
	return 0;
}

TEST(it_stands_still_while_one_sleeps_in_the_kernel)
{
	RUN_VIRTUAL(in_the_kernel);
}

static void *write_from_outside(void *arg)
{
	usleep(30000);
	CHECK_EQ(1, write(*(int *)arg, "x", 1));
	return NULL;
}

static int at_a_descriptor(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 1);
	struct kaus_g *g = ut_spawn(sleep_an_hour, ch);
	kaus_fd_t ends[2];
	pthread_t thread;
	int fd;
	char c;

	began = kaus_now_ns();
	CHECK_EQ(0, kaus_fd_pipe(ends));
	fd = kaus_fd_num(ends[1]);
	CHECK_EQ(0, pthread_create(&thread, NULL, write_from_outside, &fd));
	CHECK_EQ(1, kaus_fd_read(ends[0], &c, 1));
	CHECK_EQ(0, passed());
	pthread_join(thread, NULL);
	/* That one is open says nothing: nobody waits there. */
	CHECK_EQ(0, kaus_join(g, NULL));
	CHECK_EQ(HOUR, passed());
	kaus_chan_free(ch);
	CHECK_EQ(0, kaus_fd_close(ends[0]));
	CHECK_EQ(0, kaus_fd_close(ends[1]));
	return 0;
}

TEST(it_stands_still_while_one_waits_for_a_descriptor)
{
	RUN_VIRTUAL(at_a_descriptor);
}

/* ---- plain threads ---- */

static void *receive_in_vain(void *arg)
{
	uint64_t start = real_ns();

	CHECK_EQ(-ETIMEDOUT, kaus_chan_recv_until(arg, NULL,
						  kaus_now_ns() + 20 * MSEC));
	CHECK(real_ns() - start >= 20 * MSEC);
	return NULL;
}

static int with_a_thread(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 0);
	pthread_t thread;

	CHECK_EQ(0, kaus_sleep(HOUR));
	began = kaus_now_ns();
	CHECK_EQ(0, pthread_create(&thread, NULL, receive_in_vain, ch));
	pthread_join(thread, NULL);
	CHECK_EQ(0, passed());
	kaus_chan_free(ch);
	return 0;
}

TEST(deadlines_of_plain_threads_are_real)
{
	RUN_VIRTUAL(with_a_thread);
}

static void *start_timer(void *arg)
{
	usleep(20000);
	CHECK_EQ(0, kaus_timer_start(arg, kaus_now_ns() + HOUR, 0));
	return NULL;
}

static struct kaus_chan *fired;

static void send_fired(void *arg)
{
	CHECK_EQ(0, kaus_chan_send(fired, NULL));
}

static int timer_of_a_thread(void *arg)
{
	struct kaus_timer timer = KAUS_TIMER_INIT(send_fired, NULL);
	pthread_t thread;

	fired = kaus_chan_make(0, 0);
	began = kaus_now_ns();
	CHECK_EQ(0, pthread_create(&thread, NULL, start_timer, &timer));
	CHECK_EQ(0, kaus_chan_recv(fired, NULL));
	CHECK_EQ(HOUR, passed());
	pthread_join(thread, NULL);
	kaus_chan_free(fired);
	return 0;
}

TEST(plain_threads_may_start_timers)
{
	RUN_VIRTUAL(timer_of_a_thread);
}

/* ---- the rest ---- */

static struct kaus_chan *never;

static int stuck(void *arg)
{
	never = kaus_chan_make(0, 0);
	kaus_lock_thread();
	kaus_sleep(HOUR);
	return kaus_chan_recv(never, NULL);
}

TEST(a_deadlock_is_still_one)
{
	struct kaus_options opts = virtual_procs(2);

	UT_SKIP_TSAN("ThreadSanitizer's own threads count as help");
	EXPECT_EQ(2, run_child(&opts, stuck));
}

static atomic_int nr_done;

static void *many_waits(void *arg)
{
	uint64_t seed = (uintptr_t)arg + 1;

	for (int i = 0; i < 20; i++) {
		uint64_t due = kaus_now_ns() + ut_rand(&seed) % HOUR;

		CHECK_EQ(0, kaus_sleep_until(due));
		CHECK_EQ(due, kaus_now_ns());
		if (i % 4 == 0)
			kaus_yield();
	}
	atomic_fetch_add(&nr_done, 1);
	return NULL;
}

static int many(void *arg)
{
	struct kaus_g *gs[200];

	for (uintptr_t i = 0; i < ARRAY_SIZE(gs); i++)
		gs[i] = ut_spawn(many_waits, (void *)i);
	for (size_t i = 0; i < ARRAY_SIZE(gs); i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	CHECK_EQ(ARRAY_SIZE(gs), nr_done);
	return 0;
}

TEST(many_wait_for_many_moments)
{
	RUN_VIRTUAL(many);
}

TEST(by_lot_too)
{
	struct kaus_options opts = virtual_procs(2);

	opts.sched_random = 11;
	EXPECT_EQ(0, run_child(&opts, many));
}

TEST_HARNESS_MAIN
