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
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/user-return-notifier.h>
#include <linux/version.h>
#include <asm/prctl.h>

#ifndef CONFIG_X86_64
#error "kaus: x86-64 only"
#endif

/*
 * There is no build without preempt notifiers: the end of a thread, and that it
 * falls asleep, are known by them alone.
 */
#ifndef CONFIG_PREEMPT_NOTIFIERS
#error "kaus: this kernel has no CONFIG_PREEMPT_NOTIFIERS (it comes with KVM)"
#endif

/*
 * Without the other kind the slice timer polls for the return to user mode. A
 * worker that has been kicked in its sleep then runs some microseconds of its
 * goroutine before it is redirected, and whoever has read its registers would
 * rely on that it does not: so there is no KAUS_FEAT_REGS. KAUS_NO_URN makes
 * such a build on any kernel.
 */
#if defined(CONFIG_USER_RETURN_NOTIFIER) && !defined(KAUS_NO_URN)
#define KAUS_HAS_URN	true

static inline void kaus_urn_init(struct user_return_notifier *urn,
				 void (*fn)(struct user_return_notifier *urn))
{
	urn->on_user_return = fn;
}

static inline void kaus_urn_add(struct user_return_notifier *urn)
{
	user_return_notifier_register(urn);
}

static inline void kaus_urn_del(struct user_return_notifier *urn)
{
	user_return_notifier_unregister(urn);
}
#else
#define KAUS_HAS_URN	false

static inline void kaus_urn_init(struct user_return_notifier *urn,
				 void (*fn)(struct user_return_notifier *urn))
{
}

static inline void kaus_urn_add(struct user_return_notifier *urn)
{
}

static inline void kaus_urn_del(struct user_return_notifier *urn)
{
}
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

typedef unsigned long (*kaus_shrink_fn)(struct shrinker *shrinker,
					struct shrink_control *sc);

/* A shrinker that is at work when this returns, or NULL. */
static inline struct shrinker *kaus_shrinker_start(const char *name,
						   kaus_shrink_fn count,
						   kaus_shrink_fn scan,
						   long batch)
{
	struct shrinker *s;

#if KAUS_KERNEL_BEFORE(6, 7)
	s = kzalloc(sizeof(*s), GFP_KERNEL);
#else
	s = shrinker_alloc(0, "%s", name);
#endif
	if (!s)
		return NULL;
	s->count_objects = count;
	s->scan_objects = scan;
	s->batch = batch;
	s->seeks = DEFAULT_SEEKS;
#if KAUS_KERNEL_BEFORE(6, 7)
	if (register_shrinker(s, "%s", name)) {
		kfree(s);
		return NULL;
	}
#else
	shrinker_register(s);
#endif
	return s;
}

/* Neither function runs any more when this returns. */
static inline void kaus_shrinker_end(struct shrinker *s)
{
#if KAUS_KERNEL_BEFORE(6, 7)
	unregister_shrinker(s);
	kfree(s);
#else
	shrinker_free(s);
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
