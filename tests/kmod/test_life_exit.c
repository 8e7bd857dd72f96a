// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads and processes that end, in every state a worker can be in. There is
 * no exit hook: the module notices the last context switch. A bug shows as a
 * slot or a module reference that is kept for ever, as a P given to a dead
 * worker, or as a crash long after (the notifier of a freed task).
 */
#include "kw_test.h"

#include <sys/prctl.h>
#include <sys/resource.h>

/* References to the module: descriptors and workers. */
static int refs(void)
{
	FILE *f = fopen("/sys/module/kaus/refcnt", "re");
	int n = -1;

	if (f) {
		if (fscanf(f, "%d", &n) != 1)
			n = -1;
		fclose(f);
	}
	return n;
}

static int refs_before;

FIXTURE(exit) {
	int unused;
};

FIXTURE_SETUP(exit)
{
	ASSERT_TRUE(KW_WAIT(refs() == refs_before));
}

/* Whatever a test killed: nothing of it is left, and all still works. */
FIXTURE_TEARDOWN(exit)
{
	struct kw k;

	EXPECT_TRUE(KW_WAIT(refs() == refs_before))
		TH_LOG("%d references, %d before", refs(), refs_before);
	EXPECT_EQ(0, kw_group(&k, 1, 1));
	EXPECT_EQ(0, kw_register(&k, 0));
	kw_carry(&k, 0);
	kw_waiters(&k, 0, 1);
	EXPECT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) >= 3));
	kw_unregister(&k);
	kw_close(&k);
}

/* What the threads of a child do until it is killed. */
enum role { SPIN, SLEEP, PARK, PARK_POOL, SYSCALLS, NAPS, REGISTER, NR_ROLES };

static void act(struct kw_thread *t)
{
	enum role role = t->worker % NR_ROLES;
	struct timespec ts = { .tv_nsec = 50000 };
	uint32_t proc = t->worker % t->kw->nr_procs;

	if (role <= SLEEP || role == SYSCALLS || role == NAPS)
		kw_carry(t->kw, proc);
	KW_ADD(t->count, 1);
	for (;;) {
		switch (role) {
		case SPIN:
			kw_sum(1000);
			break;
		case SLEEP:
			pause();
			break;
		case PARK:
			kw_park(t->kw, 0, KAUS_NONE, KAUS_FOREVER, NULL);
			break;
		case PARK_POOL:
			kw_park(t->kw, KAUS_PARK_POOL, proc, KAUS_FOREVER,
				NULL);
			break;
		case SYSCALLS:
			kw_syscall(SYS_getppid, 0, 0, 0, 0, 0, 0);
			break;
		case NAPS:
			kw_syscall(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
			break;
		default:
			kw_unregister(t->kw);
			kw_register(t->kw, t->worker);
		}
	}
}

static volatile int *volatile nowhere = (int *)8;

/* A child with @nr busy workers; it tells when all are there. */
static pid_t crowd(unsigned int nr, int how)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready))
		return -1;
	pid = fork();
	if (!pid) {
		static struct kw_thread t[2 * NR_ROLES];
		struct kw k;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (kw_group(&k, 3, nr))
			_exit(100);
		for (unsigned int i = 0; i < 3; i++)
			kw_waiters(&k, i, 1);
		for (unsigned int i = 0; i < nr; i++)
			if (kw_thread_start(&t[i], &k, i, act, NULL))
				_exit(101);
		if (write(ready[1], "r", 1) != 1)
			_exit(102);
		if (how == SIGKILL)
			for (;;)
				pause();
		usleep(2000);
		if (how == SIGSEGV)
			*nowhere = 0;
		if (how < 0)		/* the leader only: a zombie */
			syscall(SYS_exit, 0);
		exit(how);
	}
	close(ready[1]);
	if (pid > 0 && read(ready[0], &byte, 1) != 1)
		pid = -1;
	close(ready[0]);
	return pid;
}

TEST_F(exit, killed_in_every_state)
{
	for (int i = 0; i < 8; i++) {
		pid_t pid = crowd(2 * NR_ROLES, SIGKILL);
		int status;

		ASSERT_LT(0, pid);
		usleep(i * 400);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			TH_LOG("status %#x", status);
	}
}

TEST_F(exit, exit_group)
{
	for (int i = 0; i < 4; i++) {
		pid_t pid = crowd(2 * NR_ROLES, 0);
		int status;

		ASSERT_LT(0, pid);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
	}
}

TEST_F(exit, crash)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	for (int i = 0; i < 3; i++) {
		pid_t pid = crowd(2 * NR_ROLES, SIGSEGV);
		int status;

		ASSERT_LT(0, pid);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
			TH_LOG("status %#x", status);
	}
}

/* The first thread is gone, the others go on. */
TEST_F(exit, leader_first)
{
	pid_t pid = crowd(2 * NR_ROLES, -1);
	int status;

	ASSERT_LT(0, pid);
	usleep(20000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
}

/* Without UNREGISTER, in the middle of its slices, over and over. */
static void spin_a_little(struct kw_thread *t)
{
	kw_carry(t->kw, t->worker % t->kw->nr_procs);
	while (kw_self.stat->nr_preempt < 3)
		kw_sum(1000);
	kw_self.stat->nr_preempt = 0;
}

TEST_F(exit, threads_come_and_go)
{
	struct kw_thread t[4];
	struct kw k;

	ASSERT_EQ(0, kw_group(&k, 4, 4));
	for (int i = 0; i < 4; i++)
		kw_waiters(&k, i, 1);
	for (int round = 0; round < 30; round++) {
		memset(t, 0, sizeof(t));
		for (int i = 0; i < 4; i++) {
			t[i].keep = true;
			ASSERT_TRUE(KW_WAIT(kw_thread_start(&t[i], &k, i,
							    spin_a_little,
							    NULL) == 0))
				TH_LOG("slot %d still taken", i);
		}
		for (int i = 0; i < 4; i++)
			kw_thread_join(&t[i]);
	}
	kw_close(&k);
}

/*
 * A P that was on its way to a worker that died before it could fetch it must
 * not be lost: it counts as carried by a sleeper, so that the runtime or the
 * pool may have it.
 */
static void die_with_p(struct kw_thread *t)
{
	while (!KW_LOAD(*(unsigned int *)t->arg))
		kw_sum(100);
}

TEST_F(exit, p_of_a_dead_worker_can_be_had)
{
	struct kw_thread t = { .keep = true };
	unsigned int stop = 0;
	struct kw k;

	ASSERT_EQ(0, kw_group(&k, 1, 2));
	ASSERT_EQ(0, kw_thread_start(&t, &k, 1, die_with_p, &stop));
	ASSERT_EQ(0, kw_wake(&k, 1, 0, 0));
	EXPECT_TRUE(kw_owner_is(&k, 0, KAUS_P_RUNNING, 1));
	KW_STORE(stop, 1);
	kw_thread_join(&t);
	EXPECT_TRUE(KW_WAIT(kw_owner_is(&k, 0, KAUS_P_SLEEPING, 1) ||
			    kw_owner_is(&k, 0, KAUS_P_IDLE, 0)))
		TH_LOG("owner %#lx", (unsigned long)kw_owner(&k, 0));
	EXPECT_TRUE(kw_take(&k, 0, kw_owner(&k, 0), 0));
	kw_close(&k);
}

#define NR_MANY		512

/* As many as an application that blocks a lot may have. */
TEST_F(exit, many_parked_then_killed)
{
	int ready[2], status;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	if (!pid) {
		struct kw_thread *t = calloc(NR_MANY, sizeof(*t));
		struct kw_pool pool = { .home = KAUS_NONE };
		struct kw k;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!t || kw_group(&k, 2, NR_MANY))
			_exit(1);
		for (int i = 0; i < NR_MANY; i++)
			if (kw_thread_start(&t[i], &k, i, kw_pool_loop, &pool))
				_exit(2);
		if (!KW_WAIT(kw_parked(t[NR_MANY - 1].tid)))
			_exit(3);
		if (write(ready[1], "r", 1) != 1)
			_exit(4);
		for (;;)
			pause();
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_LE(NR_MANY, refs());
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
}

/* For run_rmmod.sh: busy until somebody kills us. */
static int load(void)
{
	if (crowd(2 * NR_ROLES, SIGKILL) < 0)
		return 1;
	printf("ready\n");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	kw_need_module();
	if (argc > 1 && !strcmp(argv[1], "--load"))
		return load();
	refs_before = refs();
	return test_harness_run(argc, argv);
}
