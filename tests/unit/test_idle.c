// SPDX-License-Identifier: GPL-2.0-only
/*
 * An idle process makes no wake-ups.
 *
 * Every goroutine is parked; for ten seconds no thread of the process may be
 * switched to, as the kernel's own counters say. A sysmon that polls, a slice
 * timer that stays armed or an M that wakes for a stale deadline fails it.
 */
#include <dirent.h>
#include <sys/syscall.h>

#include "utest.h"

#define IDLE_S 10

/* Voluntary and involuntary switches of one thread, -1 if it is gone. */
static long thread_switches(const char *tid)
{
	char path[300], line[128];
	long nr, sum = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", tid);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		char *at = strstr(line, "ctxt_switches:");

		if (at && sscanf(at, "ctxt_switches: %ld", &nr) == 1)
			sum += nr;
	}
	fclose(f);
	return sum;
}

/* Of all threads but the caller. */
static long other_switches(unsigned int *ret_threads)
{
	long self = syscall(SYS_gettid), sum = 0;
	DIR *dir = opendir("/proc/self/task");
	struct dirent *ent;

	*ret_threads = 0;
	while ((ent = readdir(dir))) {
		if (ent->d_name[0] == '.' || atol(ent->d_name) == self)
			continue;
		sum += thread_switches(ent->d_name);
		++*ret_threads;
	}
	closedir(dir);
	return sum;
}

static struct kaus_chan *done;
static long before, after;
static unsigned int nr_before, nr_after;

static void *watch(void *arg)
{
	struct timespec settle = { .tv_sec = 1 }, idle = { .tv_sec = IDLE_S };

	(void)arg;
	nanosleep(&settle, NULL);
	before = other_switches(&nr_before);
	nanosleep(&idle, NULL);
	after = other_switches(&nr_after);
	kaus_chan_close(done);
	return NULL;
}

static void forever(void *arg)
{
	(void)arg;
	kaus_sleep_until(UINT64_MAX);
}

static void busy(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100; i++) {
		kaus_yield();
		kaus_sleep(10000);
	}
}

static int main_g(void *arg)
{
	pthread_t thread;

	(void)arg;
	done = kaus_chan_make(0, 0);
	for (int i = 0; i < 20; i++)
		kaus_go(forever, NULL);
	/* Leave traces that could make a sloppy runtime wake up later. */
	for (int i = 0; i < 20; i++)
		kaus_go(busy, NULL);
	pthread_create(&thread, NULL, watch, NULL);
	return kaus_chan_recv(done, NULL) == -EPIPE ? 0 : 1;
}

TEST(idle_process_is_never_switched_to)
{
	UT_SKIP_TSAN("ThreadSanitizer has a thread that wakes up");
	ASSERT_EQ(0, kaus_run(main_g, NULL));
	/* The service thread and at least one M. */
	EXPECT_LE(2U, nr_before);
	EXPECT_EQ(nr_before, nr_after);
	EXPECT_EQ(before, after);
}

TEST_HARNESS_MAIN
