/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The load: which requests arrive when. */
#include "load.h"

#include <math.h>
#include <stdlib.h>

#include "db.h"
#include "serve.h"
#include "sleep.h"
#include "util.h"

/* Of the requests that sleep, how many do what; the rest waits for a pipe. */
#define READ_SHARE	0.40
#define FSYNC_SHARE	0.20
#define RESOLVE_SHARE	0.10

/* Time for the generator to get going. */
#define LEAD_NS		(20 * NS_PER_MS)

const char *request_kind_name(enum request_kind kind)
{
	static const char *const names[NR_REQUEST_KINDS] = {
		"lookup", "match", "scan", "read", "fsync", "pipe", "resolve",
	};

	return names[kind];
}

static enum request_kind draw_sleep(double u, bool can_resolve)
{
	if (u < READ_SHARE)
		return RQ_READ;
	if (u < READ_SHARE + FSYNC_SHARE)
		return RQ_FSYNC;
	if (u < READ_SHARE + FSYNC_SHARE + RESOLVE_SHARE && can_resolve)
		return RQ_RESOLVE;
	return RQ_PIPE;
}

static void draw_request(struct request *rq, const struct plan *plan,
			 const struct options *opt, uint64_t *rand)
{
	double u = rand_unit(rand) * 100;
	uint32_t pick = (uint32_t)rand_next(rand);

	if (u < opt->hog_pct) {
		rq->kind = pick & 1 ? RQ_MATCH : RQ_SCAN;
		rq->arg = (pick >> 1) % PLAN_NR_HOGS;
	} else if (u < opt->hog_pct + opt->sleep_pct) {
		rq->kind = draw_sleep(rand_unit(rand), plan->can_resolve);
		rq->arg = rq->kind == RQ_READ ? pick % SLEEP_NR_BLOCKS : pick;
	} else {
		rq->kind = RQ_LOOKUP;
		rq->arg = pick % db_nr_words();
	}
}

void load_make(struct load *load, const struct plan *plan,
	       const struct options *opt)
{
	const double begin_ns = opt->warmup * (double)NS_PER_S;
	const double end_ns = begin_ns + opt->seconds * (double)NS_PER_S;
	uint64_t max = (uint64_t)(end_ns / 1e9 * plan->rate * 1.5) + 100;
	uint64_t rand = mix64(opt->seed);
	double at_ns = 0;

	load->begin_ns = (uint64_t)begin_ns;
	load->end_ns = (uint64_t)end_ns;
	load->requests = calloc(max, sizeof(*load->requests));
	if (!load->requests)
		die("no memory for %llu requests", (unsigned long long)max);
	while (load->nr_requests < max) {
		struct request *rq = &load->requests[load->nr_requests];

		at_ns -= log(1 - rand_unit(&rand)) / plan->rate * 1e9;
		if (at_ns >= end_ns)
			break;
		rq->intended_ns = (uint64_t)at_ns;
		draw_request(rq, plan, opt, &rand);
		load->nr_requests++;
	}
}

void load_generate(struct load *load, void (*sleep_until)(uint64_t when_ns),
		   int (*submit)(struct request *rq))
{
	uint64_t start_ns = now_ns() + LEAD_NS, i;

	for (i = 0; i < load->nr_requests; i++)
		load->requests[i].intended_ns += start_ns;
	__atomic_store_n(&load->start_ns, start_ns, __ATOMIC_RELEASE);
	for (i = 0; i < load->nr_requests; i++) {
		struct request *rq = &load->requests[i];

		if (rq->intended_ns > now_ns())
			sleep_until(rq->intended_ns);
		if (submit(rq))
			serve_refused(rq);
	}
}

bool load_is_done(const struct load *load)
{
	return __atomic_load_n(&load->nr_done, __ATOMIC_ACQUIRE) ==
	       load->nr_requests;
}
