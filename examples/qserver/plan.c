/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Calibration, on one thread of an otherwise idle process.
 *
 * A hog is made as long as asked for by choosing how much of the text or how
 * many rows it looks at: under emulation the same work takes ten times as
 * long.
 *
 * The arrival rate follows from the cost of the requests' own work plus that
 * of a thread, the dearest way of serving, so that every way can keep up: past
 * saturation a latency tells nothing but how long one has been looking. Threads
 * cost little on hardware; under emulation one costs more than a millisecond,
 * and a rate that ignored that would drown them.
 */
#define _GNU_SOURCE
#include "plan.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "db.h"
#include "sleep.h"
#include "text.h"
#include "util.h"

#define PROBE_NS	(10 * NS_PER_MS)
/* Each cost is the best of some tries: the machine may have other work. */
#define NR_TRIES	4U
#define NR_LOOKUPS	1000U
#define NR_THREADS	50U

/* The two kinds of hog differ in nothing else. */
struct hog_kind {
	const char *name;
	unsigned int nr_patterns;
	uint64_t first_length;
	bool (*run)(const struct hog *hog, struct answer *ret_answer);
};

static const struct hog_kind match_kind = {
	.name = "match",
	.nr_patterns = TEXT_NR_PATTERNS,
	.first_length = 4096,
	.run = text_match,
};

static const struct hog_kind scan_kind = {
	.name = "scan",
	.nr_patterns = DB_NR_PATTERNS,
	.first_length = 256,
	.run = db_scan,
};

static uint64_t time_hog(const struct hog_kind *kind, const struct hog *hog,
			 struct answer *ret_answer)
{
	uint64_t start = now_ns();

	if (!kind->run(hog, ret_answer))
		die("a %s failed with nothing else running", kind->name);
	return now_ns() - start;
}

/* How much of @total a hog of @target_ns looks at. */
static uint64_t find_length(const struct hog_kind *kind, unsigned int pattern,
			    uint64_t total, double target_ns)
{
	struct hog probe = { .pattern = pattern, .start = total / 3 };
	struct answer answer;
	double length;
	uint64_t ns, ns_again;

	for (probe.length = kind->first_length;; probe.length *= 2) {
		if (probe.length > total / 2)
			probe.length = total / 2;
		ns = time_hog(kind, &probe, &answer);
		ns_again = time_hog(kind, &probe, &answer);
		if (ns_again < ns)
			ns = ns_again;
		if (ns >= PROBE_NS || probe.length == total / 2)
			break;
	}
	length = (double)probe.length * target_ns / (double)ns;
	return length < (double)total ? (uint64_t)length : total;
}

/* Returns what they take on average. */
static double make_hogs(const struct hog_kind *kind, struct hog *hogs,
			uint64_t total, double target_ns, uint64_t seed)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < PLAN_NR_HOGS; i++) {
		struct hog *hog = &hogs[i];
		struct answer again;
		uint64_t ns, ns_again;

		hog->pattern = i % kind->nr_patterns;
		if (i < kind->nr_patterns)
			hog->length = find_length(kind, hog->pattern, total,
						  target_ns);
		else
			hog->length = hogs[hog->pattern].length;
		hog->start = mix64(seed + i) % (total - hog->length + 1);
		ns = time_hog(kind, hog, &hog->expected);
		ns_again = time_hog(kind, hog, &again);
		sum += ns < ns_again ? ns : ns_again;
		if (again.count != hog->expected.count ||
		    again.sum != hog->expected.sum)
			die("a %s does not give the same answer twice",
			    kind->name);
	}
	return (double)sum / PLAN_NR_HOGS;
}

static void do_lookups(uint64_t seed)
{
	unsigned int i;

	for (i = 0; i < NR_LOOKUPS; i++)
		if (!db_lookup((uint32_t)(mix64(seed + i) % db_nr_words())))
			die("a lookup failed with nothing else running");
}

static void *do_nothing(void *arg)
{
	return arg;
}

static void do_threads(uint64_t seed)
{
	unsigned int i;

	(void)seed;
	for (i = 0; i < NR_THREADS; i++) {
		pthread_t thread;
		int err = pthread_create(&thread, NULL, do_nothing, NULL);

		if (err)
			die("cannot start a thread: %s", strerror(err));
		pthread_join(thread, NULL);
	}
}

static double best_time(void (*fn)(uint64_t seed), uint64_t seed)
{
	uint64_t best = UINT64_MAX;
	unsigned int i;

	for (i = 0; i < NR_TRIES; i++) {
		uint64_t start = now_ns(), ns;

		fn(seed);
		ns = now_ns() - start;
		if (ns < best)
			best = ns;
	}
	return (double)best;
}

static unsigned int count_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		die("sched_getaffinity: %m");
	return (unsigned int)CPU_COUNT(&set);
}

void plan_make(struct plan *plan, const struct options *opt)
{
	const double hog_ns = opt->hog_ms * (double)NS_PER_MS;
	double hogs = opt->hog_pct / 100, cost_ns;

	db_open();
	plan->nr_cpus = count_cpus();
	plan->can_resolve = sleep_can_resolve();
	plan->lookup_ns = best_time(do_lookups, opt->seed) / NR_LOOKUPS;
	plan->hog_ns = (make_hogs(&match_kind, plan->matches, text_bytes(),
				  hog_ns, opt->seed) +
			make_hogs(&scan_kind, plan->scans, db_nr_words(),
				  hog_ns, opt->seed)) / 2;
	plan->thread_ns = best_time(do_threads, 0) / NR_THREADS;
	cost_ns = hogs * plan->hog_ns +
		  (1 - hogs - opt->sleep_pct / 100) * plan->lookup_ns +
		  plan->thread_ns;
	plan->rate = opt->rate > 0 ? opt->rate :
		     opt->load_pct / 100 * plan->nr_cpus / cost_ns *
		     (double)NS_PER_S;
}
