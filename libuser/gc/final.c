/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Finalizers and cleanups: set, queued, called.
 *
 * DOC: What is to be called waits in one queue. A goroutine of its own calls one
 * after another; it is started when there is something, and ends when there is
 * nothing more, so that a program whose goroutines are all asleep is still
 * found to be.
 *
 * Records are queued by those who sweep: goroutines in the midst of an
 * allocation, the collector with the world stopped, plain threads with a lock.
 * None of them is where a goroutine may be started. So an M does it on its way
 * out of the runtime (KR_EV_FINAL), and for plain threads the spawner does.
 *
 * Without a runtime all of it waits until there is one.
 *
 * A function that ends the goroutine, by kaus_exit(), leaves the queue without
 * one. That is noticed when something is queued the next time, or after the
 * next cycle.
 */
#include <errno.h>
#include <string.h>

#include "gc/shade.h"
#include "gc/special.h"
#include "mem/cache.h"
#include "sched/runq.h"
#include "sched/sched.h"

static struct {
	uint32_t lock KR_PAIR_ALIGNED;
	struct kr_special *first, *last;
	struct g *runner;		/* NULL: there is none */
	uint64_t runner_id;
	uint64_t nr_waiting, nr_called;
} final;

/* ---- the queue ---- */

static void kick(void)
{
	struct m *mp = kr_self();

	if (mp && mp->curg)
		kr_or(&mp->slot->events, KR_EV_FINAL);
	else
		kr_spawner_finalize();
}

void kr_final_put(struct kr_special *sp)
{
	sp->next = NULL;
	kr_lock(&final.lock);
	if (final.first)
		final.last->next = sp;
	else
		WRITE_ONCE(final.first, sp);
	final.last = sp;
	ADD_ONCE(final.nr_waiting, 1);
	kr_unlock(&final.lock);
	kick();
}

/* The next one; NULL: none, and the caller is the runner no more. */
static struct kr_special *get(void)
{
	struct kr_special *sp;

	kr_lock(&final.lock);
	sp = final.first;
	if (sp) {
		WRITE_ONCE(final.first, sp->next);
		ADD_ONCE(final.nr_waiting, -1);
		ADD_ONCE(final.nr_called, 1);
	} else {
		final.runner = NULL;
	}
	kr_unlock(&final.lock);
	return sp;
}

void kr_final_read_stats(uint64_t *ret_waiting, uint64_t *ret_called)
{
	/* No lock: a plain thread would be suspended with it. */
	*ret_waiting = READ_ONCE(final.nr_waiting);
	*ret_called = READ_ONCE(final.nr_called);
}

/* ---- the goroutine ---- */

/* A frame of its own, which is gone when the next one is waited for. */
static KR_NOINLINE bool call_next(void)
{
	struct kr_special *sp, copy;
	struct m *mp = kr_enter();

	if (!mp)
		kr_throw("final: not a goroutine");
	sp = get();
	if (sp)
		kr_special_take(sp, &copy);
	kr_exit(mp);
	if (!sp)
		return false;
	if (copy.obj)
		copy.finalizer((void *)copy.obj, copy.arg);
	else
		copy.cleanup(copy.arg);
	return true;
}

static void run(void *arg)
{
	(void)arg;
	while (call_next())
		;
}

static bool is_alive(const struct g *gp, uint64_t id)
{
	uint8_t state = READ_ONCE(gp->state);

	return READ_ONCE(gp->goid) == id && state != G_IDLE && state != G_DEAD;
}

/* For KR_EV_FINAL, and the spawner. Preemption off, or a plain thread. */
static void start(struct m *mp)
{
	bool needed = READ_ONCE(final.first) && READ_ONCE(sched.running);
	struct g *gp = needed ? kr_g_alloc(mp) : NULL;

	if (!gp)
		return;
	gp->fn = run;
	gp->spawn_fn = NULL;
	/* The spawner's world does not stop, and a collector may look at it. */
	WRITE_ONCE(gp->arg, NULL);
	WRITE_ONCE(gp->join, JOIN_NONE);
	kr_lock(&final.lock);
	needed = final.first &&
		 !(final.runner && is_alive(final.runner, final.runner_id));
	if (needed) {
		kr_g_prepare(mp, gp);
		final.runner = gp;
		final.runner_id = READ_ONCE(gp->goid);
	}
	kr_unlock(&final.lock);
	if (needed)
		kr_submit(mp, gp);
	else
		kr_g_unalloc(mp, gp);
}

void kr_final_look(void)
{
	if (READ_ONCE(final.first))
		kick();
}

void kr_final_init(void)
{
	sched.finalize = start;
}

/* ---- records ---- */

/* It would keep its object for ever. */
static bool is_inside(const void *arg, struct kr_span *s, uint32_t index)
{
	struct kr_span *arg_span;
	uint32_t arg_index;

	return kr_obj_find(arg, &arg_span, &arg_index) && arg_span == s &&
	       arg_index == index;
}

static struct kr_special *find(struct kr_span *s, uintptr_t obj,
			       enum kr_special_kind kind)
{
	struct kr_special *sp = kr_special_first(s, obj);

	while (sp && sp->kind != kind)
		sp = kr_special_next(sp);
	return sp;
}

static int set_locked(struct kr_span *s, uint32_t index,
		      void (*fn)(void *obj, void *arg), void *arg)
{
	uintptr_t obj = (uintptr_t)kr_obj_base(s, index);
	struct kr_special *sp = find(s, obj, KR_SPECIAL_FINALIZER);

	if (!fn) {
		if (!sp)
			return -ENOENT;
		kr_gc_shade(sp->arg);
		kr_special_del(s, sp);
		return 0;
	}
	if (is_inside(arg, s, index))
		return -EINVAL;
	if (!sp)
		sp = kr_special_add(s, obj, KR_SPECIAL_FINALIZER);
	if (!sp)
		return -ENOMEM;
	kr_gc_shade((const void *)obj);
	kr_gc_shade(arg);
	sp->finalizer = fn;
	sp->arg = arg;
	return 0;
}

int kr_final_set(void *obj, void (*fn)(void *obj, void *arg), void *arg)
{
	struct kr_span *s;
	uint32_t index;
	int err;

	if (!kr_special_lock(obj, &s, &index))
		return -EINVAL;
	err = kr_obj_base(s, index) == obj ? set_locked(s, index, fn, arg) :
					     -EINVAL;
	kr_special_unlock(s);
	return err;
}

int kr_cleanup_add(const void *ptr, void (*fn)(void *arg), void *arg)
{
	struct kr_special *sp;
	struct kr_span *s;
	uint32_t index;
	int err = 0;

	if (!fn || !kr_special_lock(ptr, &s, &index))
		return -EINVAL;
	if (is_inside(arg, s, index)) {
		err = -EINVAL;
		goto out;
	}
	sp = kr_special_add(s, (uintptr_t)kr_obj_base(s, index),
			    KR_SPECIAL_CLEANUP);
	if (!sp) {
		err = -ENOMEM;
		goto out;
	}
	kr_gc_shade(arg);
	sp->cleanup = fn;
	sp->arg = arg;
out:
	kr_special_unlock(s);
	return err;
}

int kr_cleanup_del(const void *ptr, void (*fn)(void *arg), void *arg)
{
	struct kr_special *sp;
	struct kr_span *s;
	uint32_t index;
	int err = -ENOENT;

	if (!kr_special_lock(ptr, &s, &index))
		return -EINVAL;
	sp = kr_special_first(s, (uintptr_t)kr_obj_base(s, index));
	while (sp && !(sp->kind == KR_SPECIAL_CLEANUP && sp->cleanup == fn &&
		       sp->arg == arg))
		sp = kr_special_next(sp);
	if (sp) {
		kr_gc_shade(arg);
		kr_special_del(s, sp);
		err = 0;
	}
	kr_special_unlock(s);
	return err;
}
