/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The preemption trampoline (amd64).
 *
 * Entered as if by an interrupt: the module, or the fallback's signal handler,
 * replaced the instruction pointer of a thread that ran a goroutine. Nothing
 * was pushed; the 128 bytes below rsp may be live (red zone); rsp has any
 * alignment, all registers and flags any value. The old instruction pointer is
 * in the worker's slot. Where things are kept: the current M in the TLS
 * variable kr_tls_m, in rbx across the call; the frame in rbp.
 *
 * The frame, from rbp up (struct kr_frame in libuser/sched/preempt.h):
 *	r15 r14 r13 r12 r11 r10 r9 r8 rdi rsi rbp rbx rdx rcx rax rflags rip
 * and above it the red zone. The canonical frame address is the interrupted
 * rsp, so the return address lies at CFA - 136.
 *
 * The extended state goes to a buffer of the M, not to the goroutine's stack:
 * a goroutine stopped here keeps its M until it goes on, unless it was in a
 * function that is marked preemptible. Then C copies the state to the stack.
 */
#include "kaus_asm.h"
#include "offsets.h"

#define CFI_PUSH(reg, off)	\
	pushq	%reg;		\
	.cfi_adjust_cfa_offset 8; \
	.cfi_offset reg, off
#define CFI_POP(reg)		\
	popq	%reg;		\
	.cfi_adjust_cfa_offset -8; \
	.cfi_restore reg

	.text

FUNC_START(kr_tramp)
	.cfi_startproc
	.cfi_signal_frame
	.cfi_def_cfa rsp, 0
	/* saved_ip is not on the stack yet: no unwinding past this frame. */
	.cfi_undefined rip
	endbr64
	leaq	-136(%rsp), %rsp		/* lea leaves the flags alone */
	.cfi_adjust_cfa_offset 136
	pushfq
	.cfi_adjust_cfa_offset 8
	CFI_PUSH(rax, -152)
	movq	kr_tls_m@gottpoff(%rip), %rax
	movq	%fs:(%rax), %rax
	movq	M_SLOT(%rax), %rax
	/* From here the runtime's rule holds: no redirect, no lost P. */
	incl	KW_DEFER(%rax)
	pushq	KW_SAVED_IP(%rax)
	popq	16(%rsp)			/* address after the pop */
	.cfi_offset rip, -136
	movl	$0, KW_BUSY(%rax)
	CFI_PUSH(rcx, -160)
	CFI_PUSH(rdx, -168)
	CFI_PUSH(rbx, -176)
	CFI_PUSH(rbp, -184)
	CFI_PUSH(rsi, -192)
	CFI_PUSH(rdi, -200)
	CFI_PUSH(r8, -208)
	CFI_PUSH(r9, -216)
	CFI_PUSH(r10, -224)
	CFI_PUSH(r11, -232)
	CFI_PUSH(r12, -240)
	CFI_PUSH(r13, -248)
	CFI_PUSH(r14, -256)
	CFI_PUSH(r15, -264)
	cld
	movq	%rsp, %rbp
	.cfi_def_cfa rbp, 264
	movq	kr_tls_m@gottpoff(%rip), %rax
	movq	%fs:(%rax), %rbx

	movq	M_XSAVE(%rbx), %rdi
	movl	$-1, %eax
	movl	$-1, %edx
	cmpl	$XSAVE_COMPACT, M_XSAVE_KIND(%rbx)
	jne	.Lsave_std
	xsavec64 (%rdi)
	jmp	.Lsaved
.Lsave_std:
	cmpl	$XSAVE_STD, M_XSAVE_KIND(%rbx)
	jne	.Lsave_fx
	xsave64	(%rdi)
	jmp	.Lsaved
.Lsave_fx:
	fxsave64 (%rdi)
.Lsaved:
	/* C code runs on the M's own stack, below where its loop left it. */
	movq	M_G0_SP(%rbx), %rsp
	addq	$-128, %rsp			/* the loop's red zone, if any */
	andq	$-16, %rsp
	movq	%rbx, %rdi
	movq	%rbp, %rsi
	call	kr_preempt_upcall

	movq	M_XSAVE(%rbx), %rdi
.Lrestore:
	movl	$-1, %eax
	movl	$-1, %edx
	cmpl	$XSAVE_FX, M_XSAVE_KIND(%rbx)
	je	.Lrestore_fx
	xrstor64 (%rdi)
	jmp	.Lrestored
.Lrestore_fx:
	fxrstor64 (%rdi)
.Lrestored:
	.cfi_remember_state
	movq	M_SLOT(%rbx), %rax
	movq	%rbp, %rsp
	.cfi_def_cfa rsp, 264
	CFI_POP(r15)
	CFI_POP(r14)
	CFI_POP(r13)
	CFI_POP(r12)
	CFI_POP(r11)
	CFI_POP(r10)
	CFI_POP(r9)
	CFI_POP(r8)
	CFI_POP(rdi)
	CFI_POP(rsi)
	CFI_POP(rbp)
	CFI_POP(rbx)
	CFI_POP(rdx)
	CFI_POP(rcx)
	/* The address range keeps the next redirect away until the ret. */
	decl	KW_DEFER(%rax)
	CFI_POP(rax)
	popfq
	.cfi_adjust_cfa_offset -8
	ret	$128				/* pops rip and the red zone */
	.cfi_restore_state

	/* For unwinders, which look one byte before the address below. */
	nop
	/*
	 * A preemptible function goes on (preempt.c), on any M, by the jump of
	 * kr_swap(): rsp points to the copy of the extended state on the
	 * goroutine's stack, rbp to the frame. Preemption is off on that M.
	 */
	.globl	kr_tramp_resume
	.hidden	kr_tramp_resume
kr_tramp_resume:
	endbr64
	call	kr_preempt_resumed
	movq	%rax, %rbx
	movq	%rsp, %rdi
	jmp	.Lrestore
	.cfi_endproc
	.globl	kr_tramp_end
	.hidden	kr_tramp_end
kr_tramp_end:
FUNC_END(kr_tramp)

	.section .note.GNU-stack, "", @progbits
