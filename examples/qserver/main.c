/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * qserver: a query server under load, the demonstration of KAUS.
 *
 * The parent loads the data and keeps the results. Everything else happens in
 * children, one for the calibration and one for each run, so that no run
 * inherits threads, connections or heap of another.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db.h"
#include "exec.h"
#include "options.h"
#include "plan.h"
#include "report.h"
#include "sampler.h"
#include "serve.h"
#include "sleep.h"
#include "text.h"
#include "util.h"

#define KAUS_DEVICE	"/dev/kaus"

/**
 * struct way - A way of serving.
 * @name: In the table.
 * @exec: Who runs the requests.
 * @assist: Value for KAUS_ASSIST; NULL leaves it as it is.
 */
struct way {
	const char *name;
	const struct executor *exec;
	const char *assist;
};

static const struct way way_threads = { "threads", &exec_threads, NULL };
static const struct way way_kaus = { "kaus", &exec_kaus, NULL };
static const struct way way_signals = { "KAUS, signals", &exec_kaus, "signal" };
static const struct way way_module = { "KAUS, module", &exec_kaus, "module" };

static char db_path[4200];
static pid_t parent;

static void cleanup(void)
{
	if (getpid() != parent)
		return;
	unlink(db_path);
	sleep_cleanup();
}

/* Runs in a child; its return value is the exit status. */
struct job {
	int (*fn)(const struct job *job);
	const struct options *opt;
	struct plan *plan;
	const struct way *way;
	struct result *res;
};

static int calibrate(const struct job *job)
{
	plan_make(job->plan, job->opt);
	return 0;
}

static int run_way(const struct job *job)
{
	static struct load load;
	int err;

	if (job->way->assist)
		setenv("KAUS_ASSIST", job->way->assist, 1);
	if (job->way == &way_module && job->opt->slice_us) {
		char text[32];

		snprintf(text, sizeof(text), "%llu",
			 (unsigned long long)job->opt->slice_us);
		setenv("KAUS_SLICE_US", text, 1);
	}
	db_open();
	sleep_open(&job->res->calls);
	load_make(&load, job->plan, job->opt);
	serve_init(job->plan, &load, job->res);
	sampler_start(&load, job->res, job->way->exec, job->plan->nr_cpus);
	err = job->way->exec->run(&load, job->res);
	sampler_stop();
	return err ? 1 : 0;
}

/* Returns the exit status, 128 + signal if it was killed. */
static int run_child(const struct job *job)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("cannot fork: %m");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exit(job->fn(job));
	}
	if (waitpid(pid, &status, 0) < 0)
		die("waitpid: %m");
	return WIFEXITED(status) ? WEXITSTATUS(status) :
	       128 + WTERMSIG(status);
}

static unsigned int choose_ways(const struct way **ways, enum run_mode mode)
{
	unsigned int nr = 0;

	switch (mode) {
	case MODE_THREADS:
		ways[nr++] = &way_threads;
		break;
	case MODE_KAUS:
		ways[nr++] = &way_kaus;
		break;
	case MODE_ALL:
		ways[nr++] = &way_threads;
		ways[nr++] = &way_signals;
		if (access(KAUS_DEVICE, R_OK | W_OK) == 0)
			ways[nr++] = &way_module;
		else
			warn("no access to " KAUS_DEVICE
			     ": running without the module");
		break;
	}
	return nr;
}

/* Run one way once; false if it failed. */
static bool run_round(struct job *job, struct column *col, unsigned int round)
{
	int status;

	memset(job->res, 0, sizeof(*job->res));
	status = run_child(job);
	if (status) {
		warn("%s, round %u: exit status %d", col->name, round + 1,
		     status);
		col->nr_broken++;
		return false;
	}
	report_add(col, job->res);
	if (job->opt->line)
		report_line(col->name, round + 1, job->res, job->plan);
	if (!result_nr_failed(job->res))
		return true;
	for (unsigned int i = 0; i < NR_REQUEST_KINDS; i++)
		if (job->res->nr_failed[i])
			warn("%s, round %u: %llu wrong answers to %s",
			     col->name, round + 1,
			     (unsigned long long)job->res->nr_failed[i],
			     request_kind_name((enum request_kind)i));
	return false;
}

static bool run_all(struct job *job)
{
	const struct way *ways[3];
	struct column cols[3] = { 0 };
	unsigned int nr = choose_ways(ways, job->opt->mode), round, i;
	bool ok = true;

	for (i = 0; i < nr; i++) {
		cols[i].name = ways[i]->name;
		cols[i].sum = shared_alloc(sizeof(struct result));
	}
	job->fn = run_way;
	for (round = 0; round < job->opt->rounds; round++) {
		for (i = 0; i < nr; i++) {
			/* Another order each time: no one is always first. */
			unsigned int which = (i + round) % nr;

			job->way = ways[which];
			ok &= run_round(job, &cols[which], round);
		}
	}
	if (!job->opt->line)
		report_table(cols, nr, job->plan);
	return ok;
}

int main(int argc, char **argv)
{
	struct options opt;
	struct job job = { .fn = calibrate, .opt = &opt };
	int status;

	options_parse(&opt, argc, argv);
	parent = getpid();
	snprintf(db_path, sizeof(db_path), "%s/qserver.db", opt.dir);
	atexit(cleanup);
	text_load(opt.text);
	sleep_prepare(opt.dir);
	db_create(opt.words, db_path);

	job.plan = shared_alloc(sizeof(*job.plan));
	job.res = shared_alloc(sizeof(*job.res));
	status = run_child(&job);
	if (status)
		die("the calibration failed with status %d", status);
	if (!opt.line)
		report_plan(job.plan, &opt);
	return run_all(&job) ? 0 : 1;
}
