// SPDX-License-Identifier: GPL-2.0-only
/*
 * KAUS_IOC_REGS: what a worker that sleeps in a system call has in registers. A
 * bug shows as values of another moment, which a collector would believe.
 */
#include "kw_test.h"

#include <sys/syscall.h>

FIXTURE(regs) {
	struct kw k;
};

FIXTURE_SETUP(regs)
{
	struct kaus_info info;

	ASSERT_EQ(0, kw_group(&self->k, 2, 8));
	ASSERT_EQ(0, kw_info(self->k.fd, &info));
	if (!(info.features & KAUS_FEAT_REGS))
		SKIP(return, "the kernel has no user-return notifiers");
}

FIXTURE_TEARDOWN(regs)
{
	kw_close(&self->k);
}

static int get_regs(struct kw *k, uint32_t worker, struct kaus_regs *arg)
{
	memset(arg, 0, sizeof(*arg));
	arg->size = sizeof(*arg);
	arg->worker = worker;
	return kw_ioctl(k->fd, KAUS_IOC_REGS, arg);
}

/* What the module says that it cannot do it refuses. */
TEST(as_it_says)
{
	struct kaus_info info;
	struct kaus_regs arg;
	struct kw k;
	int err;

	ASSERT_EQ(0, kw_group(&k, 1, 1));
	ASSERT_EQ(0, kw_info(k.fd, &info));
	err = get_regs(&k, 0, &arg);
	EXPECT_EQ(info.features & KAUS_FEAT_REGS ? -ESRCH : -EOPNOTSUPP, err);
	kw_close(&k);
}

TEST_F(regs, arguments)
{
	struct {
		struct kaus_regs arg;
		char more[8];
	} a = { 0 };
	int fd = self->k.fd;

	for (unsigned int size = 0; size < sizeof(a.arg); size++) {
		a.arg.size = size;
		EXPECT_EQ(-EINVAL, kw_ioctl(fd, KAUS_IOC_REGS, &a))
			TH_LOG("size %u", size);
	}
	a.arg.size = sizeof(a.arg);
	for (int bit = 0; bit < 32; bit++) {
		a.arg.flags = 1u << bit;
		EXPECT_EQ(-EINVAL, kw_ioctl(fd, KAUS_IOC_REGS, &a))
			TH_LOG("flag %d", bit);
	}
	a.arg.flags = 0;
	a.arg.pad = 1;
	EXPECT_EQ(-EINVAL, kw_ioctl(fd, KAUS_IOC_REGS, &a));
	a.arg.pad = 0;
	EXPECT_EQ(-ESRCH, kw_ioctl(fd, KAUS_IOC_REGS, &a));
	a.arg.worker = 8;
	EXPECT_EQ(-EINVAL, kw_ioctl(fd, KAUS_IOC_REGS, &a));
	a.arg.worker = KAUS_ALL;
	EXPECT_EQ(-EINVAL, kw_ioctl(fd, KAUS_IOC_REGS, &a));
	a.arg.worker = 0;
	a.arg.size = sizeof(a);
	a.more[0] = 1;
	EXPECT_EQ(-E2BIG, kw_ioctl(fd, KAUS_IOC_REGS, &a));
	EXPECT_EQ(-EFAULT, kw_ioctl(fd, KAUS_IOC_REGS, NULL));
}

struct sleeper {
	struct kw_thread t;
	int fds[2];
	uint64_t sp;
};

static void sleep_in_read(struct kw_thread *t)
{
	struct sleeper *s = t->arg;
	char c;
	long ret;

	__asm__ volatile(
		"movq	%%rsp, %[sp]\n\t"
		"leaq	-128(%%rsp), %%rsp\n\t"	/* the red zone */
		"pushq	%%rbx\n\t"
		"pushq	%%rbp\n\t"
		"movl	$0xb, %%ebx\n\t"
		"movl	$0xbb, %%ebp\n\t"
		"movl	$12, %%r12d\n\t"
		"movl	$13, %%r13d\n\t"
		"movl	$14, %%r14d\n\t"
		"movl	$15, %%r15d\n\t"
		"syscall\n\t"
		"popq	%%rbp\n\t"
		"popq	%%rbx\n\t"
		"leaq	128(%%rsp), %%rsp"
		: "=a"(ret), [sp]"=m"(s->sp)
		: "0"(SYS_read), "D"((long)s->fds[0]), "S"(&c), "d"(1L)
		: "rcx", "r11", "r12", "r13", "r14", "r15", "memory");
}

TEST_F(regs, of_a_sleeper)
{
	struct sleeper s = { 0 };
	struct kaus_regs arg;

	ASSERT_EQ(0, pipe(s.fds));
	ASSERT_EQ(0, kw_thread_start(&s.t, &self->k, 1, sleep_in_read, &s));
	ASSERT_TRUE(KW_WAIT(kw_in_syscall(s.t.tid, SYS_read) &&
			    kw_asleep(s.t.tid)));
	EXPECT_EQ(-EBUSY, get_regs(&self->k, 1, &arg))
		TH_LOG("nothing keeps it from going on");
	ASSERT_EQ(0, kw_kick(&self->k, 1, NULL));
	ASSERT_EQ(0, get_regs(&self->k, 1, &arg));
	EXPECT_EQ(0xb, arg.bx);
	EXPECT_EQ(0xbb, arg.bp);
	EXPECT_EQ(12, arg.r12);
	EXPECT_EQ(13, arg.r13);
	EXPECT_EQ(14, arg.r14);
	EXPECT_EQ(15, arg.r15);
	EXPECT_GT(s.sp, arg.sp);
	EXPECT_LT(s.sp - arg.sp, 256);
	EXPECT_EQ(1, write(s.fds[1], "x", 1));
	EXPECT_EQ(0, kw_thread_join(&s.t));
	EXPECT_EQ(-ESRCH, get_regs(&self->k, 1, &arg));
	close(s.fds[0]);
	close(s.fds[1]);
}

static void spin_until(struct kw_thread *t)
{
	unsigned int *stop = t->arg;

	while (!KW_LOAD(*stop))
		;
}

/* In user mode, on a CPU or not: never. */
TEST_F(regs, not_of_one_that_runs)
{
	unsigned int stop = 0;
	struct kw_thread t = { 0 };
	struct kaus_regs arg;

	ASSERT_EQ(0, kw_thread_start(&t, &self->k, 1, spin_until, &stop));
	for (int i = 0; i < 2000; i++) {
		int err;

		ASSERT_EQ(0, kw_kick(&self->k, 1, NULL));
		err = get_regs(&self->k, 1, &arg);
		/* The thread may still be on its way to its function. */
		if (i > 100)
			EXPECT_EQ(-EBUSY, err);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	EXPECT_EQ(0, kw_thread_join(&t));
}

KW_TEST_MAIN
