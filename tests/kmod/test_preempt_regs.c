// SPDX-License-Identifier: GPL-2.0-only
/*
 * A redirect changes the instruction pointer and nothing else. A loop keeps
 * every general register, the arithmetic flags, the direction flag and the red
 * zone live on a stack of any alignment; its result is compared to that of an
 * undisturbed run while thousands of redirects hit it. A bug is a single wrong
 * bit at the end.
 */
#include "kw_test.h"

#define ROUNDS		20000
#define NR_WORDS	33	/* 14 registers, 16 of red zone, flags, rsp */
#define FLAGS_KEPT	0xcd5	/* CF PF AF ZF SF DF OF */

/*
 * void regs_loop(uint64_t rounds, uint64_t seed, uint64_t *out,
 *		  uint64_t misalign, uint64_t df)
 *
 * %rdi, %rsi, %rdx, %rcx, %r8. Callee-saved registers are kept. Carry lives
 * from each adc to the next one, around the loop as well: dec leaves it alone.
 */
void regs_loop(uint64_t rounds, uint64_t seed, uint64_t *out, uint64_t misalign,
	       uint64_t df);

__asm__(
"	.text\n"
"	.type	regs_loop, @function\n"
"regs_loop:\n"
"	pushq	%rbx\n	pushq	%rbp\n	pushq	%r12\n"
"	pushq	%r13\n	pushq	%r14\n	pushq	%r15\n"
"	pushq	%rdx\n"
"	movq	%rsp, %rax\n"
"	subq	%rcx, %rsp\n"
"	subq	$32, %rsp\n"
"	pushq	%rax\n"
"	movq	%rdi, %r15\n"
"	movq	%r8, %r9\n"
"	movq	%rsi, %rax\n"
"	movabsq	$0x9e3779b97f4a7c15, %rbx\n"
"	movl	$16, %ecx\n"
"	movq	%rsp, %rdx\n"
"1:	subq	$8, %rdx\n"
"	addq	%rbx, %rax\n"
"	movq	%rax, (%rdx)\n"
"	decl	%ecx\n"
"	jnz	1b\n"
"	testq	%r9, %r9\n"
"	jz	2f\n"
"	std\n"
"2:	leaq	1(%rax), %rcx\n	leaq	2(%rax), %rdx\n"
"	leaq	3(%rax), %rsi\n	leaq	4(%rax), %rdi\n"
"	leaq	5(%rax), %rbp\n	leaq	6(%rax), %r8\n"
"	leaq	7(%rax), %r9\n	leaq	8(%rax), %r10\n"
"	leaq	9(%rax), %r11\n	leaq	10(%rax), %r12\n"
"	leaq	11(%rax), %r13\n	leaq	12(%rax), %r14\n"
"	stc\n"
"3:	adcq	%rbx, %rax\n	adcq	%rcx, %rbx\n"
"	adcq	%rdx, %rcx\n	adcq	%rsi, %rdx\n"
"	adcq	%rdi, %rsi\n	adcq	%rbp, %rdi\n"
"	adcq	%r8, %rbp\n	adcq	%r9, %r8\n"
"	adcq	%r10, %r9\n	adcq	%r11, %r10\n"
"	adcq	%r12, %r11\n	adcq	%r13, %r12\n"
"	adcq	%r14, %r13\n	adcq	%rax, %r14\n"
"	rclq	$7, %rax\n	rcrq	$3, %rdi\n"
"	adcq	-8(%rsp), %rbx\n	adcq	%rcx, -16(%rsp)\n"
"	adcq	-24(%rsp), %rdx\n	adcq	%rsi, -32(%rsp)\n"
"	adcq	-40(%rsp), %rbp\n	adcq	%r8, -48(%rsp)\n"
"	adcq	-56(%rsp), %r9\n	adcq	%r10, -64(%rsp)\n"
"	adcq	-72(%rsp), %r11\n	adcq	%r12, -80(%rsp)\n"
"	adcq	-88(%rsp), %r13\n	adcq	%r14, -96(%rsp)\n"
"	adcq	-104(%rsp), %rax\n	adcq	%rbx, -112(%rsp)\n"
"	adcq	-120(%rsp), %rcx\n	adcq	%rdx, -128(%rsp)\n"
"	cmpq	%r8, %r9\n"
"	movq	-128(%rsp), %r10\n"
"	cmovlq	%rsi, %rdi\n	cmovpq	%rbp, %r11\n"
"	cmovsq	%r12, %r13\n	cmovoq	%rax, %r14\n"
"	cmovbq	%rbx, %rcx\n"
"	decq	%r15\n"
"	jnz	3b\n"
	/* r15 is free now; flags are those of dec and of the last cmp. */
"	leaq	-256(%rsp), %rsp\n"
"	pushfq\n"
"	popq	%r15\n"
"	leaq	256(%rsp), %rsp\n"
"	cld\n"
	/* Flags go over the red zone; there is the old rsp, and at it out. */
"	movq	%r15, 8(%rsp)\n"
"	movq	(%rsp), %r15\n"
"	movq	(%r15), %r15\n"
"	movq	%rax, (%r15)\n	movq	%rbx, 8(%r15)\n"
"	movq	%rcx, 16(%r15)\n	movq	%rdx, 24(%r15)\n"
"	movq	%rsi, 32(%r15)\n	movq	%rdi, 40(%r15)\n"
"	movq	%rbp, 48(%r15)\n	movq	%r8, 56(%r15)\n"
"	movq	%r9, 64(%r15)\n	movq	%r10, 72(%r15)\n"
"	movq	%r11, 80(%r15)\n	movq	%r12, 88(%r15)\n"
"	movq	%r13, 96(%r15)\n	movq	%r14, 104(%r15)\n"
"	movq	8(%rsp), %rax\n	movq	%rax, 112(%r15)\n"
"	movl	$16, %ecx\n"
"	leaq	-8(%rsp), %rdx\n"
"4:	movq	(%rdx), %rax\n"
"	movq	%rax, 112(%r15,%rcx,8)\n"
"	subq	$8, %rdx\n"
"	decl	%ecx\n"
"	jnz	4b\n"
"	popq	%rsp\n"
"	popq	%rdx\n"
"	popq	%r15\n	popq	%r14\n	popq	%r13\n"
"	popq	%r12\n	popq	%rbp\n	popq	%rbx\n"
"	ret\n"
"	.size	regs_loop, . - regs_loop\n");

FIXTURE(regs) {
	struct kw k;
	uint64_t ref[NR_WORDS];
};

FIXTURE_VARIANT(regs) {
	unsigned int misalign;
	unsigned int df;
};

FIXTURE_VARIANT_ADD(regs, aligned) { .misalign = 0 };
FIXTURE_VARIANT_ADD(regs, by_8) { .misalign = 8 };
FIXTURE_VARIANT_ADD(regs, by_5_df) { .misalign = 5, .df = 1 };
FIXTURE_VARIANT_ADD(regs, by_1_df) { .misalign = 1, .df = 1 };

FIXTURE_SETUP(regs)
{
	ASSERT_EQ(0, kw_group(&self->k, 1, 2));
	regs_loop(ROUNDS, 42, self->ref, variant->misalign, variant->df);
	self->ref[14] &= FLAGS_KEPT;
	ASSERT_EQ(variant->df ? 1 << 10 : 0, self->ref[14] & 1 << 10);
	ASSERT_EQ(0, kw_register(&self->k, 1));
	kw_carry(&self->k, 0);
}

FIXTURE_TEARDOWN(regs)
{
	kw_unregister(&self->k);
	kw_close(&self->k);
}

static int compare(struct __test_metadata *_metadata, const uint64_t *ref,
		   unsigned int misalign, unsigned int df)
{
	uint64_t out[NR_WORDS] = { 0 };
	int bad = 0;

	regs_loop(ROUNDS, 42, out, misalign, df);
	out[14] &= FLAGS_KEPT;
	for (int i = 0; i < 31; i++) {
		EXPECT_EQ(ref[i], out[i]) {
			TH_LOG("word %d after %lu redirects", i,
			       (unsigned long)kw_self.stat->nr_entries);
			bad++;
		}
	}
	return bad;
}

TEST_F(regs, survive_preemption)
{
	kw_waiters(&self->k, 0, 1);
	/* A long time with no redirect at all must end, too. */
	for (int idle = 0; kw_self.stat->nr_preempt < 1000; idle++) {
		uint64_t before = kw_self.stat->nr_preempt;

		if (compare(_metadata, self->ref, variant->misalign,
			    variant->df))
			break;
		if (kw_self.stat->nr_preempt != before)
			idle = 0;
		ASSERT_GT(5000, idle) TH_LOG("not redirected");
	}
	EXPECT_EQ(0, kw_self.stat->nr_empty);
	EXPECT_EQ(0, kw_self.stat->nr_foreign);
}

struct kicker {
	struct kw *k;
	unsigned int stop;
};

static void *kicker(void *arg)
{
	struct kicker *c = arg;

	while (!KW_LOAD(c->stop)) {
		uint64_t before = KW_LOAD(c->k->stat[1].nr_entries);

		kw_kick(c->k, 1, NULL);
		for (int i = 0; i < 1000; i++) {
			if (KW_LOAD(c->k->stat[1].nr_entries) != before)
				break;
			sched_yield();
		}
	}
	return NULL;
}

TEST_F(regs, survive_kicks)
{
	struct kicker c = { .k = &self->k };
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, kicker, &c));
	for (int idle = 0; kw_self.stat->nr_kick < 500; idle++) {
		uint64_t before = kw_self.stat->nr_kick;

		if (compare(_metadata, self->ref, variant->misalign,
			    variant->df))
			break;
		if (kw_self.stat->nr_kick != before)
			idle = 0;
		ASSERT_GT(5000, idle) TH_LOG("not redirected");
	}
	KW_STORE(c.stop, 1);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, kw_self.stat->nr_preempt);
}

KW_TEST_MAIN
