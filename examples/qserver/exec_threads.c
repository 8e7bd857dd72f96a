/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* One pthread for each request. */
#include "exec.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "serve.h"
#include "util.h"

/* As much as a goroutine gets, so that neither has an advantage. */
#define STACK_BYTES	(256 * 1024)

static pthread_attr_t attr;

static void sleep_until(uint64_t when_ns)
{
	const struct timespec ts = {
		.tv_sec = (time_t)(when_ns / NS_PER_S),
		.tv_nsec = (long)(when_ns % NS_PER_S),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) ==
	       EINTR)
		;
}

static void *serve_thread(void *arg)
{
	serve(arg);
	return NULL;
}

static int submit(struct request *rq)
{
	pthread_t thread;

	return pthread_create(&thread, &attr, serve_thread, rq);
}

static int run(struct load *load, struct result *res)
{
	int err;

	(void)res;
	err = pthread_attr_init(&attr);
	if (!err)
		err = pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (!err)
		err = pthread_attr_setdetachstate(&attr,
						  PTHREAD_CREATE_DETACHED);
	if (err) {
		warn("pthread_attr: %s", strerror(err));
		return err;
	}
	load_generate(load, sleep_until, submit);
	while (!load_is_done(load))
		sleep_until(now_ns() + NS_PER_MS);
	return 0;
}

const struct executor exec_threads = {
	.run = run,
};
