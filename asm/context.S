/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* First entry of a goroutine (amd64 SysV ABI); the switch is in swap.h. */
#include "kaus_asm.h"

	.text

/*
 * First instructions of a goroutine, reached by the jump of kr_swap():
 * kr_context_init() left the struct g at rsp, the stack is 16-byte aligned,
 * rbp is 0. Unwinders stop here.
 */
FUNC_START(kr_context_entry)
	.cfi_startproc
	.cfi_undefined rip
	endbr64
	movq	(%rsp), %rdi
	call	kr_g_main
	ud2
	.cfi_endproc
FUNC_END(kr_context_entry)

/*
 * void kr_context_peek(const struct kr_saved *parked, void (*fn)(void *),
 *			void *arg)
 *
 * rdi: what kr_swap() saved of a context that nobody resumes meanwhile; rsi:
 * called with rdx on that context's stack, below what it holds and a red zone.
 * To an unwinder fn's caller is the place where the context left; what the
 * callee-saved registers held there is in the frame of the function that left.
 * Clobbers what a call clobbers; fn must return.
 */
FUNC_START(kr_context_peek)
	.cfi_startproc
	endbr64
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r12, 0
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	.cfi_remember_state
	movq	(%rdi), %rbx		/* parked sp, ip, bp */
	movq	8(%rdi), %rax
	movq	%rax, -136(%rbx)
	movq	16(%rdi), %rax
	movq	%rax, -144(%rbx)
	movq	%rsp, %r12
	leaq	-144(%rbx), %rsp
	andq	$-16, %rsp
	.cfi_def_cfa rbx, 0
	.cfi_offset rip, -136
	.cfi_offset rbp, -144
	.cfi_undefined rbx
	.cfi_undefined r12
	movq	%rdx, %rdi
	call	*%rsi
	movq	%r12, %rsp
	.cfi_restore_state
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	ret
	.cfi_endproc
FUNC_END(kr_context_peek)

	.section .note.GNU-stack, "", @progbits
