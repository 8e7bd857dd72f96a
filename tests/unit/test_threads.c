// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program's own threads beside the runtime: they may start goroutines and
 * use the calls that do not park, while the Ps are idle, busy or asleep.
 *
 * If it is broken: a goroutine started from outside while all threads of the
 * runtime sleep is found only when something else wakes them (a hang), or a
 * plain thread is taken for a goroutine and parked.
 */
#include "utest.h"

#define NR_THREADS 4
#define NR_EACH 2000

static atomic_uint nr_ran;

static void count(void *arg)
{
	CHECK(kaus_goid() > 1);
	atomic_fetch_add(&nr_ran, 1);
}

static void *go_thread(void *arg)
{
	int i;

	CHECK_EQ(0, kaus_goid());
	for (i = 0; i < NR_EACH; i++)
		ut_go(count, NULL);
	return NULL;
}

static int go_from_threads(void *arg)
{
	pthread_t threads[NR_THREADS];
	int i;

	for (i = 0; i < NR_THREADS; i++)
		pthread_create(&threads[i], NULL, go_thread, NULL);
	while (atomic_load(&nr_ran) < NR_THREADS * NR_EACH)
		kaus_sleep(1 * MSEC);
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(NR_THREADS * NR_EACH, nr_ran);
	return 0;
}

TEST(threads_start_goroutines)
{
	RUN(go_from_threads, NULL);
}

/* One at a time, each after the runtime has gone to sleep. */
static void answer(void *arg)
{
	CHECK_EQ(0, kaus_chan_try_send(arg, NULL));
}

static void *go_slowly(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 1);
	struct kaus_chan *done = arg;
	int i;

	for (i = 0; i < 20; i++) {
		usleep(3000);
		ut_go(answer, ch);
		while (kaus_chan_try_recv(ch, NULL) == -EAGAIN)
			usleep(100);
	}
	kaus_chan_free(ch);
	while (kaus_chan_try_send(done, NULL) == -EAGAIN)
		usleep(100);
	return NULL;
}

static int idle_main(void *arg)
{
	struct kaus_chan *done = kaus_chan_make(0, 0);
	pthread_t thread;

	pthread_create(&thread, NULL, go_slowly, done);
	CHECK_EQ(0, kaus_chan_recv(done, NULL));
	pthread_join(thread, NULL);
	kaus_chan_free(done);
	return 0;
}

TEST(threads_wake_an_idle_runtime)
{
	RUN(idle_main, NULL);
}

static int busy_main(void *arg)
{
	ut_go_hogs();
	return idle_main(arg);
}

TEST(threads_reach_a_busy_runtime)
{
	RUN(busy_main, NULL);
}

static void sleep_in_kernel(void *arg)
{
	for (;;)
		pause();
}

static int sleeping_main(void *arg)
{
	unsigned int i, nr = ut_nr_procs() * 2;

	for (i = 0; i < nr; i++)
		ut_go(sleep_in_kernel, NULL);
	return idle_main(arg);
}

TEST(threads_reach_a_sleeping_runtime)
{
	RUN(sleeping_main, NULL);
}

static void *value(void *arg)
{
	return arg;
}

struct handed {
	struct kaus_g *g;
	struct kaus_chan *ch;
};

static void *spawn_thread(void *arg)
{
	struct handed *handed = arg;
	struct kaus_g *g;

	g = ut_spawn(value, "from a thread");
	while (kaus_chan_try_send(handed->ch, &g) == -EAGAIN)
		sched_yield();
	return NULL;
}

static int join_foreign(void *arg)
{
	struct handed handed = { 0 };
	pthread_t thread;
	void *ret = NULL;

	handed.ch = kaus_chan_make(sizeof(struct kaus_g *), 0);
	pthread_create(&thread, NULL, spawn_thread, &handed);
	CHECK_EQ(0, kaus_chan_recv(handed.ch, &handed.g));
	CHECK_EQ(0, kaus_join(handed.g, &ret));
	CHECK(ret && !strcmp(ret, "from a thread"));
	pthread_join(thread, NULL);
	kaus_chan_free(handed.ch);
	return 0;
}

TEST(goroutine_joins_what_a_thread_spawned)
{
	RUN(join_foreign, NULL);
}

/* A thread created by a goroutine, whatever that one's thread does later. */
static void *own_thread(void *arg)
{
	CHECK_EQ(0, kaus_goid());
	usleep(1000);
	ut_go(count, NULL);
	return arg;
}

static void thread_per_goroutine(void *arg)
{
	pthread_t thread;
	void *ret = NULL;

	if (CHECK_EQ(0, pthread_create(&thread, NULL, own_thread, arg))) {
		CHECK_EQ(0, pthread_join(thread, &ret));
		CHECK(ret == arg);
	}
	kaus_waitgroup_done(arg);
}

static int threads_of_goroutines(void *arg)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;
	int i;

	kaus_waitgroup_add(&wg, 20);
	for (i = 0; i < 20; i++)
		ut_go(thread_per_goroutine, &wg);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	while (atomic_load(&nr_ran) < 20)
		kaus_yield();
	return 0;
}

TEST(goroutines_start_and_join_threads)
{
	RUN(threads_of_goroutines, NULL);
}

/* Signals the program sends itself are handled as ever. */
static atomic_int nr_handled;

static void handler(int sig)
{
	(void)sig;
	atomic_fetch_add(&nr_handled, 1);
}

static void *send_signals(void *arg)
{
	int i;

	for (i = 0; i < 50; i++) {
		kill(getpid(), SIGUSR1);
		usleep(200);
	}
	return NULL;
}

static int signals_main(void *arg)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
	pthread_t thread;

	CHECK_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	ut_go_hogs();
	pthread_create(&thread, NULL, send_signals, NULL);
	while (!atomic_load(&nr_handled))
		kaus_sleep(1 * MSEC);
	pthread_join(thread, NULL);
	return 0;
}

TEST(signals_of_the_program_are_delivered)
{
	UT_SKIP_TSAN("ThreadSanitizer keeps signals back");
	RUN(signals_main, NULL);
}

TEST_HARNESS_MAIN
