/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every test program of the module has in common: the kernel's kselftest
 * harness, a skip where there is no module, and a look at the kernel's taint
 * flags at the end, because an oops in some other thread fails no assertion.
 */
#ifndef KW_TEST_H
#define KW_TEST_H

/* The harness is all macros, so its warnings come up in the test itself. */
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wclobbered"
#endif
#pragma GCC diagnostic ignored "-Wempty-body"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "kselftest_harness.h"

/* For emulated guests on a busy machine; a hang still ends. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	150

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kw.h"
#include "slow.h"

/* Bad page, died, warned, soft lockup. */
#define KW_TAINT_BITS	(1UL << 5 | 1UL << 7 | 1UL << 9 | 1UL << 14)

static unsigned long kw_taint_before;
static pid_t kw_main_pid;

static inline unsigned long kw_taint(void)
{
	unsigned long taint = 0;
	FILE *f = fopen("/proc/sys/kernel/tainted", "re");

	if (f) {
		if (fscanf(f, "%lu", &taint) != 1)
			taint = 0;
		fclose(f);
	}
	return taint & KW_TAINT_BITS;
}

static inline void kw_taint_check(void)
{
	unsigned long now = kw_taint();

	if (getpid() != kw_main_pid || !(now & ~kw_taint_before))
		return;
	printf("not ok %u kernel tainted: %#lx\n", ksft_test_num() + 1, now);
	fflush(stdout);
	_exit(KSFT_FAIL);
}

/* Skips, exit code 4, unless the module is there. */
static inline void kw_need_module(void)
{
	int fd = open(KW_DEV, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		ksft_print_header();
		ksft_exit_skip("cannot open " KW_DEV ": %s\n", strerror(errno));
	}
	close(fd);
	kw_main_pid = getpid();
	kw_taint_before = kw_taint();
	atexit(kw_taint_check);
}

#define KW_TEST_MAIN						\
	int main(int argc, char **argv)				\
	{							\
		kw_need_module();				\
		return test_harness_run(argc, argv);		\
	}

#endif /* KW_TEST_H */
