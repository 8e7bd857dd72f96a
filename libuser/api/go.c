/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Goroutines: start, join, end. */
#include <kaus/go.h>

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
	gp->ret_value = NULL;
	gp->joiner = NULL;
	gp->join = spawn_fn ? JOIN_OPEN : JOIN_NONE;
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

KR_API int kaus_join(struct kaus_g *g, void **ret_value)
{
	struct g *gp = (struct g *)g;
	struct m *mp = kr_enter();
	void *value;
	int err = 0;

	if (!mp)
		return -EPERM;
	if (!gp) {
		err = -EINVAL;
		goto out;
	}
	if (gp == mp->curg) {
		err = -EDEADLK;
		goto out;
	}
	kr_lock(&gp->join_lock);
	if (gp->join == JOIN_OPEN) {
		gp->join = JOIN_WAITING;
		gp->joiner = mp->curg;
		mp = kr_park_unlock(mp, &gp->join_lock, "join");
		kr_lock(&gp->join_lock);
	} else if (gp->join != JOIN_ENDED) {
		err = -EINVAL;
	}
	value = gp->ret_value;
	if (!err)
		gp->join = JOIN_NONE;
	kr_unlock(&gp->join_lock);
	if (err)
		goto out;
	kr_g_free(mp, gp);
	if (ret_value)
		*ret_value = value;
out:
	kr_exit(mp);
	return err;
}

KR_API void kaus_exit(void)
{
	struct m *mp = kr_enter();

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

KR_API int kaus_set_slice(uint64_t slice_ns)
{
	if (!READ_ONCE(sched.running))
		return -EPERM;
	WRITE_ONCE(sched.hdr->slice_ns, slice_ns);
	return 0;
}
