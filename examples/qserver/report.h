/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Results as text. */
#ifndef QS_REPORT_H
#define QS_REPORT_H

#include <stdint.h>

#include "options.h"
#include "plan.h"
#include "result.h"

#define REPORT_MAX_ROUNDS	100

/**
 * struct column - A way of serving in the table.
 * @name: What it is called.
 * @sum: Its runs added up.
 * @p999_ns: The p99.9 of lookups of each run.
 * @nr_rounds: Runs that were completed.
 * @nr_broken: Runs that were not.
 */
struct column {
	const char *name;
	struct result *sum;
	uint64_t p999_ns[REPORT_MAX_ROUNDS];
	unsigned int nr_rounds;
	unsigned int nr_broken;
};

/* Add a completed run to a column. */
void report_add(struct column *col, const struct result *res);

/* One line of key=value. */
void report_line(const char *name, unsigned int round,
		 const struct result *res, const struct plan *plan);

/* What is about to be run. */
void report_plan(const struct plan *plan, const struct options *opt);

/* The table and, with more than one column, what the last one gains. */
void report_table(const struct column *cols, unsigned int nr_cols,
		  const struct plan *plan);

#endif /* QS_REPORT_H */
