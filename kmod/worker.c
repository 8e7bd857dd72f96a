// SPDX-License-Identifier: GPL-2.0-only
/*
 * Workers: registered threads and their preempt notifiers.
 *
 * DOC: A registered thread carries a preempt notifier until it unregisters,
 * exits, executes another program, or its group is shut down. Two rules make
 * that safe:
 *
 * - The notifier list of a thread is changed by that thread only. Others set
 *   a flag and see to it that it runs: the thread *detaches* itself at the
 *   next context switch, return to user mode or end of an ioctl. There is no
 *   exit hook for modules; the last thing a dying thread does is a context
 *   switch with __state == TASK_DEAD, and its notifier sees that.
 * - A detached worker is freed by the reaper, a work item, after an RCU grace
 *   period. Everybody who may still look at it (the notifier walk it detached
 *   from, interrupts on its CPU, wakers that found it in the table) runs with
 *   interrupts or preemption off or under rcu_read_lock().
 *
 * The walk over the notifiers is not safe against deletion by hlist_del(),
 * which poisons the link; hlist_del_rcu() leaves it in place.
 *
 * sched_out runs under the run queue lock with interrupts off: no wake-up, no
 * group lock, no allocation. sched_in runs with interrupts on and preemption
 * off. An interrupt may find a worker running before its sched_in ran.
 */
#include <linux/irq_work.h>
#include <linux/module.h>
#include <linux/rculist.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "group.h"
#include "handoff.h"
#include "park.h"
#include "preempt.h"
#include "shm.h"
#include "worker.h"

static struct workqueue_struct *reap_wq;
static LLIST_HEAD(reap_list);

/* Take @m out of its group's table; the slot may have a new worker already. */
static void forget(struct kaus_m *m)
{
	struct kaus_group *g = m->group;
	unsigned long flags;

	raw_spin_lock_irqsave(&g->lock, flags);
	if (rcu_access_pointer(g->ms[m->index]) == m)
		RCU_INIT_POINTER(g->ms[m->index], NULL);
	kaus_park_forget_locked(m);
	raw_spin_unlock_irqrestore(&g->lock, flags);
}

static void reap(struct work_struct *work)
{
	struct llist_node *list = llist_del_all(&reap_list);
	struct kaus_m *m, *tmp;

	if (!list)
		return;
	llist_for_each_entry(m, list, reap)
		forget(m);
	synchronize_rcu();
	llist_for_each_entry_safe(m, tmp, list, reap) {
		put_task_struct(m->task);
		kaus_group_put(m->group);
		kfree(m);
		/* The caller's text stays: exit destroys the workqueue. */
		module_put(THIS_MODULE);
	}
}

static DECLARE_WORK(reap_work, reap);

static void reap_queue(struct irq_work *work)
{
	queue_work(reap_wq, &reap_work);
}

static struct irq_work reap_irq_work = IRQ_WORK_INIT_HARD(reap_queue);

/**
 * kaus_worker_detach() - The calling thread stops being a worker.
 * @m: Its worker. May be freed as soon as preemption is possible.
 *
 * Context: On the worker's own thread with preemption off, up to under the
 * run queue lock.
 */
void kaus_worker_detach(struct kaus_m *m)
{
	unsigned long flags;

	kaus_preempt_clear(m);
	hlist_del_rcu(&m->pn.link);
	raw_spin_lock_irqsave(&m->stack_lock, flags);
	/* After the last access to the slot: it may be taken from here on. */
	smp_store_release(&m->gone, true);
	raw_spin_unlock_irqrestore(&m->stack_lock, flags);
	llist_add(&m->reap, &reap_list);
	irq_work_queue(&reap_irq_work);
}

/**
 * kaus_worker_nudge() - Make a worker that sleeps look at its state.
 * @m: The worker. Its group has been shut down.
 *
 * A wake-up for nothing, which every sleep has to expect: it looks whether what
 * it waits for has come, and sleeps on. On the way sched_in sees the shutdown.
 * sched_out sees it if the state was not yet that of a sleeper: there is a full
 * barrier between the setting of the flag and this look (in the poke), and in
 * schedule() between the setting of the state and sched_out.
 *
 * Context: RCU read side.
 */
void kaus_worker_nudge(struct kaus_m *m)
{
	unsigned int state = READ_ONCE(m->task->__state);

	if (!READ_ONCE(m->gone) &&
	    (state & ~TASK_FREEZABLE) == TASK_INTERRUPTIBLE)
		wake_up_process(m->task);
}

/* Must the thread stop being a worker at this context switch? */
static bool must_go(const struct kaus_m *m)
{
	return kaus_worker_is_stale(m) && !m->in_call &&
	       !kaus_worker_is_owed(m);
}

static void sched_in(struct preempt_notifier *pn, int cpu)
{
	struct kaus_m *m = container_of(pn, struct kaus_m, pn);

	if (must_go(m)) {
		kaus_worker_detach(m);
		return;
	}
	kaus_handoff_wake(m);
	kaus_preempt_sched_in(m, cpu);
}

/*
 * Is current, which leaves the CPU, about to wait for something? Only a hint:
 * a wake-up may be on its way. Stops by signal, tracer or freezer do not count,
 * or a stopped process would start all its pool workers one after the other.
 * The cgroup freezer's looks like an interruptible sleep but for a flag, which
 * vfork() sets as well, in an uninterruptible one that does count.
 */
static bool is_blocking(unsigned int state)
{
	if (!(state & (TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE)))
		return false;
	if (state & (__TASK_STOPPED | __TASK_TRACED | TASK_PARKED |
		     TASK_FROZEN | TASK_RTLOCK_WAIT))
		return false;
	if ((state & TASK_INTERRUPTIBLE) && kaus_task_is_frozen(current))
		return false;
	return kaus_task_dequeued(current);
}

static void sched_out(struct preempt_notifier *pn, struct task_struct *next)
{
	struct kaus_m *m = container_of(pn, struct kaus_m, pn);
	unsigned int state = READ_ONCE(current->__state);

	if (state == TASK_DEAD || must_go(m)) {
		kaus_handoff_sleep(m);
		kaus_worker_detach(m);
		return;
	}
	kaus_preempt_clear(m);
	if (is_blocking(state))
		kaus_handoff_sleep(m);
}

static struct preempt_ops kaus_preempt_ops = {
	.sched_in = sched_in,
	.sched_out = sched_out,
};

/*
 * The worker of the calling thread, of whatever group, or NULL. Its notifier
 * list says so; only the thread itself changes that list.
 */
static struct kaus_m *find_own(void)
{
	struct preempt_notifier *pn;

	hlist_for_each_entry(pn, &current->preempt_notifiers, link)
		if (pn->ops == &kaus_preempt_ops)
			return container_of(pn, struct kaus_m, pn);
	return NULL;
}

/* Is the thread free to register? Gets rid of a worker of an ended group. */
static bool may_register(void)
{
	struct kaus_m *m;
	bool ok = true;

	preempt_disable();
	m = find_own();
	if (m) {
		ok = kaus_worker_is_stale(m);
		if (ok)
			kaus_worker_detach(m);
	}
	preempt_enable();
	return ok;
}

/* Has the thread let go of its slot? */
static bool is_gone(const struct kaus_m *m)
{
	return smp_load_acquire(&m->gone); /* pairs with the detach */
}

static int insert(struct kaus_group *g, struct kaus_m *m)
{
	unsigned long flags;
	struct kaus_m *old;
	int err = 0;

	raw_spin_lock_irqsave(&g->lock, flags);
	old = rcu_dereference_protected(g->ms[m->index],
					lockdep_is_held(&g->lock));
	if (g->shutdown) {
		err = -ESHUTDOWN;
	} else if (old && !is_gone(old)) {
		err = -EBUSY;
	} else {
		if (old)
			kaus_park_forget_locked(old);
		rcu_assign_pointer(g->ms[m->index], m);
		WRITE_ONCE(g->ms_end, max(g->ms_end, m->index + 1));
	}
	raw_spin_unlock_irqrestore(&g->lock, flags);
	return err;
}

/**
 * kaus_worker_register() - Make the calling thread a worker.
 * @g: Its group.
 * @index: Index of the slot, from user space.
 *
 * Context: Process context; sleeps.
 * Return: 0 or an error of KAUS_IOC_REGISTER.
 */
int kaus_worker_register(struct kaus_group *g, u32 index)
{
	struct kaus_m *m;
	int err;

	if (index >= g->nr_workers)
		return -EINVAL;
	index = array_index_nospec(index, g->nr_workers);
	if ((current->flags & (PF_KTHREAD | PF_IO_WORKER | PF_USER_WORKER)) ||
	    kaus_task_has_shstk(current))
		return -EOPNOTSUPP;
	if (!may_register())
		return -EBUSY;

	m = kzalloc(sizeof(*m), GFP_KERNEL_ACCOUNT);
	if (!m)
		return -ENOMEM;
	preempt_notifier_init(&m->pn, &kaus_preempt_ops);
	m->group = g;
	m->slot = &g->slots[index];
	m->task = current;
	m->index = index;
	m->cpu = -1;
	raw_spin_lock_init(&m->stack_lock);
	kaus_park_init(m);
	err = insert(g, m);
	if (err) {
		kfree(m);
		return err;
	}
	/* Only the reaper drops these, and only after a detach. */
	kaus_group_get(g);
	get_task_struct(current);
	__module_get(THIS_MODULE);

	preempt_disable();
	preempt_notifier_register(&m->pn);
	sched_in(&m->pn, smp_processor_id());
	preempt_enable();
	return 0;
}

/**
 * kaus_worker_begin() - Enter a call that acts on the caller's worker.
 * @g: Its group.
 * @index: The index it says it has.
 *
 * Until kaus_worker_end() the thread stays attached whatever happens to the
 * group, so that the object lives.
 *
 * Return: The worker, or NULL if the caller is not registered on @index.
 */
struct kaus_m *kaus_worker_begin(struct kaus_group *g, u32 index)
{
	struct kaus_m *m;

	preempt_disable();
	m = find_own();
	if (m && m->group == g && m->index == index)
		WRITE_ONCE(m->in_call, true);
	else
		m = NULL;
	preempt_enable();
	return m;
}

void kaus_worker_end(struct kaus_m *m)
{
	preempt_disable();
	WRITE_ONCE(m->in_call, false);
	if (kaus_worker_is_stale(m))
		kaus_worker_detach(m);
	preempt_enable();
}

/**
 * kaus_worker_unregister() - The calling thread stops being a worker.
 * @g: Its group.
 * @index: The index it says it has.
 *
 * The slot is free on return.
 *
 * Return: 0 or -ESRCH.
 */
int kaus_worker_unregister(struct kaus_group *g, u32 index)
{
	struct kaus_m *m = kaus_worker_begin(g, index);

	if (!m)
		return -ESRCH;
	/* The slot must not be free before the thread has let go of it. */
	preempt_disable();
	kaus_worker_detach(m);
	forget(m);
	preempt_enable();
	return 0;
}

int kaus_worker_init(void)
{
	reap_wq = alloc_workqueue("kaus", WQ_UNBOUND, 1);
	if (!reap_wq)
		return -ENOMEM;
	preempt_notifier_inc();
	return 0;
}

void kaus_worker_exit(void)
{
	/*
	 * No worker is left, but the last thread that detached may not have
	 * returned from the callback it did that in.
	 */
	irq_work_sync(&reap_irq_work);
	synchronize_rcu();
	synchronize_rcu_tasks();
	destroy_workqueue(reap_wq);
	preempt_notifier_dec();
}
