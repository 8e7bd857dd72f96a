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
#include "stats.h"
#include "trace.h"

/*
 * Is this, with restart_syscall() in %rax, a system call such as nanosleep()
 * that goes on after a signal? Then the thread stands at its syscall
 * instruction, and the remaining time is kept per thread, where another
 * goroutine's nanosleep() would overwrite it. Out of line: the buffer would
 * make the compiler guard the stack of each redirect.
 */
static noinline bool is_at_syscall(const struct pt_regs *regs)
{
	u8 insn[2];

	if (copy_from_user_nofault(insn, (void __user *)regs->ip, sizeof(insn)))
		return true;
	return insn[0] == 0x0f && insn[1] == 0x05;
}

static bool is_stepped(const struct pt_regs *regs)
{
	return (regs->flags & X86_EFLAGS_TF) ||
	       (read_thread_flags() & (_TIF_SINGLESTEP | _TIF_BLOCKSTEP));
}

/* KAUS_REFUSED_NOT if the thread may be redirected. */
static enum kaus_refused check(const struct kaus_m *m, struct pt_regs *regs)
{
	const struct kaus_group *g = m->group;
	const struct kaus_worker *slot = m->slot;

	/* The right program, which has not begun to exit or exec. */
	if (current != m->task || current->mm != g->mm ||
	    (current->flags & PF_EXITING))
		return KAUS_REFUSED_PROGRAM;
	/* In a state in which the trampoline's code can run and return. */
	if (!user_64bit_mode(regs) || kaus_task_has_shstk(current) ||
	    regs->ip >= TASK_SIZE_MAX)
		return KAUS_REFUSED_MODE;
	if (is_stepped(regs))
		return KAUS_REFUSED_STEP;
	if (regs->ip >= g->tramp_lo && regs->ip < g->tramp_hi)
		return KAUS_REFUSED_TRAMP;
	/* On a goroutine's stack: not in a signal handler or the runtime. */
	if (regs->sp < READ_ONCE(slot->stack_lo) ||
	    regs->sp >= READ_ONCE(slot->stack_hi))
		return KAUS_REFUSED_STACK;
	if (READ_ONCE(slot->defer))
		return KAUS_REFUSED_DEFER;
	if (READ_ONCE(slot->busy))
		return KAUS_REFUSED_BUSY;
	if (regs->ax == __NR_restart_syscall && is_at_syscall(regs))
		return KAUS_REFUSED_RESTART;
	return KAUS_REFUSED_NOT;
}

static bool refuse(struct kaus_m *m, struct pt_regs *regs,
		   enum kaus_refused reason)
{
	kaus_shm_count(&m->slot->nr_refused);
	kaus_stat_inc(refused[reason]);
	trace_kaus_refuse(m, regs->ip, reason);
	return false;
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
	enum kaus_refused reason = check(m, regs);
	struct kaus_worker *slot = m->slot;
	unsigned long ip;

	if (reason)
		return refuse(m, regs, reason);
	ip = kaus_rseq_leave(regs->ip);
	if (!ip)
		return refuse(m, regs, KAUS_REFUSED_RSEQ);
	WRITE_ONCE(slot->saved_ip, ip);
	barrier();	/* the worker reads on this CPU: program order is enough */
	WRITE_ONCE(slot->busy, 1);
	kaus_shm_count(&slot->nr_redirects);
	kaus_stat_inc(redirects);
	trace_kaus_redirect(m, ip);
	regs->ip = m->group->tramp_lo;
	return true;
}
