// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moving a thread to the trampoline.
 *
 * DOC: The only thing the module ever does to a thread's registers is to
 * replace the instruction pointer, and only where it could as well have been
 * an interrupt that the thread came back from:
 *
 * - in the slice timer's interrupt, if that hit user mode: the registers are
 *   those of an interrupt, with which no signal or system call restart will
 *   meddle;
 * - in a user-return notifier: signals, restarts and rseq have been dealt with,
 *   nothing looks at the registers after it.
 *
 * Task work was rejected: it runs before signal delivery, where a pending
 * restart would then move the new instruction pointer two bytes back.
 *
 * The conditions below are the whole list. One that does not hold is no error:
 * the event stays pending and is tried again.
 */
#include <linux/mm.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/thread_info.h>
#include <linux/uaccess.h>
#include <asm/unistd.h>

#include "compat.h"
#include "redirect.h"
#include "rseq.h"
#include "shm.h"

/*
 * A system call such as nanosleep() that goes on after a signal: the thread
 * stands at its syscall instruction, and the remaining time is kept per
 * thread, where another goroutine's nanosleep() would overwrite it.
 */
static bool is_rewound_restart(const struct pt_regs *regs)
{
	u8 insn[2];

	if (regs->ax != __NR_restart_syscall)
		return false;
	if (copy_from_user_nofault(insn, (void __user *)regs->ip, sizeof(insn)))
		return true;
	return insn[0] == 0x0f && insn[1] == 0x05;
}

static bool is_stepped(const struct pt_regs *regs)
{
	return (regs->flags & X86_EFLAGS_TF) ||
	       test_thread_flag(TIF_SINGLESTEP) ||
	       test_thread_flag(TIF_BLOCKSTEP);
}

static bool may_redirect(const struct kaus_m *m, struct pt_regs *regs)
{
	const struct kaus_group *g = m->group;
	const struct kaus_worker *slot = m->slot;

	/* The right program, which has not begun to exit or exec. */
	if (current != m->task || current->mm != g->mm ||
	    (current->flags & PF_EXITING))
		return false;
	/* In a state in which the trampoline's code can run and return. */
	if (!user_64bit_mode(regs) || is_stepped(regs) ||
	    kaus_task_has_shstk(current))
		return false;
	if (regs->ip >= TASK_SIZE_MAX ||
	    (regs->ip >= g->tramp_lo && regs->ip < g->tramp_hi))
		return false;
	/* On a goroutine's stack: not in a signal handler or the runtime. */
	if (regs->sp < READ_ONCE(slot->stack_lo) ||
	    regs->sp >= READ_ONCE(slot->stack_hi))
		return false;
	if (READ_ONCE(slot->defer) || READ_ONCE(slot->busy))
		return false;
	return !is_rewound_restart(regs);
}

/**
 * kaus_redirect() - Make the calling thread go on in the trampoline.
 * @m: Its worker.
 * @regs: Its user registers.
 *
 * Context: Interrupts off, on the way to user mode.
 * Return: true if done, false if refused.
 */
bool kaus_redirect(struct kaus_m *m, struct pt_regs *regs)
{
	struct kaus_worker *slot = m->slot;
	unsigned long ip = regs->ip;

	if (!may_redirect(m, regs) || !kaus_rseq_leave(&ip)) {
		kaus_shm_count(&slot->nr_refused);
		return false;
	}
	WRITE_ONCE(slot->saved_ip, ip);
	barrier();	/* the worker reads on this CPU: program order is enough */
	WRITE_ONCE(slot->busy, 1);
	kaus_shm_count(&slot->nr_redirects);
	regs->ip = m->group->tramp_lo;
	return true;
}
