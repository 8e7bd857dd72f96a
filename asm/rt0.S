/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * main() of a program that has kaus_main() instead (libkausmain.a).
 *
 * From here to the first instruction of goroutine 1:
 *	main		this file, on the process's first stack
 *	kaus_run	reads the settings, makes Ps, registers this thread as
 *			the one that serves, starts the first Ms
 *	kr_g_start	goroutine 1 goes to the global queue
 *	kr_m_loop	an M takes it from there
 *	kr_context_entry  on the goroutine's stack, (rsp) = its struct g
 *	kr_g_main, main_g
 *	g1		this file: rdi = where main left argc, argv and envp
 *	kaus_main
 *
 * HACKING.md tells what each assembly entry expects in which register.
 */
#include "kaus_asm.h"

	.text

/*
 * int main(int argc, char **argv, char **envp)
 *
 * edi, rsi, rdx: as the C library passes them. eax: the exit status. Three
 * words are pushed for g1, which has them until kaus_run() returns.
 */
	.globl main
	.type main, @function
	.p2align 4
main:
	.cfi_startproc
	endbr64
	pushq	%rdx
	.cfi_adjust_cfa_offset 8
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	pushq	%rdi			/* rsp is 16-byte aligned again */
	.cfi_adjust_cfa_offset 8
	leaq	g1(%rip), %rdi
	movq	%rsp, %rsi
	call	kaus_run@PLT
	/* An error of the start-up, which has been explained or is rare. */
	testl	%eax, %eax
	jns	.Lstatus
	movl	$1, %eax
.Lstatus:
	addq	$24, %rsp
	.cfi_adjust_cfa_offset -24
	ret
	.cfi_endproc
FUNC_END(main)

/* int g1(void *words): rdi = argc, argv, envp. A tail call. */
	.type g1, @function
	.p2align 4
g1:
	.cfi_startproc
	endbr64
	movq	16(%rdi), %rdx
	movq	8(%rdi), %rsi
	movl	(%rdi), %edi
	jmp	kaus_main@PLT
	.cfi_endproc
FUNC_END(g1)

	.section .note.GNU-stack, "", @progbits
