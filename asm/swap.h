/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Voluntary context switch (amd64 SysV ABI), for C.
 *
 * A switch saves where to go on, the stack and frame pointers and the two
 * control words. All other registers are clobbered as far as the compiler
 * knows, so that it saves just what the function needs that switches, and the
 * callee-saved ones in that function's prologue.
 *
 * Nothing is pushed: the code that goes on is that of the same function, or
 * kr_context_entry, so the unwind information of the function holds on both
 * stacks, and a red zone, if there were one, would stay as it is.
 */
#ifndef KAUS_ASM_SWAP_H
#define KAUS_ASM_SWAP_H

/* Where a suspended flow of control goes on. */
struct kr_saved {
	void *sp;
	void *ip;
	void *bp;
	unsigned int mxcsr;
	unsigned short fcw;
	unsigned short pad;
};

#define KR_MXCSR_DEFAULT	0x1f80
#define KR_FCW_DEFAULT		0x037f

/* Registers that only exist with AVX-512 may be live where it is enabled. */
#ifdef __AVX512F__
#define KR_SWAP_CLOBBERS_AVX512					\
	, "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21",	\
	"xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",		\
	"xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4",	\
	"k5", "k6", "k7"
#else
#define KR_SWAP_CLOBBERS_AVX512
#endif

/**
 * kr_swap() - Leave the present context and go on with another one.
 * @from: Where to leave the present one.
 * @to: The one to go on with.
 *
 * Returns when somebody goes on with @from, perhaps on another thread. The
 * control words are loaded only if they differ: loading is what is slow. The
 * jump is an indirect branch rather than a return, for the return predictor
 * knows nothing of the other stack.
 */
static inline __attribute__((always_inline)) void
kr_swap(struct kr_saved *from, const struct kr_saved *to)
{
	_Static_assert(__builtin_offsetof(struct kr_saved, ip) == 8, "ip");
	_Static_assert(__builtin_offsetof(struct kr_saved, bp) == 16, "bp");
	_Static_assert(__builtin_offsetof(struct kr_saved, mxcsr) == 24, "sse");
	_Static_assert(__builtin_offsetof(struct kr_saved, fcw) == 28, "x87");

	__asm__ __volatile__(
		"leaq	1f(%%rip), %%rax\n\t"
		"movq	%%rsp, (%%rdi)\n\t"
		"movq	%%rax, 8(%%rdi)\n\t"
		"movq	%%rbp, 16(%%rdi)\n\t"
		"stmxcsr 24(%%rdi)\n\t"
		"fnstcw	28(%%rdi)\n\t"
		"movl	24(%%rdi), %%eax\n\t"
		"movzwl	28(%%rdi), %%ecx\n\t"
		"cmpl	24(%%rsi), %%eax\n\t"
		"je	2f\n\t"
		"ldmxcsr 24(%%rsi)\n"
		"2:\n\t"
		"cmpw	28(%%rsi), %%cx\n\t"
		"je	3f\n\t"
		"fldcw	28(%%rsi)\n"
		"3:\n\t"
		"movq	(%%rsi), %%rsp\n\t"
		"movq	16(%%rsi), %%rbp\n\t"
		"jmp	*8(%%rsi)\n"
		"1:\n\t"
		"endbr64"
		: "+D"(from), "+S"(to)
		:
		: "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12",
		  "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
		  "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
		  "xmm12", "xmm13", "xmm14", "xmm15", "cc",
		  "memory" KR_SWAP_CLOBBERS_AVX512);
}

#endif /* KAUS_ASM_SWAP_H */
