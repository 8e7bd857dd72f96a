// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restartable sequences of a thread that is about to be redirected.
 *
 * DOC: The kernel aborts an rseq critical section when it preempts or migrates
 * the thread, by looking at where the thread is. After a redirect that is the
 * trampoline, outside of any section, so that the kernel would only forget the
 * section and the thread would go on in the middle of it, on another CPU
 * maybe. Therefore the redirect aborts it, by the kernel's rules (see
 * rseq_ip_fixup() in kernel/rseq.c): the thread goes on at the abort handler.
 * What the kernel would punish with SIGSEGV is left for it to find.
 *
 * Context: Interrupts off, on the thread itself; user memory is read without
 * faulting it in. A section whose descriptor is paged out is refused.
 */
#include <linux/rseq.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "rseq.h"

static bool is_valid(const struct rseq_cs *cs)
{
	u32 sig;

	if (cs->version || cs->flags)
		return false;
	if (cs->start_ip >= TASK_SIZE_MAX ||
	    cs->post_commit_offset > TASK_SIZE_MAX - cs->start_ip)
		return false;
	if (cs->abort_ip < sizeof(sig) || cs->abort_ip >= TASK_SIZE_MAX ||
	    cs->abort_ip - cs->start_ip < cs->post_commit_offset)
		return false;
	if (copy_from_user_nofault(&sig,
				   (void __user *)(cs->abort_ip - sizeof(sig)),
				   sizeof(sig)))
		return false;
	return sig == kaus_task_rseq_sig(current);
}

/*
 * The pointer to the descriptor of the section, for each redirect and thus
 * with nothing but the access. Beyond that copy_from_user_nofault() makes sure
 * that the page table is the thread's, which it is: user mode was interrupted
 * or is about to be entered.
 */
static bool read_section(const struct rseq __user *rseq, u64 *addr)
{
	bool ok = false;

	pagefault_disable();
	if (!user_read_access_begin(&rseq->rseq_cs, sizeof(rseq->rseq_cs)))
		goto out;
	unsafe_get_user(*addr, &rseq->rseq_cs, fault);
	ok = true;
fault:
	user_read_access_end();
out:
	pagefault_enable();
	return ok;
}

/*
 * Out of line: most threads are in no section, and only here are things on the
 * stack that the compiler wants to guard.
 */
static noinline unsigned long leave(struct rseq __user *rseq, u64 addr,
				    unsigned long ip)
{
	struct rseq_cs cs;

	if (addr >= TASK_SIZE_MAX ||
	    copy_from_user_nofault(&cs, (void __user *)addr, sizeof(cs)))
		return 0;
	/* The pointer is cleared lazily: the thread may be out already. */
	if (ip - cs.start_ip >= cs.post_commit_offset)
		return ip;
	if (!is_valid(&cs))
		return 0;
	addr = 0;
	if (copy_to_user_nofault(&rseq->rseq_cs, &addr, sizeof(addr)))
		return 0;
	return cs.abort_ip;
}

/**
 * kaus_rseq_leave() - Abort the critical section that current is in, if any.
 * @ip: Where current is.
 *
 * Return: Where it has to go on: @ip or the abort handler. 0 if an abort is
 * impossible now; then nothing has been changed.
 */
unsigned long kaus_rseq_leave(unsigned long ip)
{
	struct rseq __user *rseq = kaus_task_rseq(current);
	u64 addr;

	if (!rseq)
		return ip;
	if (!read_section(rseq, &addr))
		return 0;
	return addr ? leave(rseq, addr, ip) : ip;
}
