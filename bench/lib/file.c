// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Many goroutines read blocks of a file past the page cache, while one computes:
 * time and CPU for each read, threads that it took, and how much of the computing
 * was left. KAUS_IO_URING=0 is the same without the ring.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"

#define BLOCK 4096
#define NR_BLOCKS 16384
#define NR_READERS 64

static struct kaus_waitgroup left;
static kaus_fd_t file;
static size_t reads_each;
static atomic_bool ended;
static unsigned long steps;

static void reader(void *arg)
{
	uint64_t rand = (uintptr_t)arg * 2654435761U + 1;
	void *block = aligned_alloc(BLOCK, BLOCK);

	for (size_t i = 0; i < reads_each; i++) {
		rand = rand * 6364136223846793005ULL + 1442695040888963407ULL;
		bench_check(kaus_fd_pread(file, block, BLOCK,
					  (int64_t)((rand >> 33) % NR_BLOCKS) *
						  BLOCK) == BLOCK ? 0 : -EIO,
			    "kaus_fd_pread");
	}
	free(block);
	kaus_waitgroup_done(&left);
}

static void computer(void *arg)
{
	volatile unsigned long *n = arg;

	while (!atomic_load_explicit(&ended, memory_order_relaxed))
		(*n)++;
}

static double cpu_us(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1e6 +
	       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
}

static void make_file(void)
{
	char name[] = "/var/tmp/kaus-bench.XXXXXX", block[BLOCK] = { 1 };
	int fd = mkstemp(name), direct;

	bench_check(fd < 0 ? -errno : 0, "mkstemp");
	direct = open(name, O_RDONLY | O_DIRECT | O_CLOEXEC);
	unlink(name);
	for (int i = 0; i < NR_BLOCKS; i++)
		bench_check(write(fd, block, BLOCK) == BLOCK ? 0 : -EIO,
			    "write");
	fsync(fd);
	close(fd);
	bench_check(direct < 0 ? -errno : 0, "O_DIRECT");
	file = kaus_fd_open(direct);
	bench_check(file < 0 ? (int)file : 0, "kaus_fd_open");
}

static void measure(const char *name, bool computes)
{
	struct kaus_stats st = { .size = sizeof(st) };
	uint64_t start = kaus_now_ns();
	double cpu = cpu_us(), nr = (double)reads_each * NR_READERS;
	char metric[64];

	kaus_waitgroup_add(&left, NR_READERS);
	steps = 0;
	ended = false;
	if (computes)
		bench_go(computer, &steps);
	for (uintptr_t i = 0; i < NR_READERS; i++)
		bench_go(reader, (void *)i);
	kaus_waitgroup_wait(&left);
	ended = true;
	start = kaus_now_ns() - start;
	cpu = cpu_us() - cpu;
	kaus_stats_read(&st);
	snprintf(metric, sizeof(metric), "%s_read", name);
	bench_report(metric, (double)start / nr, "ns");
	snprintf(metric, sizeof(metric), "%s_cpu", name);
	bench_report(metric, cpu / nr, "us");
	snprintf(metric, sizeof(metric), "%s_threads", name);
	bench_report(metric, st.nr_threads, "");
	if (!computes)
		return;
	snprintf(metric, sizeof(metric), "%s_steps", name);
	bench_report(metric, (double)steps * 1e3 / (double)start, "per us");
}

void bench_file(void)
{
	make_file();
	reads_each = 10;
	measure("file_first", false);
	kaus_sleep(100000000);
	reads_each = bench_count(500);
	measure("file", false);
	measure("file_computing", true);
	kaus_fd_close(file);
}
