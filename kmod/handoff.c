// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hand-off: what happens to the P of a worker that falls asleep.
 *
 * DOC: sched_out turns RUNNING(w) into SLEEPING(w) and sets the P's bit in
 * kaus_header.sleeping. If someone waits on the P, an interrupt looks at it
 * again right after the context switch (irq_work) or after the delay that the
 * runtime asked for (a timer per P), and gives it to a parked worker of the
 * pool. sched_in turns SLEEPING(w) back into RUNNING(w) or, if the word has
 * changed, tells the worker that it lost its P.
 *
 * sched_out is a hint, not a proof: the sleeper may be waking up already. The
 * owner word decides. Whoever swaps it has the P, and a generation makes sure
 * that nobody swaps a word that has come back. Each look re-reads everything,
 * so that one too many (a timer left over from an earlier sleep) does no harm
 * and one too few cannot happen: the runtime that puts work on a P after the
 * look below finds the bit, as both sides write before they read:
 *
 *	sched_out			runtime
 *	owner = SLEEPING (RMW)		runq_tail++
 *	sleeping |= bit  (RMW)		full barrier
 *	read runq_*			read sleeping
 *
 * Context: interrupts off in all of it but kaus_handoff_orphan(). Rejected: a
 * wake-up from sched_out itself (the run queue lock is held), a work item (a
 * context switch more).
 */
#include <linux/ktime.h>

#include "compat.h"
#include "handoff.h"
#include "park.h"
#include "shm.h"
#include "stats.h"
#include "trace.h"

/* User space may keep moving the time to look at, but no interrupt storm. */
#define MIN_AGAIN_NS	(10 * NSEC_PER_USEC)

static u64 delay_ns(const struct kaus_p *p)
{
	return min_t(u64, READ_ONCE(p->group->hdr->handoff_delay_ns),
		     KAUS_MAX_DELAY_NS);
}

/**
 * kaus_handoff_is_due() - Should this P be given away?
 * @p: The P.
 * @word: Owner word; set if it is due.
 * @again_ns: Set to the time to look again, 0 for never, if it is not.
 *
 * Return: true if it should.
 */
bool kaus_handoff_is_due(struct kaus_p *p, u64 *word, u64 *again_ns)
{
	u64 delay = delay_ns(p), timer_ns, now, due;

	*again_ns = 0;
	*word = READ_ONCE(p->slot->owner);
	if (KAUS_OWNER_STATE(*word) != KAUS_P_SLEEPING)
		return false;

	/* Nothing to compare with the clock in the most frequent case. */
	if (!delay && kaus_shm_has_queued(p))
		return true;
	timer_ns = kaus_shm_timer_ns(p);
	due = kaus_shm_has_queued(p) ? 0 : timer_ns;
	if (delay)
		due = max(due, READ_ONCE(p->sleep_ns) + delay);
	if (due == U64_MAX)
		return false;
	now = ktime_get_ns();
	if (now >= due)
		return true;
	*again_ns = max(due, now + MIN_AGAIN_NS);
	return false;
}

static void look_later(struct kaus_p *p, u64 ns)
{
	if (ns)
		hrtimer_start(&p->timer, ns_to_ktime(ns),
			      HRTIMER_MODE_ABS_PINNED_HARD);
}

static void look(struct kaus_p *p, bool again)
{
	u64 word, again_ns;

	if (kaus_group_is_shutdown(p->group))
		return;
	if (kaus_handoff_is_due(p, &word, &again_ns)) {
		kaus_park_give(p, word);
		return;
	}
	if (again && again_ns)
		again_ns = max(again_ns, kaus_group_next_look(p->group));
	look_later(p, again_ns);
}

static void look_irq_work(struct irq_work *work)
{
	look(container_of(work, struct kaus_p, work), false);
}

/*
 * The timer is started anew, not forwarded: a sched_out on another CPU may
 * have started it while this runs.
 */
static enum hrtimer_restart look_timer(struct hrtimer *timer)
{
	kaus_stat_inc(again);
	look(container_of(timer, struct kaus_p, timer), true);
	return HRTIMER_NORESTART;
}

void kaus_handoff_init(struct kaus_p *p)
{
	p->work = IRQ_WORK_INIT_HARD(look_irq_work);
	hrtimer_setup(&p->timer, look_timer, CLOCK_MONOTONIC,
		      HRTIMER_MODE_ABS_PINNED_HARD);
}

/* Context: Process context. The irq_work may start the timer, so it is first. */
void kaus_handoff_fini(struct kaus_p *p)
{
	irq_work_sync(&p->work);
	hrtimer_cancel(&p->timer);
}

/* RUNNING to SLEEPING, if the owner word still is @word. */
static bool put_to_sleep(struct kaus_p *p, u64 word, u64 *asleep)
{
	*asleep = KAUS_OWNER(KAUS_P_SLEEPING, KAUS_OWNER_WORKER(word),
			     KAUS_OWNER_GEN(word));
	if (!kaus_shm_swap_owner(p, &word, *asleep))
		return false;
	if (delay_ns(p))
		WRITE_ONCE(p->sleep_ns, ktime_get_ns());
	kaus_shm_set_sleeping(p);
	return true;
}

/**
 * kaus_handoff_sleep() - The worker falls asleep, or will never run again.
 * @m: Worker of the calling thread.
 *
 * Context: sched_out; run queue lock held.
 */
void kaus_handoff_sleep(struct kaus_m *m)
{
	u64 word, again_ns;
	struct kaus_p *p;

	if (READ_ONCE(m->slot->defer) || kaus_group_is_shutdown(m->group))
		return;
	p = kaus_shm_carried(m, &word);
	if (!p || !put_to_sleep(p, word, &m->sleep_word))
		return;
	m->sleep_p = p;
	kaus_shm_count(&m->slot->nr_sleeps);
	kaus_stat_inc(sleeps);
	trace_kaus_sleep(m, p);

	if (kaus_handoff_is_due(p, &word, &again_ns))
		irq_work_queue(&p->work);
	else
		look_later(p, again_ns);
}

/**
 * kaus_handoff_wake() - The worker runs again: has it still its P?
 * @m: Worker of the calling thread.
 *
 * Context: sched_in.
 */
void kaus_handoff_wake(struct kaus_m *m)
{
	struct kaus_p *p = m->sleep_p;
	u64 word = m->sleep_word;

	if (!p)
		return;
	m->sleep_p = NULL;
	if (kaus_group_is_shutdown(m->group))
		return;
	if (kaus_shm_swap_owner(p, &word, KAUS_OWNER(KAUS_P_RUNNING, m->index,
						     KAUS_OWNER_GEN(word)))) {
		kaus_shm_clear_sleeping(p);
		kaus_stat_inc(wakes);
		trace_kaus_wake(m, p);
		return;
	}
	/* Given back to the sleeper itself: it parked in the pool. */
	if (KAUS_OWNER_STATE(word) == KAUS_P_RUNNING &&
	    KAUS_OWNER_WORKER(word) == m->index)
		return;
	kaus_shm_set_events(m, KAUS_EV_LOST);
	kaus_shm_count(&m->slot->nr_lost);
	kaus_stat_inc(lost);
	trace_kaus_lost(m, p);
}

/* Look at @p once more, which sleeps perhaps. Context: Hard interrupt. */
void kaus_handoff_look(struct kaus_p *p)
{
	look(p, false);
}

/**
 * kaus_handoff_orphan() - A P was given to a worker that will never fetch it.
 * @p: The P.
 * @word: Its owner word as given.
 *
 * Context: Any; group lock held.
 */
void kaus_handoff_orphan(struct kaus_p *p, u64 word)
{
	u64 asleep;

	if (put_to_sleep(p, word, &asleep))
		irq_work_queue(&p->work);
}
