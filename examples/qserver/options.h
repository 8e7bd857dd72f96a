/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The command line. */
#ifndef QS_OPTIONS_H
#define QS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum run_mode {
	MODE_ALL,	/* the three ways of serving, in turn */
	MODE_THREADS,	/* one pthread for each request */
	MODE_KAUS,	/* one goroutine each; KAUS_ASSIST decides on what */
};

/**
 * struct options - What was asked for.
 * @mode: Which way of serving.
 * @rounds: How often each mode is run; they take turns.
 * @seconds: Length of the measured part of a run.
 * @warmup: Seconds before it.
 * @load_pct: CPU utilisation to choose the arrival rate for, see plan.c.
 * @rate: Arrivals per second; 0: from @load_pct.
 * @hog_ms: CPU time of a pattern match or a table scan.
 * @hog_pct: Per cent of requests that are such.
 * @sleep_pct: Per cent of requests that sleep in the kernel.
 * @slice_us: Time slice for KAUS on the module; 0: the runtime's default.
 * @seed: Of arrivals and mix.
 * @line: Print one line of key=value for each run instead of a table.
 * @words: Word list, one a line.
 * @text: Text corpus.
 * @dir: Directory for scratch files, best on a disk.
 */
struct options {
	enum run_mode mode;
	unsigned int rounds;
	double seconds;
	double warmup;
	double load_pct;
	double rate;
	double hog_ms;
	double hog_pct;
	double sleep_pct;
	uint64_t slice_us;
	uint64_t seed;
	bool line;
	const char *words;
	const char *text;
	const char *dir;
};

/* Fill @opt from the command line; does not return if there is an error. */
void options_parse(struct options *opt, int argc, char **argv);

#endif /* QS_OPTIONS_H */
