/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Contexts: cancellation and deadlines for all that works on one request. */
#ifndef KAUS_CONTEXT_H
#define KAUS_CONTEXT_H

#include <kaus/chan.h>
#include <kaus/types.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A context is cancelled once: by kaus_context_cancel(), when its deadline has
 * passed, or with its parent. It is counted: make, get, put. Whoever waits on
 * its channel needs a reference. Wherever a context is given, NULL stands for
 * kaus_context_background().
 */
struct kaus_context;

/**
 * kaus_context_background() - The root: never cancelled, no deadline.
 *
 * Context: any.
 * Return: It; it need not be put.
 */
struct kaus_context *kaus_context_background(void);

/**
 * kaus_context_with_cancel() - Make a child that can be cancelled.
 * @parent: The parent.
 * @ret_ctx: The child; put it.
 *
 * Context: G or any other thread while the runtime runs; never parks.
 * Return: 0, -ENOMEM, or -EPERM if the runtime is not running.
 */
int kaus_context_with_cancel(struct kaus_context *parent,
			     struct kaus_context **ret_ctx);

/**
 * kaus_context_with_deadline() - Make a child that has a deadline, too.
 * @parent: The parent.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time; the parent's if that is earlier.
 * @ret_ctx: The child; put it.
 *
 * Context: as kaus_context_with_cancel().
 * Return: As kaus_context_with_cancel().
 */
int kaus_context_with_deadline(struct kaus_context *parent,
			       uint64_t deadline_ns,
			       struct kaus_context **ret_ctx);

/**
 * kaus_context_cancel() - Cancel a context and all its descendants.
 * @ctx: The context. Nothing happens if it is cancelled already.
 *
 * Context: as kaus_context_with_cancel().
 * Return: 0, -EINVAL for the background, -EPERM.
 */
int kaus_context_cancel(struct kaus_context *ctx);

/**
 * kaus_context_get() - Get another reference.
 * @ctx: The context.
 *
 * Context: any.
 * Return: @ctx.
 */
struct kaus_context *kaus_context_get(struct kaus_context *ctx);

/**
 * kaus_context_put() - Put a reference.
 * @ctx: The context. It is freed with the last one, cancelled or not.
 *
 * Context: G or any other thread; never parks.
 */
void kaus_context_put(struct kaus_context *ctx);

/**
 * kaus_context_done() - A channel that is closed when the context is cancelled.
 * @ctx: The context.
 *
 * Receive from it, most often in kaus_select(); do not send to it, close it or
 * free it.
 *
 * Context: any.
 * Return: The channel; NULL, which is never ready, for the background.
 */
struct kaus_chan *kaus_context_done(const struct kaus_context *ctx);

/**
 * kaus_context_err() - Whether and why a context has been cancelled.
 * @ctx: The context.
 *
 * Context: any.
 * Return: 0, -ECANCELED or -ETIMEDOUT; it no longer changes once it is not 0,
 * and is not 0 once the channel is closed.
 */
int kaus_context_err(const struct kaus_context *ctx);

/**
 * kaus_context_deadline() - When a context will be cancelled at the latest.
 * @ctx: The context.
 *
 * Context: any.
 * Return: Absolute CLOCK_MONOTONIC time or KAUS_NO_DEADLINE; what the calls
 * with a deadline take.
 */
uint64_t kaus_context_deadline(const struct kaus_context *ctx);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_CONTEXT_H */
