/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * _start, for programs that are linked without the C library's start-up files
 * (-nostartfiles, libkausmain.a). With them this file is not taken from the
 * archive.
 *
 * The kernel's contract (System V ABI for AMD64, 3.4.1): rsp is 16-byte
 * aligned and points to argc, then argv and a null, then envp; rdx is a
 * function to register with atexit(); rbp is unspecified, and zero marks the
 * outermost frame.
 */
#include "kaus_asm.h"

	.text

	.globl _start
	.type _start, @function
	.p2align 4
_start:
	.cfi_startproc
	.cfi_undefined rip
	endbr64
	xorl	%ebp, %ebp
	movq	%rdx, %r9		/* rtld_fini */
	movq	(%rsp), %rsi		/* argc */
	leaq	8(%rsp), %rdx		/* argv */
	leaq	main(%rip), %rdi
	xorl	%ecx, %ecx		/* init, fini: it finds them itself */
	xorl	%r8d, %r8d
	pushq	%rsp			/* stack_end, with a pad for alignment */
	pushq	%rsp
	movq	%rsp, %rax
	addq	$16, %rax
	movq	%rax, (%rsp)
	call	*__libc_start_main@GOTPCREL(%rip)
	hlt
	.cfi_endproc
FUNC_END(_start)

	/*
	 * What crti.o has, and crt1.o for a static program that needs no
	 * relocation (so not for -static-pie): there is nothing to do in them.
	 */
	.globl _init
	.globl _fini
	.globl _dl_relocate_static_pie
	.hidden _dl_relocate_static_pie
	.type _init, @function
	.type _fini, @function
	.type _dl_relocate_static_pie, @function
_init:
_fini:
_dl_relocate_static_pie:
	endbr64
	ret
FUNC_END(_init)
FUNC_END(_fini)
FUNC_END(_dl_relocate_static_pie)

	/* What crtbegin.o has: to atexit() null is the program. */
	.section .rodata
	.globl __dso_handle
	.hidden __dso_handle
	.type __dso_handle, @object
	.p2align 3
__dso_handle:
	.quad	0
	.size __dso_handle, 8

	.section .note.GNU-stack, "", @progbits
