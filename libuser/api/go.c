/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Goroutines: start, join, end. */
#include <kaus/gc.h>
#include <kaus/go.h>
#include <kaus/preemptible.h>
#include <kaus/types.h>

#include "gc/shade.h"
#include "sched/preemptible.h"
#include "sched/resize.h"
#include "sched/sched.h"

static int go(struct m *mp, void (*fn)(void *arg), void *(*spawn_fn)(void *),
	      void *arg, struct g **ret_g)
{
	struct g *gp = kr_g_alloc(mp);

	if (!gp)
		return -ENOMEM;
	gp->fn = fn;
	gp->spawn_fn = spawn_fn;
	gp->arg = arg;
	WRITE_ONCE(gp->join, spawn_fn ? JOIN_OPEN : JOIN_NONE);
	/* Before it runs: it may have ended when kr_g_start() returns. */
	if (ret_g)
		*ret_g = gp;
	kr_g_start(mp, gp);
	return 0;
}

KR_API int kaus_go(void (*fn)(void *arg), void *arg)
{
	struct m *mp;
	int err;

	if (!kr_enter_any(&mp))
		return -EPERM;
	err = go(mp, fn, NULL, arg, NULL);
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_go_sized(void (*fn)(void *arg), void *arg, size_t stack_size)
{
	struct g *gp;
	struct m *mp;
	int err = 0;

	if (stack_size < KR_STACK_MIN_BYTES || stack_size > KR_STACK_MAX_BYTES)
		return -EINVAL;
	if (!kr_enter_any(&mp))
		return -EPERM;
	gp = kr_g_alloc(mp);
	if (!gp || kr_stack_get(mp ? &mp->p->stacks : NULL,
				kr_stack_class(stack_size), &gp->stack)) {
		err = -ENOMEM;
		goto out;
	}
	gp->fn = fn;
	gp->spawn_fn = NULL;
	gp->arg = arg;
	WRITE_ONCE(gp->join, JOIN_NONE);
	kr_g_start(mp, gp);
	gp = NULL;
out:
	if (gp)
		kr_g_unalloc(mp, gp);
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_spawn(void *(*fn)(void *arg), void *arg, struct kaus_g **ret_g)
{
	struct g *gp = NULL;
	struct m *mp;
	int err;

	if (!kr_enter_any(&mp))
		return -EPERM;
	err = go(mp, NULL, fn, arg, &gp);
	if (!err)
		*ret_g = (struct kaus_g *)gp;
	kr_exit_any(mp);
	return err;
}

/* The collector may not have looked at it yet. */
static inline void tell_result(struct m *mp, struct g *gp, void *value)
{
	if (likely(!READ_ONCE(kaus_gc_barrier_on)))
		return;
	if (mp)
		kr_gc_shade(value);
	else
		kaus_gc_barrier(&gp->ret_value, value);
}

static inline int join_until(struct kaus_g *g, void **ret_value,
			     uint64_t deadline_ns)
{
	struct g *gp = (struct g *)g;
	struct m *mp;
	void *value;
	int err = 0;

	if (!kr_enter_wait(&mp))
		return -EPERM;
	if (!gp) {
		err = -EINVAL;
		goto out;
	}
	if (mp && gp == mp->curg) {
		err = -EDEADLK;
		goto out;
	}
	if (likely(mp && deadline_ns == KAUS_NO_DEADLINE))
		mp = kr_g_join(mp, gp, &err);
	else
		mp = kr_g_join_until(mp, gp, deadline_ns, &err);
	if (err)
		goto out;
	value = gp->ret_value;
	/* From here on it keeps nothing: kr_scan_g(). */
	tell_result(mp, gp, value);
	WRITE_ONCE(gp->ret_value, NULL);
	kr_g_free(mp, gp);
	if (ret_value)
		kaus_gc_store(ret_value, value);
out:
	kr_exit_any(mp);
	return err;
}

KR_API int kaus_join(struct kaus_g *g, void **ret_value)
{
	return join_until(g, ret_value, KAUS_NO_DEADLINE);
}

KR_API int kaus_join_until(struct kaus_g *g, void **ret_value,
			   uint64_t deadline_ns)
{
	return join_until(g, ret_value, deadline_ns);
}

KR_API void kaus_exit(void)
{
	struct m *mp = kr_self();

	if (mp && mp->curg && mp->curg->locals)
		kr_locals_end(mp->curg);
	mp = kr_enter();
	if (!mp)
		kr_throw("kaus_exit() outside a goroutine");
	if (mp->curg->goid == 1)
		kr_main_ended(0);
	mp->curg->ret_value = NULL;
	kr_g_end(mp);
}

KR_API uint64_t kaus_goid(void)
{
	struct m *mp = kr_self();

	return mp && mp->curg ? mp->curg->goid : 0;
}

KR_API int kaus_lock_thread(void)
{
	struct m *mp = kr_enter();
	int err = 0;

	if (!mp)
		return -EPERM;
	if (mp->nr_thread_locks == UINT32_MAX) {
		err = -EOVERFLOW;
	} else {
		mp->nr_thread_locks++;
		mp->lockedg = mp->curg;
	}
	kr_exit(mp);
	return err;
}

KR_API int kaus_unlock_thread(void)
{
	struct m *mp = kr_enter();
	int err = 0;

	if (!mp)
		return -EPERM;
	if (!mp->nr_thread_locks)
		err = -EINVAL;
	else if (!--mp->nr_thread_locks)
		mp->lockedg = NULL;
	kr_exit(mp);
	return err;
}

KR_API int kaus_preempt_disable(void)
{
	struct m *mp = kr_self();
	struct g *gp = mp ? mp->curg : NULL;

	if (!gp)
		return -EPERM;
	if (gp->nopreempt == UINT16_MAX)
		return -EOVERFLOW;
	/* A preempted goroutine keeps its M: this one until it is done. */
	WRITE_ONCE(gp->nopreempt, gp->nopreempt + 1);
	if (gp->nopreempt == 1)
		kr_publish_stack(mp, NULL);
	return 0;
}

KR_API int kaus_preempt_enable(void)
{
	struct m *mp = kr_self();
	struct g *gp = mp ? mp->curg : NULL;

	if (!gp)
		return -EPERM;
	if (!gp->nopreempt)
		return -EINVAL;
	WRITE_ONCE(gp->nopreempt, gp->nopreempt - 1);
	if (gp->nopreempt)
		return 0;
	kr_publish_stack(mp, gp);
	barrier();
	if (READ_ONCE(mp->slot->events) && !READ_ONCE(mp->slot->defer))
		kr_exit_slow();
	return 0;
}

KR_API int kaus_preemptible_add(const void *start, const void *end)
{
	struct m *mp = kr_enter();
	int err = kr_preemptible_add((uintptr_t)start, (uintptr_t)end);

	if (mp)
		kr_exit(mp);
	return err;
}

KR_API int kaus_set_name(const char *name)
{
	struct m *mp = kr_self();
	char *to;

	if (!mp || !mp->curg)
		return -EPERM;
	mp->curg->named = true;
	to = mp->curg->name;
	for (size_t i = 0; i < KR_NAME_BYTES - 1; i++) {
		if (!name || !name[i])
			break;
		WRITE_ONCE(*to, name[i]);
		to++;
	}
	WRITE_ONCE(*to, 0);
	return 0;
}

KR_API int kaus_set_slice(uint64_t slice_ns)
{
	if (!READ_ONCE(sched.running))
		return -EPERM;
	WRITE_ONCE(sched.hdr->slice_ns, slice_ns);
	return 0;
}

KR_API int kaus_set_procs(unsigned int nr_procs)
{
	struct m *mp;
	int err = -EINVAL;

	if (!kr_enter_wait(&mp))
		return -EPERM;
	if (nr_procs && nr_procs <= sched.max_procs)
		err = kr_resize(mp, nr_procs);
	kr_exit_any(mp);
	return err;
}

KR_API unsigned int kaus_procs(void)
{
	return READ_ONCE(sched.running) ? kr_nr_procs() : 0;
}
