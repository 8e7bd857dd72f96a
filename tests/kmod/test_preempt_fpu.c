// SPDX-License-Identifier: GPL-2.0-only
/*
 * Vector and x87 state across redirects: SSE, AVX, AVX-512 where the CPU has
 * them, the x87 stack, MXCSR and the x87 control word, kept live in loops
 * whose result is compared to an undisturbed run. Twice: with a trampoline
 * that touches none of it (the module and the context switches between two
 * such loops on one CPU must keep it), and with one that saves all of it and a
 * hook that destroys all of it.
 */
#include "kw_test.h"

#include <sys/prctl.h>

#define ROUNDS		20000

struct vec {
	uint64_t word[32][8];
} __attribute__((aligned(64)));

/* Every register takes part in the next one; the add makes each step count. */
#define SSE_STEP(a, b)	"paddq %%xmm" #b ", %%xmm" #a "\n"		\
			"pxor %%xmm" #a ", %%xmm" #b "\n"
#define AVX_STEP(a, b)	"vpaddq %%ymm" #b ", %%ymm" #a ", %%ymm" #a "\n" \
			"vpxor %%ymm" #a ", %%ymm" #b ", %%ymm" #b "\n"
#define ZMM_STEP(a, b)	"vpaddq %%zmm" #b ", %%zmm" #a ", %%zmm" #a "\n" \
			"vpxorq %%zmm" #a ", %%zmm" #b ", %%zmm" #b "\n"
#define ALL16(f)	f(0, 1) f(2, 3) f(4, 5) f(6, 7) f(8, 9) f(10, 11) \
			f(12, 13) f(14, 15) f(1, 2) f(3, 4) f(5, 6)	\
			f(7, 8) f(9, 10) f(11, 12) f(13, 14) f(15, 0)
#define ALL_HIGH(f)	f(16, 17) f(18, 19) f(20, 21) f(22, 23) f(24, 25) \
			f(26, 27) f(28, 29) f(30, 31) f(17, 18) f(19, 20) \
			f(21, 22) f(23, 24) f(25, 26) f(27, 28) f(29, 30) \
			f(31, 16)

#define MOVE16(insn, reg, to)						\
	MOVE(insn, reg, 0, to) MOVE(insn, reg, 1, to)			\
	MOVE(insn, reg, 2, to) MOVE(insn, reg, 3, to)			\
	MOVE(insn, reg, 4, to) MOVE(insn, reg, 5, to)			\
	MOVE(insn, reg, 6, to) MOVE(insn, reg, 7, to)			\
	MOVE(insn, reg, 8, to) MOVE(insn, reg, 9, to)			\
	MOVE(insn, reg, 10, to) MOVE(insn, reg, 11, to)			\
	MOVE(insn, reg, 12, to) MOVE(insn, reg, 13, to)			\
	MOVE(insn, reg, 14, to) MOVE(insn, reg, 15, to)
#define MOVE_HIGH(insn, reg, to)					\
	MOVE(insn, reg, 16, to) MOVE(insn, reg, 17, to)			\
	MOVE(insn, reg, 18, to) MOVE(insn, reg, 19, to)			\
	MOVE(insn, reg, 20, to) MOVE(insn, reg, 21, to)			\
	MOVE(insn, reg, 22, to) MOVE(insn, reg, 23, to)			\
	MOVE(insn, reg, 24, to) MOVE(insn, reg, 25, to)			\
	MOVE(insn, reg, 26, to) MOVE(insn, reg, 27, to)			\
	MOVE(insn, reg, 28, to) MOVE(insn, reg, 29, to)			\
	MOVE(insn, reg, 30, to) MOVE(insn, reg, 31, to)
#define MOVE(insn, reg, n, to)	MOVE_##to(insn, reg, n)
#define MOVE_in(insn, reg, n)	#insn " " #n "*64(%[v]), %%" #reg #n "\n"
#define MOVE_out(insn, reg, n)	#insn " %%" #reg #n ", " #n "*64(%[v])\n"

static void sse_loop(struct vec *v, uint64_t rounds)
{
	__asm__ volatile(MOVE16(movdqa, xmm, in)
			 "1:\n" ALL16(SSE_STEP)
			 "decq %[n]\n jnz 1b\n"
			 MOVE16(movdqa, xmm, out)
			 : [n] "+r" (rounds) : [v] "r" (v)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3",
			   "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
			   "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15");
}

__attribute__((target("avx2")))
static void avx_loop(struct vec *v, uint64_t rounds)
{
	__asm__ volatile(MOVE16(vmovdqa, ymm, in)
			 "1:\n" ALL16(AVX_STEP)
			 "decq %[n]\n jnz 1b\n"
			 MOVE16(vmovdqa, ymm, out)
			 "vzeroupper\n"
			 : [n] "+r" (rounds) : [v] "r" (v)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3",
			   "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
			   "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15");
}

/* The upper sixteen registers and a mask register besides. */
__attribute__((target("avx512f")))
static void zmm_loop(struct vec *v, uint64_t rounds)
{
	__asm__ volatile("movl $0x5a5a, %%eax\n kmovw %%eax, %%k1\n"
			 MOVE16(vmovdqa64, zmm, in)
			 MOVE_HIGH(vmovdqa64, zmm, in)
			 "1:\n" ALL16(ZMM_STEP) ALL_HIGH(ZMM_STEP)
			 "vpaddq %%zmm31, %%zmm0, %%zmm0%{%%k1%}\n"
			 "decq %[n]\n jnz 1b\n"
			 MOVE16(vmovdqa64, zmm, out)
			 MOVE_HIGH(vmovdqa64, zmm, out)
			 "vzeroupper\n"
			 : [n] "+r" (rounds) : [v] "r" (v)
			 : "memory", "cc", "eax", "xmm0", "xmm1", "xmm2",
			   "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
			   "xmm14", "xmm15");
}

/* Eight values turn around on the x87 stack; both units round oddly. */
static void x87_loop(struct vec *v, uint64_t rounds)
{
	uint32_t mxcsr = 0x7f80, old_mxcsr = 0;
	uint16_t cw = 0x077f;

	rounds = rounds * 4 & ~7ULL;
	__asm__ volatile("stmxcsr %[old]\n ldmxcsr %[mx]\n"
			 "fninit\n fldcw %[cw]\n"
			 "fld1\n fldpi\n fldl2e\n fldl2t\n"
			 "fldlg2\n fldln2\n fldz\n fld1\n"
			 "1: fxch %%st(3)\n fchs\n fxch %%st(5)\n"
			 "fincstp\n"
			 "decq %[n]\n jnz 1b\n"
			 "fnstsw 134(%[v])\n"
			 "fstpt 0(%[v])\n fstpt 16(%[v])\n fstpt 32(%[v])\n"
			 "fstpt 48(%[v])\n fstpt 64(%[v])\n fstpt 80(%[v])\n"
			 "fstpt 96(%[v])\n fstpt 112(%[v])\n"
			 "stmxcsr 128(%[v])\n fnstcw 132(%[v])\n"
			 "fninit\n ldmxcsr %[old]\n"
			 : [n] "+r" (rounds), [old] "+m" (old_mxcsr)
			 : [v] "r" (v), [mx] "m" (mxcsr), [cw] "m" (cw)
			 : "memory", "cc");
}

typedef void (*loop_t)(struct vec *v, uint64_t rounds);

static bool cpu_has(const char *what)
{
	if (!strcmp(what, "avx2"))
		return __builtin_cpu_supports("avx2");
	if (!strcmp(what, "avx512f"))
		return __builtin_cpu_supports("avx512f");
	return true;
}

static void seed(struct vec *v, uint64_t x)
{
	for (int i = 0; i < 32; i++)
		for (int j = 0; j < 8; j++) {
			x = x * 6364136223846793005ULL + 1442695040888963407ULL;
			v->word[i][j] = x;
		}
}

static void run(loop_t loop, uint64_t x, struct vec *v)
{
	seed(v, x);
	loop(v, ROUNDS);
}

FIXTURE(fpu) {
	struct kw k;
	struct vec ref;
};

FIXTURE_VARIANT(fpu) {
	loop_t loop;
	const char *needs;
	bool save;	/* trampoline saves everything, hook destroys it */
};

FIXTURE_VARIANT_ADD(fpu, sse) { .loop = sse_loop, .needs = "" };
FIXTURE_VARIANT_ADD(fpu, avx) { .loop = avx_loop, .needs = "avx2" };
FIXTURE_VARIANT_ADD(fpu, avx512) { .loop = zmm_loop, .needs = "avx512f" };
FIXTURE_VARIANT_ADD(fpu, x87) { .loop = x87_loop, .needs = "" };
FIXTURE_VARIANT_ADD(fpu, sse_saved) {
	.loop = sse_loop, .needs = "", .save = true };
FIXTURE_VARIANT_ADD(fpu, avx_saved) {
	.loop = avx_loop, .needs = "avx2", .save = true };
FIXTURE_VARIANT_ADD(fpu, avx512_saved) {
	.loop = zmm_loop, .needs = "avx512f", .save = true };
FIXTURE_VARIANT_ADD(fpu, x87_saved) {
	.loop = x87_loop, .needs = "", .save = true };

/* May use anything: kw_tramp_x has put all of it away. */
static void destroy(struct kw_regs *regs, unsigned int events)
{
	static __thread unsigned int calls;
	uint32_t mxcsr = 0x1fc0;
	struct vec v;

	(void)regs;
	(void)events;
	memset(&v, 0xa5, sizeof(v));
	if (cpu_has("avx512f"))
		zmm_loop(&v, 1);
	else if (cpu_has("avx2"))
		avx_loop(&v, 1);
	else
		sse_loop(&v, 1);
	x87_loop(&v, 8);
	__asm__ volatile("fninit\n fldz\n fldz\n ldmxcsr %0" : : "m" (mxcsr));
	/* Now and then through the kernel with this state. */
	if (calls++ % 4 == 0)
		kw_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

FIXTURE_SETUP(fpu)
{
	if (!cpu_has(variant->needs))
		SKIP(return, "CPU without %s", variant->needs);
	ASSERT_EQ(0, kw_open(&self->k, 1, 2));
	if (variant->save) {
		self->k.tramp_lo = (uint64_t)kw_tramp_x;
		self->k.tramp_hi = (uint64_t)kw_tramp_x_end;
		kw_self.hook = destroy;
	}
	ASSERT_EQ(0, kw_setup(&self->k));
	run(variant->loop, 1, &self->ref);
	ASSERT_EQ(0, kw_pin(0));
	ASSERT_EQ(0, kw_register(&self->k, 1));
	kw_carry(&self->k, 0);
}

FIXTURE_TEARDOWN(fpu)
{
	kw_unregister(&self->k);
	kw_close(&self->k);
}

/* A process beside us on the same CPU, with other values in its registers. */
static pid_t neighbour(loop_t loop)
{
	static struct vec ref, out;
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run(loop, 2, &ref);
	for (;;) {
		run(loop, 2, &out);
		if (memcmp(&ref, &out, sizeof(ref)))
			_exit(1);
	}
}

TEST_F(fpu, survives)
{
	static struct vec out;
	int status;
	pid_t pid;

	pid = neighbour(variant->loop);
	ASSERT_LT(0, pid);
	kw_waiters(&self->k, 0, 1);
	for (int idle = 0; kw_self.stat->nr_preempt < 500; idle++) {
		uint64_t before = kw_self.stat->nr_preempt;

		run(variant->loop, 1, &out);
		ASSERT_EQ(0, memcmp(&self->ref, &out, sizeof(out)))
			TH_LOG("after %lu redirects",
			       (unsigned long)kw_self.stat->nr_entries);
		if (kw_self.stat->nr_preempt != before)
			idle = 0;
		ASSERT_GT(5000, idle) TH_LOG("not redirected");
	}
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG))
		TH_LOG("the neighbour's state is damaged");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

KW_TEST_MAIN
