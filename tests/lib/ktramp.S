/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The trampolines of the module tests. Entered by the module as if by an
 * interrupt: nothing pushed, the 128 bytes under %rsp in use, alignment, flags
 * and every register arbitrary. The interrupted address is in the slot's
 * .saved_ip until .busy is cleared.
 *
 * kw_tramp() - keep the general registers and the flags, call kw_entered().
 *	The hook must not touch vector or x87 registers.
 * kw_tramp_x() - the same, with all of the extended state, so that the hook
 *	may be any C code.
 *
 * Frame, from the interrupted %rsp down: 128 bytes red zone, return address,
 * flags, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8 .. r15 (struct kw_regs).
 * .defer is raised before .busy goes down, so that there is no second entry
 * before the registers are back; lowered again inside the range, where the
 * module looks at the instruction pointer.
 * Clobbers nothing. `ret $128` takes the address and the red zone in one
 * instruction, which leaves no window in which the frame is half gone.
 */

	.set	SELF_SLOT, 0		/* struct kw_self */
	.set	SLOT_DEFER, 4		/* struct kaus_worker */
	.set	SLOT_SAVED_IP, 24
	.set	SLOT_BUSY, 32
	.set	FRAME_IP, 16		/* seen from rax, just pushed */

	.macro	push_reg reg
	pushq	\reg
	.cfi_adjust_cfa_offset 8
	.endm

	.macro	pop_reg reg
	popq	\reg
	.cfi_adjust_cfa_offset -8
	.endm

	.macro	frame_enter
	.cfi_startproc simple
	.cfi_signal_frame
	.cfi_def_cfa %rsp, 0
	.cfi_undefined %rip
	endbr64
	leaq	-136(%rsp), %rsp
	.cfi_adjust_cfa_offset 136
	.cfi_offset %rip, -136
	pushfq
	.cfi_adjust_cfa_offset 8
	push_reg %rax
	.cfi_rel_offset %rax, 0
	movq	%fs:kw_self@tpoff + SELF_SLOT, %rax
	/* popq computes its address after it has moved %rsp. */
	pushq	SLOT_SAVED_IP(%rax)
	popq	FRAME_IP(%rsp)
	incl	SLOT_DEFER(%rax)
	movl	$0, SLOT_BUSY(%rax)
	.irp	r, %rcx, %rdx, %rbx, %rbp, %rsi, %rdi, %r8, %r9, %r10, %r11
	push_reg \r
	.cfi_rel_offset \r, 0
	.endr
	.irp	r, %r12, %r13, %r14, %r15
	push_reg \r
	.cfi_rel_offset \r, 0
	.endr
	cld
	movq	%rsp, %rdi
	movq	%rsp, %rbx
	.cfi_def_cfa_register %rbx
	.endm

	.macro	frame_leave
	movq	%rbx, %rsp
	.cfi_def_cfa_register %rsp
	.irp	r, %r15, %r14, %r13, %r12, %r11, %r10, %r9, %r8, %rdi, %rsi
	pop_reg	\r
	.cfi_same_value \r
	.endr
	.irp	r, %rbp, %rbx, %rdx, %rcx
	pop_reg	\r
	.cfi_same_value \r
	.endr
	movq	%fs:kw_self@tpoff + SELF_SLOT, %rax
	decl	SLOT_DEFER(%rax)
	pop_reg	%rax
	.cfi_same_value %rax
	popfq
	.cfi_adjust_cfa_offset -8
	ret	$128
	.cfi_endproc
	.endm

	.text
	.p2align 6
	.globl	kw_tramp
	.type	kw_tramp, @function
kw_tramp:
	frame_enter
	andq	$-16, %rsp
	call	kw_entered
	frame_leave
	.size	kw_tramp, . - kw_tramp

/*
 * void kw_tramp_spin(const volatile unsigned int *flag)
 * %rdi: flag. A leaf in the range of kw_tramp, where no redirect may happen.
 */
	.p2align 4
	.globl	kw_tramp_spin
	.type	kw_tramp_spin, @function
kw_tramp_spin:
	.cfi_startproc
	endbr64
1:	pause
	cmpl	$0, (%rdi)
	je	1b
	ret
	.cfi_endproc
	.size	kw_tramp_spin, . - kw_tramp_spin
	.globl	kw_tramp_end
kw_tramp_end:
	nop

	.p2align 6
	.globl	kw_tramp_x
	.type	kw_tramp_x, @function
kw_tramp_x:
	frame_enter
	movq	kw_xstate_size(%rip), %rcx
	testq	%rcx, %rcx
	jz	fx_save
	subq	%rcx, %rsp
	andq	$-64, %rsp
	/* XSAVE leaves most of the header alone, XRSTOR wants it zero. */
	xorl	%eax, %eax
	.irp	o, 512, 520, 528, 536, 544, 552, 560, 568
	movq	%rax, \o(%rsp)
	.endr
	movl	kw_xstate_mask(%rip), %eax
	movl	kw_xstate_mask + 4(%rip), %edx
	xsave64	(%rsp)
	movq	%rsp, %r12
	/* C may count on the masks and the rounding of the ABI. */
	fninit
	pushq	$0x1f80
	ldmxcsr	(%rsp)
	movq	%r12, %rsp
	call	kw_entered
	movq	%r12, %rsp
	movl	kw_xstate_mask(%rip), %eax
	movl	kw_xstate_mask + 4(%rip), %edx
	xrstor64 (%rsp)
	jmp	restored
fx_save:
	subq	$512, %rsp
	andq	$-16, %rsp
	fxsave64 (%rsp)
	movq	%rsp, %r12
	fninit
	pushq	$0x1f80
	ldmxcsr	(%rsp)
	movq	%r12, %rsp
	call	kw_entered
	movq	%r12, %rsp
	fxrstor64 (%rsp)
restored:
	frame_leave
	.size	kw_tramp_x, . - kw_tramp_x
	.globl	kw_tramp_x_end
kw_tramp_x_end:
	nop

	.section .note.GNU-stack, "", @progbits
