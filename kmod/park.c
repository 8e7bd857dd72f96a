// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parking, waking and the pools.
 *
 * DOC: A parked worker waits in the kernel for one of two things: a *token*
 * (a bare wake-up) or a *grant* (a P, whose owner word has been swapped to
 * name this worker). Either may come before the worker parks and is kept for
 * it then. A waker that finds it parked takes it out of the list it waits in
 * and clears .parked; the sleeper has been woken if and only if .parked is
 * clear, whatever else (signal, timeout) happened to it meanwhile. All this
 * is under the group's lock; the wake-up itself comes after it.
 *
 * The sequence of KAUS_ANY and of hand-offs is: choose a worker, swap the
 * owner word, take the worker out of the pool; so that a failed swap leaves
 * the pool as it was.
 *
 * There is a pool for each home P and one for workers without a home. All are
 * LIFO: the worker that parked last has the warmest cache.
 *
 * A worker that parks outside the pools gets a P from whoever names it, and from
 * a hand-off if the runtime has it in kaus_header.next_worker: it has the next
 * goroutine on its stack, and a worker of the pool would only pass the P on.
 *
 * A hand-off that finds all pools empty wakes a service worker and marks the
 * P as starved; the next worker that parks in a pool takes it at once, if by
 * then it still sleeps with someone waiting.
 */
#include <linux/bitmap.h>
#include <linux/freezer.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "compat.h"
#include "handoff.h"
#include "park.h"
#include "shm.h"
#include "stats.h"
#include "trace.h"

/* So many Ps are looked at with interrupts off. */
#define MAX_STARVED	16

void kaus_park_init(struct kaus_m *m)
{
	INIT_LIST_HEAD(&m->wait);
	WRITE_ONCE(m->grant, KAUS_NONE);
}

static void enqueue(struct kaus_m *m, u32 flags, u32 home)
{
	struct kaus_group *g = m->group;

	WRITE_ONCE(m->parked, true);
	m->wait_home = KAUS_NONE;
	if (flags & KAUS_PARK_POOL) {
		m->wait_home = min(home, g->nr_procs);
		list_add(&m->wait, &g->pools[m->wait_home]);
		__set_bit(m->wait_home, g->pool_map);
	} else if (flags & KAUS_PARK_SERVICE) {
		list_add(&m->wait, &g->service);
	}
}

static void dequeue(struct kaus_m *m)
{
	struct kaus_group *g = m->group;

	WRITE_ONCE(m->parked, false);
	list_del_init(&m->wait);
	if (m->wait_home != KAUS_NONE && list_empty(&g->pools[m->wait_home]))
		__clear_bit(m->wait_home, g->pool_map);
}

/* The worker of the pools that should get P @home: its own pool first. */
static struct kaus_m *choose(struct kaus_group *g, u32 home)
{
	u32 n = g->nr_procs + 1, i = home;

	if (!test_bit(i, g->pool_map)) {
		i = find_next_bit(g->pool_map, n, home);
		if (i >= n)
			i = find_first_bit(g->pool_map, n);
		if (i >= n)
			return NULL;
	}
	return list_first_entry(&g->pools[i], struct kaus_m, wait);
}

/* Swap the owner word to @m and leave the P for it to fetch. */
static bool grant(struct kaus_m *m, struct kaus_p *p, u64 word)
{
	u64 given = kaus_shm_given(word, m->index);

	if (!kaus_shm_swap_owner(p, &word, given))
		return false;
	if (KAUS_OWNER_STATE(word) == KAUS_P_SLEEPING)
		kaus_shm_clear_sleeping(p);
	WRITE_ONCE(m->grant, p->index);
	m->grant_word = given;
	return true;
}

/* @m got a token or grant. Returns the thread to wake, or NULL. */
static struct task_struct *unpark(struct kaus_m *m)
{
	if (!m->parked)
		return NULL;
	dequeue(m);
	return m->task;
}

static struct kaus_m *find_worker(struct kaus_group *g, u32 index)
{
	struct kaus_m *m;

	index = array_index_nospec(index, g->nr_workers);
	m = rcu_dereference_protected(g->ms[index], lockdep_is_held(&g->lock));
	return m && !READ_ONCE(m->gone) ? m : NULL;
}

/* KAUS_IOC_WAKE but for the wake-up: *@task is to be woken, if not NULL. */
static int wake_locked(struct kaus_group *g, const struct kaus_wake *wake,
		       struct task_struct **task)
{
	struct kaus_p *p = kaus_shm_p(g, wake->proc);
	struct kaus_m *m;

	*task = NULL;
	if (g->shutdown)
		return -ESHUTDOWN;
	if (wake->worker == KAUS_ANY) {
		m = choose(g, p->index);
		if (!m)
			return -EAGAIN;
	} else {
		m = find_worker(g, wake->worker);
		if (!m)
			return -ESRCH;
	}
	if (!p)
		m->token = true;
	else if (m->grant != KAUS_NONE || !grant(m, p, wake->owner))
		return -EBUSY;
	*task = unpark(m);
	kaus_stat_inc(unparks);
	trace_kaus_unpark(m, wake->proc);
	return 0;
}

static int check_wake(const struct kaus_group *g, const struct kaus_wake *wake)
{
	if (wake->worker == KAUS_ANY ? wake->proc == KAUS_NONE :
				       wake->worker >= g->nr_workers)
		return -EINVAL;
	if (wake->proc != KAUS_NONE && wake->proc >= g->nr_procs)
		return -EINVAL;
	return 0;
}

static int check_park(const struct kaus_group *g, u32 flags, u32 home)
{
	if (flags & ~(KAUS_PARK_POOL | KAUS_PARK_SERVICE))
		return -EINVAL;
	if (flags == (KAUS_PARK_POOL | KAUS_PARK_SERVICE))
		return -EINVAL;
	if (home != KAUS_NONE && home >= g->nr_procs)
		return -EINVAL;
	return 0;
}

/*
 * The worker that has the next goroutine for @p on it, or NULL: only if nothing
 * that waits for @p comes before the global queue.
 */
static struct kaus_m *choose_next(struct kaus_group *g, struct kaus_p *p)
{
	u32 i = READ_ONCE(g->hdr->next_worker);
	struct kaus_m *m;
	u64 timer_ns;

	if (!i || i > g->nr_workers || kaus_shm_has_own(p))
		return NULL;
	m = find_worker(g, i - 1);
	/* Not linked anywhere: neither in a pool nor a service worker. */
	if (!m || !m->parked || !list_empty(&m->wait))
		return NULL;
	timer_ns = kaus_shm_timer_ns(p);
	if (timer_ns != U64_MAX && timer_ns <= ktime_get_ns())
		return NULL;
	return m;
}

/* Hand the P of a sleeper to @m. */
static bool hand_off(struct kaus_m *m, struct kaus_p *p, u64 word)
{
	struct kaus_group *g = m->group;
	u32 sleeper = KAUS_OWNER_WORKER(word);

	if (!grant(m, p, word))
		return false;
	if (sleeper < g->nr_workers) {
		sleeper = array_index_nospec(sleeper, g->nr_workers);
		kaus_shm_count_shared(&g->slots[sleeper].nr_handoffs);
	}
	kaus_stat_inc(handoffs);
	trace_kaus_handoff(p, sleeper, m);
	return true;
}

/*
 * Ps whose hand-off found nobody. @m gets one if it is still to be had. For the
 * others it all begins again, up to waking a service worker, or to waiting for a
 * timer: of one that was due and is not, nobody else would know. They may be
 * many, so that is left to interrupts.
 */
static bool take_starved(struct kaus_group *g, struct kaus_m *m)
{
	unsigned int nr = 0;
	u64 word, again_ns;
	bool taken = false;
	u32 i;

	if (likely(!g->has_starved))
		return false;
	g->has_starved = false;
	for_each_set_bit(i, g->starved, g->nr_procs) {
		if (nr++ == MAX_STARVED)
			break;
		if (kaus_handoff_is_due(&g->ps[i], &word, &again_ns) &&
		    hand_off(m, &g->ps[i], word)) {
			__clear_bit(i, g->starved);
			taken = true;
			break;
		}
	}
	if (!bitmap_empty(g->starved, g->nr_procs)) {
		g->starved_at = 0;
		irq_work_queue(&g->starved_work);
	}
	return taken;
}

/* The next of them, in a round that ends: one that starves again is behind. */
static struct kaus_p *next_starved(struct kaus_group *g)
{
	struct kaus_p *p = NULL;
	unsigned long flags;
	u32 i;

	raw_spin_lock_irqsave(&g->lock, flags);
	i = find_next_bit(g->starved, g->nr_procs, g->starved_at);
	if (i < g->nr_procs) {
		__clear_bit(i, g->starved);
		g->starved_at = i + 1;
		p = &g->ps[i];
	}
	raw_spin_unlock_irqrestore(&g->lock, flags);
	return p;
}

static void look_at_starved(struct irq_work *work)
{
	struct kaus_group *g = container_of(work, struct kaus_group,
					    starved_work);
	struct kaus_p *p;
	int i;

	for (i = 0; i < MAX_STARVED; i++) {
		p = next_starved(g);
		if (!p || kaus_group_is_shutdown(g))
			return;
		kaus_handoff_look(p);
	}
	irq_work_queue(&g->starved_work);
}

void kaus_park_group_init(struct kaus_group *g)
{
	g->starved_work = IRQ_WORK_INIT_HARD(look_at_starved);
}

/* Context: Process context; the group is shut down and has no workers. */
void kaus_park_group_fini(struct kaus_group *g)
{
	irq_work_sync(&g->starved_work);
}

/* What the worker has been given so far; true if it need not sleep. */
static bool fetch(struct kaus_m *m, u32 *proc)
{
	*proc = m->grant;
	if (m->grant != KAUS_NONE) {
		WRITE_ONCE(m->grant, KAUS_NONE);
		return true;
	}
	if (!m->token)
		return false;
	m->token = false;
	return true;
}

/* First half of PARK: true if there is nothing to sleep for. */
static bool prepare(struct kaus_m *m, u32 flags, u32 home, u32 *proc)
{
	struct kaus_group *g = m->group;

	if (fetch(m, proc))
		return true;
	if ((flags & KAUS_PARK_SERVICE) && g->service_pending) {
		g->service_pending = false;
		return true;
	}
	if ((flags & KAUS_PARK_POOL) && take_starved(g, m))
		return fetch(m, proc);
	enqueue(m, flags, home);
	kaus_stat_inc(parks);
	trace_kaus_park(m, flags);
	set_current_state(TASK_INTERRUPTIBLE | TASK_FREEZABLE);
	return false;
}

/* Second half: sleep until woken. -EINTR for a signal. */
static int sleep(struct kaus_m *m, u64 deadline_ns, u32 *proc)
{
	ktime_t deadline = ns_to_ktime(min_t(u64, deadline_ns, KTIME_MAX));
	ktime_t *expires = deadline_ns < KTIME_MAX ? &deadline : NULL;
	struct kaus_group *g = m->group;
	bool expired = false;
	int err;

	for (;;) {
		if (!schedule_hrtimeout_range(expires, 0, HRTIMER_MODE_ABS))
			expired = true;

		raw_spin_lock_irq(&g->lock);
		if (!m->parked)
			err = fetch(m, proc) ? 0 : -ESHUTDOWN;
		else if (g->shutdown)
			err = -ESHUTDOWN;
		else if (signal_pending(current))
			err = -EINTR;
		else if (expired)
			err = -ETIMEDOUT;
		else
			err = 1;
		if (err <= 0)
			break;
		set_current_state(TASK_INTERRUPTIBLE | TASK_FREEZABLE);
		raw_spin_unlock_irq(&g->lock);
	}
	if (m->parked)
		dequeue(m);
	raw_spin_unlock_irq(&g->lock);
	return err;
}

/**
 * kaus_park_sleep() - KAUS_IOC_PARK.
 * @g: The caller's group.
 * @park: Arguments; proc is set on success.
 *
 * Context: Process context; sleeps.
 * Return: 0, an error of KAUS_IOC_PARK or -ERESTARTSYS.
 */
int kaus_park_sleep(struct kaus_group *g, struct kaus_park *park)
{
	struct kaus_m *m;
	bool ready;
	int err;

	err = check_park(g, park->flags, park->home);
	if (err)
		return err;
	m = kaus_worker_begin(g, park->worker);
	if (!m)
		return -ESRCH;

	raw_spin_lock_irq(&g->lock);
	if (g->shutdown) {
		raw_spin_unlock_irq(&g->lock);
		err = -ESHUTDOWN;
		goto out;
	}
	ready = prepare(m, park->flags, park->home, &park->proc);
	raw_spin_unlock_irq(&g->lock);
	if (!ready)
		err = sleep(m, park->deadline_ns, &park->proc);
	if (err == -EINTR)
		err = -ERESTARTSYS;	/* the deadline is absolute */
out:
	kaus_worker_end(m);
	return err;
}

/**
 * kaus_park_wake() - KAUS_IOC_WAKE.
 * @g: The caller's group.
 * @wake: Arguments.
 *
 * Return: 0 or an error of KAUS_IOC_WAKE.
 */
int kaus_park_wake(struct kaus_group *g, const struct kaus_wake *wake)
{
	struct task_struct *task;
	int err;

	err = check_wake(g, wake);
	if (err)
		return err;
	/* The worker found, and with it its task, stays until unlock. */
	rcu_read_lock();
	raw_spin_lock_irq(&g->lock);
	err = wake_locked(g, wake, &task);
	raw_spin_unlock_irq(&g->lock);
	if (task)
		wake_up_process(task);
	rcu_read_unlock();
	return err;
}

/**
 * kaus_park_handoff() - KAUS_IOC_HANDOFF.
 * @g: The caller's group.
 * @handoff: Arguments; woken is set whenever the wake-up part has been done,
 *	proc on success.
 *
 * Context: Process context; sleeps.
 * Return: 0 or an error of KAUS_IOC_HANDOFF.
 */
int kaus_park_handoff(struct kaus_group *g, struct kaus_handoff *handoff)
{
	const struct kaus_wake wake = {
		.worker = handoff->target,
		.proc = handoff->target_proc,
		.owner = handoff->owner,
	};
	struct task_struct *task;
	bool ready = false;
	struct kaus_m *m;
	int err;

	if (handoff->target == handoff->worker)
		return -EINVAL;
	err = check_park(g, handoff->flags, handoff->home);
	if (!err)
		err = check_wake(g, &wake);
	if (err)
		return err;
	m = kaus_worker_begin(g, handoff->worker);
	if (!m)
		return -ESRCH;

	rcu_read_lock();
	raw_spin_lock_irq(&g->lock);
	err = wake_locked(g, &wake, &task);
	if (!err) {
		handoff->woken = 1;
		ready = prepare(m, handoff->flags, handoff->home,
				&handoff->proc);
	}
	raw_spin_unlock_irq(&g->lock);
	if (task)
		wake_up_process(task);
	rcu_read_unlock();
	if (!err && !ready)
		err = sleep(m, handoff->deadline_ns, &handoff->proc);
	kaus_worker_end(m);
	return err;
}

/**
 * kaus_park_serve_locked() - Have a service worker look around.
 * @g: The group; its lock is held.
 *
 * If none is parked the next one that parks does.
 *
 * Return: the thread to wake once the lock is released, before the end of an
 * RCU read side that began before; or NULL.
 */
struct task_struct *kaus_park_serve_locked(struct kaus_group *g)
{
	struct kaus_m *m;

	lockdep_assert_held(&g->lock);
	m = list_first_entry_or_null(&g->service, struct kaus_m, wait);
	if (!m) {
		g->service_pending = true;
		return NULL;
	}
	m->token = true;
	return unpark(m);
}

/**
 * kaus_park_give() - Give a P to a worker of the pool.
 * @p: The P; somebody waits on it.
 * @word: Its owner word, in state SLEEPING.
 *
 * Context: Hard interrupt.
 */
void kaus_park_give(struct kaus_p *p, u64 word)
{
	struct kaus_group *g = p->group;
	struct task_struct *task = NULL;
	unsigned long flags;
	struct kaus_m *m;

	raw_spin_lock_irqsave(&g->lock, flags);
	if (g->shutdown)
		goto out;
	m = choose_next(g, p);
	if (!m)
		m = choose(g, p->index);
	if (m) {
		if (hand_off(m, p, word))
			task = unpark(m);
		goto out;
	}

	kaus_stat_inc(starved);
	trace_kaus_starve(p);
	__set_bit(p->index, g->starved);
	g->has_starved = true;
	task = kaus_park_serve_locked(g);
out:
	raw_spin_unlock_irqrestore(&g->lock, flags);
	/* Interrupts are off: an RCU read side, so the task stays. */
	if (task)
		wake_up_process(task);
}

/**
 * kaus_park_unfetch() - Undo the fetch of a P that could not be reported.
 * @g: The caller's group.
 * @worker: The caller's index.
 * @proc: The P.
 */
void kaus_park_unfetch(struct kaus_group *g, u32 worker, u32 proc)
{
	struct kaus_m *m = kaus_worker_begin(g, worker);

	if (!m)
		return;
	raw_spin_lock_irq(&g->lock);
	if (proc == KAUS_NONE)
		m->token = true;
	else if (m->grant == KAUS_NONE)
		WRITE_ONCE(m->grant, proc);
	raw_spin_unlock_irq(&g->lock);
	kaus_worker_end(m);
}

/* The group has been shut down: @m must not sleep on. */
void kaus_park_end(struct kaus_m *m)
{
	/*
	 * Either the flag is set before the worker locks to park, or .parked
	 * is set before this locks.
	 */
	unsigned long flags;
	bool parked;

	raw_spin_lock_irqsave(&m->group->lock, flags);
	parked = m->parked;
	raw_spin_unlock_irqrestore(&m->group->lock, flags);
	if (parked)
		wake_up_process(m->task);
}

/* @m is gone. A P it did not fetch goes to somebody else. */
void kaus_park_forget_locked(struct kaus_m *m)
{
	struct kaus_group *g = m->group;

	lockdep_assert_held(&g->lock);
	if (m->parked)
		dequeue(m);
	if (m->grant != KAUS_NONE && !g->shutdown)
		kaus_handoff_orphan(&g->ps[m->grant], m->grant_word);
	WRITE_ONCE(m->grant, KAUS_NONE);
}
