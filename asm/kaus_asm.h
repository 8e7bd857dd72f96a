/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Macros of the assembly files. Never include from C. */
#ifndef KAUS_ASM_H
#define KAUS_ASM_H

/* Functions are local to the library; sizes and types are always set. */
#define FUNC_START(name)		\
	.globl name;			\
	.hidden name;			\
	.type name, @function;		\
	.p2align 4;			\
name:

#define FUNC_END(name)	.size name, . - name

#endif /* KAUS_ASM_H */
