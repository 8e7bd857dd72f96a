// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls under redirects. The timer then hits kernel mode, and the
 * redirect is done on the way out, where the result is in %rax and a restart
 * may be pending. A bug shows as a call with a wrong result, a changed
 * register, a short or doubled transfer, -EINTR out of nowhere, or a call that
 * is made twice.
 */
#include "kw_test.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

FIXTURE(sys) {
	struct kw k;
};

FIXTURE_SETUP(sys)
{
	ASSERT_EQ(0, kw_group(&self->k, 1, 2));
	ASSERT_EQ(0, kw_register(&self->k, 1));
	kw_carry(&self->k, 0);
	kw_waiters(&self->k, 0, 1);
}

FIXTURE_TEARDOWN(sys)
{
	kw_unregister(&self->k);
	kw_close(&self->k);
}

/* True until @nr redirects came; gives up when none comes for a long time. */
static bool more(struct __test_metadata *_metadata, uint64_t nr)
{
	static uint64_t last, since_ns;
	uint64_t now_ns = kw_now();

	/* A P that was lost in a sleep: nobody else is here to take it. */
	if (!kw_owner_is(kw_self.kw, 0, KAUS_P_RUNNING, kw_self.worker))
		kw_carry(kw_self.kw, 0);
	if (kw_self.stat->nr_preempt != last || !since_ns) {
		last = kw_self.stat->nr_preempt;
		since_ns = now_ns;
	}
	if (now_ns - since_ns > KW_PATIENCE_NS) {
		EXPECT_LE(nr, kw_self.stat->nr_preempt)
			TH_LOG("no longer redirected");
		return false;
	}
	return kw_self.stat->nr_preempt < nr;
}

/*
 * getppid by hand, with a pattern in every register that the ABI keeps.
 * Returns the mask of those that changed; *ret is the result.
 */
static unsigned int call_checked(long nr, long *ret)
{
	unsigned int bad = 0;

	__asm__ volatile(
		"leaq -128(%%rsp), %%rsp\n"	/* not into our red zone */
		"pushq %%rbp\n"
		"movq %[nr], %%rax\n"
		"movq $0x1111, %%rbx\n movq $0x2222, %%rdx\n"
		"movq $0x3333, %%rsi\n movq $0x4444, %%rdi\n"
		"movq $0x5555, %%rbp\n movq $0x6666, %%r8\n"
		"movq $0x7777, %%r9\n movq $0x8888, %%r10\n"
		"movq $0x9999, %%r12\n movq $0xaaaa, %%r13\n"
		"movq $0xbbbb, %%r14\n"
		"syscall\n"
		"xorl %%ecx, %%ecx\n"
		".macro check reg, val, bit\n"
		"cmpq $\\val, \\reg\n je 1f\n orl $\\bit, %%ecx\n1:\n"
		".endm\n"
		"check %%rbx, 0x1111, 1\n check %%rdx, 0x2222, 2\n"
		"check %%rsi, 0x3333, 4\n check %%rdi, 0x4444, 8\n"
		"check %%rbp, 0x5555, 16\n check %%r8, 0x6666, 32\n"
		"check %%r9, 0x7777, 64\n check %%r10, 0x8888, 128\n"
		"check %%r12, 0x9999, 256\n check %%r13, 0xaaaa, 512\n"
		"check %%r14, 0xbbbb, 1024\n"
		".purgem check\n"
		"popq %%rbp\n"
		"leaq 128(%%rsp), %%rsp\n"
		: "=&a" (*ret), "=&c" (bad)
		: [nr] "r" (nr)
		: "rbx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
		  "r13", "r14", "memory", "cc");
	return bad;
}

TEST_F(sys, results_and_registers)
{
	const long ppid = getppid();
	long ret;

	while (more(_metadata, 1500)) {
		for (int i = 0; i < 200; i++) {
			ASSERT_EQ(0, call_checked(SYS_getppid, &ret));
			ASSERT_EQ(ppid, ret);
			ASSERT_EQ(0, call_checked(1000000, &ret));
			ASSERT_EQ(-ENOSYS, ret);
			ASSERT_EQ(-EBADF, kw_syscall(SYS_close, -1, 0, 0, 0,
						     0, 0));
		}
	}
	EXPECT_EQ(0, kw_self.stat->nr_foreign);
}

TEST_F(sys, pipe_data)
{
	unsigned char out[4096], in[4096];
	uint64_t sent = 0;
	int fd[2];

	ASSERT_EQ(0, pipe(fd));
	while (more(_metadata, 800)) {
		for (size_t i = 0; i < sizeof(out); i++)
			out[i] = (sent + i) * 31 >> 3;
		ASSERT_EQ(sizeof(out), write(fd[1], out, sizeof(out)));
		ASSERT_EQ(sizeof(in), read(fd[0], in, sizeof(in)));
		ASSERT_EQ(0, memcmp(out, in, sizeof(in)));
		sent += sizeof(out);
	}
}

/* An offset that moves once per call: a call made twice leaves a gap. */
TEST_F(sys, file_offsets)
{
	int fd = syscall(SYS_memfd_create, "kaus", 0);
	uint64_t n = 0, back;

	ASSERT_LE(0, fd);
	while (more(_metadata, 500)) {
		for (int i = 0; i < 100; i++, n++) {
			ASSERT_EQ(sizeof(n), write(fd, &n, sizeof(n)));
			ASSERT_EQ((n + 1) * sizeof(n),
				  lseek(fd, 0, SEEK_CUR));
		}
	}
	ASSERT_EQ(0, lseek(fd, 0, SEEK_SET));
	for (uint64_t i = 0; i < n; i++) {
		ASSERT_EQ(sizeof(back), read(fd, &back, sizeof(back)));
		ASSERT_EQ(i, back);
	}
	ASSERT_EQ(0, read(fd, &back, sizeof(back)));
}

/* Long stretches in kernel mode, and page faults of all kinds. */
TEST_F(sys, kernel_mode_and_page_faults)
{
	const size_t len = 8 << 20;
	uint64_t sum = 0;

	while (more(_metadata, 500)) {
		uint64_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		size_t words = len / sizeof(*p), step = 4096 / sizeof(*p);

		ASSERT_NE(MAP_FAILED, p);
		/* Half by read faults then write faults, half at once. */
		for (size_t i = 0; i < words / 2; i += step)
			sum += p[i];
		for (size_t i = 0; i < words / 2; i += step)
			p[i] = i;
		ASSERT_EQ(0, sum);
		ASSERT_EQ(0, madvise(p + words / 2, len / 2,
				     MADV_POPULATE_WRITE));
		for (size_t i = 0; i < words; i += step) {
			ASSERT_EQ(i < words / 2 ? i : 0, p[i]);
		}
		ASSERT_EQ(0, munmap(p, len));
	}
}

/* The vDSO: sequence locks and, for the coarse clocks, no entry at all. */
TEST_F(sys, clocks_do_not_go_back)
{
	uint64_t last = 0;

	while (more(_metadata, 1000)) {
		for (int i = 0; i < 1000; i++) {
			uint64_t now_ns = kw_now();

			ASSERT_LE(last, now_ns);
			last = now_ns;
		}
	}
}

/* Sleeps of all kinds end by themselves and never with -EINTR. */
TEST_F(sys, sleeps_are_not_interrupted)
{
	uint32_t word = 1;

	for (int i = 0; i < 150; i++) {
		struct timespec ts = { .tv_nsec = 100000 };
		uint64_t end_ns = kw_now() + 100000;

		more(_metadata, 1);
		ASSERT_EQ(0, kw_syscall(SYS_nanosleep, (long)&ts, 0, 0, 0, 0,
					0));
		ASSERT_LE(end_ns, kw_now());
		end_ns = kw_now() + 100000;
		ASSERT_EQ(-ETIMEDOUT,
			  kw_syscall(SYS_futex, (long)&word, 0, 1, (long)&ts,
				     0, 0));
		ASSERT_LE(end_ns, kw_now());
		ASSERT_EQ(0, kw_syscall(SYS_poll, 0, 0, 1, 0, 0, 0));
		kw_sum(20000);
	}
	EXPECT_LT(0, kw_self.stat->nr_preempt);
}

/* clone, exit and wait, with the redirect pending in either of them. */
TEST_F(sys, fork_and_wait)
{
	int status;

	/* A fast machine needs more of them, for a slice to end in one. */
	for (int i = 0; i < 60 || !kw_self.stat->nr_preempt; i++) {
		pid_t pid;

		more(_metadata, 1);
		kw_sum(20000 + 1000 * i);
		pid = fork();
		if (!pid)
			_exit(i & 0x7f);
		ASSERT_LT(0, pid);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFEXITED(status)) TH_LOG("%#x", status);
		ASSERT_EQ(i & 0x7f, WEXITSTATUS(status));
	}
}

KW_TEST_MAIN
