/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Blocking and waking: wait.h tells how it works. */
#include "sched/wait.h"

#include "sched/sched.h"
#include "sched/virtual.h"

static struct g *deadline_passed(struct m *mp, struct kr_timer *t)
{
	struct kr_wait *w = container_of(t, struct kr_wait, timer);

	(void)mp;
	if (!kr_wait_claim(w))
		return NULL;
	w->result = -ETIMEDOUT;
	return w->gp;
}

void kr_wait_init_timer(struct kr_wait *w)
{
	w->timer.fire = deadline_passed;
	w->timer.period_ns = 0;
	w->by = NULL;
}

struct block {
	struct kr_wait *wait;
	void (*unlock)(void *arg);
	void *arg;
	uint64_t deadline_ns;
};

/*
 * Armed before the lock is released: then the wait may be over, and gone. That
 * it is not earlier is because its entry is on a list under that lock; without
 * one the timer is enough.
 */
static void post_block(struct m *mp, struct g *gp, void *arg)
{
	const struct block b = *(struct block *)arg;

	WRITE_ONCE(gp->state, G_WAITING);
	if (b.deadline_ns != KAUS_NO_DEADLINE)
		kr_timer_start(mp, &b.wait->timer, b.deadline_ns);
	if (b.unlock)
		b.unlock(b.arg);
}

static void block_thread(struct kr_wait *w, uint64_t deadline_ns)
{
	deadline_ns = kr_time_real_ns(deadline_ns);
	while (!smp_load_acquire(&w->woken)) {
		if (kr_futex_wait(&w->woken, 0, deadline_ns) != -ETIMEDOUT)
			continue;
		if (kr_wait_claim(w)) {
			w->result = -ETIMEDOUT;
			return;
		}
		/* It is being woken at this moment. */
		deadline_ns = KAUS_NO_DEADLINE;
	}
}

struct m *kr_wait_block_on(struct m *mp, struct kr_wait *w,
			   void (*unlock)(void *arg), void *arg,
			   uint64_t deadline_ns, const char *reason)
{
	struct block b = { w, unlock, arg, deadline_ns };

	if (!mp) {
		if (unlock)
			unlock(arg);
		block_thread(w, deadline_ns);
		return NULL;
	}
	WRITE_ONCE(mp->curg->wait_reason, reason);
	mp = kr_switch_out(mp, post_block, &b);
	kr_timer_stop(&w->timer);
	return mp;
}

static void unlock_one(void *lock)
{
	kr_unlock_quick(lock);
}

struct m *kr_wait_block(struct m *mp, struct kr_wait *w, uint32_t *lock,
			uint64_t deadline_ns, const char *reason)
{
	if (mp && deadline_ns == KAUS_NO_DEADLINE)
		return kr_park_unlock(mp, lock, reason);
	return kr_wait_block_on(mp, w, unlock_one, lock, deadline_ns, reason);
}

void kr_wait_wake_thread(struct kr_wait *w)
{
	uint32_t *futex = &w->woken;

	smp_store_release(futex, 1);
	/* The thread may be gone: then this wakes nobody, or finds no page. */
	kr_futex_wake(futex, 1);
}

void kr_waitlist_forget(struct kaus_waitlist *wl, uint32_t *lock,
			struct kr_waiter *w)
{
	/* Whoever took it off had the lock, and this was its last store. */
	if (!smp_load_acquire(&w->listed))
		return;
	kr_lock(lock);
	kr_waitlist_del(wl, w);
	kr_unlock(lock);
}
