// SPDX-License-Identifier: GPL-2.0-only
/*
 * Job control is not sleep. A process that is stopped (SIGSTOP), traced, or
 * frozen with its cgroup leaves the CPU with all its threads, and must not
 * hand its Ps from one stopped thread to the next until the pool is empty. A
 * bug shows as P words that change while nothing can run.
 */
#include "kw_test.h"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>

#define NR_POOL		3

/* What the child shows of itself. */
struct show {
	unsigned int ready;
	pid_t hog;
	uint32_t given;
	uint32_t bad;
	uint64_t rounds;
};

FIXTURE(stop) {
	struct kw k;		/* mapped here, used by the child */
	struct show *show;
	pid_t pid;
};

/* Not expected before the end: nothing sleeps but for being stopped. */
static void given(struct kw_thread *t, uint32_t proc)
{
	struct kw_pool *pool = t->arg;
	struct show *show = pool->arg;

	(void)proc;
	KW_ADD(show->given, 1);
	kw_drop(t->kw);
}

/* One hog with P 0 and work behind it, three workers in the pool. */
static int child(FIXTURE_DATA(stop) *self)
{
	struct kw_pool pool = { .given = given, .arg = self->show };
	struct kw_thread t[NR_POOL] = { 0 };
	struct kw *k = &self->k;
	uint64_t ref = kw_sum(20000);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	k->fd = open(KW_DEV, O_RDWR | O_CLOEXEC);
	if (k->fd < 0 || kw_setup(k) || kw_pool_start(&pool, k, t, 1, NR_POOL))
		return 1;
	if (kw_register(k, 0))
		return 2;
	kw_carry(k, 0);
	kw_waiters(k, 0, 1);
	self->show->hog = kw_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
	KW_STORE(self->show->ready, 1);
	for (;;) {
		if (kw_sum(20000) != ref)
			KW_ADD(self->show->bad, 1);
		KW_ADD(self->show->rounds, 1);
	}
}

FIXTURE_SETUP(stop)
{
	ASSERT_EQ(0, kw_map(&self->k, 1, 1 + NR_POOL));
	self->show = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->show);
	self->pid = fork();
	if (!self->pid)
		_exit(child(self));
	ASSERT_LT(0, self->pid);
	ASSERT_TRUE(KW_WAIT(KW_LOAD(self->show->ready) &&
			    KW_LOAD(self->k.stat[0].nr_preempt) > 10));
}

FIXTURE_TEARDOWN(stop)
{
	kill(self->pid, SIGKILL);
	waitpid(self->pid, NULL, 0);
}

static bool runs_again(FIXTURE_DATA(stop) *self)
{
	uint64_t rounds = KW_LOAD(self->show->rounds);
	uint64_t preempts = KW_LOAD(self->k.stat[0].nr_preempt);

	return KW_WAIT(KW_LOAD(self->show->rounds) > rounds + 2 &&
		       KW_LOAD(self->k.stat[0].nr_preempt) > preempts + 2);
}

static void expect_quiet(struct __test_metadata *_metadata,
			 FIXTURE_DATA(stop) *self, uint64_t owner)
{
	EXPECT_EQ(owner, kw_owner(&self->k, 0))
		TH_LOG("owner %#lx", (unsigned long)kw_owner(&self->k, 0));
	EXPECT_EQ(0, KW_LOAD(self->show->given));
	EXPECT_EQ(0, KW_LOAD(self->k.workers[0].nr_handoffs));
	EXPECT_EQ(0, KW_LOAD(self->k.workers[0].nr_sleeps));
	EXPECT_EQ(0, KW_LOAD(self->k.workers[0].nr_lost));
	EXPECT_EQ(0, KW_LOAD(self->show->bad));
}

TEST_F(stop, sigstop)
{
	uint64_t owner = kw_owner(&self->k, 0);
	int status;

	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, kill(self->pid, SIGSTOP));
		ASSERT_EQ(self->pid, waitpid(self->pid, &status, WUNTRACED));
		ASSERT_TRUE(WIFSTOPPED(status));
		usleep(2000);
		expect_quiet(_metadata, self, owner);
		ASSERT_EQ(0, kill(self->pid, SIGCONT));
		ASSERT_TRUE(runs_again(self)) TH_LOG("round %d", i);
	}
	expect_quiet(_metadata, self, owner);
}

TEST_F(stop, ptrace)
{
	uint64_t owner = kw_owner(&self->k, 0);
	int status;

	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, ptrace(PTRACE_SEIZE, self->show->hog, 0, 0));
		ASSERT_EQ(0, ptrace(PTRACE_INTERRUPT, self->show->hog, 0, 0));
		ASSERT_EQ(self->show->hog,
			  waitpid(self->show->hog, &status, __WALL));
		usleep(2000);
		expect_quiet(_metadata, self, owner);
		ASSERT_EQ(0, ptrace(PTRACE_DETACH, self->show->hog, 0, 0));
		ASSERT_TRUE(runs_again(self)) TH_LOG("round %d", i);
	}
	expect_quiet(_metadata, self, owner);
}

static bool put(const char *dir, const char *file, const char *text)
{
	char path[128];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

static bool is_frozen(const char *dir, char want)
{
	char path[128], line[64];
	bool ok = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/cgroup.events", dir);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "frozen ", 7) && line[7] == want)
			ok = true;
	if (f)
		fclose(f);
	return ok;
}

TEST_F(stop, cgroup_freezer)
{
	const char *dir = "/sys/fs/cgroup/kaus-test";
	uint64_t owner = kw_owner(&self->k, 0);
	char pid[16];

	if (mkdir(dir, 0755) && errno != EEXIST)
		SKIP(return, "no cgroup v2");
	snprintf(pid, sizeof(pid), "%d", self->pid);
	if (!put(dir, "cgroup.procs", pid)) {
		rmdir(dir);
		SKIP(return, "cannot move to a cgroup");
	}
	for (int i = 0; i < 10; i++) {
		EXPECT_TRUE(put(dir, "cgroup.freeze", "1"));
		EXPECT_TRUE(KW_WAIT(is_frozen(dir, '1')));
		usleep(2000);
		expect_quiet(_metadata, self, owner);
		EXPECT_TRUE(put(dir, "cgroup.freeze", "0"));
		if (_metadata->exit_code)
			break;
		EXPECT_TRUE(runs_again(self)) TH_LOG("round %d", i);
	}
	expect_quiet(_metadata, self, owner);
	kill(self->pid, SIGKILL);
	put("/sys/fs/cgroup", "cgroup.procs", pid);
	KW_WAIT(rmdir(dir) == 0);
}

KW_TEST_MAIN
