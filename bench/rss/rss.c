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
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static void peak(void)
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
	printf("peak_ideal %.4g MB\n", ideal);
	nap_ms(100);
	printf("peak_100ms %.4g x\n", resident_mb() / ideal);
	nap_ms(900);
	printf("peak_1s %.4g x\n", resident_mb() / ideal);
	nap_ms(PATIENCE_MS - 1000);
	printf("peak_10s %.4g x\n", resident_mb() / ideal);
	report_scavenger("peak_scavenger");
}

static int run(void *arg)
{
	if (!strcmp(arg, "drop"))
		drop();
	else
		peak();
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2 || (strcmp(argv[1], "drop") && strcmp(argv[1], "peak"))) {
		fprintf(stderr, "usage: %s drop|peak\n", argv[0]);
		return 2;
	}
	return heap_run(run, argv[1]) ? 1 : 0;
}
