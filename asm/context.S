/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Voluntary context switch and first entry of a goroutine (amd64 SysV ABI).
 *
 * A voluntary switch is a function call: only callee-saved state crosses it,
 * that is rbx, rbp, r12-r15, the x87 control word and mxcsr. The saved context
 * is one stack pointer:
 *
 *	sp +  0	mxcsr (4 bytes), x87 control word (2), padding (2)
 *	sp +  8	r15, r14, r13, r12, rbx, rbp
 *	sp + 56	return address
 */
#include "kaus_asm.h"

	.text

/*
 * void kr_context_swap(void **save_sp, void *to_sp)
 *
 * rdi: where to leave the present context's sp; rsi: sp of the context to go
 * on with. Returns in that context. Clobbers what a call clobbers. Any stack;
 * no system call. The return is a jump: the return predictor knows nothing of
 * the other stack, an indirect branch at least has a history.
 */
FUNC_START(kr_context_swap)
	.cfi_startproc
	endbr64
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r15, 0
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	movl	(%rsp), %eax
	movw	4(%rsp), %cx
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	/* Same frame layout on the new stack: the CFI above stays true. */
	cmpl	(%rsp), %eax
	je	.Lmxcsr_same
	ldmxcsr	(%rsp)
.Lmxcsr_same:
	cmpw	4(%rsp), %cx
	je	.Lfcw_same
	fldcw	4(%rsp)
.Lfcw_same:
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	popq	%rcx
	.cfi_adjust_cfa_offset -8
	.cfi_register rip, rcx
	jmp	*%rcx
	.cfi_endproc
FUNC_END(kr_context_swap)

/*
 * First instructions of a goroutine, reached by the jump above from a frame
 * that kr_context_init() made: rbx holds the struct g, rbp is 0 and the stack
 * is 16-byte aligned. Unwinders stop here.
 */
FUNC_START(kr_context_entry)
	.cfi_startproc
	.cfi_undefined rip
	endbr64
	movq	%rbx, %rdi
	call	kr_g_main
	ud2
	.cfi_endproc
FUNC_END(kr_context_entry)

	.section .note.GNU-stack, "", @progbits
