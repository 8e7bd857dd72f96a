/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Histogram of latencies. */
#include "hist.h"

#include <math.h>

static unsigned int bucket_of(uint64_t value)
{
	const uint64_t limit = (1ULL << HIST_MAX_BITS) - 1;
	unsigned int shift;

	if (value > limit)
		value = limit;
	if (value < (1U << HIST_SUB_BITS))
		return (unsigned int)value;
	shift = 63 - (unsigned int)__builtin_clzll(value) - HIST_SUB_BITS;
	return ((shift + 1) << HIST_SUB_BITS) +
	       (unsigned int)((value >> shift) - (1U << HIST_SUB_BITS));
}

/* The largest value that falls into a bucket: never flatters. */
static uint64_t bucket_top(unsigned int i)
{
	unsigned int shift = i >> HIST_SUB_BITS;
	uint64_t sub = i & ((1U << HIST_SUB_BITS) - 1);

	if (shift == 0)
		return sub;
	shift--;
	return ((sub + (1U << HIST_SUB_BITS) + 1) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t value)
{
	uint64_t max = __atomic_load_n(&h->max, __ATOMIC_RELAXED);

	__atomic_fetch_add(&h->bucket[bucket_of(value)], 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&h->count, 1, __ATOMIC_RELAXED);
	while (value > max &&
	       !__atomic_compare_exchange_n(&h->max, &max, value, 1,
					    __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED))
		;
}

void hist_merge(struct hist *to, const struct hist *from)
{
	unsigned int i;

	to->count += from->count;
	if (from->max > to->max)
		to->max = from->max;
	for (i = 0; i < HIST_BUCKETS; i++)
		to->bucket[i] += from->bucket[i];
}

uint64_t hist_percentile(const struct hist *h, double pct)
{
	uint64_t rank = (uint64_t)ceil((double)h->count * pct / 100.0);
	uint64_t seen = 0;
	unsigned int i;

	for (i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= rank && seen > 0)
			return bucket_top(i) < h->max ? bucket_top(i) : h->max;
	}
	return h->max;
}
