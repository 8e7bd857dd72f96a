/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What all runs have in common, found out once: how long the library calls
 * take on this machine, which hogs there are and how many requests arrive.
 */
#ifndef QS_PLAN_H
#define QS_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "hog.h"
#include "options.h"

#define PLAN_NR_HOGS	8	/* of each kind */

/**
 * struct plan - Lives in memory shared by parent and children.
 * @nr_cpus: CPUs this process may use.
 * @rate: Arrivals per second.
 * @lookup_ns: What one lookup takes alone.
 * @hog_ns: What one hog takes alone, on average.
 * @thread_ns: What starting and ending a thread takes.
 * @can_resolve: getaddrinfo("localhost") works here.
 * @matches: Matches to choose from, with their answers.
 * @scans: Scans to choose from, with their answers.
 */
struct plan {
	unsigned int nr_cpus;
	double rate;
	double lookup_ns;
	double hog_ns;
	double thread_ns;
	bool can_resolve;
	struct hog matches[PLAN_NR_HOGS];
	struct hog scans[PLAN_NR_HOGS];
};

/* Measure and fill in. In a child process: it opens the database. */
void plan_make(struct plan *plan, const struct options *opt);

#endif /* QS_PLAN_H */
