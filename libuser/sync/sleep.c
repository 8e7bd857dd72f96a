/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Sleeping and yielding. */
#include <kaus/go.h>
#include <kaus/time.h>

#include "sched/sched.h"

KR_API uint64_t kaus_now_ns(void)
{
	return kr_clock_now_ns();
}

KR_API void kaus_yield(void)
{
	struct m *mp = kr_enter();

	if (mp)
		kr_exit(kr_yield(mp));
}

/* The timer is armed when the goroutine is saved: it may fire at once. */
static void post_sleep(struct m *mp, struct g *gp, void *arg)
{
	WRITE_ONCE(gp->state, G_WAITING);
	kr_timer_add(mp, gp, *(uint64_t *)arg);
}

static void post_wait(struct m *mp, struct g *gp, void *arg)
{
	(void)mp;
	(void)arg;
	WRITE_ONCE(gp->state, G_WAITING);
}

KR_API int kaus_sleep_until(uint64_t deadline_ns)
{
	struct m *mp = kr_enter();

	if (!mp)
		return -EPERM;
	if (deadline_ns == UINT64_MAX) {
		mp->curg->wait_reason = "sleep for ever";
		mp = kr_switch_out(mp, post_wait, NULL);
	} else if (deadline_ns <= kr_clock_now_ns()) {
		mp = kr_yield(mp);
	} else {
		mp->curg->wait_reason = "sleep";
		mp = kr_switch_out(mp, post_sleep, &deadline_ns);
	}
	kr_exit(mp);
	return 0;
}

KR_API int kaus_sleep(uint64_t ns)
{
	uint64_t now = kr_clock_now_ns();

	if (!ns)
		return kaus_sleep_until(0);
	return kaus_sleep_until(ns > UINT64_MAX - now ? UINT64_MAX : now + ns);
}
