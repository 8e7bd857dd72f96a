/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Contexts: cancellation and deadlines for all that works on one request.
 *
 * DOC: A tree. A child has a reference to its parent, the parent a list of
 * children that are to be cancelled with it, without references: whoever takes
 * one off the list gets one unless there is none left. Locks do not nest; a
 * context is cancelled in steps:
 *	(A) err is set, lock held: who does so is the one that goes on;
 *	(B) it leaves its parent's list, its timer stops, the channel closes;
 *	(C) its children, taken off the list one by one, are cancelled likewise.
 * A child that comes later sees (A), with the same lock held, and is born
 * cancelled. So nobody is missed, and nobody is recursive.
 *
 * The timer has no reference: it gets one when it fires, and is stopped before
 * the memory is freed.
 */
#include <kaus/context.h>
#include <stdlib.h>
#include <string.h>

#include "sched/sched.h"
#include "sched/virtual.h"
#include "sync/timer.h"

struct kaus_context {
	/* Fixed. */
	struct kaus_context *parent;	/* NULL: background */
	struct kaus_chan *done;
	uint64_t deadline_ns;

	uint32_t refs;
	/* lock; err is read without it. */
	uint32_t lock;
	int err;
	struct kaus_context *children;
	/* The parent's lock. */
	bool linked;
	struct kaus_context *next, *prev;
	/* Of whoever has set err. */
	struct kaus_context *pending;

	struct kr_timer timer;
};

static struct kaus_context background = { .deadline_ns = KAUS_NO_DEADLINE };

static struct m *lock(struct kaus_context *ctx)
{
	struct m *mp = kr_enter();

	kr_lock(&ctx->lock);
	return mp;
}

static void unlock(struct m *mp, struct kaus_context *ctx)
{
	kr_unlock(&ctx->lock);
	kr_exit_any(mp);
}

static bool get_unless_zero(struct kaus_context *ctx)
{
	uint32_t old = READ_ONCE(ctx->refs);

	while (old)
		if (__atomic_compare_exchange_n(&ctx->refs, &old, old + 1, true,
						__ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED))
			return true;
	return false;
}

static void unlink_locked(struct kaus_context *ctx)
{
	if (ctx->prev)
		ctx->prev->next = ctx->next;
	else
		ctx->parent->children = ctx->next;
	if (ctx->next)
		ctx->next->prev = ctx->prev;
	ctx->linked = false;
}

static void leave_parent(struct kaus_context *ctx)
{
	struct m *mp;

	if (!ctx->parent)
		return;
	mp = lock(ctx->parent);
	if (ctx->linked)
		unlink_locked(ctx);
	unlock(mp, ctx->parent);
}

/* False: the parent is cancelled. */
static bool join_parent(struct kaus_context *ctx)
{
	struct kaus_context *parent = ctx->parent;
	struct m *mp;
	bool joined;

	if (!parent)
		return true;
	mp = lock(parent);
	joined = !parent->err;
	if (joined) {
		ctx->next = parent->children;
		if (ctx->next)
			ctx->next->prev = ctx;
		parent->children = ctx;
		ctx->linked = true;
	}
	unlock(mp, parent);
	return joined;
}

/* Take one child off the list. Return: a reference to it, or NULL. */
static struct kaus_context *take_child(struct kaus_context *ctx)
{
	struct m *mp = lock(ctx);
	struct kaus_context *child;

	while ((child = ctx->children)) {
		unlink_locked(child);
		if (get_unless_zero(child))
			break;
	}
	unlock(mp, ctx);
	return child;
}

static void stop_timer(struct kaus_context *ctx)
{
	struct m *mp = kr_enter();

	kr_timer_stop(&ctx->timer);
	kr_exit_any(mp);
}

/* True for one caller. */
static bool set_err(struct kaus_context *ctx, int err)
{
	struct m *mp = lock(ctx);
	bool first = !ctx->err;

	if (first)
		smp_store_release(&ctx->err, err);
	unlock(mp, ctx);
	return first;
}

/* The caller has a reference. */
static void cancel(struct kaus_context *ctx, int err)
{
	struct kaus_context *all, *child;

	if (!set_err(ctx, err))					/* (A) */
		return;
	all = kaus_context_get(ctx);
	ctx->pending = NULL;
	while ((ctx = all)) {
		all = ctx->pending;
		leave_parent(ctx);				/* (B) */
		stop_timer(ctx);
		kaus_chan_close(ctx->done);
		while ((child = take_child(ctx))) {		/* (C) */
			if (set_err(child, err)) {
				child->pending = all;
				all = child;
			} else {
				kaus_context_put(child);
			}
		}
		kaus_context_put(ctx);
	}
}

static void expire(void *arg)
{
	cancel(arg, -ETIMEDOUT);
	kaus_context_put(arg);
}

static struct g *fire(struct m *mp, struct kr_timer *t)
{
	struct kaus_context *ctx = container_of(t, struct kaus_context, timer);
	struct g *gp = kr_timer_go(mp, t, 0, expire, ctx);

	if (gp && !get_unless_zero(ctx)) {
		kr_g_free(mp, gp);
		return NULL;
	}
	return gp;
}

KR_API struct kaus_context *kaus_context_background(void)
{
	return &background;
}

static struct kaus_context *alloc(struct kaus_context *parent)
{
	struct kaus_context *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return NULL;
	ctx->done = kaus_chan_make(0, 0);
	if (!ctx->done) {
		free(ctx);
		return NULL;
	}
	ctx->refs = 1;
	ctx->timer.fire = fire;
	ctx->deadline_ns = KAUS_NO_DEADLINE;
	if (parent && parent != &background) {
		ctx->parent = kaus_context_get(parent);
		ctx->deadline_ns = parent->deadline_ns;
	}
	return ctx;
}

KR_API int kaus_context_with_deadline(struct kaus_context *parent,
				      uint64_t deadline_ns,
				      struct kaus_context **ret_ctx)
{
	struct kaus_context *ctx;
	struct m *mp;

	if (!READ_ONCE(sched.running))
		return -EPERM;
	ctx = alloc(parent);
	if (!ctx)
		return -ENOMEM;
	/* The parent's own timer cancels this one if it is earlier. */
	if (deadline_ns < ctx->deadline_ns)
		ctx->deadline_ns = deadline_ns;
	else
		deadline_ns = KAUS_NO_DEADLINE;
	if (!join_parent(ctx)) {
		cancel(ctx, kaus_context_err(ctx->parent));
	} else if (deadline_ns <= kr_time_now_ns()) {
		cancel(ctx, -ETIMEDOUT);
	} else if (deadline_ns != KAUS_NO_DEADLINE) {
		mp = kr_enter();
		kr_timer_start(mp, &ctx->timer, deadline_ns);
		kr_exit_any(mp);
	}
	*ret_ctx = ctx;
	return 0;
}

KR_API int kaus_context_with_cancel(struct kaus_context *parent,
				    struct kaus_context **ret_ctx)
{
	return kaus_context_with_deadline(parent, KAUS_NO_DEADLINE, ret_ctx);
}

KR_API int kaus_context_cancel(struct kaus_context *ctx)
{
	if (!ctx || ctx == &background)
		return -EINVAL;
	if (!READ_ONCE(sched.running))
		return -EPERM;
	cancel(ctx, -ECANCELED);
	return 0;
}

KR_API struct kaus_context *kaus_context_get(struct kaus_context *ctx)
{
	if (ctx && ctx != &background)
		kr_add(&ctx->refs, 1);
	return ctx;
}

KR_API void kaus_context_put(struct kaus_context *ctx)
{
	while (ctx && ctx != &background && !kr_sub(&ctx->refs, 1)) {
		struct kaus_context *parent = ctx->parent;

		leave_parent(ctx);
		if (READ_ONCE(sched.running))
			stop_timer(ctx);
		else if (READ_ONCE(ctx->timer.proc))
			return;	/* too late to stop it: it stays as it is */
		kaus_chan_free(ctx->done);
		free(ctx);
		ctx = parent;
	}
}

KR_API struct kaus_chan *kaus_context_done(const struct kaus_context *ctx)
{
	return ctx ? ctx->done : NULL;
}

KR_API int kaus_context_err(const struct kaus_context *ctx)
{
	return ctx ? smp_load_acquire(&ctx->err) : 0;
}

KR_API uint64_t kaus_context_deadline(const struct kaus_context *ctx)
{
	return ctx ? ctx->deadline_ns : KAUS_NO_DEADLINE;
}
