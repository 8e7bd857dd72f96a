// SPDX-License-Identifier: GPL-2.0-only
/*
 * Claims of doc/design/security.md that no other test is about: what an ioctl
 * may write, 32-bit callers, capabilities that come from a user namespace, a
 * set-user-ID program executed by a worker, whose memory it is, a debugger that
 * looks at any moment. A bug is a hole, or a debugger that shows what never was.
 */
#include "kw_test.h"

#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/user.h>

#define NOBODY		65534
#define MAX_GROUPS	"/sys/module/kaus/parameters/max_groups"

/* --- what an ioctl writes --- */

/* Much larger than any struct, and full of what must stay. */
struct area {
	union {
		unsigned char bytes[512];
		uint32_t size;
		struct kaus_info info;
		struct kaus_park park;
		struct kaus_handoff handoff;
		struct kaus_kick kick;
		struct kaus_register reg;
		struct kaus_regs regs;
	};
};

/* Does @fd's ioctl change bytes of @a outside of [@from, @to)? */
static bool writes_only(int fd, unsigned long cmd, struct area *a, size_t len,
			size_t from, size_t to, int *ret)
{
	struct area before;

	memset(a->bytes + len, 0xa5, sizeof(a->bytes) - len);
	a->size = len;
	before = *a;
	*ret = kw_ioctl(fd, cmd, a);
	return !memcmp(before.bytes, a->bytes, from) &&
	       !memcmp(before.bytes + to, a->bytes + to,
		       sizeof(a->bytes) - to);
}

#define WRITES_ONLY(fd, cmd, a, type, first, last, ret)			\
	writes_only(fd, cmd, a, sizeof(struct type),			\
		    offsetof(struct type, first),			\
		    offsetof(struct type, last) +			\
		    sizeof(((struct type *)0)->last), ret)

TEST(ioctls_write_their_answers_only)
{
	struct area a = { 0 };
	struct kw k;
	int ret;

	ASSERT_EQ(0, kw_group(&k, 1, 2));
	EXPECT_TRUE(WRITES_ONLY(k.fd, KAUS_IOC_INFO, &a, kaus_info, abi_major,
				default_slice_ns, &ret));
	EXPECT_EQ(0, ret);
	memset(&a, 0, sizeof(a));
	EXPECT_TRUE(writes_only(k.fd, KAUS_IOC_REGISTER, &a,
				sizeof(struct kaus_register), 0, 0, &ret));
	EXPECT_EQ(0, ret);
	memset(&a, 0, sizeof(a));
	a.kick.worker = 0;
	EXPECT_TRUE(WRITES_ONLY(k.fd, KAUS_IOC_KICK, &a, kaus_kick, kicked,
				kicked, &ret));
	EXPECT_EQ(0, ret);
	memset(&a, 0, sizeof(a));
	/* A failed call writes nothing. */
	a.park.home = KAUS_NONE;
	a.park.proc = 0x12345678;
	EXPECT_TRUE(writes_only(k.fd, KAUS_IOC_PARK, &a,
				sizeof(struct kaus_park), 0, 0, &ret));
	EXPECT_EQ(-ETIMEDOUT, ret);
	ASSERT_EQ(0, kw_wake(&k, 0, KAUS_NONE, 0));
	EXPECT_TRUE(WRITES_ONLY(k.fd, KAUS_IOC_PARK, &a, kaus_park, proc, proc,
				&ret));
	EXPECT_EQ(0, ret);
	memset(&a, 0, sizeof(a));
	a.handoff.home = KAUS_NONE;
	a.handoff.target = 1;
	a.handoff.target_proc = KAUS_NONE;
	EXPECT_TRUE(WRITES_ONLY(k.fd, KAUS_IOC_HANDOFF, &a, kaus_handoff, proc,
				woken, &ret));
	EXPECT_EQ(-ESRCH, ret);
	memset(&a, 0, sizeof(a));
	a.regs.worker = 0;
	EXPECT_TRUE(writes_only(k.fd, KAUS_IOC_REGS, &a,
				sizeof(struct kaus_regs), 0, 0, &ret));
	EXPECT_GT(0, ret);
	kw_close(&k);
}

/* The same answer again, whatever was on the kernel's stack before. */
TEST(info_says_the_same_again)
{
	struct kaus_info first, again;
	int fd = open(KW_DEV, O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, fd);
	memset(&first, 0, sizeof(first));
	ASSERT_EQ(0, kw_info(fd, &first));
	for (int i = 0; i < 200; i++) {
		struct stat st;

		switch (i % 4) {
		case 0:
			stat("/proc/self/exe", &st);
			break;
		case 1:
			usleep(1);
			break;
		case 2:
			close(open("/nonexistent/path/of/some/length", 0));
			break;
		}
		memset(&again, i, sizeof(again));
		again.flags = 0;
		ASSERT_EQ(0, kw_info(fd, &again));
		ASSERT_EQ(0, memcmp(&first, &again, sizeof(first)))
			TH_LOG("call %d", i);
	}
	close(fd);
}

/* --- 32 bits --- */

static int ioctl_32(int fd, unsigned int cmd, void *low)
{
	int ret;

	/* __NR_ioctl of i386 is 54. */
	__asm__ volatile("int $0x80" : "=a" (ret)
			 : "a" (54), "b" (fd), "c" (cmd), "d" (low)
			 : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

/* A worker in every respect, but for the way it calls. */
TEST(no_ioctl_from_32_bit)
{
	static const unsigned int cmds[] = {
		KAUS_IOC_INFO, KAUS_IOC_SETUP, KAUS_IOC_REGISTER,
		KAUS_IOC_UNREGISTER, KAUS_IOC_PARK, KAUS_IOC_WAKE,
		KAUS_IOC_HANDOFF, KAUS_IOC_KICK, KAUS_IOC_REGS,
		_IO(KAUS_IOC_TYPE, 0xff),
	};
	uint32_t *low;
	int status;
	pid_t pid;

	low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, low);
	low[0] = sizeof(struct kaus_info);
	pid = fork();
	if (!pid) {
		struct kw k;

		if (kw_group(&k, 1, 2) || kw_register(&k, 0))
			_exit(100);
		for (unsigned int i = 0; i < sizeof(cmds) / sizeof(*cmds); i++)
			if (ioctl_32(k.fd, cmds[i], low) != -EOPNOTSUPP)
				_exit(1 + i);
		_exit(low[2] ? 101 : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
		SKIP(return, "kernel without IA32_EMULATION");
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
}

/* --- user namespaces --- */

enum { FINE, NO_NAMESPACE = 90, NO_GROUP, SHORTER, MORE_GROUPS, MEMLOCK };

/* All capabilities, but those of a namespace that the user has made. */
static int in_namespace(void)
{
	struct kaus_info outside, inside;
	struct rlimit limit, none;
	struct kw k[2];

	if (kw_open(&k[0], 1, 1) || kw_info(k[0].fd, &outside))
		return NO_GROUP;
	if (unshare(CLONE_NEWUSER))
		return NO_NAMESPACE;
	if (kw_info(k[0].fd, &inside) ||
	    inside.min_slice_ns != outside.min_slice_ns)
		return SHORTER;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	none = (struct rlimit){ 0, limit.rlim_max };
	if (setrlimit(RLIMIT_MEMLOCK, &none) || kw_setup(&k[0]) != -EMFILE ||
	    setrlimit(RLIMIT_MEMLOCK, &limit))
		return MEMLOCK;
	/* What the module is for works there as well. */
	if (kw_setup(&k[0]) || kw_register(&k[0], 0))
		return NO_GROUP;
	kw_carry(&k[0], 0);
	kw_waiters(&k[0], 0, 1);
	if (!KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) >= 3))
		return NO_GROUP;
	if (kw_group(&k[1], 1, 1) != -EUSERS)
		return MORE_GROUPS;
	return FINE;
}

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

TEST(a_user_namespace_gives_nothing)
{
	char old[32] = { 0 };
	int fd, status;
	pid_t pid;

	fd = open(MAX_GROUPS, O_RDONLY | O_CLOEXEC);
	if (geteuid() || fd < 0 || read(fd, old, sizeof(old) - 1) <= 0)
		SKIP(return, "may not change parameters");
	close(fd);
	chmod(KW_DEV, 0666);
	ASSERT_TRUE(put(MAX_GROUPS, "1"));
	pid = fork();
	if (!pid) {
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(99);
		_exit(in_namespace());
	}
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(put(MAX_GROUPS, old));
	ASSERT_TRUE(WIFEXITED(status));
	if (WEXITSTATUS(status) == NO_NAMESPACE)
		SKIP(return, "no user namespaces for users");
	EXPECT_EQ(FINE, WEXITSTATUS(status));
}

/* --- set-user-ID programs --- */

/* main() of one: it has rights that the caller has not, and runs undisturbed. */
static int privileged(int fd)
{
	uint64_t ref = kw_sum(100000);
	struct kaus_register reg = { .size = sizeof(reg), .worker = 1 };
	struct kaus_kick kick = { .size = sizeof(kick), .worker = KAUS_ALL };
	int ret;

	if (geteuid() != 0 || getuid() != NOBODY)
		return 51;
	for (int i = 0; i < 40; i++) {
		if (kw_sum(100000) != ref)
			return 52;
		if (i % 8 == 0)
			usleep(200);
	}
	ret = kw_ioctl(fd, KAUS_IOC_REGISTER, &reg);
	if (ret != -EPERM && ret != -ESHUTDOWN)
		return 53;
	ret = kw_ioctl(fd, KAUS_IOC_KICK, &kick);
	if (ret != -EPERM && ret != -ESHUTDOWN)
		return 54;
	return 0;
}

static int execute(const char *path)
{
	char fd[16];
	struct kw k;

	if (setgid(NOBODY) || setuid(NOBODY) ||
	    kw_group(&k, 1, 2) || kw_register(&k, 0))
		return 1;
	fcntl(k.fd, F_SETFD, 0);
	kw_carry(&k, 0);
	kw_waiters(&k, 0, 1);
	if (!KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) >= 3))
		return 2;
	/* Owed a redirect at the moment of the exec. */
	kw_kick(&k, 0, NULL);
	snprintf(fd, sizeof(fd), "%d", k.fd);
	execl(path, path, "--privileged", fd, NULL);
	return 50;
}

static bool copy_self(const char *path)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	char buf[16384];
	ssize_t len;
	bool ok = from >= 0 && to >= 0;

	while (ok && (len = read(from, buf, sizeof(buf))) > 0)
		ok = write(to, buf, len) == len;
	ok = ok && !fchmod(to, 04755);
	close(from);
	close(to);
	return ok;
}

TEST(set_user_id_program)
{
	char dir[] = "/tmp/kaus-suid-XXXXXX", path[64];
	struct statvfs vfs;
	int status = -1;
	bool copied;
	pid_t pid;

	if (geteuid())
		SKIP(return, "not root");
	ASSERT_NE(NULL, mkdtemp(dir));
	chmod(dir, 0755);
	snprintf(path, sizeof(path), "%s/program", dir);
	copied = copy_self(path) && !statvfs(path, &vfs);
	for (int i = 0; copied && !(vfs.f_flag & ST_NOSUID) && i < 5; i++) {
		pid = fork();
		if (!pid)
			_exit(execute(path));
		if (waitpid(pid, &status, 0) != pid || status)
			break;
	}
	unlink(path);
	rmdir(dir);
	ASSERT_TRUE(copied);
	if (vfs.f_flag & ST_NOSUID)
		SKIP(return, "/tmp is mounted nosuid");
	ASSERT_TRUE(WIFEXITED(status))
		TH_LOG("killed by signal %d", WTERMSIG(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
}

/* --- whose memory it is --- */

#define NR_LARGE	8
#define CGROUPS		"/sys/fs/cgroup/"

FIXTURE(memcg) {
	struct kw k[NR_LARGE];
	char dir[64];
};

FIXTURE_SETUP(memcg)
{
	char path[96];

	for (int i = 0; i < NR_LARGE; i++)
		self->k[i].fd = -1;
	put(CGROUPS "cgroup.subtree_control", "+memory");
	snprintf(self->dir, sizeof(self->dir), CGROUPS "kaus-test-%d",
		 getpid());
	snprintf(path, sizeof(path), "%s/memory.stat", self->dir);
	if (mkdir(self->dir, 0755) || access(path, R_OK)) {
		rmdir(self->dir);
		SKIP(return, "no memory control groups for us");
	}
	snprintf(path, sizeof(path), "%s/cgroup.procs", self->dir);
	ASSERT_TRUE(put(path, "0"));
}

FIXTURE_TEARDOWN(memcg)
{
	for (int i = 0; i < NR_LARGE; i++)
		kw_close(&self->k[i]);
	put(CGROUPS "cgroup.procs", "0");
	rmdir(self->dir);
}

/* The number after @name in @file, or the first of all. */
static long in_memcg(const char *dir, const char *file, const char *name)
{
	char path[96], line[128];
	size_t len = strlen(name);
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, len))
			continue;
		n = atol(line + len);
		break;
	}
	if (f)
		fclose(f);
	return n;
}

/* The region is charged while it is pinned, the module's tables as well. */
TEST_F(memcg, pays_for_its_groups)
{
	long before, tables, regions;
	struct kaus_info info;
	struct kw *k = self->k;

	ASSERT_EQ(0, kw_open(&k[0], 1, 1));
	ASSERT_EQ(0, kw_info(k[0].fd, &info));
	kw_close(&k[0]);
	for (int i = 0; i < NR_LARGE; i++)
		ASSERT_EQ(0, kw_open(&k[i], info.max_procs, info.max_workers));
	/* A pointer for each worker; for each P at least a timer. */
	tables = NR_LARGE * (8L * info.max_workers + 64L * info.max_procs);
	regions = NR_LARGE * (long)k[0].len;
	before = in_memcg(self->dir, "memory.stat", "kernel ");
	if (before < 0)
		SKIP(return, "kernel does not tell them apart");
	for (int i = 0; i < NR_LARGE; i++)
		ASSERT_EQ(0, kw_setup(&k[i]));
	EXPECT_LE(before + tables,
		  in_memcg(self->dir, "memory.stat", "kernel "));
	for (int i = 0; i < NR_LARGE; i++)
		ASSERT_EQ(0, munmap(k[i].hdr, k[i].len));
	/* The last pages of a charge may wait in a CPU's stock. */
	EXPECT_LE(regions, in_memcg(self->dir, "memory.current", ""));
	for (int i = 0; i < NR_LARGE; i++)
		kw_close(&k[i]);
	EXPECT_TRUE(KW_WAIT(in_memcg(self->dir, "memory.current", "") <
			    regions / 2));
	EXPECT_TRUE(KW_WAIT(in_memcg(self->dir, "memory.stat", "kernel ") <
			    before + tables / 2));
}

/* --- debuggers --- */

#define LOOKS	150

struct show {
	unsigned int ready;
	unsigned int stop;
	unsigned int bad;
	uint64_t nr_preempt;
};

static int looked_at(struct show *show)
{
	uint64_t ref = kw_sum(5000);
	struct kw k;

	if (kw_group(&k, 1, 2) || kw_register(&k, 0))
		return 1;
	kw_carry(&k, 0);
	kw_waiters(&k, 0, 1);
	while (!KW_LOAD(show->stop)) {
		if (kw_sum(5000) != ref)
			KW_ADD(show->bad, 1);
		KW_STORE(show->nr_preempt, KW_LOAD(kw_self.stat->nr_preempt));
		KW_STORE(show->ready, 1);
	}
	return kw_unregister(&k) ? 2 : 0;
}

/* Registers are those of the program or of its trampoline, and can be set. */
TEST(a_debugger_looks_at_any_moment)
{
	struct user_regs_struct regs;
	struct show *show;
	uint64_t before;
	int status;
	pid_t pid;

	show = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, show);
	pid = fork();
	if (!pid)
		_exit(looked_at(show));
	ASSERT_TRUE(KW_WAIT(KW_LOAD(show->ready)));
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL));
	before = KW_LOAD(show->nr_preempt);
	for (int i = 0; i < LOOKS; i++) {
		ASSERT_EQ(0, ptrace(PTRACE_INTERRUPT, pid, 0, 0));
		ASSERT_EQ(pid, waitpid(pid, &status, __WALL));
		ASSERT_EQ(0, ptrace(PTRACE_GETREGS, pid, 0, &regs));
		/* 64-bit code and stack, user addresses, interrupts on. */
		ASSERT_EQ(0x33, regs.cs);
		ASSERT_EQ(0x2b, regs.ss);
		ASSERT_EQ(0, regs.rip >> 47);
		ASSERT_EQ(0, regs.rsp >> 47);
		ASSERT_EQ(0x200, regs.eflags & 0x200);
		errno = 0;
		ptrace(PTRACE_PEEKTEXT, pid, regs.rip, 0);
		ASSERT_EQ(0, errno) TH_LOG("rip %#llx", regs.rip);
		ASSERT_EQ(0, ptrace(PTRACE_SETREGS, pid, 0, &regs));
		if (i % 3 == 0) {
			ASSERT_EQ(0, ptrace(PTRACE_SINGLESTEP, pid, 0, 0));
			ASSERT_EQ(pid, waitpid(pid, &status, __WALL));
		}
		ASSERT_EQ(0, ptrace(PTRACE_CONT, pid, 0, 0));
		usleep(500);
	}
	EXPECT_TRUE(KW_WAIT(KW_LOAD(show->nr_preempt) > before));
	KW_STORE(show->stop, 1);
	do {
		ASSERT_EQ(pid, waitpid(pid, &status, __WALL));
		if (WIFSTOPPED(status))
			ptrace(PTRACE_CONT, pid, 0, 0);
	} while (WIFSTOPPED(status));
	ASSERT_TRUE(WIFEXITED(status))
		TH_LOG("killed by signal %d", WTERMSIG(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_EQ(0, show->bad);
}

int main(int argc, char **argv)
{
	/* Before anything opens the device: this one must not. */
	if (argc > 2 && !strcmp(argv[1], "--privileged"))
		return privileged(atoi(argv[2]));
	kw_need_module();
	return test_harness_run(argc, argv);
}
