/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The smallest program that shows KAUS at work: more goroutines that compute
 * for ever than there are CPUs, and one that still keeps its schedule.
 */
#include <kaus.h>
#include <stdint.h>
#include <stdio.h>

#define NR_HOGS		8
#define NR_TICKS	10
#define MS		1000000ULL

static void hog(void *arg)
{
	volatile uint64_t *rounds = arg;

	for (;;)
		(*rounds)++;
}

static void tick(void *arg)
{
	struct kaus_chan *late = arg;
	uint64_t due = kaus_now_ns();

	for (int i = 0; i < NR_TICKS; i++) {
		kaus_sleep_until(due += 10 * MS);
		uint64_t late_ns = kaus_now_ns() - due;

		kaus_chan_send(late, &late_ns);
	}
	kaus_chan_close(late);
}

static int hello(void *arg)
{
	static uint64_t rounds[NR_HOGS];
	struct kaus_chan *late = kaus_chan_make(sizeof(uint64_t), 0);
	uint64_t late_ns;

	(void)arg;
	if (!late)
		return 1;
	for (int i = 0; i < NR_HOGS; i++)
		kaus_go(hog, &rounds[i]);
	kaus_go(tick, late);
	while (kaus_chan_recv(late, &late_ns) == 0)
		printf("tick, %llu us late\n",
		       (unsigned long long)late_ns / 1000);
	return 0;
}

int main(void)
{
	int rc = kaus_run(hello, NULL);

	if (rc < 0)
		fprintf(stderr, "hello: kaus_run failed\n");
	return rc != 0;
}
