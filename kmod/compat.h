/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between kernel versions.
 *
 * DOC: The code of this module is written for the newest kernel interface.
 * This header, and nothing else in the tree, looks at LINUX_VERSION_CODE and
 * maps that interface back to older kernels, down to 6.1. A shim goes when
 * its kernel leaves support.
 */
#ifndef _KAUS_COMPAT_H
#define _KAUS_COMPAT_H

#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/version.h>
#include <asm/prctl.h>

#ifndef CONFIG_X86_64
#error "kaus: x86-64 only"
#endif
#ifndef CONFIG_PREEMPT_NOTIFIERS
#error "kaus: this kernel has no CONFIG_PREEMPT_NOTIFIERS (it comes with KVM)"
#endif
#ifndef CONFIG_USER_RETURN_NOTIFIER
#error "kaus: this kernel has no CONFIG_USER_RETURN_NOTIFIER (it comes with KVM)"
#endif

#define KAUS_KERNEL_BEFORE(major, minor) \
	(LINUX_VERSION_CODE < KERNEL_VERSION(major, minor, 0))

#if KAUS_KERNEL_BEFORE(6, 1)
#error "kaus: needs Linux 6.1 or newer"
#endif

#if KAUS_KERNEL_BEFORE(6, 4)
#define PF_USER_WORKER	PF_IO_WORKER
#endif

#if KAUS_KERNEL_BEFORE(6, 5)
#define pin_user_pages(start, nr, flags, pages) \
	pin_user_pages(start, nr, flags, pages, NULL)
#endif

#if KAUS_KERNEL_BEFORE(6, 13)
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*fn)(struct hrtimer *),
				 clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = fn;
}
#endif

/*
 * In a sched_out notifier: has current left the run queue of its own will?
 * Since 6.12 a task that fell asleep may stay queued until its lag is gone
 * (delayed dequeue), so that on_rq alone no longer tells.
 */
static inline bool kaus_task_dequeued(const struct task_struct *task)
{
#if KAUS_KERNEL_BEFORE(6, 12)
	return !READ_ONCE(task->on_rq);
#else
	return !task_is_runnable((struct task_struct *)task);
#endif
}

/* Does @task count as frozen for the (version 2) cgroup freezer? */
static inline bool kaus_task_is_frozen(const struct task_struct *task)
{
#ifdef CONFIG_CGROUPS
	return task->frozen;
#else
	return false;
#endif
}

/* The rseq area of @task and the signature that goes with it. */
static inline struct rseq __user *kaus_task_rseq(const struct task_struct *task)
{
#ifndef CONFIG_RSEQ
	return NULL;
#elif KAUS_KERNEL_BEFORE(6, 19)
	return task->rseq;
#else
	return task->rseq.usrptr;
#endif
}

static inline u32 kaus_task_rseq_sig(const struct task_struct *task)
{
#ifndef CONFIG_RSEQ
	return 0;
#elif KAUS_KERNEL_BEFORE(6, 19)
	return task->rseq_sig;
#else
	return task->rseq.sig;
#endif
}

/*
 * A user shadow stack: the trampoline returns by an address that was never
 * pushed by a call, which such a thread may not do.
 */
static inline bool kaus_task_has_shstk(const struct task_struct *task)
{
#ifdef CONFIG_X86_USER_SHADOW_STACK
	return task->thread.features & ARCH_SHSTK_SHSTK;
#else
	return false;
#endif
}

#endif /* _KAUS_COMPAT_H */
