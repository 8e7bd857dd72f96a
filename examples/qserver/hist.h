/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Histogram of latencies with a relative error below 1 %: 128 buckets for
 * each power of two, as HdrHistogram has them. Any number of threads may add.
 */
#ifndef QS_HIST_H
#define QS_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS	7
#define HIST_MAX_BITS	40	/* 2^40 ns are 18 minutes */
#define HIST_BUCKETS	((HIST_MAX_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

/**
 * struct hist - The histogram; zeroed memory is an empty one.
 * @count: Values added.
 * @max: The largest.
 * @bucket: How many of each size.
 */
struct hist {
	uint64_t count;
	uint64_t max;
	uint32_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t value);

/* Add all of @from to @to. Nobody else may use either meanwhile. */
void hist_merge(struct hist *to, const struct hist *from);

/* The value that @pct per cent of the values do not exceed; 0 if empty. */
uint64_t hist_percentile(const struct hist *h, double pct);

#endif /* QS_HIST_H */
