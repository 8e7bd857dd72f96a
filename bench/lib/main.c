// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Chooses a benchmark by name, runs it and prints "metric value unit". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const struct {
	const char *name;
	void (*run)(void);
} benches[] = {
	{ "blocking", bench_blocking },
	{ "buffered_1_1", bench_buffered_1_1 },
	{ "buffered_8_8", bench_buffered_8_8 },
	{ "channel", bench_channel },
	{ "file", bench_file },
	{ "gc_concurrent", bench_gc_concurrent },
	{ "gc_pauses_1", bench_gc_pauses_1 },
	{ "gc_pauses_100k", bench_gc_pauses_100k },
	{ "gc_pauses_1k", bench_gc_pauses_1k },
	{ "gc_pauses_final", bench_gc_pauses_final },
	{ "gc_pauses_timers", bench_gc_pauses_timers },
	{ "gc_pages", bench_gc_pages },
	{ "gc_stop", bench_gc_stop },
	{ "gc_store", bench_gc_store },
	{ "handoff", bench_handoff },
	{ "heap_locks", bench_heap_locks },
	{ "mutex_1", bench_mutex_1 },
	{ "mutex_8", bench_mutex_8 },
	{ "net_1", bench_net_1 },
	{ "net_64", bench_net_64 },
	{ "net_64_epoll", bench_net_64_epoll },
	{ "parked", bench_parked },
	{ "ring", bench_ring },
	{ "select_4", bench_select },
	{ "sharing", bench_sharing },
	{ "sieve", bench_sieve },
	{ "skynet", bench_skynet },
	{ "sleepers", bench_sleepers },
	{ "spawn_batch", bench_spawn_batch },
	{ "spawn_join", bench_spawn_join },
	{ "stack", bench_stack },
	{ "timer", bench_timer },
	{ "timers", bench_timers },
	{ "yield_1000", bench_yield_1000 },
	{ "yield_2", bench_yield_2 },
};

#define NR_BENCHES (sizeof(benches) / sizeof(benches[0]))

double bench_scale = 1;

size_t bench_count(size_t nr)
{
	size_t scaled = (size_t)((double)nr * bench_scale);

	return scaled > 10 ? scaled : 10;
}

void bench_report(const char *metric, double value, const char *unit)
{
	printf("%s %.4g %s\n", metric, value, unit);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void bench_report_percentiles(const char *metric, uint64_t *ns, size_t nr)
{
	char name[64];

	qsort(ns, nr, sizeof(*ns), compare);
	snprintf(name, sizeof(name), "%s_p50", metric);
	bench_report(name, (double)ns[nr / 2] / 1000, "us");
	snprintf(name, sizeof(name), "%s_p99", metric);
	bench_report(name, (double)ns[nr * 99 / 100] / 1000, "us");
}

void bench_report_tail(const char *metric, uint64_t *ns, size_t nr)
{
	char name[64];

	bench_report_percentiles(metric, ns, nr);
	snprintf(name, sizeof(name), "%s_p999", metric);
	bench_report(name, (double)ns[nr * 999 / 1000] / 1000, "us");
	snprintf(name, sizeof(name), "%s_max", metric);
	bench_report(name, (double)ns[nr - 1] / 1000, "us");
}

void bench_check(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "bench: %s: %s\n", what, strerror(-err));
	exit(1);
}

void bench_go(void (*fn)(void *arg), void *arg)
{
	bench_check(kaus_go(fn, arg), "kaus_go");
}

struct kaus_g *bench_spawn(void *(*fn)(void *arg), void *arg)
{
	struct kaus_g *g = NULL;

	bench_check(kaus_spawn(fn, arg, &g), "kaus_spawn");
	return g;
}

struct kaus_chan *bench_chan(size_t elem_size, size_t capacity)
{
	struct kaus_chan *ch = kaus_chan_make(elem_size, capacity);

	if (!ch) {
		fprintf(stderr, "bench: no memory for a channel\n");
		exit(1);
	}
	return ch;
}

static int run(void *arg)
{
	size_t i = *(size_t *)arg;

	benches[i].run();
	return 0;
}

int main(int argc, char **argv)
{
	const char *scale = getenv("BENCH_SCALE");
	size_t i;

	if (scale && strtod(scale, NULL) > 0)
		bench_scale = strtod(scale, NULL);
	for (i = 0; argc == 2 && i < NR_BENCHES; i++)
		if (!strcmp(argv[1], benches[i].name))
			return kaus_run(run, &i) ? 1 : 0;
	fprintf(stderr, "usage: %s NAME, one of:", argv[0]);
	for (i = 0; i < NR_BENCHES; i++)
		fprintf(stderr, " %s", benches[i].name);
	fprintf(stderr, "\n");
	return 2;
}
