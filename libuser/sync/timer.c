/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Timers for programs: each time one fires a goroutine is started. */
#include "sync/timer.h"

#include <kaus/gc.h>
#include <kaus/time.h>

#include "sched/sched.h"

#define NO_MEMORY_NS	1000000	/* try again after that */

struct timer {
	struct kr_timer timer;
	uint64_t period_ns;
	void (*fn)(void *arg);
	void *arg;
	uint32_t lock;		/* start and stop; before the P's timer_lock */
};

_Static_assert(sizeof(struct timer) == sizeof(struct kaus_timer),
	       "struct kaus_timer");
_Static_assert(offsetof(struct timer, lock) ==
	       offsetof(struct kaus_timer, lock), "struct kaus_timer");

struct g *kr_timer_go(struct m *mp, struct kr_timer *t, uint64_t period_ns,
		      void (*fn)(void *arg), void *arg)
{
	struct g *gp = kr_g_alloc(mp);

	t->period_ns = gp ? period_ns : NO_MEMORY_NS;
	if (!gp)
		return NULL;
	gp->fn = fn;
	gp->spawn_fn = NULL;
	gp->arg = arg;
	gp->join = JOIN_NONE;
	kr_g_prepare(mp, gp);
	return gp;
}

static struct g *fire(struct m *mp, struct kr_timer *kt)
{
	struct timer *t = container_of(kt, struct timer, timer);

	return kr_timer_go(mp, kt, t->period_ns, t->fn, t->arg);
}

KR_API void kaus_timer_init(struct kaus_timer *timer, void (*fn)(void *arg),
			    void *arg)
{
	/* What was there may be all that refers to an object. */
	kaus_gc_store(&timer->arg, arg);
	*timer = (struct kaus_timer)KAUS_TIMER_INIT(fn, arg);
}

KR_API int kaus_timer_start(struct kaus_timer *timer, uint64_t deadline_ns,
			    uint64_t period_ns)
{
	struct timer *t = (struct timer *)timer;
	struct m *mp;

	if (!kr_enter_any(&mp))
		return -EPERM;
	kr_lock(&t->lock);
	kr_timer_stop(&t->timer);
	t->timer.fire = fire;
	t->timer.period_ns = period_ns;
	t->period_ns = period_ns;
	if (deadline_ns != KAUS_NO_DEADLINE)
		kr_timer_start(mp, &t->timer, deadline_ns);
	kr_unlock(&t->lock);
	kr_exit_any(mp);
	return 0;
}

KR_API int kaus_timer_stop(struct kaus_timer *timer)
{
	struct timer *t = (struct timer *)timer;
	struct m *mp;
	bool armed;

	if (!kr_enter_any(&mp))
		return -EPERM;
	kr_lock(&t->lock);
	armed = kr_timer_stop(&t->timer);
	kr_unlock(&t->lock);
	kr_exit_any(mp);
	return armed;
}
