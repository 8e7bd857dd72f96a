// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long should a goroutine have slept in the kernel before its P is given
 * away? kaus_header.handoff_delay_ns, against sleeps of several kinds and
 * lengths, on one P with a goroutine that computes for ever beside.
 *
 * Of each sleep: how long the call took (until the goroutine went on), and how
 * much time it cost the other goroutine, which is what the machine lost to
 * switching and to idling. Runs where the clock counts instructions.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <kaus.h>

#include "sched/sched.h"

#define NR_ROUNDS 300
#define NR_UNITS 2000
#define PAGE 4096UL

static const unsigned int delays_us[] = { 0, 5, 20, 50, 100 };
#define NR_DELAYS (sizeof(delays_us) / sizeof(*delays_us))

static volatile unsigned long units;

static void unit(void)
{
	for (volatile int i = 0; i < 200; i++)
		;
}

static void hog(void *arg)
{
	(void)arg;
	for (;;) {
		unit();
		units++;
	}
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* --- what is slept for --- */

static int ask[2], answer[2];

/* A thread of the program's own, that takes as long as it is told. */
static void *echo(void *arg)
{
	unsigned int us;

	(void)arg;
	while (read(ask[0], &us, sizeof(us)) == sizeof(us)) {
		uint64_t end = kaus_now_ns() + us * 1000ULL;

		while (us && kaus_now_ns() < end)
			;
		if (write(answer[1], "x", 1) != 1)
			die("write");
	}
	return NULL;
}

static void pipe_call(unsigned int us)
{
	char c;

	if (write(ask[1], &us, sizeof(us)) != sizeof(us) ||
	    read(answer[0], &c, 1) != 1)
		die("pipe");
}

static void clock_call(unsigned int us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000L };

	/* Per thread, and the goroutine may have moved. */
	prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
	nanosleep(&ts, NULL);
}

static volatile char *area;
static size_t next_page;
static int uffd;

static void *pager(void *arg)
{
	static char page[PAGE] __attribute__((aligned(4096)));
	struct uffd_msg msg;

	(void)arg;
	while (read(uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		struct uffdio_copy copy = {
			.dst = msg.arg.pagefault.address & ~(PAGE - 1),
			.src = (uint64_t)(uintptr_t)page,
			.len = PAGE,
		};

		if (ioctl(uffd, UFFDIO_COPY, &copy))
			die("UFFDIO_COPY");
	}
	return NULL;
}

static void fault_call(unsigned int us)
{
	(void)us;
	area[next_page] = 1;
	next_page += PAGE;
}

static const struct cause {
	const char *name;
	void (*call)(unsigned int us);
	unsigned int us;
} causes[] = {
	{ "read of a pipe, answered at once", pipe_call, 0 },
	{ "the same after 20 us", pipe_call, 20 },
	{ "the same after 200 us", pipe_call, 200 },
	{ "page fault, answered at once", fault_call, 0 },
	{ "nanosleep of 5 us", clock_call, 5 },
	{ "nanosleep of 20 us", clock_call, 20 },
	{ "nanosleep of 50 us", clock_call, 50 },
	{ "nanosleep of 200 us", clock_call, 200 },
	{ "nanosleep of 1 ms", clock_call, 1000 },
};

static void prepare(void)
{
	size_t len = (NR_DELAYS * NR_ROUNDS + 1) * PAGE;
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	pthread_t thread;

	area = mmap(NULL, len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	reg.range.start = (uint64_t)(uintptr_t)area;
	reg.range.len = len;
	if (area == MAP_FAILED || uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &reg) || pipe(ask) || pipe(answer) ||
	    pthread_create(&thread, NULL, echo, NULL) ||
	    pthread_create(&thread, NULL, pager, NULL))
		die("prepare");
}

static int measure(void *arg)
{
	uint64_t begin, unit_ns;

	(void)arg;
	begin = kaus_now_ns();
	for (int i = 0; i < NR_UNITS; i++)
		unit();
	unit_ns = (kaus_now_ns() - begin) / NR_UNITS;
	kaus_go(hog, NULL);
	printf("# us a call / us taken from the other, by delay of the hand-off\n");
	printf("%-34s", "");
	for (size_t d = 0; d < NR_DELAYS; d++)
		printf(" %14u us", delays_us[d]);
	printf("\n");
	for (size_t c = 0; c < sizeof(causes) / sizeof(*causes); c++) {
		printf("%-34s", causes[c].name);
		for (size_t d = 0; d < NR_DELAYS; d++) {
			unsigned long was;
			uint64_t all, other;

			WRITE_ONCE(sched.hdr->handoff_delay_ns,
				   delays_us[d] * 1000ULL);
			kaus_sleep(1000000);
			was = units;
			begin = kaus_now_ns();
			for (int i = 0; i < NR_ROUNDS; i++)
				causes[c].call(causes[c].us);
			all = kaus_now_ns() - begin;
			other = (units - was) * unit_ns;
			printf(" %8.1f/%8.1f", (double)all / NR_ROUNDS / 1e3,
			       ((double)all - (double)other) / NR_ROUNDS / 1e3);
		}
		printf("\n");
		fflush(stdout);
	}
	return 0;
}

int main(void)
{
	struct kaus_options opts = {
		.size = sizeof(opts),
		.nr_procs = 1,
		.assist = KAUS_ASSIST_MODULE,
	};

	prepare();
	return kaus_run_with(&opts, measure, NULL) ? 1 : 0;
}
