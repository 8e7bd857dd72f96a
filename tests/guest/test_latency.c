// SPDX-License-Identifier: GPL-2.0-only
/*
 * The two promises in numbers: a goroutine that computes for ever delays others
 * by about a slice, and one that sleeps in the kernel gives its P away at once.
 *
 * Runs in a virtual machine whose clock counts instructions (tests/vm/run.sh
 * --icount, one CPU), so that a nanosecond is an instruction and limits can be
 * asserted; elsewhere it skips. A runtime that polls, a timer that is not armed
 * or a hand-off that is lost shows as milliseconds.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <kaus.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The harness leaves parameters unused and prototypes out. */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "kselftest_harness.h"
#pragma GCC diagnostic pop

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 150

#define NEEDS_ICOUNT()							\
	do {								\
		if (!getenv("KAUS_ICOUNT"))				\
			SKIP(return, "the clock does not count instructions"); \
	} while (0)

static int compare(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *what, long *ns, int nr)
{
	qsort(ns, nr, sizeof(*ns), compare);
	printf("# %s: p50 %ld p99 %ld max %ld ns (instructions)\n", what,
	       ns[nr / 2], ns[nr * 99 / 100], ns[nr - 1]);
}

static int run(enum kaus_assist assist, int (*fn)(void *), void *arg)
{
	struct kaus_options opts = {
		.size = sizeof(opts),
		.assist = assist,
	};

	return kaus_run_with(&opts, fn, arg);
}

/* ---- lateness behind a hog ---- */

#define NR_TIMERS 400

struct lateness {
	int nr;
	long ns[NR_TIMERS];
};

static void hog(void *arg)
{
	(void)arg;
	for (;;)
		__asm__ volatile("" ::: "memory");
}

static int measure_lateness(void *arg)
{
	struct kaus_stats st = { .size = sizeof(st) };
	struct lateness *l = arg;

	kaus_stats_read(&st);
	for (uint32_t i = 0; i < st.nr_procs; i++)
		kaus_go(hog, NULL);
	for (int i = 0; i < l->nr; i++) {
		uint64_t due = kaus_now_ns() + 1000000;

		kaus_sleep_until(due);
		l->ns[i] = (long)(kaus_now_ns() - due);
	}
	return 0;
}

TEST(timer_behind_hog_module)
{
	static struct lateness l = { .nr = NR_TIMERS };

	NEEDS_ICOUNT();
	ASSERT_EQ(0, run(KAUS_ASSIST_MODULE, measure_lateness, &l));
	report("1 ms timer behind a hog, module, 100 us slice", l.ns, l.nr);
	EXPECT_LE(0, l.ns[0]);
	EXPECT_GT(300000, l.ns[l.nr * 99 / 100]);
}

TEST(timer_behind_hog_signal)
{
	static struct lateness l = { .nr = 100 };

	NEEDS_ICOUNT();
	ASSERT_EQ(0, run(KAUS_ASSIST_SIGNAL, measure_lateness, &l));
	report("1 ms timer behind a hog, signals, 10 ms slice", l.ns, l.nr);
	EXPECT_LE(0, l.ns[0]);
	/* A slice, a look of sysmon at its slowest, and ticks. */
	EXPECT_GT(40000000, l.ns[l.nr * 99 / 100]);
}

/* ---- hand-off ---- */

#define NR_SLEEPS 1000

enum how { HOW_NANOSLEEP, HOW_PIPE, HOW_FAULT };

struct handoff {
	enum how how;
	int hog;			/* the other one never yields */
	int nr;
	long sleep_ns;
	volatile uint64_t since;	/* 0: taken note of */
	volatile int nr_seen;
	long ns[NR_SLEEPS];
	int pipe[2];
	char *pages;
	int uffd;
	volatile int stop;
};

/* Lets the sleeper go on. */
static void release(struct handoff *h)
{
	struct uffdio_zeropage zero = { .range.len = 4096 };
	struct uffd_msg msg;

	if (h->how == HOW_PIPE && write(h->pipe[1], "x", 1) != 1)
		abort();
	if (h->how != HOW_FAULT)
		return;
	if (read(h->uffd, &msg, sizeof(msg)) != sizeof(msg))
		abort();
	zero.range.start = msg.arg.pagefault.address & ~4095ULL;
	if (ioctl(h->uffd, UFFDIO_ZEROPAGE, &zero))
		abort();
}

/* Runs whenever the sleeper does not, and notes how long it took. */
static void other(void *arg)
{
	struct handoff *h = arg;

	while (!h->stop) {
		uint64_t since = h->since;

		if (since) {
			h->ns[h->nr_seen] = (long)(kaus_now_ns() - since);
			h->since = 0;
			h->nr_seen++;
			release(h);
		}
		if (!h->hog)
			kaus_yield();
	}
}

static int prepare(struct handoff *h)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (pipe(h->pipe))
		return -errno;
	if (h->how != HOW_FAULT)
		return 0;
	h->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (h->uffd < 0 || ioctl(h->uffd, UFFDIO_API, &api))
		return -errno;
	h->pages = mmap(NULL, h->nr * 4096UL, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* A read would be given the huge zero page, cleared for the occasion. */
	if (madvise(h->pages, h->nr * 4096UL, MADV_NOHUGEPAGE))
		return -errno;
	reg.range.start = (unsigned long)h->pages;
	reg.range.len = h->nr * 4096UL;
	if (ioctl(h->uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	return 0;
}

static int sleeper(void *arg)
{
	struct handoff *h = arg;
	struct timespec ts = { .tv_nsec = h->sleep_ns };
	struct timespec settle = { .tv_nsec = 50000000 };
	char c;

	kaus_go(other, h);
	kaus_yield();
	/* Mappings made at the start leave callbacks to RCU, for some ticks. */
	nanosleep(&settle, NULL);
	for (int i = 0; i < h->nr; i++) {
		h->since = kaus_now_ns();
		switch (h->how) {
		case HOW_NANOSLEEP:
			nanosleep(&ts, NULL);
			break;
		case HOW_PIPE:
			if (read(h->pipe[0], &c, 1) != 1)
				return 1;
			break;
		case HOW_FAULT:
			if (h->pages[i * 4096UL])
				return 2;
			break;
		}
		/* Nobody else ran meanwhile: the wait was in vain. */
		if (h->nr_seen != i + 1)
			return 100;
	}
	h->stop = 1;
	return 0;
}

/*
 * The limit of a hand-off, how many may exceed it and by how much: a tick adds
 * 2600 instructions, the module's own timer 1100, a page that the kernel needs
 * and clears, for page tables say, 5000, timers and RCU callbacks what they like.
 */
#define LIMIT		10000
#define NR_OVER		20
#define LIMIT_WORST	20000

static void check_module(struct __test_metadata *_metadata, enum how how,
			 int is_hog, const char *what)
{
	static struct handoff h;

	h.how = how;
	h.hog = is_hog;
	h.nr = NR_SLEEPS;
	/* Not to measure the first access to its pages. */
	memset(h.ns, 0xff, sizeof(h.ns));
	/* Nor how the kernel buries the test before: RCU, work items. */
	sleep(1);
	h.sleep_ns = 200000;
	ASSERT_EQ(0, prepare(&h));
	ASSERT_EQ(0, run(KAUS_ASSIST_MODULE, sleeper, &h));
	report(what, h.ns, h.nr);
	/* That each one was handed off sleeper() has checked. */
	EXPECT_GT(LIMIT, h.ns[h.nr - NR_OVER - 1]);
	EXPECT_GT(LIMIT_WORST, h.ns[h.nr - 1]);
}

TEST(handoff_nanosleep_module)
{
	NEEDS_ICOUNT();
	check_module(_metadata, HOW_NANOSLEEP, 0, "hand-off, nanosleep, module");
}

TEST(handoff_pipe_module)
{
	NEEDS_ICOUNT();
	check_module(_metadata, HOW_PIPE, 0, "hand-off, read of a pipe, module");
}

TEST(handoff_fault_module)
{
	NEEDS_ICOUNT();
	check_module(_metadata, HOW_FAULT, 0, "hand-off, page fault, module");
}

/*
 * The goroutine that waits was stopped in mid code: only its own thread can go
 * on with it, and must get the P at once, not by way of another worker.
 */
TEST(handoff_nanosleep_to_hog_module)
{
	NEEDS_ICOUNT();
	check_module(_metadata, HOW_NANOSLEEP, 1,
		     "hand-off to a hog, nanosleep, module");
}

TEST(handoff_pipe_to_hog_module)
{
	NEEDS_ICOUNT();
	check_module(_metadata, HOW_PIPE, 1,
		     "hand-off to a hog, read of a pipe, module");
}

TEST(handoff_fault_to_hog_module)
{
	NEEDS_ICOUNT();
	check_module(_metadata, HOW_FAULT, 1,
		     "hand-off to a hog, page fault, module");
}

TEST(handoff_nanosleep_signal)
{
	static struct handoff h = {
		.how = HOW_NANOSLEEP,
		.nr = 50,
		.sleep_ns = 60000000,
	};

	NEEDS_ICOUNT();
	ASSERT_EQ(0, prepare(&h));
	ASSERT_EQ(0, run(KAUS_ASSIST_SIGNAL, sleeper, &h));
	report("hand-off, nanosleep, signals", h.ns, h.nr);
	/* Two looks of sysmon at its slowest, and a tick. */
	EXPECT_GT(40000000, h.ns[h.nr - 1]);
}

TEST_HARNESS_MAIN
