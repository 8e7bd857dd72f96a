// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Skynet (A. Temerev): a tree of goroutines, ten below each, a million leaves
 * that send their number up over a channel; inner ones send the sum.
 */
#include <errno.h>
#include <stdlib.h>

#include "bench.h"

#define FAN_OUT 10

struct node {
	struct kaus_chan *up;
	uint64_t number;
	uint64_t size;
};

static void skynet(void *arg)
{
	struct node self = *(struct node *)arg;
	uint64_t sum = 0, value, i;
	struct kaus_chan *ch;

	free(arg);
	if (self.size == 1) {
		kaus_chan_send(self.up, &self.number);
		return;
	}
	ch = bench_chan(sizeof(uint64_t), 0);
	for (i = 0; i < FAN_OUT; i++) {
		struct node *below = malloc(sizeof(*below));

		bench_check(below ? 0 : -ENOMEM, "malloc");
		below->up = ch;
		below->size = self.size / FAN_OUT;
		below->number = self.number + i * below->size;
		bench_go(skynet, below);
	}
	for (i = 0; i < FAN_OUT; i++) {
		kaus_chan_recv(ch, &value);
		sum += value;
	}
	kaus_chan_free(ch);
	kaus_chan_send(self.up, &sum);
}

void bench_skynet(void)
{
	struct kaus_chan *ch = bench_chan(sizeof(uint64_t), 0);
	struct node *root = malloc(sizeof(*root));
	uint64_t leaves = 10, sum, start;

	while (leaves < bench_count(1000000))
		leaves *= FAN_OUT;
	bench_check(root ? 0 : -ENOMEM, "malloc");
	root->up = ch;
	root->number = 0;
	root->size = leaves;
	start = kaus_now_ns();
	bench_go(skynet, root);
	kaus_chan_recv(ch, &sum);
	bench_check(sum == leaves * (leaves - 1) / 2 ? 0 : -EINVAL, "skynet");
	bench_report("skynet", (double)(kaus_now_ns() - start) / 1e6, "ms");
}
