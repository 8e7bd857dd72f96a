/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The command line. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static const char usage[] =
"Usage: qserver [OPTION]...\n"
"A query server under load: SQLite lookups and scans, PCRE2 matches, calls\n"
"that sleep in the kernel. Compares pthreads with KAUS.\n"
"\n"
"  --mode MODE      all (default): threads, KAUS on signals, KAUS on the\n"
"                   module, in turn; threads: one pthread for each request;\n"
"                   kaus: one goroutine for each, assisted by what\n"
"                   KAUS_ASSIST=auto|module|signal says\n"
"  --rounds N       run each mode N times (default 3)\n"
"  --seconds S      measure for S seconds in each run (default 4)\n"
"  --warmup S       serve S seconds before that (default 0.5)\n"
"  --load PCT       choose the arrival rate so that the requests' work and\n"
"                   a thread for each take PCT per cent of the CPUs\n"
"                   (default 60)\n"
"  --rate R         R arrivals a second instead\n"
"  --hog-ms MS      CPU time of a match or a scan (default 30)\n"
"  --hogs PCT       per cent of requests that are such (default 3)\n"
"  --sleeps PCT     per cent of requests that sleep (default 3)\n"
"  --slice-us US    time slice for KAUS on the module in --mode all (default:\n"
"                   the runtime's); for --mode kaus set KAUS_SLICE_US\n"
"  --seed N         seed of arrivals and mix (default 1)\n"
"  --words FILE     word list (default /usr/share/dict/american-english)\n"
"  --text FILE      text corpus (default corpus.txt)\n"
"  --dir DIR        where scratch files go, best on a disk (default .)\n"
"  --line           one machine-readable line for each run, no table\n"
"  --help           this text\n"
"\n"
"Exit status: 0 all answers were right, 1 some were wrong or missing,\n"
"2 it could not be run.\n";

static double number(const char *name, const char *text, double min,
		     double max)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (end == text || *end || errno || !(value >= min && value <= max))
		die("--%s: '%s' is not a number from %g to %g", name, text,
		    min, max);
	return value;
}

static uint64_t whole(const char *name, const char *text, uint64_t min,
		      uint64_t max)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (end == text || *end || errno || strchr(text, '-') ||
	    value < min || value > max)
		die("--%s: '%s' is not a whole number from %llu to %llu", name,
		    text, (unsigned long long)min, (unsigned long long)max);
	return value;
}

static enum run_mode mode_of(const char *text)
{
	if (strcmp(text, "all") == 0)
		return MODE_ALL;
	if (strcmp(text, "threads") == 0)
		return MODE_THREADS;
	if (strcmp(text, "kaus") == 0)
		return MODE_KAUS;
	die("--mode: '%s' is none of all, threads, kaus", text);
}

enum {
	OPT_DIR = 1, OPT_HELP, OPT_HOGS, OPT_HOG_MS, OPT_LINE, OPT_LOAD,
	OPT_MODE, OPT_RATE, OPT_ROUNDS, OPT_SECONDS, OPT_SEED, OPT_SLEEPS,
	OPT_SLICE, OPT_TEXT, OPT_WARMUP, OPT_WORDS,
};

static const struct option long_options[] = {
	{ "dir",	required_argument, NULL, OPT_DIR },
	{ "help",	no_argument,	   NULL, OPT_HELP },
	{ "hogs",	required_argument, NULL, OPT_HOGS },
	{ "hog-ms",	required_argument, NULL, OPT_HOG_MS },
	{ "line",	no_argument,	   NULL, OPT_LINE },
	{ "load",	required_argument, NULL, OPT_LOAD },
	{ "mode",	required_argument, NULL, OPT_MODE },
	{ "rate",	required_argument, NULL, OPT_RATE },
	{ "rounds",	required_argument, NULL, OPT_ROUNDS },
	{ "seconds",	required_argument, NULL, OPT_SECONDS },
	{ "seed",	required_argument, NULL, OPT_SEED },
	{ "sleeps",	required_argument, NULL, OPT_SLEEPS },
	{ "slice-us",	required_argument, NULL, OPT_SLICE },
	{ "text",	required_argument, NULL, OPT_TEXT },
	{ "warmup",	required_argument, NULL, OPT_WARMUP },
	{ "words",	required_argument, NULL, OPT_WORDS },
	{ NULL, 0, NULL, 0 },
};

static void set_option(struct options *opt, int code, const char *name)
{
	switch (code) {
	case OPT_DIR:
		opt->dir = optarg;
		break;
	case OPT_HELP:
		fputs(usage, stdout);
		exit(0);
	case OPT_HOGS:
		opt->hog_pct = number(name, optarg, 0, 100);
		break;
	case OPT_HOG_MS:
		opt->hog_ms = number(name, optarg, 0.1, 10000);
		break;
	case OPT_LINE:
		opt->line = true;
		break;
	case OPT_LOAD:
		opt->load_pct = number(name, optarg, 1, 200);
		break;
	case OPT_MODE:
		opt->mode = mode_of(optarg);
		break;
	case OPT_RATE:
		opt->rate = number(name, optarg, 1, 1e6);
		break;
	case OPT_ROUNDS:
		opt->rounds = (unsigned int)whole(name, optarg, 1, 100);
		break;
	case OPT_SECONDS:
		opt->seconds = number(name, optarg, 0.1, 3600);
		break;
	case OPT_SEED:
		opt->seed = whole(name, optarg, 0, UINT64_MAX);
		break;
	case OPT_SLEEPS:
		opt->sleep_pct = number(name, optarg, 0, 100);
		break;
	case OPT_SLICE:
		opt->slice_us = whole(name, optarg, 1, 1000000);
		break;
	case OPT_TEXT:
		opt->text = optarg;
		break;
	case OPT_WARMUP:
		opt->warmup = number(name, optarg, 0, 3600);
		break;
	case OPT_WORDS:
		opt->words = optarg;
		break;
	default:
		die("try 'qserver --help'");
	}
}

void options_parse(struct options *opt, int argc, char **argv)
{
	int code, index = 0;

	*opt = (struct options) {
		.rounds = 3,
		.seconds = 4,
		.warmup = 0.5,
		.load_pct = 60,
		.hog_ms = 30,
		.hog_pct = 3,
		.sleep_pct = 3,
		.seed = 1,
		.words = "/usr/share/dict/american-english",
		.text = "corpus.txt",
		.dir = ".",
	};
	while ((code = getopt_long(argc, argv, "", long_options,
				   &index)) != -1)
		set_option(opt, code, long_options[index].name);
	if (optind < argc)
		die("'%s' is not an option; try 'qserver --help'",
		    argv[optind]);
	if (opt->hog_pct + opt->sleep_pct > 100)
		die("--hogs and --sleeps together exceed 100 per cent");
}
