/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Registers that keep their values across calls (amd64 SysV ABI). */
#ifndef KR_ARCH_REGS_H
#define KR_ARCH_REGS_H

#include <stdint.h>

struct kr_regs {
	uint64_t sp, bx, bp, r12, r13, r14, r15;
};

/**
 * kr_regs_save() - What the callers of the present function have in registers.
 * @regs: Where to.
 *
 * What this function has pushed since lies above regs->sp, and stays there until
 * it returns: whoever looks at both has seen all.
 */
static inline __attribute__((always_inline)) void
kr_regs_save(struct kr_regs *regs)
{
	__asm__ __volatile__(
		"movq	%%rsp, (%0)\n\t"
		"movq	%%rbx, 8(%0)\n\t"
		"movq	%%rbp, 16(%0)\n\t"
		"movq	%%r12, 24(%0)\n\t"
		"movq	%%r13, 32(%0)\n\t"
		"movq	%%r14, 40(%0)\n\t"
		"movq	%%r15, 48(%0)"
		: : "r"(regs) : "memory");
}

#endif /* KR_ARCH_REGS_H */
