// SPDX-License-Identifier: GPL-2.0-only
/*
 * KAUS_IOC_INFO, and what all ioctls share: argument sizes, padding, unknown
 * numbers. A bug here shows as a program built for another ABI version that
 * is misunderstood (accepted with bytes cut off, or refused for nothing), as
 * output written by a failed call, or as -EINVAL where -ENOTTY belongs.
 */
#include "kw_test.h"

FIXTURE(info) {
	int fd;
};

FIXTURE_SETUP(info)
{
	self->fd = open(KW_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(info)
{
	close(self->fd);
}

TEST_F(info, tells_version_features_limits)
{
	struct kaus_info info;

	memset(&info, 0xff, sizeof(info));
	ASSERT_EQ(0, kw_info(self->fd, &info));
	EXPECT_EQ(sizeof(info), info.size);
	EXPECT_EQ(KAUS_ABI_MAJOR, info.abi_major);
	EXPECT_LE(KAUS_ABI_MINOR, info.abi_minor);
	EXPECT_EQ(KAUS_FEAT_PREEMPT | KAUS_FEAT_KICK | KAUS_FEAT_HANDOFF,
		  info.features & (KAUS_FEAT_PREEMPT | KAUS_FEAT_KICK |
				   KAUS_FEAT_HANDOFF));
	EXPECT_TRUE(info.features & KAUS_FEAT_PAGES);
	EXPECT_LE(1, info.max_procs);
	EXPECT_GE(KAUS_MAX_PROCS, info.max_procs);
	EXPECT_LE(1, info.max_workers);
	EXPECT_GE(KAUS_MAX_WORKERS, info.max_workers);
	EXPECT_LT(0, info.min_slice_ns);
	EXPECT_LE(info.min_slice_ns, info.default_slice_ns);
	EXPECT_LE(info.default_slice_ns, info.max_slice_ns);
}

TEST_F(info, unprivileged_slice_is_not_shorter)
{
	struct kaus_info root, nobody;

	ASSERT_EQ(0, kw_info(self->fd, &root));
	if (geteuid())
		SKIP(return, "not root");
	ASSERT_EQ(0, setresuid(65534, 65534, 65534));
	ASSERT_EQ(0, kw_info(self->fd, &nobody));
	EXPECT_LE(root.min_slice_ns, nobody.min_slice_ns);
}

TEST_F(info, works_in_a_child)
{
	struct kaus_info info;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(-kw_info(self->fd, &info));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(info, flags_must_be_zero)
{
	struct kaus_info info;

	for (int bit = 0; bit < 32; bit++) {
		memset(&info, 0, sizeof(info));
		info.size = sizeof(info);
		info.flags = 1u << bit;
		EXPECT_EQ(-EINVAL, kw_ioctl(self->fd, KAUS_IOC_INFO, &info));
		EXPECT_EQ(0, info.abi_major) TH_LOG("written on failure");
	}
}

TEST_F(info, size_below_abi_1_0_is_einval)
{
	struct kaus_info info;

	for (unsigned int size = 0; size < sizeof(info); size++) {
		memset(&info, 0, sizeof(info));
		info.size = size;
		EXPECT_EQ(-EINVAL, kw_ioctl(self->fd, KAUS_IOC_INFO, &info))
			TH_LOG("size %u", size);
		EXPECT_EQ(0, info.abi_major) TH_LOG("written on failure");
	}
}

TEST_F(info, bytes_beyond_must_be_zero)
{
	struct {
		struct kaus_info info;
		char more[3 * 4096];
	} arg;

	memset(&arg, 0, sizeof(arg));
	arg.info.size = sizeof(arg.info) + 64;
	EXPECT_EQ(0, kw_ioctl(self->fd, KAUS_IOC_INFO, &arg));
	EXPECT_EQ(KAUS_ABI_MAJOR, arg.info.abi_major);
	EXPECT_EQ(sizeof(arg.info), arg.info.size)
		TH_LOG("out: not the bytes filled in");

	for (size_t i = 0; i < 64; i++) {
		memset(&arg, 0, sizeof(arg));
		arg.info.size = sizeof(arg.info) + 64;
		arg.more[i] = 1;
		EXPECT_EQ(-E2BIG, kw_ioctl(self->fd, KAUS_IOC_INFO, &arg))
			TH_LOG("byte %zu", i);
		EXPECT_EQ(0, arg.info.abi_major) TH_LOG("written on failure");
	}
	/* Behind the end that the caller told: nobody's business. */
	memset(&arg, 0, sizeof(arg));
	arg.info.size = sizeof(arg.info) + 8;
	arg.more[8] = 1;
	EXPECT_EQ(0, kw_ioctl(self->fd, KAUS_IOC_INFO, &arg));
	/* No struct will ever be that large. */
	memset(&arg, 0, sizeof(arg));
	arg.info.size = UINT32_MAX;
	EXPECT_EQ(-E2BIG, kw_ioctl(self->fd, KAUS_IOC_INFO, &arg));
}

TEST_F(info, pointers)
{
	char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kaus_info *info;

	ASSERT_NE(MAP_FAILED, two);
	ASSERT_EQ(0, mprotect(two + 4096, 4096, PROT_NONE));
	EXPECT_EQ(-EFAULT, kw_ioctl(self->fd, KAUS_IOC_INFO, NULL));
	EXPECT_EQ(-EFAULT, kw_ioctl(self->fd, KAUS_IOC_INFO, two + 4096));
	EXPECT_EQ(-EFAULT, kw_ioctl(self->fd, KAUS_IOC_INFO, (void *)-4096L));
	EXPECT_EQ(-EFAULT, kw_ioctl(self->fd, KAUS_IOC_INFO,
				    (void *)0xffff888000000000));
	/* The size is readable, the rest is not. */
	info = (void *)(two + 4096 - 8);
	info->size = sizeof(*info);
	info->flags = 0;
	EXPECT_EQ(-EFAULT, kw_ioctl(self->fd, KAUS_IOC_INFO, info));
	/* Readable, not writable. */
	info = (void *)two;
	info->size = sizeof(*info);
	ASSERT_EQ(0, mprotect(two, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, kw_ioctl(self->fd, KAUS_IOC_INFO, info));
	/* Not aligned. */
	ASSERT_EQ(0, mprotect(two, 4096, PROT_READ | PROT_WRITE));
	info = (void *)(two + 3);
	ASSERT_EQ(0, kw_info(self->fd, info));
	EXPECT_EQ(KAUS_ABI_MAJOR, info->abi_major);
}

TEST_F(info, unknown_numbers_are_enotty)
{
	char buf[256] = { 0 };

	*(uint32_t *)buf = sizeof(buf);
	for (unsigned int nr = 0x09; nr < 0x100; nr++) {
		EXPECT_EQ(-ENOTTY,
			  kw_ioctl(self->fd, _IO(KAUS_IOC_TYPE, nr), buf))
			TH_LOG("number %#x", nr);
	}
	/* Right number, but another type, direction or size. */
	EXPECT_EQ(-ENOTTY, kw_ioctl(self->fd, _IO(0xBB, 0), buf));
	EXPECT_EQ(-ENOTTY, kw_ioctl(self->fd, _IO(0, 0), buf));
	EXPECT_EQ(-ENOTTY, kw_ioctl(self->fd, _IOR(KAUS_IOC_TYPE, 0, int),
				    buf));
	EXPECT_EQ(-ENOTTY, kw_ioctl(self->fd, _IOW(KAUS_IOC_TYPE, 1, long),
				    buf));
	EXPECT_EQ(-ENOTTY, kw_ioctl(self->fd, _IOWR(KAUS_IOC_TYPE, 4,
						    struct kaus_park), buf));
}

/*
 * int $0x80 enters the 32-bit system-call table: the numbers and the layout
 * are the same, a group there is refused. -ENOTTY: no 32-bit entry at all.
 */
TEST_F(info, setup_from_32_bit_is_refused)
{
	struct kaus_setup *arg;
	int status;
	pid_t pid;

	arg = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, arg);
	pid = fork();
	if (!pid) {
		struct kw k;
		int ret;

		if (kw_map(&k, 1, 1))
			_exit(100);
		kw_setup_args(&k, arg);
		/* __NR_ioctl of i386 is 54. */
		__asm__ volatile("int $0x80" : "=a" (ret)
				 : "a" (54), "b" (self->fd),
				   "c" (KAUS_IOC_SETUP), "d" (arg)
				 : "memory", "r8", "r9", "r10", "r11");
		_exit(ret < 0 ? -ret : ret);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
		SKIP(return, "kernel without IA32_EMULATION");
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_TRUE(WEXITSTATUS(status) == EOPNOTSUPP ||
		    WEXITSTATUS(status) == ENOTTY)
		TH_LOG("errno %d", WEXITSTATUS(status));
}

KW_TEST_MAIN
