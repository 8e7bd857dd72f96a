// SPDX-License-Identifier: GPL-2.0-only
/*
 * A store tells the collector what it has overwritten, by a jump that uses no
 * stack and few registers: what is moved to where a cycle does not look is kept,
 * and the program goes on with what it had in registers.
 *
 * If it is broken: an object is freed that is in use, or a function that stores
 * goes on with another one's values.
 */
#define _GNU_SOURCE
#include "gctest.h"

/* ---- objects that move to where nobody looks any more ---- */

#define NR_MOVED	1000
#define CHAIN_NODES	(UT_TSAN ? 50000 : 300000)

/* Not in sight of the collector: what is at the end of the chain. */
static uintptr_t hidden[NR_MOVED];
static struct node *kept[NR_MOVED];

static void *make_chain(void *arg)
{
	struct node *n = NULL, *next;

	for (int i = 0; i < CHAIN_NODES; i++) {
		next = n;
		n = make_tree(0, 1);
		n->left = next;
		if (i < NR_MOVED) {
			n->right = make_tree(0, 1000 + (uint64_t)i);
			hidden[i] = ~(uintptr_t)n;
		}
	}
	ballast = n;
	return NULL;
}

/* Into new objects, which are not looked at: only the barrier tells. */
static bool move_all(void)
{
	bool marking;

	kaus_preempt_disable();
	marking = kaus_gc_barrier_on;
	for (int i = 0; marking && i < NR_MOVED; i++) {
		struct node *n = (struct node *)~hidden[i];

		kept[i] = make_tree(0, 2);
		kept[i]->left = n->right;
		KAUS_STORE(&n->right, NULL);
	}
	kaus_preempt_enable();
	return marking;
}

static int moved(void *arg)
{
	concurrent(0);
	elsewhere(make_chain, NULL);
	CHECK_EQ(0, kaus_gc());
	kaus_waitgroup_add(&mutators, 1);
	ut_go(collector, NULL);
	while (!move_all())
		kaus_yield();
	atomic_store(&planted, true);
	kaus_waitgroup_wait(&mutators);
	CHECK_EQ(0, kaus_gc());
	/* Over what may have been freed. */
	for (int i = 0; i < 20 * NR_MOVED; i++)
		make_tree(0, 3);
	for (int i = 0; i < NR_MOVED; i++)
		CHECK_EQ(1000 + i, kept[i]->left->tag);
	return 0;
}

/* Slices so short that none has a whole cycle in it. */
static struct kaus_options mover_options(unsigned int nr_procs)
{
	struct kaus_options opts = ut_procs(nr_procs);

	opts.slice_ns = 200 * USEC;
	return opts;
}

TEST(what_is_moved_is_kept)
{
	struct kaus_options opts = mover_options(2);

	RUN_WITH(&opts, moved, NULL);
}

TEST(what_is_moved_is_kept_on_one_proc)
{
	struct kaus_options opts = mover_options(1);

	RUN_WITH(&opts, moved, NULL);
}

TEST(what_is_moved_is_kept_on_sixteen_procs)
{
	struct kaus_options opts = mover_options(16);

	RUN_WITH(&opts, moved, NULL);
}

/* ---- registers ---- */

/*
 * long tell(void *slot, void *old): as a store in line tells what it has
 * overwritten, with patterns in all other registers and in the red zone. Returns
 * how many have changed.
 */
long tell(void *slot, void *old);

#define EACH_REG(op) op(rbx, 20) op(rbp, 21) op(r8, 22) op(r9, 23)	\
	op(r10, 24) op(r11, 25) op(r12, 26) op(r13, 27) op(r14, 28)	\
	op(r15, 29)
#define EACH_XMM(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) \
	op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define UNLESS_EQUAL	"je 1f\n\tincq %rax\n1:\n\t"
#define FILL_REG(r, n)	"leaq tell+" #n "(%rip), %" #r "\n\t"
#define LOOK_REG(r, n)	"leaq tell+" #n "(%rip), %rcx\n\t"		\
	"cmpq %rcx, %" #r "\n\t" UNLESS_EQUAL
/* Both halves. */
#define FILL_XMM(n)	"leaq tell+" #n "(%rip), %rcx\n\t"		\
	"movq %rcx, %xmm" #n "\n\t"					\
	"punpcklqdq %xmm" #n ", %xmm" #n "\n\t"
#define LOOK_XMM(n)	"leaq tell+" #n "(%rip), %rcx\n\t"		\
	"movq %xmm" #n ", %rdx\n\tcmpq %rcx, %rdx\n\t" UNLESS_EQUAL	\
	"movhlps %xmm" #n ", %xmm" #n "\n\t"				\
	"movq %xmm" #n ", %rdx\n\tcmpq %rcx, %rdx\n\t" UNLESS_EQUAL

__asm__(".text\n"
	"tell:\n\t"
	"pushq %rbx\n\tpushq %rbp\n\tpushq %r12\n\tpushq %r13\n\t"
	"pushq %r14\n\tpushq %r15\n\t"
	EACH_REG(FILL_REG)
	EACH_XMM(FILL_XMM)
	"movq %rbx, -8(%rsp)\n\tmovq %rbx, -128(%rsp)\n\t"
	"leaq 2f(%rip), %rax\n\t"
	"jmp *kaus_gc_tell@GOTPCREL(%rip)\n"
	"2:\tendbr64\n\t"
	"xorl %eax, %eax\n\t"
	"cmpq %rbx, -8(%rsp)\n\t" UNLESS_EQUAL
	"cmpq %rbx, -128(%rsp)\n\t" UNLESS_EQUAL
	EACH_XMM(LOOK_XMM)
	EACH_REG(LOOK_REG)
	"popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\t"
	"popq %rbp\n\tpopq %rbx\n\tret\n\t");

/* Many times, so that the fast path is left, too. */
static void tell_often(void)
{
	struct node *n = make_tree(0, 1);

	for (int i = 0; i < 2000; i++)
		CHECK_EQ(0, tell(&n->left, n));
}

static void *tell_outside(void *arg)
{
	tell_often();
	CHECK_EQ(0, kaus_gc_thread_register());
	tell_often();
	CHECK_EQ(0, kaus_gc_thread_unregister());
	return NULL;
}

static int told_registers(void *arg)
{
	pthread_t t;

	tell_often();
	CHECK_EQ(0, pthread_create(&t, NULL, tell_outside, NULL));
	CHECK_EQ(0, pthread_join(t, NULL));
	concurrent(0);
	elsewhere(make_ballast, (void *)(UT_TSAN ? 13 : 16));
	kaus_waitgroup_add(&mutators, 1);
	atomic_store(&planted, false);
	ut_go(collector, NULL);
	for (int nr = 0; nr < 20;) {
		bool marking = kaus_gc_barrier_on;

		tell_often();
		/* Others may have preempted it: so now and then this one is. */
		nr += marking && kaus_gc_barrier_on;
		kaus_yield();
	}
	atomic_store(&planted, true);
	kaus_waitgroup_wait(&mutators);
	return 0;
}

TEST(telling_keeps_registers)
{
	struct kaus_options opts = mover_options(2);

	RUN_WITH(&opts, told_registers, NULL);
}

TEST_HARNESS_MAIN
