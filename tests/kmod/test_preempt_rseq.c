// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restartable sequences under redirects. Workers increment per-CPU counters in
 * hand-written critical sections; the hook of a redirect does what another
 * goroutine on that thread could do: it changes the same counter, and goes
 * elsewhere with sched_yield(). A redirect in a section must therefore go on
 * at the abort handler. A bug is a lost increment, or a saved_ip inside a
 * section.
 */
#include "kw_test.h"

#include <linux/rseq.h>
#include <sys/rseq.h>

#define NR_THREADS	3
#define NR_CPUS		64
/* Steps between load and store, so that redirects fall between them. */
#define STEPS		"400"

struct counter {
	uint64_t n;
} __attribute__((aligned(128)));

static struct counter counters[NR_CPUS];

extern const char rseq_begin[], rseq_commit[], rseq_abort[];

static struct rseq *my_rseq(void)
{
	return __builtin_thread_pointer() + __rseq_offset;
}

/*
 * counters[cpu].n++ if it is done on @cpu in one go; false: aborted. The
 * count goes through a register for long; the store is the commit.
 */
__attribute__((noinline))
static bool increment(struct rseq *rs, uint32_t cpu)
{
	struct counter *c = &counters[cpu];
	uint64_t done;

	__asm__ volatile(
		".pushsection __rseq_cs, \"aw\"\n"
		".balign 32\n"
		"9:	.long 0, 0\n"
		"	.quad rseq_begin, rseq_commit - rseq_begin, rseq_abort\n"
		".popsection\n"
		"	leaq 9b(%%rip), %%rax\n"
		"	movq %%rax, %[cs]\n"
		".globl rseq_begin\nrseq_begin:\n"
		"	cmpl %[cpu], %[cpu_id]\n"
		"	jne rseq_other\n"
		"	movq (%[c]), %%rdx\n"
		"	movl $" STEPS ", %%eax\n"
		"1:	incq %%rdx\n"
		"	decl %%eax\n"
		"	jnz 1b\n"
		"	subq $" STEPS " - 1, %%rdx\n"
		"	movq %%rdx, (%[c])\n"
		".globl rseq_commit\nrseq_commit:\n"
		"	movl $1, %%eax\n"
		"	jmp 2f\n"
		/* The signature that rseq was registered with. */
		"	.byte 0x0f, 0xb9, 0x3d\n"
		"	.long 0x53053053\n"
		".globl rseq_abort\nrseq_abort:\n"
		"rseq_other:\n"
		"	xorl %%eax, %%eax\n"
		"2:\n"
		: "=&a" (done), [cs] "=m" (rs->rseq_cs)
		: [cpu] "r" (cpu), [cpu_id] "m" (rs->cpu_id), [c] "r" (c)
		: "rdx", "memory", "cc");
	return done;
}

static __thread uint64_t nr_inside, nr_at_abort, nr_hook_adds;

static void hook(struct kw_regs *regs, unsigned int events)
{
	struct rseq *rs = my_rseq();
	uint64_t ip = regs->ip;

	(void)events;
	if (ip >= (uint64_t)rseq_begin && ip < (uint64_t)rseq_commit)
		nr_inside++;
	/* One abort may be seen twice: the next redirect comes right here. */
	if (ip == (uint64_t)rseq_abort)
		nr_at_abort++;
	/* Not with .defer up: sections are for those who can be preempted. */
	while (!increment(rs, KW_LOAD(rs->cpu_id_start)))
		;
	nr_hook_adds++;
	kw_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

struct worker {
	struct kw_thread t;
	uint64_t want;
	uint64_t adds, aborts;
	uint64_t inside, at_abort, hook_adds, preempts;
};

static void count(struct kw_thread *t)
{
	struct worker *w = t->arg;
	uint64_t end_ns = kw_now() + KW_PATIENCE_NS;
	struct rseq *rs = my_rseq();

	kw_carry(t->kw, t->worker);
	while (nr_at_abort < w->want && kw_now() < end_ns) {
		for (int i = 0; i < 50; i++) {
			if (increment(rs, KW_LOAD(rs->cpu_id_start)))
				w->adds++;
			else
				w->aborts++;
		}
	}
	kw_drop(t->kw);
	kw_stack_none(kw_self.slot);
	w->inside = nr_inside;
	w->at_abort = nr_at_abort;
	w->hook_adds = nr_hook_adds;
	w->preempts = kw_self.stat->nr_preempt;
}

FIXTURE(rseq) {
	struct kw k;
};

FIXTURE_SETUP(rseq)
{
	if (!__rseq_size)
		SKIP(return, "no rseq, or not registered by libc");
	ASSERT_GE(NR_CPUS, sysconf(_SC_NPROCESSORS_CONF));
	ASSERT_EQ(0, kw_open(&self->k, NR_THREADS, NR_THREADS));
	self->k.tramp_lo = (uint64_t)kw_tramp_x;
	self->k.tramp_hi = (uint64_t)kw_tramp_x_end;
	ASSERT_EQ(0, kw_setup(&self->k));
	for (int i = 0; i < NR_THREADS; i++)
		kw_waiters(&self->k, i, 1);
}

FIXTURE_TEARDOWN(rseq)
{
	kw_close(&self->k);
}

TEST_F(rseq, counters_are_exact)
{
	uint64_t sum = 0, want = 0, at_abort = 0;
	struct worker w[NR_THREADS] = { 0 };

	for (int i = 0; i < NR_THREADS; i++) {
		w[i].want = 150;
		w[i].t.hook = hook;
		ASSERT_EQ(0, kw_thread_start(&w[i].t, &self->k, i, count,
					     &w[i]));
	}
	for (int i = 0; i < NR_THREADS; i++) {
		kw_thread_join(&w[i].t);
		EXPECT_EQ(0, w[i].inside) TH_LOG("saved_ip inside a section");
		EXPECT_LE(w[i].want, w[i].at_abort)
			TH_LOG("preempted %lu times",
			       (unsigned long)w[i].preempts);
		EXPECT_LT(0, w[i].aborts);
		want += w[i].adds + w[i].hook_adds;
		at_abort += w[i].at_abort;
	}
	for (int i = 0; i < NR_CPUS; i++)
		sum += counters[i].n;
	EXPECT_EQ(want, sum) TH_LOG("increments lost or doubled");
	EXPECT_LT(0, at_abort);
}

/* The pointer is cleared lazily: outside of the section it means nothing. */
TEST_F(rseq, stale_pointer_outside_of_a_section)
{
	struct rseq *rs = my_rseq();

	ASSERT_EQ(0, kw_register(&self->k, 0));
	kw_carry(&self->k, 0);
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t before = kw_self.stat->nr_preempt;
		uint64_t x = kw_sum(1000);

		increment(rs, KW_LOAD(rs->cpu_id_start));
		EXPECT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) !=
				    before));
		ASSERT_EQ(x, kw_sum(1000));
	}
	kw_unregister(&self->k);
}

/*
 * The area is read in an interrupt, where a page that is not there can not be
 * fetched: no redirect then, but one when it is back. A bug is a message in
 * the kernel log, or a worker left alone for good.
 */
TEST_F(rseq, area_paged_out)
{
	struct rseq *rs = my_rseq(), *own;
	uint64_t refused, before;

	own = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, own);
	ASSERT_EQ(0, kw_syscall(SYS_rseq, (long)rs, __rseq_size < 32 ? 32 :
				__rseq_size, RSEQ_FLAG_UNREGISTER, RSEQ_SIG, 0,
				0));
	ASSERT_EQ(0, kw_syscall(SYS_rseq, (long)own, 32, 0, RSEQ_SIG, 0, 0));
	ASSERT_EQ(0, kw_register(&self->k, 0));
	kw_carry(&self->k, 0);
	refused = KW_LOAD(kw_self.slot->nr_refused);
	/* A context switch of the thread brings the page back: not each time. */
	for (int i = 0; i < 10000; i++) {
		before = KW_LOAD(kw_self.stat->nr_preempt);
		ASSERT_EQ(0, madvise(own, 4096, MADV_DONTNEED));
		EXPECT_TRUE(KW_SPIN(KW_LOAD(kw_self.slot->nr_refused) !=
				    refused ||
				    KW_LOAD(kw_self.stat->nr_preempt) !=
				    before));
		if (KW_LOAD(kw_self.slot->nr_refused) != refused)
			break;
	}
	EXPECT_LT(refused, KW_LOAD(kw_self.slot->nr_refused));
	own->cpu_id_start = 0;
	before = KW_LOAD(kw_self.stat->nr_preempt);
	EXPECT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) != before));
	kw_unregister(&self->k);
}

KW_TEST_MAIN
