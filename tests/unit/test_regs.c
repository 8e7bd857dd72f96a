// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers across a voluntary switch: what a call preserves is preserved,
 * while others fill all of them with patterns of their own, whatever the
 * goroutine waits for; each has its own rounding modes, and a new one has the
 * defaults. So with system calls, and around a look at a parked goroutine.
 *
 * If it is broken: a goroutine goes on with values of another one.
 */
#include <fenv.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <xmmintrin.h>

#include "utest.h"

#include "sched/sched.h"

/* A call of any function: its arguments, and what it returned. */
struct call {
	void *fn;		/* the assembly knows all of these */
	long args[7];
	long ret;
	long pattern;
};

_Static_assert(offsetof(struct call, args) == 8, "call");
_Static_assert(offsetof(struct call, ret) == 64, "call");
_Static_assert(offsetof(struct call, pattern) == 72, "call");

/*
 * long hold(struct call *c): make the call while the callee-saved registers hold
 * the pattern, counted up, and all others that are not its arguments hold it as
 * it is. Returns how many of the former have changed, the stack pointer and the
 * direction flag included.
 */
long hold(struct call *c);

#define EACH_SAVED(m) m(rbx, 1) m(rbp, 2) m(r12, 3) m(r13, 4) m(r14, 5) m(r15, 6)
#define EACH_XMM(m) m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) \
	m(11) m(12) m(13) m(14) m(15)
#define PUSH(reg, n) "pushq %" #reg "\n\t.cfi_adjust_cfa_offset 8\n\t"
#define POP(reg) "popq %" #reg "\n\t.cfi_adjust_cfa_offset -8\n\t"
#define FILL(reg, n) "leaq " #n "(%rax), %" #reg "\n\t"
#define FILL_XMM(n) "movq %rax, %xmm" #n "\n\t"
#define COUNT_IF(cond) "set" #cond " %cl\n\tmovzbl %cl, %ecx\n\t" \
	"addl %ecx, %eax\n\t"
#define LOOK(reg, n) "leaq " #n "(%rdx), %rcx\n\tcmpq %rcx, %" #reg "\n\t" \
	COUNT_IF(ne)

__asm__(".text\n"
	"hold:\n\t"
	".cfi_startproc\n\t"
	EACH_SAVED(PUSH)
	"subq $24, %rsp\n\t"
	".cfi_adjust_cfa_offset 24\n\t"
	"movq %rdi, 8(%rsp)\n\t"
	"movq %rsp, 16(%rsp)\n\t"
	"movq 56(%rdi), %rax\n\t"
	"movq %rax, (%rsp)\n\t"
	"movq 72(%rdi), %rax\n\t"
	EACH_SAVED(FILL)
	EACH_XMM(FILL_XMM)
	"movq %rax, %r11\n\t"
	"movq (%rdi), %r10\n\t"
	"movq 16(%rdi), %rsi\n\t"
	"movq 24(%rdi), %rdx\n\t"
	"movq 32(%rdi), %rcx\n\t"
	"movq 40(%rdi), %r8\n\t"
	"movq 48(%rdi), %r9\n\t"
	"movq 8(%rdi), %rdi\n\t"
	/* For functions with any number of arguments. */
	"movl $8, %eax\n\t"
	"call *%r10\n\t"
	"movq 8(%rsp), %rdi\n\t"
	"movq %rax, 64(%rdi)\n\t"
	"movq 72(%rdi), %rdx\n\t"
	"xorl %eax, %eax\n\t"
	EACH_SAVED(LOOK)
	"cmpq %rsp, 16(%rsp)\n\t"
	COUNT_IF(ne)
	"pushfq\n\t"
	".cfi_adjust_cfa_offset 8\n\t"
	POP(rcx)
	"testl $0x400, %ecx\n\t"
	COUNT_IF(nz)
	"addq $24, %rsp\n\t"
	".cfi_adjust_cfa_offset -24\n\t"
	POP(r15) POP(r14) POP(r13) POP(r12) POP(rbp) POP(rbx)
	"ret\n\t"
	".cfi_endproc\n");

/*
 * long clobber(long arg): changes all that a function may, and looks whether the
 * stack is aligned as on entry of one. Returns its argument, or -1.
 */
long clobber(long arg);

#define EACH_CHANGED(m) m(rcx) m(rdx) m(rsi) m(r8) m(r9) m(r10) m(r11)
#define CLOBBER(reg) "movq $-7, %" #reg "\n\t"
#define CLOBBER_XMM(n) "pcmpeqd %xmm" #n ", %xmm" #n "\n\t"

__asm__(".text\n"
	"clobber:\n\t"
	".cfi_startproc\n\t"
	"movq %rdi, %rax\n\t"
	"leaq 8(%rsp), %rcx\n\t"
	"testq $15, %rcx\n\t"
	"je 1f\n\t"
	"movq $-1, %rax\n"
	"1:\n\t"
	EACH_CHANGED(CLOBBER)
	"movq $-7, %rdi\n\t"
	EACH_XMM(CLOBBER_XMM)
	"ret\n\t"
	".cfi_endproc\n");

static long call(long pattern, void *fn, long a, long b, long c, long d, long e,
		 long f, long g)
{
	struct call one = { fn, { a, b, c, d, e, f, g }, 0, pattern };

	CHECK_EQ(0, hold(&one));
	return one.ret;
}

#define CALL(fn, a, b, c) call(pattern, (void *)(fn), (long)(a), (long)(b), \
			       (long)(c), pattern, pattern, pattern, pattern)

#define ROUNDS 200
#define NR 6

static struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;

static void *return_arg(void *arg)
{
	return arg;
}

/* Each way to leave a goroutine and to come back to it, or not even to leave. */
static void ways(long pattern)
{
	static struct kaus_mutex mu = KAUS_MUTEX_INIT;
	long sent = pattern, got = 0;
	struct kaus_case cases[2];
	struct kaus_chan *ch = kaus_chan_make(sizeof(long), 1);
	struct kaus_g *g;

	CALL(kaus_yield, 0, 0, 0);
	CHECK_EQ(0, (int)CALL(kaus_sleep, 1000, 0, 0));
	CHECK_EQ(0, (int)CALL(kaus_chan_send, ch, &sent, 0));
	CHECK_EQ(0, (int)CALL(kaus_chan_recv, ch, &got, 0));
	CHECK_EQ(sent, got);
	CHECK_EQ(-ETIMEDOUT, (int)CALL(kaus_chan_recv_until, ch, &got,
				       kaus_now_ns() + 1000));
	cases[0] = (struct kaus_case)KAUS_RECV(ch, &got);
	cases[1] = (struct kaus_case)KAUS_RECV(NULL, NULL);
	CHECK_EQ(-ETIMEDOUT, (int)CALL(kaus_select_until, cases, 2,
				       kaus_now_ns() + 1000));
	CHECK_EQ(0, (int)CALL(kaus_mutex_lock, &mu, 0, 0));
	CALL(kaus_yield, 0, 0, 0);
	CHECK_EQ(0, (int)CALL(kaus_mutex_unlock, &mu, 0, 0));
	g = ut_spawn(return_arg, &sent);
	CHECK_EQ(0, (int)CALL(kaus_join, g, &got, 0));
	CHECK_EQ((long)&sent, got);
	CHECK_EQ(0, (int)CALL(kaus_block_begin, 0, 0, 0));
	CHECK_EQ(0, (int)CALL(kaus_block_end, 0, 0, 0));
	CHECK_EQ(-EBADF, CALL(kaus_syscall, SYS_close, -1, 0));
	CHECK_EQ(-EBADF, CALL(kaus_raw_syscall, SYS_close, -1, 0));
	CHECK_EQ(pattern, CALL(kaus_blocking, clobber, pattern, 0));
	kaus_chan_free(ch);
}

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
		ways(pattern + n);
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

/* A look at a goroutine that is parked, on its stack: neither notices. */
static void *wait_there(void *arg)
{
	long pattern = 0x1234567812345678, got = 0;

	CHECK_EQ(0, (int)CALL(kaus_chan_recv, arg, &got, 0));
	CHECK_EQ(99, got);
	return arg;
}

static int peek(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(long), 0);
	struct kaus_g *g = ut_spawn(wait_there, ch);
	long pattern = 0x0f0f0f0f0f0f0f0f, sent = 99;

	struct g *gp = (struct g *)g;

	(void)arg;
	while (READ_ONCE(gp->state) != G_WAITING)
		kaus_yield();
	for (int i = 0; i < 100; i++)
		CALL(kr_context_peek, &gp->ctx.saved, clobber, 77);
	CHECK_EQ(0, kaus_chan_send(ch, &sent));
	CHECK_EQ(0, kaus_join(g, NULL));
	kaus_chan_free(ch);
	return 0;
}

TEST(around_a_look_at_a_parked_one)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, peek, NULL);
}

/* The same from threads that are no goroutines. */
TEST(of_system_calls_outside)
{
	long pattern = 0x7654321076543210;

	EXPECT_EQ(-EBADF, CALL(kaus_syscall, SYS_close, -1, 0));
	EXPECT_EQ(-EBADF, CALL(kaus_raw_syscall, SYS_close, -1, 0));
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

TEST_HARNESS_MAIN
