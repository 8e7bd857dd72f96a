/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Ms that have nothing to do: giving up the P, the pool, keeping time, the end.
 *
 * DOC: An M without work puts its P on the idle list and looks once more (C and D
 * of proc.c, in kr_m_go_idle()). Without a P it parks in the pool until given one.
 * One of the idle Ms keeps time for all: it sleeps until the earliest timer and
 * then takes an idle P. Timers of Ps that are not idle are also their holders'
 * business, so a timekeeper that finds no idle P has nothing to do. One waits in
 * epoll in place of the pool (netpoll.c).
 */
#include "sched/deadlock.h"
#include "sched/follow.h"
#include "sched/netpoll.h"
#include "sched/sched.h"

#define CROWD		8	/* timers between two sleeps */
#define CROWD_NS	50000

void kr_m_halt(struct m *mp)
{
	struct p *pp;

	for (;;)
		sched.assist->park(mp, false, KAUS_FOREVER, &pp);
}

void kr_m_pooled(struct m *mp, bool on)
{
	if (mp->pooled == on)
		return;
	WRITE_ONCE(mp->pooled, on);
	if (!on) {
		kr_sub(&sched.nr_pooled, 1);
		WRITE_ONCE(mp->ending, false);
		return;
	}
	WRITE_ONCE(mp->idle_round, READ_ONCE(sched.reap_round));
	if (kr_add(&sched.nr_pooled, 1) > kr_keep_ms() &&
	    !READ_ONCE(sched.reaping))
		kr_spawner_reap();
}

/*
 * The spawner thinks that there are too many idle Ms, of which this has been
 * one for long. Nobody can give it a P while it is not parked.
 */
static bool may_end(struct m *mp)
{
	if (!READ_ONCE(mp->ending))
		return false;
	WRITE_ONCE(mp->ending, false);
	if (kr_sub(&sched.nr_pooled, 1) < kr_keep_ms()) {
		kr_add(&sched.nr_pooled, 1);
		return false;
	}
	WRITE_ONCE(mp->pooled, false);
	return true;
}

static void start_spinning(struct m *mp)
{
	if (mp->spinning)
		return;
	mp->spinning = true;
	kr_add(&sched.nr_spinning, 1);
}

/*
 * A timer is due, perhaps of a P whose new holder has yet to get a CPU: this M
 * looks at the others' timers, however many Ms spin.
 */
static void take_idle_p(struct m *mp)
{
	struct p *pp = kr_idle_get();

	if (!pp)
		return;
	kr_p_acquire(mp, pp);
	start_spinning(mp);
}

/*
 * The timekeeper goes on with a P from the network. Nobody was woken for it:
 * unless that is soon, the watch will see to the next timer (netpoll.c), if it
 * does not already sleep in epoll. It claims that before it looks who keeps
 * time, so one of the two sees the other.
 */
static void pass_timekeeping(void)
{
	if (READ_ONCE(sched.nr_idle) &&
	    (kr_netpoll_is_claimed() ||
	     kr_timers_next() <= kr_clock_now_ns() + KR_NETPOLL_TICK_NS))
		kr_wakep();
}

/*
 * In place of the pool, whence nobody can give it a P. What became ready
 * without one is in the global queue: there may be Ps to be had all the same.
 */
static int wait_in_netpoll(struct m *mp, uint64_t deadline_ns)
{
	int err;

	kr_m_pooled(mp, false);
	err = kr_netpoll_block(mp, deadline_ns);
	kr_m_pooled(mp, true);
	if (!mp->p)
		kr_p_take_needy(mp);
	return err;
}

/*
 * When to look at timers again, the next of which is at @next_ns. Where many
 * went off since the last look it costs less to take as many at once as the
 * kernel's own slack would have collected.
 */
static uint64_t keep_until(struct m *mp, uint64_t next_ns)
{
	uint64_t soon_ns;

	if (mp->nr_fired < CROWD)
		return next_ns;
	soon_ns = kr_clock_now_ns() + CROWD_NS;
	return next_ns < soon_ns ? soon_ns : next_ns;
}

bool kr_m_wait(struct m *mp)
{
	bool may_poll = true, kept_time = false;
	struct p *pp = NULL;

	/* Counted before it looks: see kr_service_run(). */
	kr_m_pooled(mp, true);
	if (kr_p_take_needy(mp)) {
		kr_m_pooled(mp, false);
		return true;
	}
	while (!pp) {
		uint64_t deadline = KAUS_FOREVER;
		uint64_t next;
		bool poll;
		int err;

		if (READ_ONCE(sched.stopping))
			kr_m_halt(mp);
		/* What it kept time for somebody has to take over first. */
		if (!kept_time && may_end(mp))
			return false;
		/* Before it looks who keeps time: see pass_timekeeping(). */
		poll = may_poll && kr_netpoll_claim();
		kr_lock(&sched.lock);
		next = sched.nr_idle ? kr_timers_next() : KAUS_FOREVER;
		if (next != KAUS_FOREVER &&
		    (!sched.timekeeper || next < sched.tk_ns)) {
			WRITE_ONCE(sched.timekeeper, mp);
			sched.tk_ns = next;
			deadline = keep_until(mp, next);
		}
		mp->nr_fired = 0;
		kr_unlock(&sched.lock);
		if (deadline == KAUS_FOREVER)
			kr_deadlock_hint();

		if (poll) {
			err = wait_in_netpoll(mp, deadline);
			may_poll = err != 0;
		} else {
			err = sched.assist->park(mp, true, deadline, &pp);
		}
		kept_time = deadline != KAUS_FOREVER;
		if (kept_time) {
			kr_lock(&sched.lock);
			if (sched.timekeeper == mp)
				WRITE_ONCE(sched.timekeeper, NULL);
			kr_unlock(&sched.lock);
			if (mp->p)
				pass_timekeeping();
			else if (err == -ETIMEDOUT)
				take_idle_p(mp);
		}
		if (mp->p) {
			kr_m_pooled(mp, false);
			return true;
		}
	}
	kr_m_pooled(mp, false);
	kr_p_take(mp, pp);
	/* Given a P by the kernel: the time of idle ones is to be kept. */
	if (kept_time && !mp->spinning)
		kr_wakep();
	return true;
}

bool kr_m_go_idle(struct m *mp)
{
	struct p *pp = mp->p;
	bool was_spinning = mp->spinning;

	kr_follow();
	kr_lock(&sched.lock);
	if (READ_ONCE(sched.hdr->nr_global) || READ_ONCE(sched.stopping)) {
		kr_unlock(&sched.lock);
		return true;
	}
	kr_p_release(mp, pp);
	kr_idle_put_locked(pp);			/* (C) */
	kr_unlock(&sched.lock);
	if (was_spinning) {
		mp->spinning = false;
		kr_sub(&sched.nr_spinning, 1);	/* (C) */
	}
	/*
	 * Whoever spins finds what there is, or looks once more itself. It may be
	 * a thread that waits for this very CPU.
	 */
	if (!was_spinning && READ_ONCE(sched.nr_spinning))
		return false;
	if (!kr_work_anywhere())			/* (D) */
		return false;
	pp = kr_idle_get();
	if (!pp)
		return false;
	kr_p_acquire(mp, pp);
	if (was_spinning)
		start_spinning(mp);
	return true;
}
