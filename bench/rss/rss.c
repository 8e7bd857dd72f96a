// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * How fast memory that is not used any more goes back to the kernel, if nobody
 * asks for it: prints "metric value unit". On the heaps of ../mem/heap.h;
 * bench/go/rss.go is the same in Go.
 *
 *	drop	RSS_MB (2048) in objects of 1 KiB, all dropped at once: time
 *		until half of the resident memory is gone, and CPU time until
 *		PATIENCE_MS after the drop, of the process, which looks at its
 *		own size, and of the thread that returns memory alone
 *	peak	1.1 GiB in objects of 512 bytes, of which each 70th stays: what
 *		is resident some time later, as a multiple of the pages that
 *		have a survivor on them and were resident before
 *	pressed	the same in a control group of its own, which reaches its
 *		memory.high right afterwards: time until it is 1.15 times those
 *		pages, and what it is in the end. Needs the right to make a
 *		group with the memory controller of version 2
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../mem/heap.h"

#define PATIENCE_MS	10000
#define PAGE		4096UL

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void nap_ms(long ms)
{
#ifdef HEAP_KAUS
	kaus_sleep((uint64_t)ms * 1000000);
#else
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
#endif
}

static void collect(void)
{
#if defined(HEAP_KAUS)
	kaus_gc();
#elif defined(HEAP_GC)
	GC_gcollect();
#endif
}

static double resident_mb(void)
{
	unsigned long size, nr = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%lu %lu", &size, &nr) != 2)
		nr = 0;
	if (f)
		fclose(f);
	return (double)nr * PAGE / (1 << 20);
}

static void *must(void *obj)
{
	if (!obj) {
		fprintf(stderr, "rss: no memory\n");
		exit(1);
	}
	return obj;
}

/* Percent of one CPU, of the thread that returns memory. */
static void report_scavenger(const char *metric)
{
#ifdef HEAP_KAUS
	struct kaus_gc_stats st = { .size = sizeof(st) };

	if (!kaus_gc_stats_read(&st))
		printf("%s %.3g %%\n", metric, (double)st.scavenge_cpu_ns /
		       (PATIENCE_MS * 1e6) * 100);
#else
	(void)metric;
#endif
}

/* Where the objects are; on the heap, so that a collector sees them. */
static char **objs;

static void fill(size_t nr, size_t size)
{
	objs = must(heap_alloc(nr * sizeof(*objs)));
	memset(objs, 0, nr * sizeof(*objs));
	for (size_t i = 0; i < nr; i++) {
		char *obj = must(heap_alloc_noscan(size));

		memset(obj, 1, size);
		HEAP_STORE(&objs[i], obj);
	}
}

static void drop_all_but(size_t nr, size_t step)
{
	for (size_t i = 0; i < nr; i++) {
		if (step && i % step == 0)
			continue;
		heap_drop(objs[i]);
		HEAP_STORE(&objs[i], NULL);
	}
}

static void drop(void)
{
	const char *env = getenv("RSS_MB");
	size_t nr = (env && atol(env) > 0 ? (size_t)atol(env) : 2048) << 10;
	uint64_t start, cpu, half = 0;
	double before;

	fill(nr, 1024);
	before = resident_mb();
	start = clock_ms(CLOCK_MONOTONIC);
	drop_all_but(nr, 0);
	collect();
	cpu = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
	for (;;) {
		uint64_t now = clock_ms(CLOCK_MONOTONIC) - start;

		if (!half && resident_mb() < before / 2)
			half = now;
		if (now >= PATIENCE_MS)
			break;
		nap_ms(10);
	}
	printf("drop_half %.4g ms\n", half ? (double)half : PATIENCE_MS);
	printf("drop_cpu %.4g ms\n",
	       (double)(clock_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu));
	report_scavenger("drop_scavenger");
	printf("drop_left %.4g MB\n", resident_mb());
}

/* What a collector and its kernel could get it to. */
static double fill_and_drop(void)
{
	size_t nr = (1100UL << 20) / 512, nr_pages = 0;
	double before = resident_mb(), ideal;
	uintptr_t last = 0;

	fill(nr, 512);
	drop_all_but(nr, 70);
	/* Objects of one size lie in order, more or less: 35 KiB apart. */
	for (size_t i = 0; i < nr; i += 70) {
		uintptr_t page = (uintptr_t)objs[i] / PAGE;

		nr_pages += page != last;
		last = page;
	}
	ideal = before + (double)(nr_pages * PAGE +
				  nr * sizeof(*objs)) / (1 << 20);
	collect();
	return ideal;
}

static void peak(void)
{
	double ideal = fill_and_drop();

	printf("peak_ideal %.4g MB\n", ideal);
	nap_ms(100);
	printf("peak_100ms %.4g x\n", resident_mb() / ideal);
	nap_ms(900);
	printf("peak_1s %.4g x\n", resident_mb() / ideal);
	nap_ms(PATIENCE_MS - 1000);
	printf("peak_10s %.4g x\n", resident_mb() / ideal);
	report_scavenger("peak_scavenger");
}

/* ---- a control group at its limit ---- */

static char group[64];

static int group_write(const char *name, const char *value)
{
	char path[128];
	ssize_t done;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", group, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	done = write(fd, value, strlen(value));
	close(fd);
	return done < 0 ? -errno : 0;
}

static long long group_read(const char *name)
{
	char path[128];
	long long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", group, name);
	f = fopen(path, "re");
	if (f && fscanf(f, "%lld", &value) != 1)
		value = -1;
	if (f)
		fclose(f);
	return value;
}

static bool group_enter(void)
{
	strcpy(group, "/sys/fs/cgroup");
	(void)group_write("cgroup.subtree_control", "+memory");
	snprintf(group, sizeof(group), "/sys/fs/cgroup/kaus-rss-%d", getpid());
	return !mkdir(group, 0755) && group_read("memory.current") >= 0 &&
	       !group_write("cgroup.procs", "0");
}

static void group_leave(void)
{
	const char *base = "/sys/fs/cgroup/cgroup.procs";
	int fd = open(base, O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		(void)!write(fd, "0", 1);
		close(fd);
	}
	rmdir(group);
}

static void touch(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	memset(p, 1, bytes);
	munmap(p, bytes);
}

static void pressed(void)
{
	double ideal = fill_and_drop();
	uint64_t start, now, done = 0;
	size_t bytes = 4 << 20;
	char high[32];

	snprintf(high, sizeof(high), "%lld", group_read("memory.current"));
	start = clock_ms(CLOCK_MONOTONIC);
	group_write("memory.high", high);
	do {
		touch(bytes);
		now = clock_ms(CLOCK_MONOTONIC) - start;
		if (!done && resident_mb() < 1.15 * ideal)
			done = now;
		nap_ms(1);
	} while (now < PATIENCE_MS * 6 && (!done || now < done + 1000));
	printf("pressed_ideal %.4g MB\n", ideal);
	printf("pressed_done %.4g ms\n", done ? (double)done : 6.0 * PATIENCE_MS);
	printf("pressed_left %.4g x\n", resident_mb() / ideal);
}

static const struct {
	const char *name;
	void (*run)(void);
} works[] = {
	{ "drop", drop },
	{ "peak", peak },
	{ "pressed", pressed },
};

static int run(void *arg)
{
	works[*(size_t *)arg].run();
	return 0;
}

int main(int argc, char **argv)
{
	size_t nr = sizeof(works) / sizeof(works[0]), i = 0;
	int err;

	while (argc == 2 && i < nr && strcmp(argv[1], works[i].name))
		i++;
	if (argc != 2 || i == nr) {
		fprintf(stderr, "usage: %s drop|peak|pressed\n", argv[0]);
		return 2;
	}
	/* Before there are threads. */
	if (works[i].run == pressed && !group_enter()) {
		fprintf(stderr, "rss: no control group to be had\n");
		group_leave();
		return 1;
	}
	err = heap_run(run, &i);
	if (group[0])
		group_leave();
	return err ? 1 : 0;
}
