// SPDX-License-Identifier: GPL-2.0-only
/*
 * While the world is stopped everything that a goroutine has in a register or
 * on its stack is found, whatever it was in the midst of. Each goroutine keeps
 * one number in a callee-saved register and nowhere else in memory: there is
 * only its complement.
 *
 * If it is broken: a collector frees what only a register refers to.
 */
#include "utest.h"

#include "sched/scan.h"
#include "sched/sched.h"
#include "sched/stw.h"

#define MAX_HELD	64
#define MAGIC(i)	(0x5ca17ab1e0000000ULL | (i))

/* fn(arg) with ~inverted in rbx. */
void hold_and_call(void (*fn)(void *arg), void *arg, uint64_t inverted);
__asm__(
	"	.text\n"
	"	.type hold_and_call, @function\n"
	"hold_and_call:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	pushq	%rbx\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	.cfi_rel_offset rbx, 0\n"
	"	movq	%rdx, %rbx\n"
	"	notq	%rbx\n"
	"	movq	%rdi, %rax\n"
	"	movq	%rsi, %rdi\n"
	"	xorl	%edx, %edx\n"
	"	call	*%rax\n"
	"	popq	%rbx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	.cfi_restore rbx\n"
	"	ret\n"
	"	.cfi_endproc\n"
	"	.size hold_and_call, . - hold_and_call\n"
);

static struct {
	void (*fn)(void *arg);
	unsigned int nr_found;
	atomic_bool there;
} held[MAX_HELD];
static unsigned int nr_held;
static atomic_bool stop;
static struct kaus_waitgroup wg;
static struct kaus_chan *never;

static void in_vector(void *arg);

static void holder(void *arg)
{
	unsigned int i = (unsigned int)(uintptr_t)arg;

	if (held[i].fn == in_vector)
		in_vector(&held[i].there);
	else
		hold_and_call(held[i].fn, &held[i].there, ~MAGIC(i));
	kaus_waitgroup_done(&wg);
}

static void go_holding(void (*fn)(void *))
{
	if (!CHECK(nr_held < MAX_HELD))
		return;
	held[nr_held].fn = fn;
	kaus_waitgroup_add(&wg, 1);
	ut_go(holder, (void *)(uintptr_t)nr_held++);
}

__attribute__((no_sanitize("address", "thread")))
static void look(void *arg, const void *lo, const void *hi)
{
	(void)arg;
	for (const uint64_t *p = lo; p < (const uint64_t *)hi; p++) {
		uint64_t i = *p & 0xffffffff;

		if ((*p >> 32) == (MAGIC(0) >> 32) &&
		    i >= (MAGIC(0) & 0xffffffff) &&
		    i < (MAGIC(nr_held) & 0xffffffff))
			held[i - (MAGIC(0) & 0xffffffff)].nr_found++;
	}
}

static void stop_and_look(struct m *mp)
{
	for (unsigned int i = 0; i < nr_held; i++)
		held[i].nr_found = 0;
	CHECK(kr_stop_world(mp, "test"));
	if (mp)
		kr_regs_save(&mp->regs);
	kr_scan_begin();
	while (kr_scan_some(look, NULL))
		;
	kr_scan_lock();
	while (kr_scan_some_timers(look, NULL))
		;
	kr_scan_unlock();
	kr_start_world(mp);
}

static void check_found(void)
{
	for (unsigned int i = 0; i < nr_held; i++)
		if (!CHECK(held[i].nr_found > 0))
			dprintf(2, "# holder %u of kind %u\n", i, i / 2);
}

/* ---- what goroutines may be in the midst of ---- */

static void computing(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
	while (!atomic_load(&stop))
		if (UT_TSAN)
			kaus_yield();
}

/* In a system call that is not announced, made in line. */
static void sleeping(void *arg)
{
	struct timespec ts = { 0, 200 * USEC };
	long ret;

	atomic_store((atomic_bool *)arg, true);
	while (!atomic_load(&stop)) {
		__asm__ volatile("syscall"
				 : "=a"(ret)
				 : "0"(35 /* nanosleep */), "D"(&ts), "S"(0)
				 : "rcx", "r11", "memory");
		if (UT_TSAN)
			kaus_yield();
	}
}

static void yielding(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
	while (!atomic_load(&stop))
		kaus_yield();
}

static void napping(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
	while (!atomic_load(&stop))
		kaus_sleep(50 * USEC);
}

static void receiving(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
	CHECK_EQ(-EPIPE, kaus_chan_recv(never, NULL));
}

static void locked(void *arg)
{
	CHECK_EQ(0, kaus_lock_thread());
	yielding(arg);
	CHECK_EQ(0, kaus_unlock_thread());
}

static void *announced(void *arg)
{
	struct timespec ts = { 0, 100 * USEC };

	(void)arg;
	for (int i = 0; i < 3; i++)
		nanosleep(&ts, NULL);
	return NULL;
}

static void blocking(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
	while (!atomic_load(&stop))
		kaus_blocking(announced, NULL);
}

/* Between two kaus_block_*(), computing: for the fallback that is a sleep. */
static void between(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
	while (!atomic_load(&stop)) {
		kaus_block_begin();
		if (UT_TSAN)
			announced(NULL);
		else
			ut_spin(10000);
		kaus_block_end();
	}
}

/* In a vector register only. */
static void in_vector(void *arg)
{
	unsigned int i;

	for (i = 0; &held[i].there != arg; i++)
		;
	atomic_store((atomic_bool *)arg, true);
	__asm__ volatile(
		"movq	%0, %%rax\n\t"
		"notq	%%rax\n\t"
		"movq	%%rax, %%xmm7\n\t"
		"xorl	%%eax, %%eax\n"
		"1:\n\t"
		"pause\n\t"
		"cmpb	$0, %1\n\t"
		"je	1b\n\t"
		"pxor	%%xmm7, %%xmm7"
		: : "r"(~MAGIC(i)), "m"(stop) : "rax", "xmm7", "memory");
}

static void wait_for_holders(void)
{
	for (unsigned int i = 0; i < nr_held; i++)
		while (!atomic_load(&held[i].there))
			kaus_sleep(100 * USEC);
}

static void start_all(bool from_outside)
{
	static void (*const fns[])(void *) = {
		computing, sleeping, yielding, napping,
		receiving, locked, blocking, between,
	};

	(void)from_outside;
	never = kaus_chan_make(0, 0);
	for (size_t i = 0; i < sizeof(fns) / sizeof(fns[0]); i++)
		for (int n = 0; n < 2; n++)
			go_holding(fns[i]);
	for (int n = 0; n < 2 && !UT_TSAN; n++)
		go_holding(in_vector);
	wait_for_holders();
}

static void end_all(void)
{
	atomic_store(&stop, true);
	kaus_chan_close(never);
	kaus_waitgroup_wait(&wg);
	kaus_chan_free(never);
}

static int goroutine_looks(void *arg)
{
	start_all(false);
	for (int i = 0; i < (UT_TSAN ? 10 : 50); i++) {
		struct m *mp = kr_enter();

		stop_and_look(mp);
		kr_exit(mp);
		check_found();
		kaus_sleep(300 * USEC);
	}
	end_all();
	return 0;
}

TEST(all_is_found)
{
	RUN(goroutine_looks, NULL);
}

TEST(all_is_found_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, goroutine_looks, NULL);
}

TEST(all_is_found_on_four)
{
	struct kaus_options opts = ut_procs(4);

	RUN_WITH(&opts, goroutine_looks, NULL);
}

static atomic_bool looked;

static void *thread_looks(void *arg)
{
	for (int i = 0; i < 30; i++) {
		struct timespec ts = { 0, 300 * USEC };

		stop_and_look(NULL);
		check_found();
		nanosleep(&ts, NULL);
	}
	atomic_store(&looked, true);
	return NULL;
}

static int outside(void *arg)
{
	pthread_t thread;

	start_all(true);
	CHECK_EQ(0, pthread_create(&thread, NULL, thread_looks, NULL));
	while (!atomic_load(&looked))
		kaus_sleep(100 * USEC);
	pthread_join(thread, NULL);
	end_all();
	return 0;
}

TEST(all_is_found_from_outside)
{
	RUN(outside, NULL);
}

/* ---- the one who looks ---- */

static void looking(void *arg)
{
	struct m *mp = kr_enter();

	stop_and_look(mp);
	kr_exit(mp);
}

static int own(void *arg)
{
	nr_held = 1;
	hold_and_call(looking, NULL, ~MAGIC(0));
	CHECK(held[0].nr_found > 0);
	return 0;
}

TEST(own_registers)
{
	RUN(own, NULL);
}

/* ---- before the first step, and after the last ---- */

static void never_runs(void *arg)
{
}

static void *returns(void *arg)
{
	return arg;
}

static int arguments(void *arg)
{
	struct kaus_g *g;
	struct m *mp;

	/* One P: they cannot run before this goroutine gives way. */
	nr_held = 2;
	CHECK_EQ(0, kaus_preempt_disable());
	ut_go(never_runs, (void *)MAGIC(0));
	g = ut_spawn(returns, (void *)MAGIC(1));
	mp = kr_enter();
	stop_and_look(mp);
	kr_exit(mp);
	CHECK_EQ(0, kaus_preempt_enable());
	CHECK(held[0].nr_found > 0);
	CHECK(held[1].nr_found > 0);
	while (__atomic_load_n(&((struct g *)g)->join, __ATOMIC_ACQUIRE) !=
	       JOIN_ENDED)
		kaus_yield();
	mp = kr_enter();
	stop_and_look(mp);
	kr_exit(mp);
	CHECK(held[1].nr_found > 0);
	CHECK_EQ(0, kaus_join(g, NULL));
	mp = kr_enter();
	stop_and_look(mp);
	kr_exit(mp);
	CHECK_EQ(0, held[0].nr_found);
	return 0;
}

TEST(arguments_and_results)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, arguments, NULL);
}

TEST_HARNESS_MAIN
