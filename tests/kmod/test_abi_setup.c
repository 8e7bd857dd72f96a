// SPDX-License-Identifier: GPL-2.0-only
/*
 * KAUS_IOC_SETUP: the region and trampoline that a group may have, and each
 * error path. A bug shows as memory of a wrong kind or size that is taken
 * (the module then writes over the end, or over a read-only page), as memory
 * left charged after a failure or a close, or as a descriptor that a failed
 * call made useless.
 */
#include "kw_test.h"

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define NR_PROCS	3
#define NR_WORKERS	20

FIXTURE(setup) {
	struct kw k;
	struct kaus_setup arg;
};

FIXTURE_SETUP(setup)
{
	ASSERT_EQ(0, kw_open(&self->k, NR_PROCS, NR_WORKERS));
	kw_setup_args(&self->k, &self->arg);
}

/* Whatever failed before must not have spoilt the descriptor. */
FIXTURE_TEARDOWN(setup)
{
	struct kw k;

	if (kw_map(&k, 1, 1) == 0 && self->k.fd >= 0) {
		int ret;

		k.fd = self->k.fd;
		ret = kw_setup(&k);
		EXPECT_TRUE(ret == 0 || ret == -EBUSY)
			TH_LOG("descriptor spoilt: %d", ret);
	}
	kw_close(&self->k);
}

static int setup(FIXTURE_DATA(setup) *self)
{
	return kw_ioctl(self->k.fd, KAUS_IOC_SETUP, &self->arg);
}

TEST_F(setup, anonymous_shared)
{
	EXPECT_EQ(0, setup(self));
	EXPECT_EQ(0, self->k.hdr->shutdown);
}

TEST_F(setup, memfd)
{
	int fd = syscall(SYS_memfd_create, "kaus", 0);
	void *p;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, self->k.len));
	p = mmap(NULL, self->k.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	self->arg.addr = (uint64_t)p;
	EXPECT_EQ(0, setup(self));
}

TEST_F(setup, second_time_is_ebusy)
{
	ASSERT_EQ(0, setup(self));
	EXPECT_EQ(-EBUSY, setup(self));
}

TEST_F(setup, sizes_flags_tail)
{
	struct {
		struct kaus_setup arg;
		char more[64];
	} a;

	for (unsigned int size = 0; size < sizeof(self->arg); size++) {
		self->arg.size = size;
		EXPECT_EQ(-EINVAL, setup(self)) TH_LOG("size %u", size);
	}
	self->arg.size = sizeof(self->arg);
	for (int bit = 0; bit < 32; bit++) {
		if (1u << bit == KAUS_SETUP_REUSE)
			continue;
		self->arg.flags = 1u << bit;
		EXPECT_EQ(-EINVAL, setup(self)) TH_LOG("flag %d", bit);
	}
	memset(&a, 0, sizeof(a));
	kw_setup_args(&self->k, &a.arg);
	a.arg.size = sizeof(a);
	a.more[63] = 1;
	EXPECT_EQ(-E2BIG, kw_ioctl(self->k.fd, KAUS_IOC_SETUP, &a));
	EXPECT_EQ(-EFAULT, kw_ioctl(self->k.fd, KAUS_IOC_SETUP, NULL));
	a.more[63] = 0;
	EXPECT_EQ(0, kw_ioctl(self->k.fd, KAUS_IOC_SETUP, &a));
}

TEST_F(setup, counts)
{
	static const struct {
		uint32_t procs, workers;
	} bad[] = {
		{ 0, 1 }, { 1, 0 }, { 0, 0 },
		{ KAUS_MAX_PROCS + 1, 1 }, { 1, KAUS_MAX_WORKERS + 1 },
		{ UINT32_MAX, 1 }, { 1, UINT32_MAX },
		/* 64-bit size that wraps in 32 bits */
		{ 1, 1 << 24 }, { 1 << 24, 1 << 24 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		self->arg.nr_procs = bad[i].procs;
		self->arg.nr_workers = bad[i].workers;
		self->arg.len = KAUS_REGION_SIZE(bad[i].procs, bad[i].workers);
		EXPECT_EQ(-EINVAL, setup(self))
			TH_LOG("%u procs, %u workers", bad[i].procs,
			       bad[i].workers);
	}
}

TEST_F(setup, length_is_exact)
{
	const uint64_t len = self->arg.len;
	const uint64_t bad[] = {
		0, 1, 4095, 4096, len - 4096, len - 1, len + 1, len + 4096,
		len + (1ULL << 32), 1ULL << 63, UINT64_MAX, -len,
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		self->arg.len = bad[i];
		EXPECT_EQ(-EINVAL, setup(self))
			TH_LOG("length %#lx", (unsigned long)bad[i]);
	}
}

TEST_F(setup, address)
{
	const uint64_t addr = self->arg.addr;
	int ret;

	for (unsigned int off = 1; off < 4096; off += off) {
		self->arg.addr = addr + off;
		EXPECT_EQ(-EINVAL, setup(self)) TH_LOG("offset %u", off);
	}
	/* Kernel half, the hole, and a range that wraps. */
	for (int i = 0; i < 4; i++) {
		static const uint64_t bad[] = {
			0xffffffff81000000, 0xffff888000000000,
			0x0000800000000000, 0xfffffffffffff000,
		};

		self->arg.addr = bad[i];
		ret = setup(self);
		EXPECT_TRUE(ret == -EINVAL || ret == -EFAULT)
			TH_LOG("address %#lx: %d", (unsigned long)bad[i], ret);
	}
	self->arg.addr = 0;
	ret = setup(self);
	EXPECT_TRUE(ret == -EINVAL || ret == -EFAULT) TH_LOG("NULL: %d", ret);
}

TEST_F(setup, memory_not_there)
{
	ASSERT_EQ(0, munmap((char *)self->k.hdr + self->k.len - 4096, 4096));
	EXPECT_EQ(-EFAULT, setup(self)) TH_LOG("last page missing");
	EXPECT_EQ(0, kw_pinned_bytes()) TH_LOG("still charged");
	ASSERT_EQ(0, munmap(self->k.hdr, self->k.len - 4096));
	EXPECT_EQ(-EFAULT, setup(self)) TH_LOG("all missing");
	EXPECT_EQ(0, kw_pinned_bytes()) TH_LOG("still charged");
}

TEST_F(setup, memory_not_writable)
{
	char *last = (char *)self->k.hdr + self->k.len - 4096;

	ASSERT_EQ(0, mprotect(last, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, setup(self)) TH_LOG("last page read-only");
	ASSERT_EQ(0, mprotect(self->k.hdr, self->k.len, PROT_READ));
	EXPECT_EQ(-EFAULT, setup(self)) TH_LOG("all read-only");
	ASSERT_EQ(0, mprotect(self->k.hdr, self->k.len, PROT_NONE));
	EXPECT_EQ(-EFAULT, setup(self)) TH_LOG("PROT_NONE");
	EXPECT_EQ(0, kw_pinned_bytes()) TH_LOG("still charged");
}

TEST_F(setup, file_mapping_is_eopnotsupp)
{
	char dir[] = "/tmp/kaus-XXXXXX", path[64];
	int fd, ret;
	void *p;

	/* ramfs: a file on tmpfs is the same thing as a memfd. */
	ASSERT_NE(NULL, mkdtemp(dir));
	if (mount("ramfs", dir, "ramfs", 0, NULL))
		SKIP(return, "cannot mount ramfs");
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	EXPECT_LE(0, fd);
	EXPECT_EQ(0, ftruncate(fd, self->k.len));
	p = mmap(NULL, self->k.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT_NE(MAP_FAILED, p);
	self->arg.addr = (uint64_t)p;
	ret = setup(self);
	EXPECT_EQ(-EOPNOTSUPP, ret);
	EXPECT_EQ(0, kw_pinned_bytes()) TH_LOG("still charged");
	munmap(p, self->k.len);
	close(fd);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
}

TEST_F(setup, trampoline)
{
	static const uint64_t bad[][2] = {
		{ 0x1000, 0x1000 }, { 0x2000, 0x1000 }, { 0, 0 },
		{ 0x1000, UINT64_MAX }, { 0xffffffff81000000,
		  0xffffffff81000100 }, { 0x1000, 0x8000000000000000 },
		/* beyond user space even with five levels of pages */
		{ 0x0100000000000000, 0x0100000000001000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		self->arg.tramp_lo = bad[i][0];
		self->arg.tramp_hi = bad[i][1];
		EXPECT_EQ(-EINVAL, setup(self))
			TH_LOG("[%#lx, %#lx)", (unsigned long)bad[i][0],
			       (unsigned long)bad[i][1]);
	}
}

TEST_F(setup, reserved_fields_must_be_zero)
{
	__u64 *reserved[] = {
		&self->k.hdr->reserved0[0], &self->k.hdr->reserved0[12],
		&self->k.hdr->reserved2[0], &self->k.hdr->reserved2[431],
		&self->k.hdr->reserved3[0], &self->k.hdr->reserved3[14],
		&self->k.hdr->reserved4[0], &self->k.hdr->reserved4[13],
		&self->k.hdr->wanted,
		&self->k.procs[0].reserved0[0],
		&self->k.procs[NR_PROCS - 1].reserved0[12],
		&self->k.procs[0].reserved1[0],
		&self->k.procs[NR_PROCS - 1].reserved1[13],
		&self->k.workers[0].reserved0[0],
		&self->k.workers[NR_WORKERS - 1].reserved0[10],
		&self->k.workers[0].reserved1[0],
		&self->k.workers[NR_WORKERS - 1].reserved1[8],
	};

	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		*reserved[i] = 1;
		EXPECT_EQ(-EINVAL, setup(self)) TH_LOG("field %zu", i);
		*reserved[i] = 0;
	}
	self->k.hdr->reserved1[30] = 1;
	EXPECT_EQ(-EINVAL, setup(self)) TH_LOG("reserved1");
	self->k.hdr->reserved1[30] = 0;
	self->k.hdr->wanted_why = 1;
	EXPECT_EQ(-EINVAL, setup(self)) TH_LOG("wanted_why");
	self->k.hdr->wanted_why = 0;
	self->k.hdr->returnable = UINT64_MAX;
	self->k.hdr->handoff_delay_ns = 1000;
	self->k.procs[1].cpu = 1;
	EXPECT_EQ(0, setup(self)) TH_LOG("fields the runtime may set");
}

TEST_F(setup, largest_group)
{
	struct kaus_info info;
	struct kw big;

	ASSERT_EQ(0, kw_info(self->k.fd, &info));
	ASSERT_EQ(0, kw_open(&big, info.max_procs, info.max_workers));
	ASSERT_EQ(0, kw_setup(&big));
	ASSERT_EQ(0, kw_register(&big, info.max_workers - 1));
	kw_carry(&big, info.max_procs - 1);
	kw_waiters(&big, info.max_procs - 1, 1);
	EXPECT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) > 0))
		TH_LOG("last worker of the largest group never redirected");
	EXPECT_EQ(0, kw_unregister(&big));
	kw_close(&big);
}

TEST_F(setup, others_need_it_first)
{
	struct kaus_handoff handoff = { .target = KAUS_ANY };
	struct kaus_register reg = { .size = sizeof(reg) };
	int fd = self->k.fd;

	kw_self.worker = 0;
	EXPECT_EQ(-ENXIO, kw_ioctl(fd, KAUS_IOC_REGISTER, &reg));
	EXPECT_EQ(-ENXIO, kw_ioctl(fd, KAUS_IOC_UNREGISTER, &reg));
	EXPECT_EQ(-ENXIO, kw_park(&self->k, 0, KAUS_NONE, 0, NULL));
	EXPECT_EQ(-ENXIO, kw_wake(&self->k, 0, KAUS_NONE, 0));
	EXPECT_EQ(-ENXIO, kw_handoff(&self->k, &handoff));
	EXPECT_EQ(-ENXIO, kw_kick(&self->k, KAUS_ALL, NULL));
}

TEST_F(setup, charged_while_the_group_lives)
{
	ASSERT_EQ(0, kw_pinned_bytes());
	ASSERT_EQ(0, setup(self));
	EXPECT_EQ(self->k.len, kw_pinned_bytes());
	kw_close(&self->k);
	EXPECT_TRUE(KW_WAIT(kw_pinned_bytes() == 0)) TH_LOG("charge leaked");
}

TEST_F(setup, memlock_limit_is_emfile)
{
	const struct rlimit none = { 0, RLIM_INFINITY };
	const struct rlimit one = { self->k.len, RLIM_INFINITY };
	struct kw again;

	if (geteuid())
		SKIP(return, "not root");
	/* CAP_IPC_LOCK overrides the limit. */
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &none));
	ASSERT_EQ(0, setresuid(65534, 65534, 65534));
	EXPECT_EQ(-EMFILE, setup(self));
	EXPECT_EQ(0, kw_pinned_bytes());
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &one));
	EXPECT_EQ(0, setup(self)) TH_LOG("just enough");
	if (!kw_open(&again, NR_PROCS, NR_WORKERS)) {
		EXPECT_EQ(-EMFILE, kw_setup(&again)) TH_LOG("not for two");
		kw_close(&self->k);
		EXPECT_TRUE(KW_WAIT(kw_setup(&again) == 0))
			TH_LOG("charge of the first group not given back");
		kw_close(&again);
	}
}

KW_TEST_MAIN
