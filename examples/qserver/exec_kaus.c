/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* One goroutine for each request. */
#include "exec.h"

#include <kaus.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"
#include "util.h"

struct run_args {
	struct load *load;
	struct result *res;
};

static void sleep_until(uint64_t when_ns)
{
	kaus_sleep_until(when_ns);
}

static void serve_goroutine(void *arg)
{
	serve(arg);
}

static int submit(struct request *rq)
{
	return kaus_go(serve_goroutine, rq);
}

static void save_stats(struct result *res)
{
	struct kaus_stats st = { .size = sizeof(st) };

	if (kaus_stats_read(&st))
		return;
	snprintf(res->assist, sizeof(res->assist), "%s", st.assist);
	res->nr_preempts = st.nr_preempts;
	res->nr_handoffs = st.nr_handoffs;
	res->nr_threads = st.nr_threads;
}

/* The first goroutine is the generator. */
static int generate(void *arg)
{
	struct run_args *args = arg;

	load_generate(args->load, sleep_until, submit);
	while (!load_is_done(args->load))
		kaus_sleep(NS_PER_MS);
	save_stats(args->res);
	return 0;
}

static int run(struct load *load, struct result *res)
{
	struct run_args args = { load, res };
	int err = kaus_run(generate, &args);

	if (err)
		warn("kaus_run: %s", strerror(-err));
	return err;
}

static void dump(void)
{
	kaus_dump(STDERR_FILENO);
}

const struct executor exec_kaus = {
	.run = run,
	.dump = dump,
};
