// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preemption: a goroutine that computes for ever does not stop the others, and
 * is left alone if there are none; the one that was stopped at an arbitrary
 * instruction finds every register as it left it: general registers, flags with
 * the direction flag, red zone, x87 stack, SSE, AVX and AVX-512 state, control
 * words.
 *
 * If it is broken: the program stops making progress (a hang), or, worse, a
 * computation silently comes to a wrong result, once in ten thousand
 * preemptions and only in the upper half of a vector register.
 *
 * The hold_*() routines load known values into all registers of a kind, count
 * down a loop in which they are live, and store what they find. The compiler
 * cannot be asked to do that.
 */
#include <fenv.h>

#include "utest.h"

UT_PREEMPTS

static struct kaus_waitgroup wg;
static atomic_bool stop;

/* How many preemptions a test waits for, in the whole process. */
#define NR_PREEMPTS 50

static void wait_for_preempts(unsigned int nr)
{
	uint64_t until = ut_stats().nr_preempts + nr;

	while (ut_stats().nr_preempts < until)
		kaus_sleep(2 * MSEC);
}

static int beside_hogs(void *arg)
{
	int i;

	ut_go_hogs();
	for (i = 0; i < 10; i++)
		CHECK_EQ(0, kaus_sleep(1 * MSEC));
	CHECK(ut_stats().nr_preempts > 0);
	return 0;
}

TEST(hogs_do_not_stop_main)
{
	RUN(beside_hogs, NULL);
}

TEST(hogs_do_not_stop_main_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, beside_hogs, NULL);
}

TEST(hogs_do_not_stop_main_on_eight_procs)
{
	struct kaus_options opts = ut_procs(8);

	RUN_WITH(&opts, beside_hogs, NULL);
}

/* For many slices; then with somebody who waits, to see that it would have been. */
static int alone(void *arg)
{
	struct kaus_stats before, after;
	uint64_t end;

	(void)arg;
	kaus_sleep(1 * MSEC);
	before = ut_stats();
	end = kaus_now_ns() + 50 * MSEC;
	while (kaus_now_ns() < end)
		ut_spin(1000);
	after = ut_stats();
	CHECK_EQ(before.nr_redirects, after.nr_redirects);
	CHECK_EQ(before.nr_preempts, after.nr_preempts);
	CHECK_EQ(before.nr_yield_preempts, after.nr_yield_preempts);
	ut_go(ut_hog, NULL);
	while (ut_stats().nr_preempts == after.nr_preempts)
		ut_spin(1000);
	return 0;
}

TEST(who_is_alone_is_not_interrupted)
{
	struct kaus_options opts = ut_procs(1);

	opts.slice_ns = 1 * MSEC;
	RUN_WITH(&opts, alone, NULL);
}

static void count_up(void *arg)
{
	atomic_ulong *count = arg;

	for (;;)
		atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}

/* Every hog of many gets its turn, not only the first ones. */
static int all_hogs_run(void *arg)
{
	static atomic_ulong counts[20];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(counts); i++)
		ut_go(count_up, &counts[i]);
	for (i = 0; i < ARRAY_SIZE(counts); i++)
		while (!atomic_load(&counts[i]))
			kaus_sleep(1 * MSEC);
	return 0;
}

TEST(twenty_hogs_all_run)
{
	RUN(all_hogs_run, NULL);
}

static void *answer(void *arg)
{
	return arg;
}

/* New work, joins and channels overtake hogs. */
static int work_among_hogs(void *arg)
{
	void *value;
	uintptr_t i;

	ut_go_hogs();
	for (i = 0; i < 20; i++) {
		value = NULL;
		CHECK_EQ(0, kaus_join(ut_spawn(answer, (void *)i), &value));
		CHECK_EQ(i, (uintptr_t)value);
	}
	return 0;
}

TEST(spawn_and_join_among_hogs)
{
	RUN(work_among_hogs, NULL);
}

static atomic_bool section_over;
static atomic_int nr_seen;

/* Counts how often it runs; it can only if the other one is preempted. */
static void intruder(void *arg)
{
	while (!atomic_load(&section_over)) {
		atomic_fetch_add(&nr_seen, 1);
		kaus_yield();
	}
}

/* On one P, for many slices: nobody else runs in a section, and does after. */
static int sections(void *arg)
{
	uint64_t end;
	int seen;

	CHECK_EQ(-EINVAL, kaus_preempt_enable());
	ut_go(intruder, NULL);
	/* It may be preempted before it has counted once. */
	while (!atomic_load(&nr_seen))
		kaus_yield();
	CHECK_EQ(0, kaus_preempt_disable());
	CHECK_EQ(0, kaus_preempt_disable());
	seen = atomic_load(&nr_seen);
	for (end = kaus_now_ns() + 40 * MSEC; kaus_now_ns() < end;)
		ut_spin(1000);
	CHECK_EQ(seen, atomic_load(&nr_seen));
	CHECK_EQ(0, kaus_preempt_enable());
	ut_spin(1000);
	CHECK_EQ(seen, atomic_load(&nr_seen));
	/* Parking in a section is allowed; it is one still afterwards. */
	kaus_sleep(1 * MSEC);
	seen = atomic_load(&nr_seen);
	for (end = kaus_now_ns() + 40 * MSEC; kaus_now_ns() < end;)
		ut_spin(1000);
	CHECK_EQ(seen, atomic_load(&nr_seen));
	CHECK_EQ(0, kaus_preempt_enable());
	/* A hang here: it stays off. */
	while (atomic_load(&nr_seen) == seen)
		ut_spin(1000);
	atomic_store(&section_over, true);
	return 0;
}

TEST(not_in_a_section_that_says_so)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, sections, NULL);
}

static int set_slices(void *arg)
{
	static const uint64_t slices[] = {
		1, 50 * USEC, 1 * MSEC, 20 * MSEC, 0,
	};
	uint64_t before;
	size_t i;

	ut_go_hogs();
	for (i = 0; i < ARRAY_SIZE(slices); i++) {
		CHECK_EQ(0, kaus_set_slice(slices[i]));
		before = ut_stats().nr_preempts;
		/* The first time a P may still be without a hog. */
		do {
			kaus_sleep(2 * MSEC);
		} while (ut_stats().nr_preempts == before);
	}
	return 0;
}

TEST(slice_may_change_at_any_time)
{
	RUN(set_slices, NULL);
}

/* A slice that never ends would switch preemption off: main would not return. */
static int endless_slice(void *arg)
{
	CHECK_EQ(0, kaus_set_slice(UINT64_MAX));
	ut_go_hogs();
	CHECK_EQ(0, kaus_sleep(1 * MSEC));
	return 0;
}

TEST(slice_is_clamped)
{
	RUN(endless_slice, NULL);
}

/*
 * The register tests. @hold is called over and over by each hog with a pattern
 * of its own, until enough preemptions have been seen.
 */
#define HOLD_LOOPS 100000UL

#define MAX_STATE (32 * 64 + 64)

struct hold {
	void (*fn)(void *state, unsigned long loops);
	size_t bytes;
};

struct hold_job {
	const struct hold *hold;
	uint64_t seed;
};

static void hold_hog(void *arg)
{
	struct hold_job *job = arg;
	const struct hold *hold = job->hold;
	_Alignas(64) unsigned char state[MAX_STATE];
	_Alignas(64) unsigned char before[MAX_STATE];
	size_t i;

	while (!atomic_load(&stop)) {
		for (i = 0; i < hold->bytes; i++)
			before[i] = (unsigned char)ut_rand(&job->seed);
		memcpy(state, before, hold->bytes);
		hold->fn(state, HOLD_LOOPS);
		if (CHECK(!memcmp(before, state, hold->bytes)))
			continue;
		for (i = 0; i < hold->bytes; i++)
			if (before[i] != state[i])
				break;
		dprintf(STDERR_FILENO, "# first wrong byte: %zu of %zu\n", i,
			hold->bytes);
		break;
	}
	kaus_waitgroup_done(&wg);
}

static int hold_main(void *arg)
{
	unsigned int i, nr = ut_nr_procs() * 2 + 1;
	struct hold_job *jobs = calloc(nr, sizeof(*jobs));

	kaus_waitgroup_add(&wg, (int)nr);
	for (i = 0; i < nr; i++) {
		jobs[i].hold = arg;
		jobs[i].seed = (i + 1) * 0x9e3779b97f4a7c15ULL;
		ut_go(hold_hog, &jobs[i]);
	}
	wait_for_preempts(NR_PREEMPTS);
	atomic_store(&stop, true);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	free(jobs);
	return 0;
}

/*
 * void hold_general(void *state, unsigned long loops)
 *
 * All general registers but rsp from state[0..14], the counter, the address
 * of state and one spill slot in the red zone, carry and direction flag set
 * during the loop (dec leaves carry alone). Wrong flags are reported as a wrong
 * byte 0, a wrong word at the end of the red zone as a wrong byte 8.
 */
void hold_general(void *state, unsigned long loops);
__asm__(
"	.text\n"
"	.type hold_general, @function\n"
"hold_general:\n"
"	push %rbx\n"
"	push %rbp\n"
"	push %r12\n"
"	push %r13\n"
"	push %r14\n"
"	push %r15\n"
"	mov %rdi, -8(%rsp)\n"
"	mov %rsi, -16(%rsp)\n"
"	mov %rsi, -128(%rsp)\n"
"	mov 0(%rdi), %rax\n"
"	mov 8(%rdi), %rbx\n"
"	mov 16(%rdi), %rcx\n"
"	mov 24(%rdi), %rdx\n"
"	mov 32(%rdi), %rsi\n"
"	mov 48(%rdi), %rbp\n"
"	mov 56(%rdi), %r8\n"
"	mov 64(%rdi), %r9\n"
"	mov 72(%rdi), %r10\n"
"	mov 80(%rdi), %r11\n"
"	mov 88(%rdi), %r12\n"
"	mov 96(%rdi), %r13\n"
"	mov 104(%rdi), %r14\n"
"	mov 112(%rdi), %r15\n"
"	mov 40(%rdi), %rdi\n"
"	std\n"
"	stc\n"
".Lgeneral_loop:\n"
"	decq -16(%rsp)\n"
"	jnz .Lgeneral_loop\n"
"	mov %rdi, -24(%rsp)\n"
"	mov -8(%rsp), %rdi\n"
"	mov %rax, 0(%rdi)\n"
"	mov %rbx, 8(%rdi)\n"
"	mov %rcx, 16(%rdi)\n"
"	mov %rdx, 24(%rdi)\n"
"	mov %rsi, 32(%rdi)\n"
"	mov -24(%rsp), %rax\n"
"	mov %rax, 40(%rdi)\n"
"	mov %rbp, 48(%rdi)\n"
"	mov %r8, 56(%rdi)\n"
"	mov %r9, 64(%rdi)\n"
"	mov %r10, 72(%rdi)\n"
"	mov %r11, 80(%rdi)\n"
"	mov %r12, 88(%rdi)\n"
"	mov %r13, 96(%rdi)\n"
"	mov %r14, 104(%rdi)\n"
"	mov %r15, 112(%rdi)\n"
"	mov -128(%rsp), %rcx\n"
"	lea -128(%rsp), %rsp\n"
"	pushfq\n"
"	pop %rax\n"
"	lea 128(%rsp), %rsp\n"
"	cld\n"
"	and $0x401, %eax\n"
"	cmp $0x401, %eax\n"
"	je .Lgeneral_flags_ok\n"
"	notb 0(%rdi)\n"
".Lgeneral_flags_ok:\n"
"	cmp $100000, %rcx\n"
"	je .Lgeneral_out\n"
"	notb 8(%rdi)\n"
".Lgeneral_out:\n"
"	pop %r15\n"
"	pop %r14\n"
"	pop %r13\n"
"	pop %r12\n"
"	pop %rbp\n"
"	pop %rbx\n"
"	ret\n"
"	.size hold_general, . - hold_general\n");

_Static_assert(HOLD_LOOPS == 100000, "known to hold_general");

TEST(general_registers_flags_and_red_zone)
{
	static const struct hold hold = { hold_general, 15 * 8 };

	RUN(hold_main, (void *)&hold);
}

#define X16(macro) \
	macro(0) macro(1) macro(2) macro(3) macro(4) macro(5) macro(6) \
	macro(7) macro(8) macro(9) macro(10) macro(11) macro(12) macro(13) \
	macro(14) macro(15)
#define X32(macro) \
	X16(macro) macro(16) macro(17) macro(18) macro(19) macro(20) \
	macro(21) macro(22) macro(23) macro(24) macro(25) macro(26) \
	macro(27) macro(28) macro(29) macro(30) macro(31)

/* void name(void *state, unsigned long loops) */
#define HOLD(name, load, store)                         \
	void name(void *state, unsigned long loops);    \
	__asm__("	.text\n"                        \
		"	.type " #name ", @function\n"   \
		#name ":\n"                             \
		load                                    \
		"1:	dec %rsi\n"                     \
		"	jnz 1b\n"                       \
		store                                   \
		"	ret\n"                          \
		"	.size " #name ", . - " #name "\n")

#define LOAD_XMM(n) "	movups 16*" #n "(%rdi), %xmm" #n "\n"
#define STORE_XMM(n) "	movups %xmm" #n ", 16*" #n "(%rdi)\n"
HOLD(hold_sse, X16(LOAD_XMM), X16(STORE_XMM));

TEST(sse_registers)
{
	static const struct hold hold = { hold_sse, 16 * 16 };

	RUN(hold_main, (void *)&hold);
}

#define LOAD_YMM(n) "	vmovups 32*" #n "(%rdi), %ymm" #n "\n"
#define STORE_YMM(n) "	vmovups %ymm" #n ", 32*" #n "(%rdi)\n"
HOLD(hold_avx, X16(LOAD_YMM), X16(STORE_YMM) "	vzeroupper\n");

TEST(avx_registers)
{
	static const struct hold hold = { hold_avx, 16 * 32 };

	if (!__builtin_cpu_supports("avx"))
		SKIP(return, "no AVX");
	RUN(hold_main, (void *)&hold);
}

#define LOAD_ZMM(n) "	vmovups 64*" #n "(%rdi), %zmm" #n "\n"
#define STORE_ZMM(n) "	vmovups %zmm" #n ", 64*" #n "(%rdi)\n"
#define LOAD_K(n) "	kmovw 64*32+2*" #n "(%rdi), %k" #n "\n"
#define STORE_K(n) "	kmovw %k" #n ", 64*32+2*" #n "(%rdi)\n"
#define X8(macro) \
	macro(0) macro(1) macro(2) macro(3) macro(4) macro(5) macro(6) macro(7)
HOLD(hold_avx512, X32(LOAD_ZMM) X8(LOAD_K),
     X32(STORE_ZMM) X8(STORE_K) "	vzeroupper\n");

TEST(avx512_registers)
{
	static const struct hold hold = { hold_avx512, 32 * 64 + 8 * 2 };

	if (!__builtin_cpu_supports("avx512f"))
		SKIP(return, "no AVX-512");
	RUN(hold_main, (void *)&hold);
}

/* Eight 64-bit integers fill the x87 stack exactly and come back exactly. */
#define LOAD_ST(n) "	fildll 8*" #n "(%rdi)\n"
#define STORE_ST(n) "	fistpll 8*(7-" #n ")(%rdi)\n"
HOLD(hold_x87, X8(LOAD_ST), X8(STORE_ST));

TEST(x87_stack)
{
	static const struct hold hold = { hold_x87, 8 * 8 };

	RUN(hold_main, (void *)&hold);
}

/* Rounding modes differ from hog to hog; both units must keep theirs. */
static const int modes[] = { FE_TONEAREST, FE_UPWARD, FE_DOWNWARD,
			     FE_TOWARDZERO };

static unsigned short x87_control(void)
{
	unsigned short word;

	__asm__ volatile("fnstcw %0" : "=m"(word));
	return word;
}

static unsigned int sse_control(void)
{
	unsigned int word;

	__asm__ volatile("stmxcsr %0" : "=m"(word));
	return word & 0xffc0;
}

static void rounding_hog(void *arg)
{
	unsigned int sse, i = (unsigned int)(uintptr_t)arg;
	unsigned short x87;

	CHECK_EQ(FE_TONEAREST, fegetround());
	fesetround(modes[i % ARRAY_SIZE(modes)]);
	sse = sse_control();
	x87 = x87_control();
	while (!atomic_load(&stop)) {
		ut_spin(100000);
		if (i % 2)
			kaus_yield();
		CHECK_EQ(modes[i % ARRAY_SIZE(modes)], fegetround());
		CHECK_EQ(sse, sse_control());
		CHECK_EQ(x87, x87_control());
	}
	kaus_waitgroup_done(&wg);
}

static int rounding_main(void *arg)
{
	unsigned int i, nr = ut_nr_procs() * 8;

	kaus_waitgroup_add(&wg, (int)nr);
	for (i = 0; i < nr; i++)
		ut_go(rounding_hog, (void *)(uintptr_t)i);
	wait_for_preempts(NR_PREEMPTS);
	CHECK_EQ(FE_TONEAREST, fegetround());
	atomic_store(&stop, true);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(control_words_are_per_goroutine)
{
	RUN(rounding_main, NULL);
}

/* What a compiler makes of ordinary arithmetic, against a run undisturbed. */
#define SEED 12345

struct sums {
	uint64_t hash;
	double sse;
	long double x87;
	float vec[8];
};

__attribute__((noinline)) static void compute(struct sums *sums, uint64_t seed)
{
	uint64_t state = seed;
	unsigned int i, j;

	memset(sums, 0, sizeof(*sums));
	sums->hash = 0xcbf29ce484222325ULL;
	for (i = 1; i < 20000; i++) {
		uint64_t r = ut_rand(&state);

		sums->hash = (sums->hash ^ r) * 0x100000001b3ULL;
		sums->sse += 1.0 / (double)(r | 1);
		sums->x87 += 1.0L / (long double)(r | 1);
		for (j = 0; j < 8; j++)
			sums->vec[j] = sums->vec[j] * 0.5f + (float)(r >> j);
	}
}

static void compute_hog(void *arg)
{
	const struct sums *right = arg;
	struct sums again;

	while (!atomic_load(&stop)) {
		compute(&again, SEED);
		CHECK(again.hash == right->hash);
		CHECK(again.sse == right->sse);
		CHECK(again.x87 == right->x87);
		CHECK(!memcmp(again.vec, right->vec, sizeof(again.vec)));
	}
	kaus_waitgroup_done(&wg);
}

static int compute_main(void *arg)
{
	unsigned int i, nr = ut_nr_procs() * 3;

	kaus_waitgroup_add(&wg, (int)nr);
	for (i = 0; i < nr; i++)
		ut_go(compute_hog, arg);
	wait_for_preempts(NR_PREEMPTS);
	atomic_store(&stop, true);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(checksums_stay_right)
{
	struct sums sums;

	compute(&sums, SEED);
	RUN(compute_main, &sums);
}

TEST_HARNESS_MAIN
