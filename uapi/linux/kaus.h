/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * KAUS: kernel-assisted user scheduling. The contract between kaus.ko and a
 * user-space runtime.
 *
 * A process opens /dev/kaus, prepares one region of its own memory (anonymous
 * MAP_SHARED or a memfd) and hands it to the module with KAUS_IOC_SETUP. That
 * makes a *group*. Threads of the process join it with KAUS_IOC_REGISTER and
 * are then *workers* (M). A worker carries at most one *proc* (P), the right
 * to run goroutines. The region holds:
 *
 *	+0			struct kaus_header		(one page)
 *	+KAUS_PROCS_OFFSET	struct kaus_proc[nr_procs]
 *	+ ...			struct kaus_worker[nr_workers]
 *
 * KAUS_REGION_SIZE(nr_procs, nr_workers) is its size. The module pins it and
 * keeps its own mapping, so what user space unmaps or scribbles over can hurt
 * that process only: every field is read once, range-checked and never
 * followed as a pointer. What the module may do to whom is decided by state
 * that lives in the kernel.
 *
 * Every comment on a shared field names its writer, its reader and the
 * atomicity it needs. "Worker" as a writer means the thread registered on that
 * slot, "holder" the worker that carries the P, "runtime" any thread of the
 * process. Aligned loads and stores of 4 or 8 bytes are atomic; "plain" means
 * just that, "RMW" means a locked read-modify-write.
 *
 * Protocol 1, preemption. While a worker runs in user mode and its P has
 * someone waiting (kaus_proc.runq_*, .runnext, .timer_ns, kaus_header.nr_global
 * or .stop) for a whole slice, the module replaces its instruction pointer by
 * the trampoline given to SETUP. The old value is left in
 * kaus_worker.saved_ip with .busy set; .events says why. Nothing else of the
 * thread changes: no signal, no restarted or interrupted system call. The
 * conditions for a redirect are that of the trampoline being enterable as if
 * by an interrupt: stack pointer inside [stack_lo, stack_hi), .defer zero,
 * .busy zero, the instruction pointer outside the trampoline, 64-bit code, no
 * single-stepping, no rewound restart_syscall. A thread inside an rseq
 * critical section is moved to that section's abort handler first, so that
 * .saved_ip is the abort handler. What cannot be redirected now stays in
 * .events and is tried again.
 *
 * Protocol 2, hand-off. A worker that goes to sleep inside the kernel with
 * .defer zero and P RUNNING(worker) leaves the P SLEEPING(worker). If the P
 * has someone waiting, the module gives it to a worker that sits in
 * KAUS_IOC_PARK with KAUS_PARK_POOL (or to kaus_header.next_worker), P becoming
 * RUNNING(that worker). When the sleeper wakes and nobody has taken the P, the
 * module turns it back to RUNNING(worker); else the worker is redirected with
 * KAUS_EV_LOST.
 * A runtime takes a SLEEPING P by the same compare-and-swap.
 *
 * Protocol 3, drain (ABI 1.1, KAUS_FEAT_DRAIN). The administrator may end all
 * groups, to unload the module: each gets .shutdown = KAUS_SHUTDOWN_DRAIN,
 * parked workers return -ESHUTDOWN, as does every later ioctl, and threads
 * stop being workers. Those that sleep in some system call are made to look,
 * as by a spurious wake-up, and go on sleeping. No owner word is touched: a P
 * stays RUNNING(w) with the worker it was given to, even if that one has not
 * fetched it yet, and SLEEPING(w) until the runtime takes it or w itself does.
 * A worker with KAUS_EV_KICK pending is still redirected before it returns to
 * user mode (with KAUS_FEAT_REGS), unless the descriptor is closed first. The
 * runtime goes on without the module and closes the descriptor, which is what
 * the module waits for; when the device is there again it may set up a new
 * group on the same region with KAUS_SETUP_REUSE.
 *
 * Protocol 4, page return (ABI 1.2, KAUS_FEAT_PAGES). The runtime keeps in
 * .returnable how many pages of its heap it could give back. When the kernel
 * reclaims memory from all processes, the module adds this group's share of
 * what is to be freed to .wanted, says why in .wanted_why, and wakes a service
 * worker, as if a P had found the pool empty. Which pages go, and when, is the
 * runtime's business: it takes both words (RMW, to 0) and calls madvise(). To
 * claim too much does not help it: the claim is clamped to the resident size
 * of the process, and nothing counts as freed until it is. There is one
 * wake-up per interval at most (a parameter of the module); what is wanted
 * meanwhile adds up. The module does not hear of a memory cgroup that is at
 * its limit; memory.events and memory.pressure tell of that.
 */
#ifndef _UAPI_LINUX_KAUS_H
#define _UAPI_LINUX_KAUS_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * The ABI version. A new major breaks old binaries; a new minor only adds
 * (struct members at the end, feature bits, ioctls).
 */
#define KAUS_ABI_MAJOR		1
#define KAUS_ABI_MINOR		2

/* "No such index" where a __u32 names a proc or a worker. */
#define KAUS_NONE		0xffffffffU
/* KAUS_IOC_WAKE and KAUS_IOC_HANDOFF: any worker of the pool. */
#define KAUS_ANY		0xfffffffeU
/* KAUS_IOC_KICK: all workers of the group. */
#define KAUS_ALL		0xfffffffdU
/* A deadline that never comes. */
#define KAUS_FOREVER		0xffffffffffffffffULL

/*
 * The P ownership word, kaus_proc.owner:
 *
 *	 63          32 31           8 7      0
 *	+--------------+--------------+--------+
 *	|  generation  |    worker    | state  |
 *	+--------------+--------------+--------+
 *
 * Changed by compare-and-swap only, from both sides. Whoever gives the P to
 * another worker adds one to the generation, so that a stale word never
 * compares equal.
 *
 * state	who may leave it			to
 * IDLE		runtime; module for KAUS_IOC_WAKE	RUNNING
 * RUNNING(w)	w; module when w falls asleep		IDLE, RUNNING(w2),
 *		or by KAUS_IOC_WAKE/HANDOFF		SLEEPING(w)
 * SLEEPING(w)	module when w wakes or for a pool	RUNNING(w),
 *		worker; runtime				RUNNING(w2), STOPPED
 * STOPPED	runtime (whoever stopped it)		IDLE
 */
#define KAUS_P_IDLE		0
#define KAUS_P_RUNNING		1
#define KAUS_P_SLEEPING		2
#define KAUS_P_STOPPED		3

#define KAUS_OWNER_STATE(word)	((__u32)((word) & 0xff))
#define KAUS_OWNER_WORKER(word)	((__u32)(((word) >> 8) & 0xffffff))
#define KAUS_OWNER_GEN(word)	((__u32)((word) >> 32))
#define KAUS_OWNER(state, worker, gen)				\
	(((__u64)(__u32)(gen) << 32) |				\
	 ((__u64)((worker) & 0xffffff) << 8) | (__u64)(state))

/* kaus_worker.events: why the trampoline was entered, or must be soon. */
#define KAUS_EV_PREEMPT		(1U << 0)	/* slice used up, others wait */
#define KAUS_EV_LOST		(1U << 1)	/* woke up without its P */
#define KAUS_EV_KICK		(1U << 2)	/* KAUS_IOC_KICK */

/* kaus_header.shutdown: why the group ended */
#define KAUS_SHUTDOWN_CLOSED	1
#define KAUS_SHUTDOWN_DRAIN	2

/* kaus_header.wanted_why: who reclaims memory */
#define KAUS_WANTED_DIRECT	(1U << 0)	/* a task that waits for it */
#define KAUS_WANTED_KSWAPD	(1U << 1)	/* the kernel, ahead of need */

/* Limits of the layout; KAUS_IOC_INFO tells those in force. */
#define KAUS_MAX_PROCS		1024
#define KAUS_MAX_WORKERS	65536

/**
 * struct kaus_header - First page of the region.
 * @stop: Nonzero: every P counts as having someone waiting, so that running
 *	workers are redirected at their next slice check. Runtime writes,
 *	module reads; plain.
 * @nr_global: Goroutines in queues that belong to no P. Runtime writes (RMW
 *	among its threads), module reads; a hint, may lag.
 * @slice_ns: Length of a slice. Runtime writes at any time, module reads at
 *	each check and clamps to the limits of KAUS_IOC_INFO; 0 means its
 *	default. Plain.
 * @handoff_delay_ns: How long a worker must have slept before its P is given
 *	away; 0 is at once. Runtime writes, module reads and clamps to 10 ms.
 * @shutdown: Set by the module when the group ends, to KAUS_SHUTDOWN_CLOSED
 *	(the descriptor was closed by its process) or KAUS_SHUTDOWN_DRAIN;
 *	every later ioctl fails with -ESHUTDOWN. Module writes once, runtime
 *	reads.
 * @sleeping: Bit i is set while P i may be SLEEPING: the module sets it after
 *	it wrote SLEEPING and clears it when the worker wakes; a runtime that
 *	takes the P clears it. A hint that saves scanning; RMW by both.
 * @next_worker: Index + 1 of the only worker that can go on with the first of
 *	the @nr_global goroutines, or 0. If it is parked, neither in a pool
 *	nor as a service worker, a P that is handed off with nothing in its
 *	own queue goes there. Runtime writes, module reads; plain, a hint: the
 *	worker must cope with a P that comes too late.
 * @pad: Zero.
 * @returnable: Pages of 4096 bytes that the runtime could give back. Runtime
 *	writes, module reads and clamps; plain. ABI 1.2: before, reserved.
 * @wanted: Pages that the kernel would like to have of these, since it was
 *	taken last; never more than were returnable then. Module adds (RMW),
 *	runtime takes (RMW). ABI 1.2.
 * @wanted_why: KAUS_WANTED_*. Module sets bits (RMW), runtime takes them all
 *	(RMW). ABI 1.2.
 * @pad1: Zero.
 * @reserved0: Must be zero at KAUS_IOC_SETUP; later ignored.
 * @reserved1: As @reserved0.
 * @reserved2: As @reserved0.
 * @reserved3: As @reserved0.
 * @reserved4: As @reserved0.
 */
struct kaus_header {
	__u32 stop;
	__u32 nr_global;
	__u64 slice_ns;
	__u64 handoff_delay_ns;
	__u32 next_worker;
	__u32 pad;
	__u64 reserved0[12];

	__u32 shutdown;
	__u32 reserved1[31];

	__u64 sleeping[KAUS_MAX_PROCS / 64];

	__u64 returnable;
	__u64 reserved3[15];

	__u64 wanted;
	__u32 wanted_why;
	__u32 pad1;
	__u64 reserved4[14];

	__u64 reserved2[432];
};

/**
 * struct kaus_proc - One P.
 * @sched_tick: Changes each time the holder switches to another goroutine.
 *	Holder writes, module reads; plain. The module starts a new slice
 *	when it sees a new value.
 * @runq_tail: Goroutines ever put into this P's queue. Holder writes, module
 *	and other Ms read; plain (store-release on the user side).
 * @runnext: Nonzero while a goroutine waits in the "next" seat. Runtime
 *	writes; the module only tests it for zero.
 * @timer_ns: CLOCK_MONOTONIC time of this P's earliest timer, 0 for none.
 *	Runtime writes under its own lock, module reads; plain.
 * @reserved0: Zero at setup.
 * @owner: The ownership word, see KAUS_OWNER(). Module and runtime, RMW.
 * @runq_head: Goroutines ever taken out of this P's queue; tail - head of
 *	them wait. Runtime writes (RMW, thieves), module reads.
 * @cpu: CPU this P is bound to, or KAUS_NONE. Runtime writes; advice.
 * @reserved1: Zero at setup.
 *
 * The first 128 bytes are the holder's, the second are everybody's.
 */
struct kaus_proc {
	__u32 sched_tick;
	__u32 runq_tail;
	__u64 runnext;
	__u64 timer_ns;
	__u64 reserved0[13];

	__u64 owner;
	__u32 runq_head;
	__u32 cpu;
	__u64 reserved1[14];
};

/**
 * struct kaus_worker - One registered thread (M).
 * @proc: Index of the P this worker carries or KAUS_NONE. Worker writes;
 *	module reads, and believes it only if the owner word agrees.
 * @defer: Nonzero while the worker must neither be redirected nor lose its P
 *	in a sleep (the runtime's own critical sections). Worker writes
 *	(one unlocked instruction is enough: the module looks from the same
 *	CPU), module reads.
 * @stack_lo: Lowest address of the running goroutine's stack that still
 *	leaves room for the trampoline's frame. Worker writes, module reads.
 * @stack_hi: End of that stack; stack_lo == stack_hi == 0: no redirect (the
 *	worker runs on its own stack).
 * @saved_ip: Where the redirected code goes on. Module writes before @busy,
 *	worker reads.
 * @busy: 1 from the redirect until the worker has copied @saved_ip. Module
 *	sets, worker clears; plain.
 * @events: KAUS_EV_*. Module sets bits (RMW), worker takes them all (RMW).
 * @reserved0: Zero at setup.
 * @on_cpu: CPU number + 1 while the worker is on a CPU, 0 while it is not.
 *	Module writes at each context switch, runtime reads; a hint.
 * @pad: Zero.
 * @nr_redirects: Redirects done. Module writes, runtime reads (statistics).
 * @nr_refused: Redirects put off because a condition did not hold.
 * @nr_sleeps: Sleeps while carrying a P.
 * @nr_handoffs: Sleeps whose P the module gave to another worker.
 * @nr_lost: Wake-ups without the P.
 * @nr_kicks: KAUS_IOC_KICK requests that reached this worker.
 * @reserved1: Zero at setup.
 *
 * The first 128 bytes are the worker's, the second are the module's.
 */
struct kaus_worker {
	__u32 proc;
	__u32 defer;
	__u64 stack_lo;
	__u64 stack_hi;
	__u64 saved_ip;
	__u32 busy;
	__u32 events;
	__u64 reserved0[11];

	__u32 on_cpu;
	__u32 pad;
	__u64 nr_redirects;
	__u64 nr_refused;
	__u64 nr_sleeps;
	__u64 nr_handoffs;
	__u64 nr_lost;
	__u64 nr_kicks;
	__u64 reserved1[9];
};

#define KAUS_PROCS_OFFSET	4096
#define KAUS_WORKERS_OFFSET(nr_procs) \
	(KAUS_PROCS_OFFSET + (__u64)(nr_procs) * sizeof(struct kaus_proc))
#define KAUS_REGION_SIZE(nr_procs, nr_workers)				\
	((KAUS_WORKERS_OFFSET(nr_procs) +				\
	  (__u64)(nr_workers) * sizeof(struct kaus_worker) + 4095) &	\
	 ~(__u64)4095)

/*
 * The ioctls. Each takes a pointer to a struct whose first member is its size
 * as the caller knows it. A size below that of ABI 1.0 is -EINVAL, bytes
 * beyond what the module knows must be zero or the call is -E2BIG, unknown
 * flags and nonzero padding are -EINVAL, an unknown number is -ENOTTY, an
 * unreadable pointer -EFAULT. Common to all but INFO:
 *
 * -EPERM	the caller is not of the process that called SETUP (a forked
 *		child, another program after exec, a descriptor passed on)
 * -ENXIO	SETUP has not been called on this descriptor
 * -ESHUTDOWN	the group has ended
 *
 * PARK, HANDOFF and UNREGISTER act on the calling thread, which names its own
 * worker index; -ESRCH if the caller is not registered on it.
 * All deadlines are absolute CLOCK_MONOTONIC nanoseconds.
 */
#define KAUS_IOC_TYPE		0xBC

/* struct kaus_info.features */
#define KAUS_FEAT_PREEMPT	(1ULL << 0)	/* redirect from the timer */
#define KAUS_FEAT_KICK		(1ULL << 1)	/* redirect of another CPU */
#define KAUS_FEAT_HANDOFF	(1ULL << 2)	/* P given away on sleep */
#define KAUS_FEAT_DRAIN		(1ULL << 3)	/* protocol 3; ABI 1.1 */
#define KAUS_FEAT_REGS		(1ULL << 4)	/* registers of a sleeper; 1.1 */
#define KAUS_FEAT_PAGES		(1ULL << 5)	/* protocol 4; ABI 1.2 */

/* kaus_setup.flags */
#define KAUS_SETUP_REUSE	(1U << 0)	/* needs KAUS_FEAT_DRAIN */

/**
 * struct kaus_info - KAUS_IOC_INFO: what this module can do.
 * @size: In: sizeof(struct kaus_info). Out: bytes filled in.
 * @flags: In: must be 0.
 * @abi_major: Out: KAUS_ABI_MAJOR.
 * @abi_minor: Out: KAUS_ABI_MINOR.
 * @features: Out: KAUS_FEAT_*.
 * @max_procs: Out: most procs of a group.
 * @max_workers: Out: most workers of a group.
 * @min_slice_ns: Out: shortest slice this caller may have.
 * @max_slice_ns: Out: longest slice.
 * @default_slice_ns: Out: the slice used for kaus_header.slice_ns == 0.
 */
struct kaus_info {
	__u32 size;
	__u32 flags;
	__u32 abi_major;
	__u32 abi_minor;
	__u64 features;
	__u32 max_procs;
	__u32 max_workers;
	__u64 min_slice_ns;
	__u64 max_slice_ns;
	__u64 default_slice_ns;
};

/**
 * struct kaus_setup - KAUS_IOC_SETUP: make the group.
 * @size: sizeof(struct kaus_setup).
 * @flags: 0, or KAUS_SETUP_REUSE: the region was that of an earlier group. Then
 *	what the runtime and the module write may have any value, and the
 *	module clears @shutdown, @on_cpu, @wanted and @wanted_why; only what
 *	is reserved must be zero. To a module without KAUS_FEAT_PAGES that is
 *	@returnable and what it has @wanted, too.
 * @addr: Start of the region; page-aligned, writable, all of it zero but for
 *	the fields the runtime may already have set (slice_ns,
 *	handoff_delay_ns, kaus_proc.cpu, kaus_worker.proc, and returnable
 *	with KAUS_FEAT_PAGES).
 * @len: Its length; exactly KAUS_REGION_SIZE(@nr_procs, @nr_workers).
 * @nr_procs: 1 to max_procs.
 * @nr_workers: 1 to max_workers.
 * @tramp_lo: Trampoline: entry point, and first byte of its code.
 * @tramp_hi: End of its code; redirects in [tramp_lo, tramp_hi) are refused.
 *
 * The memory counts against RLIMIT_MEMLOCK while the group lives.
 *
 * Errors: -EBUSY already set up; -ENODEV the module is being drained; -EUSERS
 * the user has as many groups as one may have; -EINVAL for a wrong address,
 * length, count or trampoline (both addresses in user space, lo < hi); -EFAULT memory not
 * there or not writable; -EOPNOTSUPP memory of a kind that cannot be pinned
 * for long (a file mapping) or a caller with a user shadow stack or in 32-bit
 * mode; -ENOMEM; -EMFILE RLIMIT_MEMLOCK would be exceeded.
 */
struct kaus_setup {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 len;
	__u32 nr_procs;
	__u32 nr_workers;
	__u64 tramp_lo;
	__u64 tramp_hi;
};

/**
 * struct kaus_register - KAUS_IOC_REGISTER and KAUS_IOC_UNREGISTER.
 * @size: sizeof(struct kaus_register).
 * @flags: Must be 0.
 * @worker: Worker index, below nr_workers.
 * @pad: Must be 0.
 *
 * REGISTER makes the calling thread the worker @worker, until it unregisters
 * or exits. Errors: -EINVAL index out of range; -EBUSY the slot is taken or
 * the thread is a worker already (of this or another group); -EOPNOTSUPP as
 * for SETUP; -ENOMEM.
 * UNREGISTER ends that; a P it still carries is left as it is.
 */
struct kaus_register {
	__u32 size;
	__u32 flags;
	__u32 worker;
	__u32 pad;
};

/* kaus_park.flags, kaus_handoff.flags */
#define KAUS_PARK_POOL		(1U << 0)	/* may be given any P */
#define KAUS_PARK_SERVICE	(1U << 1)	/* wake me when the pool is empty */

/**
 * struct kaus_park - KAUS_IOC_PARK: sleep until woken or given a P.
 * @size: sizeof(struct kaus_park).
 * @flags: KAUS_PARK_POOL: the module, or a KAUS_ANY wake, may give this
 *	worker a P. KAUS_PARK_SERVICE: woken also when a P with someone
 *	waiting could not be handed off because the pool is empty. Not both
 *	(-EINVAL).
 * @worker: The caller's own index.
 * @home: P whose pool to wait in (the one carried last, so that hand-offs
 *	stay on its CPU), or KAUS_NONE. -EINVAL if out of range.
 * @deadline_ns: When to give up; KAUS_FOREVER never.
 * @proc: Out: index of the P now RUNNING(worker), or KAUS_NONE if woken
 *	without one. Written on success only.
 * @pad: Must be 0.
 *
 * A wake-up or a P given before the call ends it at once: nothing is lost.
 * The pools are LIFO. Errors: -ETIMEDOUT; -EINTR or a restart after a signal
 * (a P given in that moment is returned by the next PARK); -ESHUTDOWN also
 * for those parked when the group ends.
 */
struct kaus_park {
	__u32 size;
	__u32 flags;
	__u32 worker;
	__u32 home;
	__u64 deadline_ns;
	__u32 proc;
	__u32 pad;
};

/**
 * struct kaus_wake - KAUS_IOC_WAKE: wake a parked worker, giving it a P or not.
 * @size: sizeof(struct kaus_wake).
 * @flags: Must be 0.
 * @worker: Index of the worker, or KAUS_ANY for the pool (then @proc must
 *	name a P).
 * @proc: P to give, or KAUS_NONE for a bare wake-up.
 * @owner: Value that the P's owner word must have; it becomes
 *	RUNNING(the woken worker) with the next generation.
 *
 * May be called by any thread of the process. Errors: -EAGAIN KAUS_ANY and
 * nobody is parked in the pool; -EBUSY the owner word had another value, or
 * the worker still has an earlier P to fetch; -ESRCH no thread is registered
 * on that slot; -EINVAL index out of range.
 */
struct kaus_wake {
	__u32 size;
	__u32 flags;
	__u32 worker;
	__u32 proc;
	__u64 owner;
};

/**
 * struct kaus_handoff - KAUS_IOC_HANDOFF: WAKE another and PARK, in one call.
 * @size: sizeof(struct kaus_handoff).
 * @flags: As kaus_park.flags.
 * @worker: The caller's own index.
 * @home: As kaus_park.home.
 * @deadline_ns: As kaus_park.deadline_ns.
 * @target: As kaus_wake.worker; not the caller itself (-EINVAL).
 * @target_proc: As kaus_wake.proc.
 * @owner: As kaus_wake.owner.
 * @proc: Out: as kaus_park.proc.
 * @woken: Out: 1 once the wake-up part has been done, also when the call
 *	then fails with -EINTR, -ETIMEDOUT or -ESHUTDOWN. 0: nothing was
 *	done, the error is one of KAUS_IOC_WAKE. In: must be 0.
 *
 * A caller interrupted with @woken set goes on with KAUS_IOC_PARK.
 */
struct kaus_handoff {
	__u32 size;
	__u32 flags;
	__u32 worker;
	__u32 home;
	__u64 deadline_ns;
	__u32 target;
	__u32 target_proc;
	__u64 owner;
	__u32 proc;
	__u32 woken;
};

/**
 * struct kaus_kick - KAUS_IOC_KICK: redirect workers now, wherever they run.
 * @size: sizeof(struct kaus_kick).
 * @flags: Must be 0.
 * @worker: Index, or KAUS_ALL for every registered worker but the caller.
 * @kicked: Out: how many were asked. In: must be 0.
 *
 * Sets KAUS_EV_KICK and interrupts the CPUs they run on. Does not wait; a
 * worker that sleeps is not woken and finds the event when it returns to user
 * mode. Beyond the administrator's limit of kicks per second no CPU is
 * interrupted, and who runs finds the event at its next slice check. Errors:
 * -ESRCH no thread on that slot; -EINVAL index out of range.
 */
struct kaus_kick {
	__u32 size;
	__u32 flags;
	__u32 worker;
	__u32 kicked;
};

/**
 * struct kaus_regs - KAUS_IOC_REGS: registers of a worker that sleeps.
 * @size: sizeof(struct kaus_regs).
 * @flags: Must be 0.
 * @worker: Its index.
 * @pad: Must be 0.
 * @sp: Out: its user stack pointer.
 * @bx: Out: as it was when the worker made the system call it sleeps in.
 * @bp: Out: as @bx.
 * @r12: Out: as @bx.
 * @r13: Out: as @bx.
 * @r14: Out: as @bx.
 * @r15: Out: as @bx.
 *
 * For a worker that is off its CPU in a system call and has KAUS_EV_KICK
 * pending, which sees to it that it does not go on from there before it is
 * redirected: what is reported stays true until then. Other registers are dead
 * in a system call that a function makes. Errors: -EBUSY it is not so: it runs,
 * or it was interrupted, or has no such event; -ESRCH no thread on that slot;
 * -EINVAL index out of range; -EOPNOTSUPP no KAUS_FEAT_REGS: the kernel has no
 * user-return notifiers, and a thread that was kicked in its sleep, or has lost
 * its P there, runs for some time before it is redirected.
 */
struct kaus_regs {
	__u32 size;
	__u32 flags;
	__u32 worker;
	__u32 pad;
	__u64 sp;
	__u64 bx;
	__u64 bp;
	__u64 r12;
	__u64 r13;
	__u64 r14;
	__u64 r15;
};

#define KAUS_IOC_INFO		_IO(KAUS_IOC_TYPE, 0x00) /* struct kaus_info */
#define KAUS_IOC_SETUP		_IO(KAUS_IOC_TYPE, 0x01) /* struct kaus_setup */
#define KAUS_IOC_REGISTER	_IO(KAUS_IOC_TYPE, 0x02) /* struct kaus_register */
#define KAUS_IOC_UNREGISTER	_IO(KAUS_IOC_TYPE, 0x03) /* struct kaus_register */
#define KAUS_IOC_PARK		_IO(KAUS_IOC_TYPE, 0x04) /* struct kaus_park */
#define KAUS_IOC_WAKE		_IO(KAUS_IOC_TYPE, 0x05) /* struct kaus_wake */
#define KAUS_IOC_HANDOFF	_IO(KAUS_IOC_TYPE, 0x06) /* struct kaus_handoff */
#define KAUS_IOC_KICK		_IO(KAUS_IOC_TYPE, 0x07) /* struct kaus_kick */
#define KAUS_IOC_REGS		_IO(KAUS_IOC_TYPE, 0x08) /* struct kaus_regs */

#if defined(__cplusplus)
#define __KAUS_ASSERT(expr, msg) static_assert(expr, msg)
#else
#define __KAUS_ASSERT(expr, msg) _Static_assert(expr, msg)
#endif
__KAUS_ASSERT(sizeof(struct kaus_header) == 4096, "kaus_header");
__KAUS_ASSERT(sizeof(struct kaus_proc) == 256, "kaus_proc");
__KAUS_ASSERT(sizeof(struct kaus_worker) == 256, "kaus_worker");
__KAUS_ASSERT(sizeof(struct kaus_info) == 56, "kaus_info");
__KAUS_ASSERT(sizeof(struct kaus_setup) == 48, "kaus_setup");
__KAUS_ASSERT(sizeof(struct kaus_register) == 16, "kaus_register");
__KAUS_ASSERT(sizeof(struct kaus_park) == 32, "kaus_park");
__KAUS_ASSERT(sizeof(struct kaus_wake) == 24, "kaus_wake");
__KAUS_ASSERT(sizeof(struct kaus_handoff) == 48, "kaus_handoff");
__KAUS_ASSERT(sizeof(struct kaus_kick) == 16, "kaus_kick");
__KAUS_ASSERT(sizeof(struct kaus_regs) == 72, "kaus_regs");

#endif /* _UAPI_LINUX_KAUS_H */
