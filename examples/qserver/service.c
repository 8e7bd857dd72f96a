/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The downstream service. */
#define _GNU_SOURCE
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

#define NR_SLOTS	256U
#define MIN_DELAY_NS	(2 * NS_PER_MS)
#define DELAY_RANGE_NS	(3 * NS_PER_MS)

struct pending {
	struct service_call call;
	uint64_t due_ns;
};

static int call_pipe[2];
static int reply_pipes[NR_SLOTS][2];
static uint8_t slot_taken[NR_SLOTS];	/* exchange */

/* The service's own. */
static struct pending pending[NR_SLOTS];
static unsigned int nr_pending;

static void accept_calls(void)
{
	struct service_call calls[16];
	unsigned int i;
	ssize_t rc = read(call_pipe[0], calls, sizeof(calls));

	if (rc < 0 && errno == EINTR)
		return;
	if (rc <= 0 || (size_t)rc % sizeof(calls[0]))
		_exit(rc != 0);
	for (i = 0; i < (size_t)rc / sizeof(calls[0]); i++) {
		if (nr_pending == NR_SLOTS || calls[i].slot >= NR_SLOTS)
			_exit(1);
		pending[nr_pending].call = calls[i];
		pending[nr_pending++].due_ns = now_ns() + calls[i].delay_ns;
	}
}

/* Answer what is due; the time of the next, 0 for none. */
static uint64_t answer_calls(void)
{
	uint64_t now = now_ns(), next = 0;
	unsigned int i = 0;

	while (i < nr_pending) {
		const struct pending *p = &pending[i];
		uint32_t reply = service_answer(p->call.token);

		if (p->due_ns > now) {
			if (!next || p->due_ns < next)
				next = p->due_ns;
			i++;
			continue;
		}
		if (write(reply_pipes[p->call.slot][1], &reply,
			  sizeof(reply)) != sizeof(reply))
			_exit(1);
		pending[i] = pending[--nr_pending];
	}
	return next;
}

static void __attribute__((noreturn)) serve(void)
{
	struct pollfd pfd = { .fd = call_pipe[0], .events = POLLIN };

	for (;;) {
		uint64_t next = answer_calls(), now = now_ns();
		uint64_t wait = next > now ? next - now : 0;
		struct timespec ts = {
			.tv_sec = (time_t)(wait / NS_PER_S),
			.tv_nsec = (long)(wait % NS_PER_S),
		};

		if (ppoll(&pfd, 1, next ? &ts : NULL, NULL) > 0)
			accept_calls();
	}
}

void service_start(void)
{
	unsigned int i;
	pid_t pid;

	if (pipe2(call_pipe, O_CLOEXEC))
		die("cannot make a pipe: %m");
	for (i = 0; i < NR_SLOTS; i++) {
		slot_taken[i] = 0;
		if (pipe2(reply_pipes[i], O_CLOEXEC))
			die("cannot make %u pipes: %m", NR_SLOTS);
	}
	pid = fork();
	if (pid < 0)
		die("cannot fork: %m");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Else the end of the callers would not be seen. */
		close(call_pipe[1]);
		serve();
	}
	close(call_pipe[0]);
	for (i = 0; i < NR_SLOTS; i++)
		close(reply_pipes[i][1]);
}

bool service_begin(struct service_call *call, uint32_t token)
{
	unsigned int first = token % NR_SLOTS, i;

	for (i = 0; i < NR_SLOTS; i++) {
		unsigned int slot = (first + i) % NR_SLOTS;

		if (__atomic_exchange_n(&slot_taken[slot], 1,
					__ATOMIC_ACQUIRE))
			continue;
		call->slot = slot;
		call->token = token;
		call->delay_ns = MIN_DELAY_NS + mix64(token) % DELAY_RANGE_NS;
		return true;
	}
	return false;
}

void service_end(const struct service_call *call)
{
	__atomic_store_n(&slot_taken[call->slot], 0, __ATOMIC_RELEASE);
}

int service_fd(void)
{
	return call_pipe[1];
}

int service_reply_fd(const struct service_call *call)
{
	return reply_pipes[call->slot][0];
}
