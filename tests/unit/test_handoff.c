// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hand-off: a goroutine that sleeps in the kernel, in whatever call, does not
 * hold its P. Each test starts more sleepers than there are Ps and lets them
 * depend on goroutines that get to run only if the Ps are passed on.
 *
 * If it is broken, every test here hangs.
 */
#include <semaphore.h>
#include <sys/socket.h>

#include "utest.h"

static struct kaus_waitgroup wg;
static atomic_int nr_done;

static unsigned int nr_sleepers(void)
{
	return ut_nr_procs() * 2 + 6;
}

struct pipe_end {
	int fds[2];
	char token;
};

static void read_one(void *arg)
{
	struct pipe_end *p = arg;
	char c = 0;

	CHECK_EQ(1, read(p->fds[0], &c, 1));
	CHECK_EQ(p->token, c);
	atomic_fetch_add(&nr_done, 1);
	kaus_waitgroup_done(&wg);
}

static void write_all(void *arg)
{
	struct pipe_end *p = arg;

	for (; p->token; p++)
		CHECK_EQ(1, write(p->fds[1], &p->token, 1));
	/* It looks at the end of the list after the last reader has gone. */
	kaus_waitgroup_done(&wg);
}

static struct pipe_end *make_pipes(unsigned int nr)
{
	struct pipe_end *pipes = calloc(nr + 1, sizeof(*pipes));
	unsigned int i;

	for (i = 0; i < nr; i++) {
		CHECK_EQ(0, pipe(pipes[i].fds));
		pipes[i].token = (char)('A' + i % 26);
	}
	return pipes;
}

/* Readers first; the writer comes when they have all the Ps. */
static int readers(void *arg)
{
	unsigned int i, nr = nr_sleepers();
	struct pipe_end *pipes = make_pipes(nr);

	kaus_waitgroup_add(&wg, (int)nr + 1);
	for (i = 0; i < nr; i++)
		ut_go(read_one, &pipes[i]);
	for (i = 0; i < 20; i++)
		kaus_yield();
	CHECK_EQ(0, nr_done);
	ut_go(write_all, pipes);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	CHECK_EQ(nr, nr_done);
	free(pipes);
	return 0;
}

TEST(pipe_readers_do_not_keep_the_writer_out)
{
	RUN(readers, NULL);
}

TEST(pipe_readers_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, readers, NULL);
}

TEST(pipe_readers_on_eight_procs)
{
	struct kaus_options opts = ut_procs(8);

	RUN_WITH(&opts, readers, NULL);
}

/* A token goes round a ring of pipes: each hop needs a P and then sleeps. */
#define NR_RING 10
#define NR_LAPS 20

static struct pipe_end ring[NR_RING];

static void pass_on(void *arg)
{
	unsigned int i, self = (unsigned int)(uintptr_t)arg;
	char c;

	for (i = 0; i < NR_LAPS; i++) {
		CHECK_EQ(1, read(ring[self].fds[0], &c, 1));
		CHECK_EQ(1, write(ring[(self + 1) % NR_RING].fds[1], &c, 1));
	}
	kaus_waitgroup_done(&wg);
}

static int ring_main(void *arg)
{
	uintptr_t i;

	for (i = 0; i < NR_RING; i++)
		CHECK_EQ(0, pipe(ring[i].fds));
	kaus_waitgroup_add(&wg, NR_RING);
	for (i = 0; i < NR_RING; i++)
		ut_go(pass_on, (void *)i);
	CHECK_EQ(1, write(ring[0].fds[1], "t", 1));
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(token_round_a_ring_of_pipes)
{
	RUN(ring_main, NULL);
}

TEST(token_round_a_ring_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, ring_main, NULL);
}

static void sleep_in_kernel(void *arg)
{
	static const struct timespec ts = { 0, 20 * MSEC };
	int i;

	for (i = 0; i < 3; i++) {
		switch (((uintptr_t)arg + (unsigned int)i) % 3) {
		case 0:
			nanosleep(&ts, NULL);
			break;
		case 1:
			usleep(20000);
			break;
		case 2:
			poll(NULL, 0, 20);
			break;
		}
	}
	atomic_fetch_add(&nr_done, 1);
	kaus_waitgroup_done(&wg);
}

static int sleepers(void *arg)
{
	unsigned int i, nr = ut_nr_procs() * 2 + 30;

	kaus_waitgroup_add(&wg, (int)nr);
	for (i = 0; i < nr; i++)
		ut_go(sleep_in_kernel, (void *)(uintptr_t)i);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	CHECK_EQ(nr, nr_done);
	return 0;
}

TEST(sleeps_in_the_kernel_all_end)
{
	RUN(sleepers, NULL);
}

/* While all of those sleep, goroutines that use the runtime go on. */
static void sleep_long(void *arg)
{
	for (;;)
		pause();
}

static int others_go_on(void *arg)
{
	unsigned int i, nr = nr_sleepers();

	for (i = 0; i < nr; i++)
		ut_go(sleep_long, NULL);
	for (i = 0; i < 20; i++) {
		CHECK_EQ(0, kaus_sleep(1 * MSEC));
		kaus_yield();
	}
	CHECK(ut_stats().nr_handoffs > 0);
	return 0;
}

TEST(timers_fire_while_all_sleep)
{
	RUN(others_go_on, NULL);
}

/* Other ways to sleep: futexes below libc, sockets, a child. */
static sem_t sem;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static bool ready;

static void wait_sem(void *arg)
{
	while (sem_wait(&sem))
		CHECK_EQ(EINTR, errno);
	kaus_waitgroup_done(&wg);
}

static void wait_cond(void *arg)
{
	pthread_mutex_lock(&mutex);
	while (!ready)
		pthread_cond_wait(&cond, &mutex);
	pthread_mutex_unlock(&mutex);
	kaus_waitgroup_done(&wg);
}

static void wake_all(void *arg)
{
	unsigned int i, nr = (unsigned int)(uintptr_t)arg;

	for (i = 0; i < nr; i++)
		sem_post(&sem);
	pthread_mutex_lock(&mutex);
	ready = true;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
}

static int futexes(void *arg)
{
	unsigned int i, nr = nr_sleepers();

	sem_init(&sem, 0, 0);
	kaus_waitgroup_add(&wg, (int)nr * 2);
	for (i = 0; i < nr; i++) {
		ut_go(wait_sem, NULL);
		ut_go(wait_cond, NULL);
	}
	for (i = 0; i < 5; i++)
		kaus_sleep(1 * MSEC);
	ut_go(wake_all, (void *)(uintptr_t)nr);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(semaphores_and_condition_variables)
{
	RUN(futexes, NULL);
}

static void echo(void *arg)
{
	int fd = *(int *)arg;
	char buf[64];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		CHECK_EQ(n, send(fd, buf, (size_t)n, 0));
	kaus_waitgroup_done(&wg);
}

static void ask(void *arg)
{
	int fd = *(int *)arg, i;
	char buf[64];

	for (i = 0; i < 10; i++) {
		CHECK_EQ(6, send(fd, "hello", 6, 0));
		CHECK_EQ(6, recv(fd, buf, 6, MSG_WAITALL));
		CHECK(!strcmp(buf, "hello"));
	}
	shutdown(fd, SHUT_WR);
	kaus_waitgroup_done(&wg);
}

static int sockets(void *arg)
{
	unsigned int i, nr = nr_sleepers();
	int (*fds)[2] = calloc(nr, sizeof(*fds));

	kaus_waitgroup_add(&wg, (int)nr * 2);
	for (i = 0; i < nr; i++) {
		CHECK_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]));
		ut_go(echo, &fds[i][0]);
	}
	for (i = 0; i < nr; i++)
		ut_go(ask, &fds[i][1]);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	free(fds);
	return 0;
}

TEST(blocking_sockets_on_both_sides)
{
	RUN(sockets, NULL);
}

/* Sleepers, hogs and yielders together: everybody gets on. */
static int mixed(void *arg)
{
	unsigned int i, nr = nr_sleepers();
	struct pipe_end *pipes = make_pipes(nr);

	ut_go_hogs();
	kaus_waitgroup_add(&wg, (int)nr * 2 + 1);
	for (i = 0; i < nr; i++) {
		ut_go(read_one, &pipes[i]);
		ut_go(sleep_in_kernel, (void *)(uintptr_t)i);
	}
	kaus_sleep(5 * MSEC);
	ut_go(write_all, pipes);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	CHECK_EQ(nr * 2, nr_done);
	free(pipes);
	return 0;
}

TEST(sleepers_among_hogs)
{
	RUN(mixed, NULL);
}

/* Many short sleeps: each takes the P away and gives it back. */
static void nap(void *arg)
{
	static const struct timespec ts = { 0, 50 * USEC };
	int i;

	for (i = 0; i < 100; i++)
		nanosleep(&ts, NULL);
	atomic_fetch_add(&nr_done, 1);
	kaus_waitgroup_done(&wg);
}

static void count_yields(void *arg)
{
	for (;;) {
		atomic_fetch_add((atomic_ulong *)arg, 1);
		kaus_yield();
	}
}

static int naps(void *arg)
{
	static atomic_ulong yields;
	unsigned int i, nr = nr_sleepers();

	ut_go(count_yields, &yields);
	kaus_waitgroup_add(&wg, (int)nr);
	for (i = 0; i < nr; i++)
		ut_go(nap, NULL);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	CHECK_EQ(nr, nr_done);
	CHECK(yields > 0);
	return 0;
}

TEST(short_sleeps_among_yielders)
{
	RUN(naps, NULL);
}

TEST_HARNESS_MAIN
