// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slices and kicks for workers that run.
 *
 * DOC: Each CPU has one timer, one user-return notifier and one IPI request.
 * They work for the worker that is on the CPU, which the preempt notifiers
 * note in kaus_cpu.m, and never hold a pointer to a worker of their own: a
 * worker may be gone by the time they fire.
 *
 * The timer *looks* at the worker: has its P switched goroutines since the
 * last look? Then a new slice begins. Is the slice used up and somebody
 * waiting? Then the worker is redirected. A goroutine switch in user space is
 * thus one store and never touches the timer. The next look is
 *
 *	slice end			the slice is not used up
 *	now + slice			it was redirected, or has no P (it may
 *					take one without telling)
 *	now + min(slice, 50 us)		the redirect was refused
 *	now + 4 * slice or the P's	the slice is used up, but nobody waits
 *	timer, if that is earlier
 *
 * so that somebody who comes to wait behind a goroutine that computes for ever
 * waits four slices at most. The timer is left armed when the worker leaves
 * the CPU. It then finds nobody and stops, so that an idle process costs one
 * interrupt and no more.
 *
 * When the timer hit the kernel, and for everything that comes from another
 * CPU or from a context switch, the user-return notifier is armed and looks
 * again. It belongs to the CPU, not to the thread: if the CPU switches threads
 * first, the next one to return to user mode, whoever that is, makes it fire
 * for nothing, and sched_in of the worker arms it again. A kernel without such
 * notifiers has the timer look again instead, until it hits user mode.
 *
 * The list of these notifiers is that of the CPU, and KVM changes it with no
 * more than preemption off: a worker that runs a virtual machine may be
 * interrupted in the midst. What is lost from the list then may be KVM's, which
 * was to restore the host's system call entry. So an interrupt never touches
 * the list. The notifier is in it while a worker is on the CPU, put there by
 * sched_in, and is armed by the flag of the thread that has the list walked.
 *
 * Events are set before .cpu is read, and .cpu is set before events are read:
 *
 *	kaus_preempt_kick()		sched_in
 *	events |= KICK	(A)		m->cpu = cpu
 *	full barrier			full barrier	(B)
 *	IPI to m->cpu			look at events
 *
 * All of struct kaus_cpu and the slice fields of struct kaus_m are accessed
 * with interrupts off on the CPU itself.
 */
#include <linux/cpuhotplug.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched/task_stack.h>
#include <linux/smp.h>
#include <linux/user-return-notifier.h>
#include <asm/irq_regs.h>

#include "compat.h"
#include "preempt.h"
#include "redirect.h"
#include "shm.h"
#include "stats.h"
#include "trace.h"

struct kaus_cpu {
	struct kaus_m *m;		/* the worker that runs here */
	bool urn_listed;
	struct user_return_notifier urn;
	struct hrtimer timer;
	atomic_t poked;			/* csd is on its way, or being sent */
	call_single_data_t csd;
};

static DEFINE_PER_CPU(struct kaus_cpu, kaus_cpus);
static int hotplug_state;

/* See above. Fewer is a faster response, and more interrupts for hogs. */
#define IDLE_SLICES	4
#define RETRY_NS	(50 * NSEC_PER_USEC)
/* User space chooses the time of the next look, but no interrupt storm. */
#define MIN_LOOK_NS	(10 * NSEC_PER_USEC)
/* So often a redirect is tried again at that pace, then once a slice. */
#define MAX_RETRIES	16
/* The timer is not set anew for less than this much of the time to go. */
#define MIN_GAIN_SHIFT	2

/*
 * In an interrupt, too: c->m runs here, so the notifier is in the list. Without
 * notifiers the timer is to look soon.
 */
static void arm_urn(struct kaus_cpu *c)
{
	lockdep_assert_irqs_disabled();
	if (KAUS_HAS_URN)
		set_thread_flag(TIF_USER_RETURN_NOTIFY);
	else
		hrtimer_start(&c->timer, ns_to_ktime(MIN_LOOK_NS),
			      HRTIMER_MODE_REL_PINNED_HARD);
}

/* Not armed unless others in the list are. */
static void list_urn(struct kaus_cpu *c)
{
	bool armed = test_thread_flag(TIF_USER_RETURN_NOTIFY);

	lockdep_assert_irqs_disabled();
	lockdep_assert(!in_hardirq());
	if (!KAUS_HAS_URN || c->urn_listed)
		return;
	c->urn_listed = true;
	kaus_urn_add(&c->urn);
	if (!armed)
		clear_thread_flag(TIF_USER_RETURN_NOTIFY);
}

/* Disarmed as well if it was the last. */
static void unlist_urn(struct kaus_cpu *c)
{
	lockdep_assert_irqs_disabled();
	lockdep_assert(!in_hardirq());
	if (!c->urn_listed)
		return;
	c->urn_listed = false;
	kaus_urn_del(&c->urn);
}

static void arm_timer(struct kaus_cpu *c, u64 now, u64 next)
{
	lockdep_assert_irqs_disabled();
	if (hrtimer_is_queued(&c->timer) &&
	    ktime_to_ns(hrtimer_get_expires(&c->timer)) <=
	    next + ((next - now) >> MIN_GAIN_SHIFT))
		return;
	hrtimer_start(&c->timer, ns_to_ktime(next),
		      HRTIMER_MODE_ABS_PINNED_HARD);
}

/* The slice of the goroutine that @p runs, as far as it has been noticed. */
static u64 slice_end(struct kaus_m *m, const struct kaus_p *p, u64 word,
		     u64 now, u64 slice)
{
	u32 tick = READ_ONCE(p->slot->sched_tick);

	if (word == m->slice_word && tick == m->slice_tick)
		return m->slice_start_ns + slice;
	/*
	 * When the switch was is not known: call it now. But the first one
	 * after a redirect or a grant came right after that.
	 */
	if (m->fresh_ns && word == m->slice_word &&
	    tick == m->slice_tick + 1)
		m->slice_start_ns = m->fresh_ns;
	else
		m->slice_start_ns = now;
	m->slice_word = word;
	m->slice_tick = tick;
	m->fresh_ns = 0;
	m->nr_retries = 0;
	return m->slice_start_ns + slice;
}

/*
 * The worker may have been given a P that it has yet to fetch, and with it a
 * goroutine to run, whose slice begins now: the slot will not say so before the
 * worker is back in user mode, and the next look, a slice later, would take the
 * goroutine for a new one. Before the P is fetched no slice can be used up.
 */
static void begin_granted(struct kaus_m *m, u64 now)
{
	u64 word;
	struct kaus_p *p = kaus_shm_owned(m, READ_ONCE(m->grant), &word);

	if (!p)
		return;
	m->slice_word = word;
	m->slice_tick = READ_ONCE(p->slot->sched_tick);
	m->slice_start_ns = now;
	m->fresh_ns = now;
	m->nr_retries = 0;
}

/**
 * look_at() - What does this worker need?
 * @m: The worker that runs on this CPU.
 * @now: The time.
 * @next: Set to the time of the next look.
 *
 * Inlined, as redirect() below, for the sake of the interrupt: @next then stays
 * in a register.
 *
 * Return: true if it should be redirected; the event is set.
 */
static __always_inline bool look_at(struct kaus_m *m, u64 now, u64 *next)
{
	u64 slice = kaus_group_slice(m->group);
	u32 events = READ_ONCE(m->slot->events);
	bool force = events & (KAUS_EV_LOST | KAUS_EV_KICK);
	u64 word, end, timer_ns;
	struct kaus_p *p;

	*next = now + slice;
	p = kaus_shm_carried(m, &word);
	if (!p) {
		begin_granted(m, now);
		return force;
	}
	end = slice_end(m, p, word, now, slice);
	timer_ns = kaus_shm_timer_ns(p);
	if (now < end) {
		*next = end;
		return force;
	}
	if (timer_ns > now && !kaus_shm_has_queued(p) &&
	    !READ_ONCE(m->group->hdr->stop)) {
		*next = min(now + IDLE_SLICES * slice,
			    max(timer_ns, now + MIN_LOOK_NS));
		return force;
	}
	if (!(events & KAUS_EV_PREEMPT))
		kaus_shm_set_events(m, KAUS_EV_PREEMPT);
	return true;
}

static void try_again(struct kaus_m *m, u64 now, u64 *next)
{
	u64 retry = kaus_group_slice(m->group);

	if (m->nr_retries < MAX_RETRIES) {
		m->nr_retries++;
		retry = min_t(u64, retry, RETRY_NS);
	}
	*next = min(*next, now + retry);
}

/* Redirect the worker that runs here, or say when to try again. */
static __always_inline void redirect(struct kaus_m *m, struct pt_regs *regs,
				     u64 now, u64 *next)
{
	if (kaus_redirect(m, regs)) {
		m->fresh_ns = now;
		m->nr_retries = 0;
	} else {
		try_again(m, now, next);
	}
}

/* The worker returns to user mode and must not be one any longer. */
static void leave(struct kaus_m *m)
{
	struct pt_regs *regs = task_pt_regs(current);

	if (m->in_call)
		return;
	/* Refused: then it is the runtime that will see the event. */
	if (kaus_worker_is_owed(m))
		kaus_redirect(m, regs);
	kaus_worker_detach(m);
}

static enum hrtimer_restart slice_timer(struct hrtimer *timer)
{
	struct kaus_cpu *c = container_of(timer, struct kaus_cpu, timer);
	struct pt_regs *regs = get_irq_regs();
	bool in_user = regs && user_mode(regs) && regs == task_pt_regs(current);
	struct kaus_m *m = c->m;
	u64 now, next;

	/* A timer of a dead CPU fires elsewhere. */
	if (c != this_cpu_ptr(&kaus_cpus) || !m || m->task != current)
		return HRTIMER_NORESTART;
	if (kaus_worker_is_stale(m)) {
		if (KAUS_HAS_URN)
			arm_urn(c);
		else if (in_user)
			leave(m);
		if (KAUS_HAS_URN || in_user)
			return HRTIMER_NORESTART;
		hrtimer_set_expires(timer, ktime_add_ns(ktime_get(), RETRY_NS));
		return HRTIMER_RESTART;
	}
	kaus_stat_inc(looks);
	now = ktime_get_ns();
	if (look_at(m, now, &next)) {
		if (in_user)
			redirect(m, regs, now, &next);
		else if (KAUS_HAS_URN)
			arm_urn(c);
		else
			try_again(m, now, &next);
	}
	hrtimer_set_expires(timer, ns_to_ktime(next));
	return HRTIMER_RESTART;
}

static void user_return(struct user_return_notifier *urn)
{
	struct kaus_cpu *c = container_of(urn, struct kaus_cpu, urn);
	struct kaus_m *m = c->m;
	unsigned long flags;
	u64 now, next;

	/* Interrupts are off already but for the benefit of a future kernel. */
	local_irq_save(flags);
	unlist_urn(c);
	kaus_stat_inc(returns);
	if (!m || m->task != current)
		goto out;
	if (kaus_worker_is_stale(m)) {
		leave(m);
		goto out;
	}
	now = ktime_get_ns();
	if (look_at(m, now, &next)) {
		redirect(m, task_pt_regs(current), now, &next);
		arm_timer(c, now, next);
	}
out:
	if (c->m)
		list_urn(c);
	local_irq_restore(flags);
}

/* The IPI of kaus_preempt_poke(). */
static void poked(void *unused)
{
	struct kaus_cpu *c = this_cpu_ptr(&kaus_cpus);

	/*
	 * From here on it may be sent again, but a sender that still saw it
	 * busy relies on this interrupt: order that against reading events.
	 */
	atomic_xchg(&c->poked, 0); /* a full barrier, pairs with (A) */
	kaus_stat_inc(pokes);
	if (c->m)
		arm_urn(c);
}

/**
 * kaus_preempt_sched_in() - The worker comes on a CPU.
 * @m: Worker of the calling thread.
 * @cpu: This CPU.
 *
 * Context: Preemption off.
 */
void kaus_preempt_sched_in(struct kaus_m *m, int cpu)
{
	struct kaus_cpu *c;
	unsigned long flags;
	u64 now, next;

	local_irq_save(flags);
	c = this_cpu_ptr(&kaus_cpus);
	c->m = m;
	WRITE_ONCE(m->slot->on_cpu, cpu + 1);
	WRITE_ONCE(m->cpu, cpu);
	smp_mb(); /* (B) pairs with (A) in kaus_preempt_kick() */
	list_urn(c);
	if (kaus_worker_is_stale(m)) {
		arm_urn(c);
		goto out;
	}
	now = ktime_get_ns();
	if (look_at(m, now, &next))
		arm_urn(c);
	arm_timer(c, now, next);
out:
	local_irq_restore(flags);
}

/**
 * kaus_preempt_clear() - The worker leaves its CPU.
 * @m: Worker of the calling thread.
 *
 * Does nothing if it was not noted as running: one that detaches as soon as it
 * wakes leaves the region alone, which may be ordinary memory again by then.
 *
 * Context: Preemption off, up to under the run queue lock.
 */
void kaus_preempt_clear(struct kaus_m *m)
{
	if (m->cpu < 0)
		return;
	/* A single store each: an interrupt sees the worker here or not. */
	this_cpu_write(kaus_cpus.m, NULL);
	WRITE_ONCE(m->cpu, -1);
	WRITE_ONCE(m->slot->on_cpu, 0);
}

/**
 * kaus_preempt_poke() - Make a worker look at its state if it runs.
 * @m: The worker.
 *
 * Does not wait. The state was changed before; one that does not run now will
 * see it in sched_in.
 *
 * Context: RCU read side.
 */
void kaus_preempt_poke(struct kaus_m *m)
{
	struct kaus_cpu *c;
	int cpu;

	smp_mb(); /* (A) pairs with (B) in kaus_preempt_sched_in() */
	cpu = READ_ONCE(m->cpu);
	if (cpu < 0)
		return;
	c = per_cpu_ptr(&kaus_cpus, cpu);
	/*
	 * Senders must be kept apart: the kernel looks whether a request is
	 * busy and then makes it so, and one that is queued twice makes a loop
	 * of the CPU's list. Who finds it taken is served by the request that
	 * has yet to be handled. Nobody may lose its CPU with it in hand.
	 */
	preempt_disable();
	if (!atomic_xchg(&c->poked, 1) &&
	    smp_call_function_single_async(cpu, &c->csd))
		atomic_set(&c->poked, 0);	/* that CPU is gone */
	preempt_enable();
}

static void kick_one(struct kaus_m *m)
{
	kaus_shm_set_events(m, KAUS_EV_KICK);
	kaus_shm_count_shared(&m->slot->nr_kicks);
	kaus_stat_inc(kicks);
	trace_kaus_kick(m);
	if (kaus_group_may_interrupt(m->group))
		kaus_preempt_poke(m);
}

/**
 * kaus_preempt_kick() - KAUS_IOC_KICK.
 * @g: The caller's group.
 * @kick: Arguments; kicked is set.
 *
 * Return: 0 or an error of KAUS_IOC_KICK.
 */
int kaus_preempt_kick(struct kaus_group *g, struct kaus_kick *kick)
{
	bool all = kick->worker == KAUS_ALL;
	u32 i, end;
	struct kaus_m *m;

	if (!all && kick->worker >= g->nr_workers)
		return -EINVAL;
	i = all ? 0 : array_index_nospec(kick->worker, g->nr_workers);
	end = all ? READ_ONCE(g->ms_end) : i + 1;
	for (; i < end; i++) {
		rcu_read_lock();
		m = rcu_dereference(g->ms[i]);
		if (m && !READ_ONCE(m->gone) && !(all && m->task == current)) {
			kick_one(m);
			kick->kicked++;
		}
		rcu_read_unlock();
	}
	/*
	 * The events are set. A worker that had not seen the shutdown when it
	 * was read here, will be redirected; for the others nothing is certain.
	 */
	if (kaus_group_is_shutdown(g))
		return -ESHUTDOWN;
	return all || kick->kicked ? 0 : -ESRCH;
}

/*
 * While it is off its CPU in the kernel nothing writes to the registers it left
 * user mode with. It may come and go meanwhile, and get a signal's frame: then
 * its count of switches has changed.
 */
static int copy_regs(struct kaus_m *m, struct kaus_regs *to)
{
	const struct task_struct *task = m->task;
	const struct pt_regs *regs = task_pt_regs((struct task_struct *)task);
	unsigned long nr = READ_ONCE(task->nvcsw) + READ_ONCE(task->nivcsw);

	smp_rmb();	/* it has left the CPU since then or is off it now */
	if (READ_ONCE(m->cpu) >= 0 ||
	    !(READ_ONCE(m->slot->events) & KAUS_EV_KICK) ||
	    (long)READ_ONCE(regs->orig_ax) < 0)
		return -EBUSY;
	to->sp = READ_ONCE(regs->sp);
	to->bx = READ_ONCE(regs->bx);
	to->bp = READ_ONCE(regs->bp);
	to->r12 = READ_ONCE(regs->r12);
	to->r13 = READ_ONCE(regs->r13);
	to->r14 = READ_ONCE(regs->r14);
	to->r15 = READ_ONCE(regs->r15);
	smp_rmb();	/* the copy before the second look */
	if (READ_ONCE(m->cpu) >= 0 ||
	    nr != READ_ONCE(task->nvcsw) + READ_ONCE(task->nivcsw))
		return -EBUSY;
	return 0;
}

/**
 * kaus_preempt_regs() - KAUS_IOC_REGS.
 * @g: The caller's group.
 * @regs: Arguments and result.
 *
 * Return: 0 or an error of KAUS_IOC_REGS.
 */
int kaus_preempt_regs(struct kaus_group *g, struct kaus_regs *regs)
{
	unsigned long flags;
	struct kaus_m *m;
	int err = -ESRCH;
	u32 i;

	if (regs->worker >= g->nr_workers)
		return -EINVAL;
	i = array_index_nospec(regs->worker, g->nr_workers);
	rcu_read_lock();
	m = rcu_dereference(g->ms[i]);
	if (m) {
		/* A reference keeps the task, but not the stack of a dead one. */
		raw_spin_lock_irqsave(&m->stack_lock, flags);
		if (!m->gone)
			err = copy_regs(m, regs);
		raw_spin_unlock_irqrestore(&m->stack_lock, flags);
	}
	rcu_read_unlock();
	return err;
}

/* Bring-up: a timer that a dying CPU left behind may be queued elsewhere. */
static int online(unsigned int cpu)
{
	hrtimer_cancel(per_cpu_ptr(&kaus_cpus.timer, cpu));
	return 0;
}

/* Teardown, on the CPU itself; its workers have been moved away. */
static int offline(unsigned int cpu)
{
	struct kaus_cpu *c = per_cpu_ptr(&kaus_cpus, cpu);

	local_irq_disable();
	unlist_urn(c);
	local_irq_enable();
	hrtimer_cancel(&c->timer);
	return 0;
}

int kaus_preempt_init(void)
{
	struct kaus_cpu *c;
	int cpu, err;

	/* At run time: per-CPU data of modules is not relocated. */
	for_each_possible_cpu(cpu) {
		c = per_cpu_ptr(&kaus_cpus, cpu);
		kaus_urn_init(&c->urn, user_return);
		hrtimer_setup(&c->timer, slice_timer, CLOCK_MONOTONIC,
			      HRTIMER_MODE_ABS_PINNED_HARD);
		INIT_CSD(&c->csd, poked, NULL);
	}
	err = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "kaus:online", online,
				offline);
	if (err < 0)
		return err;
	hotplug_state = err;
	return 0;
}

static void drain_ipis(void *unused)
{
}

void kaus_preempt_exit(void)
{
	int cpu;

	/* Calls offline() on each CPU. */
	cpuhp_remove_state(hotplug_state);
	/* What a CPU that is offline now left behind. */
	for_each_possible_cpu(cpu)
		hrtimer_cancel(per_cpu_ptr(&kaus_cpus.timer, cpu));
	/* Requests to a CPU are handled in the order they were sent. */
	on_each_cpu(drain_ipis, NULL, true);
}
