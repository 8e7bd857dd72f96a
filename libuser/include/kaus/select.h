/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Waiting for one of several channels. */
#ifndef KAUS_SELECT_H
#define KAUS_SELECT_H

#include <kaus/chan.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum kaus_select_op {
	KAUS_OP_RECV,
	KAUS_OP_SEND,
};

/**
 * struct kaus_case - One thing that select may do.
 * @chan: The channel; NULL is never ready.
 * @op: Receive or send.
 * @result: Set for the case that was chosen: 0, or -EPIPE if @chan is closed.
 * @elem: Where to receive to (NULL drops the element) or what to send (NULL only
 *	if elements have no size).
 * @opaque: Internal, need not be set.
 *
 * Fill it in with KAUS_RECV() and KAUS_SEND().
 */
struct kaus_case {
	struct kaus_chan *chan;
	uint32_t op;
	int32_t result;
	void *elem;
	uint64_t opaque[6];
};

#define KAUS_RECV(ch, to) \
	{ (ch), KAUS_OP_RECV, 0, (to), { 0 } }
#define KAUS_SEND(ch, from) \
	{ (ch), KAUS_OP_SEND, 0, (void *)(from), { 0 } }

/**
 * kaus_select() - Wait until one case can be done, and do it.
 * @cases: The cases.
 * @nr: Their number; 0 waits for ever.
 *
 * If more than one can be done, each of them is as likely to be chosen. A
 * closed channel is always ready, with the result -EPIPE. The same channel may
 * occur more than once.
 *
 * Context: G, which parks, or any other thread while the runtime runs, which
 * blocks.
 * Return: The index of the case that was done, -EINVAL if @nr is negative, an
 * op is unknown or there is nothing to send, -EPERM if the runtime is not running.
 */
int kaus_select(struct kaus_case *cases, int nr);

/**
 * kaus_select_until() - The same with a deadline.
 * @cases: The cases.
 * @nr: Their number.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE.
 *
 * Context: as kaus_select().
 * Return: As kaus_select(), or -ETIMEDOUT: nothing was done.
 */
int kaus_select_until(struct kaus_case *cases, int nr, uint64_t deadline_ns);

/**
 * kaus_select_try() - The same without waiting: Go's default case.
 * @cases: The cases.
 * @nr: Their number.
 *
 * Context: G or any other thread while the runtime runs; never parks.
 * Return: As kaus_select(), or -EAGAIN: there was a moment at which none could
 * be done.
 */
int kaus_select_try(struct kaus_case *cases, int nr);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_SELECT_H */
