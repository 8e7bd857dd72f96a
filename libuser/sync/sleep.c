/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Sleeping and yielding. */
#include <kaus/go.h>
#include <kaus/time.h>

#include "sched/sched.h"
#include "sched/virtual.h"

KR_API uint64_t kaus_now_ns(void)
{
	return kr_time_now_ns();
}

KR_API void kaus_yield(void)
{
	struct m *mp = kr_enter();

	if (mp)
		kr_exit(kr_yield(mp));
}

struct sleep {
	struct kr_timer timer;
	struct g *gp;
	uint64_t deadline_ns;
};

static struct g *wake_sleeper(struct m *mp, struct kr_timer *t)
{
	(void)mp;
	return container_of(t, struct sleep, timer)->gp;
}

/* The timer is armed when the goroutine is saved: it may fire at once. */
static void post_sleep(struct m *mp, struct g *gp, void *arg)
{
	struct sleep *s = arg;

	WRITE_ONCE(gp->state, G_WAITING);
	if (s->deadline_ns != UINT64_MAX)
		kr_timer_start(mp, &s->timer, s->deadline_ns);
}

KR_API int kaus_sleep_until(uint64_t deadline_ns)
{
	struct m *mp = kr_enter();
	struct sleep s = {
		.timer = { .fire = wake_sleeper },
		.deadline_ns = deadline_ns,
	};

	if (!mp)
		return -EPERM;
	if (deadline_ns <= kr_time_now_ns()) {
		mp = kr_yield(mp);
	} else {
		s.gp = mp->curg;
		WRITE_ONCE(s.gp->wait_reason, "sleep");
		mp = kr_switch_out(mp, post_sleep, &s);
	}
	kr_exit(mp);
	return 0;
}

KR_API int kaus_sleep(uint64_t ns)
{
	uint64_t now = kr_time_now_ns();

	if (!ns)
		return kaus_sleep_until(0);
	return kaus_sleep_until(ns > UINT64_MAX - now ? UINT64_MAX : now + ns);
}
