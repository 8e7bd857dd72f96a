// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls are not interrupted by the scheduler: with the module, calls
 * that sleep return EINTR never, also while hogs are preempted on every P and
 * Ps change hands. With signals as the assist EINTR can happen, the count is
 * printed and not judged.
 *
 * If it is broken: libraries that do not loop on EINTR fail at random, sleeps
 * are cut short, and reads return less than was asked for.
 */
#include "utest.h"

#define NR_LOOPS 40

static struct kaus_waitgroup wg;
static atomic_uint nr_eintr;
static atomic_uint nr_short;
static atomic_uint nr_calls;
static atomic_bool stop;

static void count(long ret, long expected)
{
	atomic_fetch_add(&nr_calls, 1);
	if (ret == -1 && errno == EINTR)
		atomic_fetch_add(&nr_eintr, 1);
	else if (ret != expected)
		atomic_fetch_add(&nr_short, 1);
}

static void loop_nanosleep(void *arg)
{
	static const struct timespec ts = { 0, 1 * MSEC };
	int i;

	for (i = 0; i < NR_LOOPS; i++)
		count(nanosleep(&ts, NULL), 0);
	kaus_waitgroup_done(&wg);
}

static void loop_poll(void *arg)
{
	int i;

	for (i = 0; i < NR_LOOPS; i++)
		count(poll(NULL, 0, 1), 0);
	kaus_waitgroup_done(&wg);
}

/* A relative sleep computes between its calls, so that it is preempted, too. */
static void loop_usleep_and_compute(void *arg)
{
	int i;

	for (i = 0; i < NR_LOOPS; i++) {
		ut_spin(100000);
		count(usleep(500), 0);
	}
	kaus_waitgroup_done(&wg);
}

/* Four bytes, which the writer sends one after the other. */
static void loop_read(void *arg)
{
	int fd = *(int *)arg, i, got;
	char buf[4];
	ssize_t n;

	for (i = 0; i < NR_LOOPS; i++) {
		for (got = 0; got < 4; got += (int)n) {
			n = read(fd, buf, 1);
			count(n, 1);
			if (n < 0)
				n = 0;
		}
	}
	kaus_waitgroup_done(&wg);
}

static void *feed(void *arg)
{
	int fd = *(int *)arg;

	while (!atomic_load(&stop)) {
		if (write(fd, "x", 1) != 1)
			break;
		usleep(300);
	}
	return NULL;
}

static int eintr_main(void *arg)
{
	bool has_module = ut_has_module();
	unsigned int i, j, nr = ut_nr_procs() + 1;
	int fds[4][2];
	pthread_t threads[4];

	ut_go_hogs();
	kaus_waitgroup_add(&wg, (int)nr * 3 + 4);
	for (i = 0; i < nr; i++) {
		ut_go(loop_nanosleep, NULL);
		ut_go(loop_poll, NULL);
		ut_go(loop_usleep_and_compute, NULL);
	}
	for (j = 0; j < 4; j++) {
		CHECK_EQ(0, pipe(fds[j]));
		pthread_create(&threads[j], NULL, feed, &fds[j][1]);
		ut_go(loop_read, &fds[j][0]);
	}
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	atomic_store(&stop, true);
	for (j = 0; j < 4; j++)
		pthread_join(threads[j], NULL);
	dprintf(STDERR_FILENO, "# %u calls, %u EINTR, %s\n", nr_calls,
		nr_eintr, has_module ? "module" : "signals");
	CHECK_EQ(0, nr_short);
	if (has_module)
		CHECK_EQ(0, nr_eintr);
	return 0;
}

TEST(no_eintr_under_hogs)
{
	RUN(eintr_main, NULL);
}

TEST_HARNESS_MAIN
