/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Results as text. */
#include "report.h"

#include <stdio.h>
#include <string.h>

#include "db.h"
#include "text.h"
#include "util.h"

#define LABEL_WIDTH	(-36)
#define COLUMN_WIDTH	14

void report_add(struct column *col, const struct result *res)
{
	struct result *sum = col->sum;
	unsigned int i;

	col->p999_ns[col->nr_rounds++] =
		hist_percentile(&res->lookups, 99.9);
	sum->nr_answered += res->nr_answered;
	for (i = 0; i < NR_REQUEST_KINDS; i++)
		sum->nr_failed[i] += res->nr_failed[i];
	sum->calls.nr_eintr += res->calls.nr_eintr;
	sum->calls.nr_short += res->calls.nr_short;
	hist_merge(&sum->lookups, &res->lookups);
	hist_merge(&sum->hogs, &res->hogs);
	hist_merge(&sum->sleeps, &res->sleeps);
	sum->wall_ns += res->wall_ns;
	sum->cpu_ns += res->cpu_ns;
	sum->nr_switches += res->nr_switches;
	sum->nr_samples += res->nr_samples;
	sum->nr_idle += res->nr_idle;
	memcpy(sum->assist, res->assist, sizeof(sum->assist));
	sum->nr_preempts += res->nr_preempts;
	sum->nr_handoffs += res->nr_handoffs;
	sum->nr_threads += res->nr_threads;
}

static double ratio(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static double ms(uint64_t ns)
{
	return (double)ns / (double)NS_PER_MS;
}

static double throughput(const struct result *res)
{
	return ratio((double)res->nr_answered, (double)res->wall_ns / 1e9);
}

static double idle_pct(const struct result *res, const struct plan *plan)
{
	return 100 * ratio((double)res->nr_idle,
			   (double)res->nr_samples * plan->nr_cpus);
}

static double cpu_pct(const struct result *res, const struct plan *plan)
{
	return 100 * ratio((double)res->cpu_ns,
			   (double)res->wall_ns * plan->nr_cpus);
}

void report_line(const char *name, unsigned int round,
		 const struct result *res, const struct plan *plan)
{
	printf("mode=%s round=%u assist=%s cpus=%u rate=%.1f"
	       " throughput=%.1f lookups=%llu lookup_p50_us=%.1f"
	       " lookup_p99_us=%.1f lookup_p999_us=%.1f lookup_max_us=%.1f"
	       " hog_p50_us=%.1f hog_p99_us=%.1f sleep_p50_us=%.1f"
	       " sleep_p99_us=%.1f idle_while_runnable_pct=%.2f cpu_pct=%.1f"
	       " switches_per_s=%.0f eintr=%llu short=%llu failed=%llu"
	       " preempts=%llu handoffs=%llu threads=%llu\n",
	       name, round, res->assist[0] ? res->assist : "none",
	       plan->nr_cpus, plan->rate, throughput(res),
	       (unsigned long long)res->lookups.count,
	       (double)hist_percentile(&res->lookups, 50) / 1e3,
	       (double)hist_percentile(&res->lookups, 99) / 1e3,
	       (double)hist_percentile(&res->lookups, 99.9) / 1e3,
	       (double)res->lookups.max / 1e3,
	       (double)hist_percentile(&res->hogs, 50) / 1e3,
	       (double)hist_percentile(&res->hogs, 99) / 1e3,
	       (double)hist_percentile(&res->sleeps, 50) / 1e3,
	       (double)hist_percentile(&res->sleeps, 99) / 1e3,
	       idle_pct(res, plan), cpu_pct(res, plan),
	       ratio((double)res->nr_switches, (double)res->wall_ns / 1e9),
	       (unsigned long long)res->calls.nr_eintr,
	       (unsigned long long)res->calls.nr_short,
	       (unsigned long long)result_nr_failed(res),
	       (unsigned long long)res->nr_preempts,
	       (unsigned long long)res->nr_handoffs,
	       (unsigned long long)res->nr_threads);
	fflush(stdout);
}

void report_plan(const struct plan *plan, const struct options *opt)
{
	printf("%u words in SQLite, %.1f MB of text for PCRE2, %u CPU%s."
	       "\nAlone, a lookup takes %.1f us, a hog (match or scan) %.1f"
	       " ms, a pthread %.0f us.\n"
	       "%.0f requests a second: %g %% lookups, %g %% hogs, %g %%"
	       " calls that sleep%s; their own work is %.0f %% of the CPU"
	       " time.\n"
	       "Each mode: %u x %g s after %g s of warm-up, taking turns.\n",
	       db_nr_words(), (double)text_bytes() / 1e6, plan->nr_cpus,
	       plan->nr_cpus == 1 ? "" : "s",
	       plan->lookup_ns / 1e3, plan->hog_ns / 1e6,
	       plan->thread_ns / 1e3, plan->rate,
	       100 - opt->hog_pct - opt->sleep_pct, opt->hog_pct,
	       opt->sleep_pct,
	       plan->can_resolve ? "" : " (no getaddrinfo here)",
	       100 * plan->rate *
	       (opt->hog_pct / 100 * plan->hog_ns +
		(1 - (opt->hog_pct + opt->sleep_pct) / 100) *
		plan->lookup_ns) / 1e9 / plan->nr_cpus,
	       opt->rounds, opt->seconds, opt->warmup);
	if (opt->slice_us)
		printf("Time slice with the module: %llu us.\n",
		       (unsigned long long)opt->slice_us);
	fflush(stdout);
}

/* A row of numbers, one for each column. */
typedef double row_fn(const struct column *col, const struct plan *plan);

static double row_throughput(const struct column *c, const struct plan *plan)
{
	(void)plan;
	return throughput(c->sum);
}

static double row_p50(const struct column *c, const struct plan *plan)
{
	(void)plan;
	return ms(hist_percentile(&c->sum->lookups, 50));
}

static double row_p99(const struct column *c, const struct plan *plan)
{
	(void)plan;
	return ms(hist_percentile(&c->sum->lookups, 99));
}

static double row_p999(const struct column *c, const struct plan *plan)
{
	(void)plan;
	return ms(hist_percentile(&c->sum->lookups, 99.9));
}

static double row_p999_best(const struct column *c, const struct plan *plan)
{
	uint64_t best = UINT64_MAX;
	unsigned int i;

	(void)plan;
	for (i = 0; i < c->nr_rounds; i++)
		if (c->p999_ns[i] < best)
			best = c->p999_ns[i];
	return ms(best);
}

static double row_p999_worst(const struct column *c, const struct plan *plan)
{
	uint64_t worst = 0;
	unsigned int i;

	(void)plan;
	for (i = 0; i < c->nr_rounds; i++)
		if (c->p999_ns[i] > worst)
			worst = c->p999_ns[i];
	return ms(worst);
}

static double row_hog(const struct column *c, const struct plan *plan)
{
	(void)plan;
	return ms(hist_percentile(&c->sum->hogs, 50));
}

static double row_sleep(const struct column *c, const struct plan *plan)
{
	(void)plan;
	return ms(hist_percentile(&c->sum->sleeps, 50));
}

static double row_idle(const struct column *c, const struct plan *plan)
{
	return idle_pct(c->sum, plan);
}

static double row_cpu(const struct column *c, const struct plan *plan)
{
	return cpu_pct(c->sum, plan);
}

static double row_eintr(const struct column *c, const struct plan *plan)
{
	(void)plan;
	return (double)c->sum->calls.nr_eintr;
}

static double row_short(const struct column *c, const struct plan *plan)
{
	(void)plan;
	return (double)c->sum->calls.nr_short;
}

static double row_switches(const struct column *c, const struct plan *plan)
{
	(void)plan;
	return ratio((double)c->sum->nr_switches,
		     (double)c->sum->wall_ns / 1e9);
}

static double row_failed(const struct column *c, const struct plan *plan)
{
	(void)plan;
	return (double)result_nr_failed(c->sum) + c->nr_broken;
}

static const struct row {
	const char *label;
	int decimals;
	row_fn *value;
} rows[] = {
	{ "throughput, answers/s",		0, row_throughput },
	{ "lookups: p50, ms",			3, row_p50 },
	{ "lookups: p99, ms",			3, row_p99 },
	{ "lookups: p99.9, ms",			3, row_p999 },
	{ "  p99.9 of the best round, ms",	3, row_p999_best },
	{ "  p99.9 of the worst round, ms",	3, row_p999_worst },
	{ "hogs: p50, ms",			1, row_hog },
	{ "sleeping calls: p50, ms",		2, row_sleep },
	{ "idle while runnable, % of CPU [1]",	2, row_idle },
	{ "CPU used, %",			1, row_cpu },
	{ "context switches/s [2]",		0, row_switches },
	{ "EINTR seen",				0, row_eintr },
	{ "short reads and writes",		0, row_short },
	{ "wrong or missing answers",		0, row_failed },
};

static void print_gain(const struct column *ours, const struct column *other)
{
	double gain = ratio(row_p999(other, NULL), row_p999(ours, NULL));

	if (gain >= 1)
		printf(" %.1f times shorter than with %s (p99 %.1f times)",
		       gain, other->name,
		       ratio(row_p99(other, NULL), row_p99(ours, NULL)));
	else
		printf(" %.1f times LONGER than with %s", ratio(1, gain),
		       other->name);
}

/* The last column is the one the demonstration is about. */
static void print_gains(const struct column *cols, unsigned int nr_cols)
{
	const struct column *ours = &cols[nr_cols - 1];
	unsigned int i;
	const char *sep = "";

	printf("With %s the p99.9 of the lookups is", ours->name);
	for (i = nr_cols - 1; i-- > 0;) {
		printf("%s", sep);
		print_gain(ours, &cols[i]);
		sep = " and";
	}
	printf(".\n");
}

void report_table(const struct column *cols, unsigned int nr_cols,
		  const struct plan *plan)
{
	unsigned int nr_complete = 0, i, j;

	for (j = 0; j < nr_cols; j++)
		nr_complete += cols[j].nr_rounds > 0;
	if (!nr_complete)
		return;
	printf("\n%*s", LABEL_WIDTH, "");
	for (j = 0; j < nr_cols; j++)
		printf("%*s", COLUMN_WIDTH, cols[j].name);
	printf("\n");
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		printf("%*s", LABEL_WIDTH, rows[i].label);
		for (j = 0; j < nr_cols; j++) {
			if (cols[j].nr_rounds ||
			    rows[i].value == row_failed)
				printf("%*.*f", COLUMN_WIDTH,
				       rows[i].decimals,
				       rows[i].value(&cols[j], plan));
			else
				printf("%*s", COLUMN_WIDTH, "-");
		}
		printf("\n");
	}
	printf("[1] share of the CPU time in which a CPU idled although a"
	       " request that had arrived\n"
	       "    was neither running nor asleep in a call; sampled at 1"
	       " kHz from outside the runtime\n"
	       "[2] of all threads of the process, voluntary and not, from"
	       " getrusage()\n"
	       "Latencies count from the intended time of arrival; those of"
	       " all rounds are taken together.\n");
	if (nr_complete == nr_cols && nr_cols > 1)
		print_gains(cols, nr_cols);
	fflush(stdout);
}
