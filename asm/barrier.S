/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What a store has overwritten is told (libuser/gc/barrier.c), by a jump from
 * code in line in programs, which uses no stack and few registers: so the
 * compiler keeps what it has where it is, and a function that stores is no
 * other than one that does not.
 *
 * In: rdi: where; rsi: what was there; rax: where to go on. Clobbers rax, rcx,
 * rdx and the flags.
 */
#include "kaus_asm.h"
#include "offsets.h"

	.text

/*
 * Usually it is one more word in a buffer of the M. A goroutine that is
 * preempted between the first instruction and the end goes on at the first one
 * (kr_preempt_upcall()): it may have another M then, and the cycle may be
 * another one. So to a cycle that begins or ends this happens at once.
 */
	.globl kaus_gc_tell
	.type kaus_gc_tell, @function
	.p2align 4
kaus_gc_tell:
	.globl	kr_tell
	.hidden	kr_tell
kr_tell:
	.cfi_startproc
	.cfi_def_cfa rsp, 0
	.cfi_register rip, rax
	endbr64
	testq	%rsi, %rsi
	je	.Ldone
	cmpl	$0, kr_gc_tells(%rip)
	je	.Lslow
	movq	kr_tls_m@gottpoff(%rip), %rcx
	movq	%fs:(%rcx), %rcx
	testq	%rcx, %rcx
	je	.Lslow
	movq	M_SLOT(%rcx), %rdx
	cmpl	$0, KW_DEFER(%rdx)
	jne	.Lslow
	movq	M_TOLD(%rcx), %rdx
	testq	%rdx, %rdx
	je	.Lslow
	movq	(%rdx), %rcx
	cmpq	$TOLD_MAX, %rcx
	je	.Lslow
	movq	%rsi, 8(%rdx,%rcx,8)
	incq	%rcx
	movq	%rcx, (%rdx)
.Ldone:
	jmp	*%rax
	.globl	kr_tell_end
	.hidden	kr_tell_end
kr_tell_end:

/*
 * The buffer is full, there is none yet, or the caller is no goroutine: C does
 * it, with all registers saved on this stack.
 */
.Lslow:
	leaq	-128(%rsp), %rsp		/* the red zone */
	.cfi_adjust_cfa_offset 128
	pushq	%rax
	.cfi_adjust_cfa_offset 8
	.cfi_offset rip, -136
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_offset rbp, -144
	movq	%rsp, %rbp
	.cfi_def_cfa rbp, 144
	pushq	%rdi
	pushq	%rsi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	movl	kr_gc_xsave_bytes(%rip), %eax
	subq	%rax, %rsp
	andq	$-64, %rsp
	/* The header, which no instruction writes as a whole. */
	xorl	%eax, %eax
	leaq	512(%rsp), %rdx
	movl	$8, %ecx
.Lclear:
	movq	%rax, -8(%rdx,%rcx,8)
	decl	%ecx
	jne	.Lclear
	movl	$-1, %eax
	movl	$-1, %edx
	cmpl	$XSAVE_COMPACT, kr_gc_xsave_kind(%rip)
	jne	.Lsave_std
	xsavec64 (%rsp)
	jmp	.Lsaved
.Lsave_std:
	cmpl	$XSAVE_STD, kr_gc_xsave_kind(%rip)
	jne	.Lsave_fx
	xsave64	(%rsp)
	jmp	.Lsaved
.Lsave_fx:
	fxsave64 (%rsp)
.Lsaved:
	call	kr_gc_tell_slow
	movl	$-1, %eax
	movl	$-1, %edx
	cmpl	$XSAVE_FX, kr_gc_xsave_kind(%rip)
	je	.Lrestore_fx
	xrstor64 (%rsp)
	jmp	.Lrestored
.Lrestore_fx:
	fxrstor64 (%rsp)
.Lrestored:
	leaq	-48(%rbp), %rsp
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rsi
	popq	%rdi
	popq	%rbp
	.cfi_def_cfa rsp, 136
	.cfi_restore rbp
	popq	%rax
	.cfi_adjust_cfa_offset -8
	.cfi_register rip, rax
	leaq	128(%rsp), %rsp
	.cfi_adjust_cfa_offset -128
	jmp	*%rax
	.cfi_endproc
FUNC_END(kaus_gc_tell)

	.section .note.GNU-stack, "", @progbits
