/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* System calls without the C library. */
#include "kaus_asm.h"

	.text

/*
 * long kaus_raw_syscall(long nr, long a, long b, long c, long d, long e, long f)
 *
 * In: rdi, rsi, rdx, rcx, r8, r9 and one on the stack, as for any function.
 * The kernel wants rax, rdi, rsi, rdx, r10, r8, r9; it clobbers rcx and r11.
 * Out: rax, from -4095 to -1 an error. Touches neither errno nor the stack.
 */
	.globl kaus_raw_syscall
	.type kaus_raw_syscall, @function
	.p2align 4
kaus_raw_syscall:
	.cfi_startproc
	endbr64
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
	ret
	.cfi_endproc
FUNC_END(kaus_raw_syscall)

	.section .note.GNU-stack, "", @progbits
