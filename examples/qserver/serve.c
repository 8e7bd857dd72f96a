/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Serving one request. Nothing here knows who runs it. */
#include "serve.h"

#include "db.h"
#include "sleep.h"
#include "text.h"
#include "util.h"

static const struct plan *plan;
static struct load *load;
static struct result *result;

void serve_init(const struct plan *the_plan, struct load *the_load,
		struct result *res)
{
	plan = the_plan;
	load = the_load;
	result = res;
}

static bool is_right(bool ok, const struct hog *hog, const struct answer *got)
{
	return ok && got->count == hog->expected.count &&
	       got->sum == hog->expected.sum;
}

static bool compute(const struct request *rq)
{
	struct answer got;
	const struct hog *hog;

	switch (rq->kind) {
	case RQ_MATCH:
		hog = &plan->matches[rq->arg];
		return is_right(text_match(hog, &got), hog, &got);
	case RQ_SCAN:
		hog = &plan->scans[rq->arg];
		return is_right(db_scan(hog, &got), hog, &got);
	default:
		return db_lookup(rq->arg);
	}
}

static bool sleep_in_kernel(const struct request *rq)
{
	bool ok;

	__atomic_fetch_add(&load->nr_asleep, 1, __ATOMIC_RELAXED);
	switch (rq->kind) {
	case RQ_READ:
		ok = sleep_read(rq->arg);
		break;
	case RQ_FSYNC:
		ok = sleep_fsync();
		break;
	case RQ_PIPE:
		ok = sleep_pipe(rq->arg);
		break;
	default:
		ok = sleep_resolve();
		break;
	}
	__atomic_fetch_sub(&load->nr_asleep, 1, __ATOMIC_RELAXED);
	return ok;
}

static struct hist *hist_of(enum request_kind kind)
{
	switch (kind) {
	case RQ_LOOKUP:
		return &result->lookups;
	case RQ_MATCH:
	case RQ_SCAN:
		return &result->hogs;
	default:
		return &result->sleeps;
	}
}

static void record(const struct request *rq, bool ok)
{
	uint64_t begin_ns = load->start_ns + load->begin_ns;
	uint64_t end_ns = load->start_ns + load->end_ns;
	uint64_t now = now_ns();

	if (!ok)
		__atomic_fetch_add(&result->nr_failed[rq->kind], 1,
				   __ATOMIC_RELAXED);
	else if (now >= begin_ns && now < end_ns)
		__atomic_fetch_add(&result->nr_answered, 1, __ATOMIC_RELAXED);
	if (ok && rq->intended_ns >= begin_ns)
		hist_add(hist_of(rq->kind), now - rq->intended_ns);
	/* The last thing: the run may end now. */
	__atomic_fetch_add(&load->nr_done, 1, __ATOMIC_RELEASE);
}

void serve(struct request *rq)
{
	if (rq->kind == RQ_LOOKUP || rq->kind == RQ_MATCH ||
	    rq->kind == RQ_SCAN)
		record(rq, compute(rq));
	else
		record(rq, sleep_in_kernel(rq));
}

void serve_refused(const struct request *rq)
{
	record(rq, false);
}
