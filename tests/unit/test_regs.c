// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers across a voluntary switch: what a call preserves is preserved,
 * while others fill all of them with patterns of their own; each goroutine has
 * its own rounding modes, and a new one has the defaults.
 *
 * If it is broken: a goroutine goes on with values of another one.
 */
#include <fenv.h>
#include <xmmintrin.h>

#include "utest.h"

/*
 * long hold(long pattern): the callee-saved registers, and the word at the top
 * of the frame, hold it, counted up, across kaus_yield(); all others are filled
 * with it before. Returns how many have changed.
 */
long hold(long pattern);

__asm__(".text\n"
	"hold:\n\t"
	".cfi_startproc\n\t"
	"pushq %rbx\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	"pushq %rbp\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	"pushq %r12\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	"pushq %r13\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	"pushq %r14\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	"pushq %r15\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	"pushq %rdi\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	"leaq 1(%rdi), %rbx\n\t"
	"leaq 2(%rdi), %rbp\n\t"
	"leaq 3(%rdi), %r12\n\t"
	"leaq 4(%rdi), %r13\n\t"
	"leaq 5(%rdi), %r14\n\t"
	"leaq 6(%rdi), %r15\n\t"
	"movq %rdi, %rax\n\t"
	"movq %rdi, %rcx\n\t"
	"movq %rdi, %rdx\n\t"
	"movq %rdi, %rsi\n\t"
	"movq %rdi, %r8\n\t"
	"movq %rdi, %r9\n\t"
	"movq %rdi, %r10\n\t"
	"movq %rdi, %r11\n\t"
	"movq %rdi, %xmm0\n\t"
	"movq %rdi, %xmm7\n\t"
	"movq %rdi, %xmm15\n\t"
	"call kaus_yield@PLT\n\t"
	"xorl %eax, %eax\n\t"
	"movq (%rsp), %rdi\n\t"
	"subq %rdi, %rbx\n\t"
	"subq %rdi, %rbp\n\t"
	"subq %rdi, %r12\n\t"
	"subq %rdi, %r13\n\t"
	"subq %rdi, %r14\n\t"
	"subq %rdi, %r15\n\t"
	"cmpq $1, %rbx\n\t"
	"je 1f\n\t"
	"incq %rax\n"
	"1:	cmpq $2, %rbp\n\t"
	"je 2f\n\t"
	"incq %rax\n"
	"2:	cmpq $3, %r12\n\t"
	"je 3f\n\t"
	"incq %rax\n"
	"3:	cmpq $4, %r13\n\t"
	"je 4f\n\t"
	"incq %rax\n"
	"4:	cmpq $5, %r14\n\t"
	"je 5f\n\t"
	"incq %rax\n"
	"5:	cmpq $6, %r15\n\t"
	"je 6f\n\t"
	"incq %rax\n"
	"6:	popq %rdi\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	"popq %r15\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	"popq %r14\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	"popq %r13\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	"popq %r12\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	"popq %rbp\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	"popq %rbx\n\t"
	".cfi_adjust_cfa_offset -8\n\t"
	"ret\n\t"
	".cfi_endproc\n");

#define ROUNDS 2000
#define NR 6

static struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;

static void holder(void *arg)
{
	long pattern = (long)(uintptr_t)arg * 0x0101010101010101;
	int mode = (int[]){ FE_TONEAREST, FE_UPWARD, FE_DOWNWARD,
			    FE_TOWARDZERO }[(uintptr_t)arg % 4];

	CHECK_EQ(FE_TONEAREST, fegetround());
	CHECK_EQ(0x1f80, _mm_getcsr() & ~0x3fU);
	/* Both the x87's and that of mxcsr. */
	CHECK_EQ(0, fesetround(mode));
	for (int n = 0; n < ROUNDS; n++) {
		CHECK_EQ(0, hold(pattern + n));
		CHECK_EQ(mode, fegetround());
		CHECK_EQ((unsigned int)mode << 3, _mm_getcsr() & 0x6000);
	}
	CHECK_EQ(0, kaus_waitgroup_done(&wg));
}

static int holders(void *arg)
{
	CHECK_EQ(0, kaus_waitgroup_add(&wg, NR));
	for (uintptr_t i = 1; i <= NR; i++)
		ut_go(holder, (void *)i);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	CHECK_EQ(FE_TONEAREST, fegetround());
	return 0;
}

TEST(across_switches_one_p)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, holders, NULL);
}

TEST(across_switches_two_ps)
{
	struct kaus_options opts = ut_procs(2);

	RUN_WITH(&opts, holders, NULL);
}

TEST_HARNESS_MAIN
