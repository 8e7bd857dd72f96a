// SPDX-License-Identifier: GPL-2.0-only
/*
 * Announced sleeps: others run meanwhile, on one P as well; the caller comes
 * back to a P, with its results and its errno; misuse is refused.
 *
 * If it is broken: the P stays with a thread that sleeps (a hang on one P), or
 * two threads believe that they have it.
 */
#include <sys/syscall.h>

#include "utest.h"

struct pipes {
	int to[2], from[2];
};

static void pipes_open(struct pipes *p)
{
	CHECK_EQ(0, pipe(p->to));
	CHECK_EQ(0, pipe(p->from));
}

static void pipes_close(struct pipes *p)
{
	for (int i = 0; i < 2; i++) {
		close(p->to[i]);
		close(p->from[i]);
	}
}

/* The other end: a goroutine that answers, so that one P is not enough if the
 * sleeper keeps it.
 */
static void answer(void *arg)
{
	struct pipes *p = arg;
	char c;

	while (kaus_syscall(SYS_read, p->to[0], &c, 1L) == 1 && c) {
		c++;
		CHECK_EQ(1, kaus_syscall(SYS_write, p->from[1], &c, 1L));
	}
}

static int ping_pong(void *arg)
{
	struct pipes p;
	char c;

	pipes_open(&p);
	ut_go(answer, &p);
	for (int n = 0; n < 500; n++) {
		c = (char)(1 + n % 100);
		CHECK_EQ(1, kaus_syscall(SYS_write, p.to[1], &c, 1L));
		CHECK_EQ(1, kaus_syscall(SYS_read, p.from[0], &c, 1L));
		CHECK_EQ(2 + n % 100, c);
	}
	c = 0;
	CHECK_EQ(1, kaus_syscall(SYS_write, p.to[1], &c, 1L));
	kaus_yield();
	pipes_close(&p);
	return 0;
}

TEST(system_calls_on_one_p)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, ping_pong, NULL);
}

TEST(system_calls_on_all_ps)
{
	RUN(ping_pong, NULL);
}

static void *read_byte(void *arg)
{
	struct pipes *p = arg;
	char c = 0;

	/* Not a call into the library: it would be refused. */
	CHECK_EQ(-EPERM, kaus_block_begin());
	CHECK_EQ(1, read(p->to[0], &c, 1));
	return (void *)(long)c;
}

static void write_byte(void *arg)
{
	struct pipes *p = arg;

	CHECK_EQ(1, write(p->to[1], "x", 1));
}

static int known_to_block(void *arg)
{
	struct pipes p;

	pipes_open(&p);
	for (int n = 0; n < 100; n++) {
		ut_go(write_byte, &p);
		CHECK_EQ('x', (long)kaus_blocking(read_byte, &p));
	}
	pipes_close(&p);
	return 0;
}

TEST(a_call_that_blocks_on_one_p)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, known_to_block, NULL);
}

static int begin_end(void *arg)
{
	struct pipes p;
	char c = 0;

	pipes_open(&p);
	CHECK_EQ(-EPERM, kaus_block_end());
	for (int n = 0; n < 200; n++) {
		ut_go(write_byte, &p);
		ut_set_errno(77);
		CHECK_EQ(0, kaus_block_begin());
		CHECK_EQ(77, ut_errno());
		CHECK_EQ(-EPERM, kaus_block_begin());
		CHECK_EQ(1, read(p.to[0], &c, 1));
		ut_set_errno(78);
		CHECK_EQ(0, kaus_block_end());
		CHECK_EQ(78, ut_errno());
		CHECK_EQ('x', c);
	}
	CHECK_EQ(-EPERM, kaus_block_end());
	/* One that does not block at all. */
	CHECK_EQ(0, kaus_block_begin());
	CHECK_EQ(0, kaus_block_end());
	pipes_close(&p);
	return 0;
}

TEST(begin_and_end)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, begin_end, NULL);
}

/*
 * With the module the call that begins may be where the goroutine is preempted,
 * and then it goes on with another M.
 */
static void begin_end_on(void *arg)
{
	uint64_t end_ns = kaus_now_ns() + 300 * MSEC;

	while (kaus_now_ns() < end_ns) {
		CHECK_EQ(0, kaus_block_begin());
		CHECK_EQ(0, kaus_block_end());
	}
	CHECK_EQ(0, kaus_waitgroup_done(arg));
}

static int preempted_between(void *arg)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;

	CHECK_EQ(0, kaus_waitgroup_add(&wg, 8));
	for (int i = 0; i < 8; i++)
		ut_go(begin_end_on, &wg);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(preempted_where_it_begins)
{
	struct kaus_options opts = ut_procs(2);

	RUN_WITH(&opts, preempted_between, NULL);
}

static void *add_one(void *arg)
{
	return (char *)arg + 1;
}

static int errors(void *arg)
{
	ut_set_errno(5);
	CHECK_EQ(-EBADF, kaus_syscall(SYS_close, -1L));
	CHECK_EQ(-ENOSYS, kaus_syscall(-1L));
	CHECK_EQ(-EBADF, kaus_raw_syscall(SYS_close, -1, 0, 0, 0, 0, 0));
	CHECK_EQ(getpid(), kaus_syscall(SYS_getpid));
	CHECK_EQ(5, ut_errno());
	return 0;
}

/* All six arguments arrive: a mapping of the second page of a file. */
static void six_arguments(void)
{
	char page[4096], *map;
	int fd = memfd_create("six", 0);

	memset(page, 'a', sizeof(page));
	CHECK_EQ(4096, write(fd, page, sizeof(page)));
	memset(page, 'b', sizeof(page));
	CHECK_EQ(4096, write(fd, page, sizeof(page)));
	map = (char *)kaus_syscall(SYS_mmap, NULL, 4096L, (long)PROT_READ,
				   (long)MAP_PRIVATE, (long)fd, 4096L);
	if (CHECK((unsigned long)map < -4095UL))
		CHECK_EQ('b', *map);
	munmap(map, 4096);
	map = (char *)kaus_raw_syscall(SYS_mmap, 0, 4096, PROT_READ,
				       MAP_PRIVATE, fd, 4096);
	if (CHECK((unsigned long)map < -4095UL))
		CHECK_EQ('b', *map);
	munmap(map, 4096);
	close(fd);
}

static int six(void *arg)
{
	six_arguments();
	return errors(arg);
}

TEST(errors_and_arguments)
{
	RUN(six, NULL);
}

TEST(outside_a_goroutine)
{
	EXPECT_EQ(-EPERM, kaus_block_begin());
	EXPECT_EQ(-EPERM, kaus_block_end());
	EXPECT_EQ((void *)1, kaus_blocking(add_one, NULL));
	errors(NULL);
	six_arguments();
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

/* Many sleepers at once: each comes back, to a P. */
static void nap(void *arg)
{
	struct timespec ts = { .tv_nsec = 2000000 };

	for (int i = 0; i < 20; i++)
		CHECK_EQ(0, kaus_syscall(SYS_nanosleep, &ts, NULL));
	CHECK_EQ(0, kaus_waitgroup_done(arg));
}

static int naps(void *arg)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;

	CHECK_EQ(0, kaus_waitgroup_add(&wg, 40));
	for (int i = 0; i < 40; i++)
		ut_go(nap, &wg);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(forty_sleepers)
{
	RUN(naps, NULL);
}

TEST_HARNESS_MAIN
