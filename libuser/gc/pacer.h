/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* When a cycle begins and how much helpers owe it. Why so: pacer.c. */
#ifndef KR_GC_PACER_H
#define KR_GC_PACER_H

#include <stdbool.h>
#include <stdint.h>

#define KR_PACER_PERCENT	100		/* KAUS_GC_PERCENT's default */
#define KR_PACER_OFF		(-1)		/* percent: no cycle by growth */
#define KR_PACER_NO_LIMIT	UINT64_MAX
#define KR_PACER_MIN_HEAP	(4ULL << 20)	/* goal at 100 percent, at least */
#define KR_PACER_HISTORY	4

/* What one finished cycle was like. */
struct kr_pacer_cycle {
	uint64_t heap_marked_bytes;	/* found live */
	uint64_t heap_scan_bytes;	/* of these, what may hold pointers */
	uint64_t stack_bytes;		/* scanned, of goroutines and threads */
	uint64_t global_bytes;		/* scanned, roots and data segments */
	uint64_t alloc_bytes;		/* allocated while it marked */
	uint64_t mark_ns;		/* from the first mark to the last */
	uint64_t mark_cpu_ns;		/* CPU time of all who marked */
	bool concurrent;		/* the program ran meanwhile */
};

struct kr_pacer {
	/* Settings. */
	uint32_t nr_procs;
	int32_t percent;
	uint64_t limit_bytes;		/* for all memory of the process's heap */
	uint64_t other_bytes;		/* counts against it, is no object */
	uint64_t set_goal_bytes;	/* by hand; 0: not */

	/* Of the last cycle. */
	uint64_t heap_marked_bytes;
	uint64_t root_bytes;		/* stacks and globals */
	uint64_t scan_bytes;		/* expected work of the next cycle */
	double cons_mark[KR_PACER_HISTORY];
	uint32_t nr_cons_mark;

	/* What follows from these. */
	uint64_t goal_bytes;		/* heap_live when a cycle should end */
	uint64_t trigger_bytes;		/* heap_live when it should begin */
	bool goal_is_limit;

	/* The limiter: a bucket that GC fills and the program drains. */
	uint64_t bucket_ns;
	uint64_t bucket_max_ns;
	bool limiting;
	uint64_t nr_limited;		/* times that the bucket was full */
};

/**
 * kr_pacer_init() - Before the first cycle.
 * @p: The pacer.
 * @nr_procs: CPUs that the program may keep busy.
 *
 * Context: of all functions here: any; the caller sees to it that there is one
 * at a time. They do nothing but arithmetic.
 */
void kr_pacer_init(struct kr_pacer *p, uint32_t nr_procs);

/* KR_PACER_OFF or percent of what is live that may be allocated anew. */
void kr_pacer_set_percent(struct kr_pacer *p, int32_t percent);
void kr_pacer_set_limit(struct kr_pacer *p, uint64_t limit_bytes);
/* Memory besides objects that counts against the limit. */
void kr_pacer_set_other(struct kr_pacer *p, uint64_t other_bytes);

/* The goal, as far as it leaves room for some progress. 0: as computed. */
void kr_pacer_set_goal(struct kr_pacer *p, uint64_t goal_bytes);

/* What is live does not fit into the limit, or it would take too much time. */
bool kr_pacer_is_over(const struct kr_pacer *p);
/* The largest of the last few cycles. */
double kr_pacer_cons_mark(const struct kr_pacer *p);

/* A cycle has ended: new goal and trigger. */
void kr_pacer_cycle(struct kr_pacer *p, const struct kr_pacer_cycle *c);

/**
 * kr_pacer_assist() - What an allocation owes while a cycle marks.
 * @p: The pacer.
 * @live_bytes: Heap now.
 * @scanned_bytes: Work done in this cycle.
 *
 * Return: Bytes to scan for each byte allocated.
 */
double kr_pacer_assist(const struct kr_pacer *p, uint64_t live_bytes,
		       uint64_t scanned_bytes);

/**
 * kr_pacer_spent() - Tell the limiter what has been spent.
 * @p: The pacer.
 * @gc_cpu_ns: CPU time of the collector.
 * @total_cpu_ns: CPU time there was for both, the same while.
 *
 * Where it leaves a limited state, or gets there, goal and trigger change.
 */
void kr_pacer_spent(struct kr_pacer *p, uint64_t gc_cpu_ns,
		    uint64_t total_cpu_ns);

#endif /* KR_GC_PACER_H */
