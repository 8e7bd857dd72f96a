// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The prime sieve: numbers run through a chain of goroutines, one for each
 * prime found, over unbuffered channels. All of them are busy at once.
 */
#include <errno.h>
#include <stdlib.h>

#include "bench.h"

struct filter {
	struct kaus_chan *from;
	struct kaus_chan *to;
	uint64_t prime;
};

static void generate(void *arg)
{
	struct kaus_chan *to = arg;
	uint64_t i;

	for (i = 2; !kaus_chan_send(to, &i); i++)
		;
}

static void sift(void *arg)
{
	struct filter f = *(struct filter *)arg;
	uint64_t i;

	free(arg);
	while (!kaus_chan_recv(f.from, &i))
		if (i % f.prime)
			kaus_chan_send(f.to, &i);
}

void bench_sieve(void)
{
	struct kaus_chan *ch = bench_chan(sizeof(uint64_t), 0);
	size_t i, nr = bench_count(5000);
	uint64_t prime = 0, start = kaus_now_ns();

	bench_go(generate, ch);
	for (i = 0; i < nr; i++) {
		struct filter *f = malloc(sizeof(*f));

		bench_check(f ? 0 : -ENOMEM, "malloc");
		kaus_chan_recv(ch, &prime);
		f->from = ch;
		f->prime = prime;
		ch = bench_chan(sizeof(uint64_t), 0);
		f->to = ch;
		bench_go(sift, f);
	}
	bench_report("sieve", (double)(kaus_now_ns() - start) / 1e6, "ms");
}
