/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The load: which requests arrive when. It is drawn up before the run, from a
 * seed, so that each way of serving gets the very same requests.
 *
 * Open loop: a request arrives at its time whether or not earlier ones have
 * been answered, and its latency counts from that time, also if the generator
 * was late.
 */
#ifndef QS_LOAD_H
#define QS_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "plan.h"

enum request_kind {
	RQ_LOOKUP,
	RQ_MATCH,
	RQ_SCAN,
	RQ_READ,
	RQ_FSYNC,
	RQ_PIPE,
	RQ_RESOLVE,
	NR_REQUEST_KINDS
};

/**
 * struct request - One request.
 * @intended_ns: When it arrives; from the start of the run until
 *	load_generate() has begun, then absolute.
 * @arg: Which word, hog, block or token.
 * @kind: What is asked for.
 */
struct request {
	uint64_t intended_ns;
	uint32_t arg;
	enum request_kind kind;
};

/**
 * struct load - All requests of a run and how far it has got.
 * @requests: In the order of their arrival.
 * @nr_requests: How many.
 * @begin_ns: When measuring begins, from the start of the run.
 * @end_ns: When it ends.
 * @start_ns: When the run started; 0 while it has not. Generator writes.
 * @nr_done: Requests answered. RMW by all.
 * @nr_asleep: Requests inside a call that sleeps. RMW by all.
 */
struct load {
	struct request *requests;
	uint64_t nr_requests;
	uint64_t begin_ns;
	uint64_t end_ns;

	uint64_t start_ns;
	uint64_t nr_done;
	uint64_t nr_asleep;
};

const char *request_kind_name(enum request_kind kind);

void load_make(struct load *load, const struct plan *plan,
	       const struct options *opt);

/**
 * load_generate() - Let the requests arrive.
 * @load: The load.
 * @sleep_until: Sleeps until an absolute time, at once if it is past.
 * @submit: Starts serving; not 0: it could not, and the request failed.
 */
void load_generate(struct load *load, void (*sleep_until)(uint64_t when_ns),
		   int (*submit)(struct request *rq));

/* Have all requests been answered? */
bool load_is_done(const struct load *load);

#endif /* QS_LOAD_H */
