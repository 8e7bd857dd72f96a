/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What came out of a run, or of several runs of one mode added up. */
#ifndef QS_RESULT_H
#define QS_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "hist.h"
#include "load.h"
#include "sleep.h"

/**
 * struct result - In memory shared by parent and child. "Measured" requests
 * are those that arrived while measuring.
 * @nr_answered: Requests answered while measuring, whenever they arrived.
 * @nr_failed: Requests of each kind whose answer was wrong or not given,
 *	measured or not.
 * @calls: What the system calls of the sleeping requests met.
 * @lookups: Latencies of the measured lookups in ns.
 * @hogs: Those of matches and scans.
 * @sleeps: Those of the requests that sleep.
 *
 * Of the measured part of the run, without the sampler:
 * @wall_ns: Its length.
 * @cpu_ns: CPU time of the process.
 * @nr_switches: Its context switches.
 * @nr_samples: Samples taken.
 * @nr_idle: CPUs found idle while a request was runnable, added up.
 *
 * @assist: "module" or "signal"; empty for threads.
 * @nr_preempts: Of struct kaus_stats, the whole run, as those below.
 * @nr_handoffs: Ps given away because the holder slept.
 * @nr_threads: Threads started.
 */
struct result {
	uint64_t nr_answered;
	uint64_t nr_failed[NR_REQUEST_KINDS];
	struct sleep_counts calls;
	struct hist lookups;
	struct hist hogs;
	struct hist sleeps;

	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t nr_switches;
	uint64_t nr_samples;
	uint64_t nr_idle;

	char assist[16];
	uint64_t nr_preempts;
	uint64_t nr_handoffs;
	uint64_t nr_threads;
};

static inline uint64_t result_nr_failed(const struct result *res)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < NR_REQUEST_KINDS; i++)
		sum += res->nr_failed[i];
	return sum;
}

#endif /* QS_RESULT_H */
