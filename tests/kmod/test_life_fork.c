// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker forks. The child has the descriptor, the region, the same
 * addresses and stack, and must be nobody to the module; what it closes is not
 * the parent's. A bug shows as a child that is redirected into a trampoline
 * without a worker, or as a parent whose group ended because a child did.
 */
#include "kw_test.h"

FIXTURE(fork) {
	struct kw k;
};

FIXTURE_SETUP(fork)
{
	ASSERT_EQ(0, kw_group(&self->k, 1, 3));
	ASSERT_EQ(0, kw_register(&self->k, 1));
	kw_carry(&self->k, 0);
	kw_waiters(&self->k, 0, 1);
}

static bool preempted(FIXTURE_DATA(fork) *self)
{
	uint64_t want = kw_self.stat->nr_preempt + 3;

	if (!kw_owner_is(&self->k, 0, KAUS_P_RUNNING, 1))
		kw_carry(&self->k, 0);
	return KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) >= want);
}

FIXTURE_TEARDOWN(fork)
{
	EXPECT_EQ(0, KW_LOAD(self->k.hdr->shutdown));
	EXPECT_TRUE(preempted(self)) TH_LOG("parent no longer preempted");
	EXPECT_EQ(0, kw_unregister(&self->k));
	kw_close(&self->k);
}

static volatile unsigned int nr_hooks;

__attribute__((target("general-regs-only")))
static void count(struct kw_regs *regs, unsigned int events)
{
	(void)regs;
	(void)events;
	nr_hooks++;
}

static void expect_child_ok(struct __test_metadata *_metadata, pid_t pid)
{
	int status;

	ASSERT_LT(0, pid);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFEXITED(status))
		TH_LOG("child killed by signal %d", WTERMSIG(status));
	ASSERT_EQ(0, WEXITSTATUS(status));
}

TEST_F(fork, child_is_left_alone)
{
	uint64_t ref = kw_sum(100000);

	kw_self.hook = count;
	for (int i = 0; i < 10; i++) {
		pid_t pid;

		ASSERT_TRUE(preempted(self));
		pid = fork();
		if (!pid) {
			nr_hooks = 0;
			for (int j = 0; j < 40; j++)
				if (kw_sum(100000) != ref)
					_exit(2);
			/* Sleeps neither lose nor give anything. */
			usleep(2000);
			_exit(nr_hooks ? 3 : 0);
		}
		expect_child_ok(_metadata, pid);
	}
}

TEST_F(fork, child_closes_the_descriptor)
{
	pid_t pid = fork();

	if (!pid) {
		close(self->k.fd);
		_exit(0);
	}
	expect_child_ok(_metadata, pid);
	EXPECT_EQ(0, KW_LOAD(self->k.hdr->shutdown));
	EXPECT_TRUE(preempted(self));
	/* By exit this time. */
	pid = fork();
	if (!pid)
		_exit(0);
	expect_child_ok(_metadata, pid);
	/* By exec, and from a vfork. */
	pid = vfork();
	if (!pid) {
		execl("/bin/true", "true", NULL);
		_exit(127);
	}
	expect_child_ok(_metadata, pid);
	EXPECT_EQ(0, KW_LOAD(self->k.hdr->shutdown));
	EXPECT_EQ(-ETIMEDOUT, kw_park(&self->k, 0, KAUS_NONE, 0, NULL));
}

/* The child starts over with a group of its own. */
TEST_F(fork, child_has_its_own_group)
{
	pid_t pid = fork();

	if (!pid) {
		uint64_t ref = kw_sum(50000);
		struct kw k;

		if (kw_register(&self->k, 0) != -EPERM)
			_exit(1);
		if (kw_group(&k, 1, 2) || kw_register(&k, 1))
			_exit(2);
		kw_carry(&k, 0);
		kw_waiters(&k, 0, 1);
		while (kw_self.stat->nr_preempt < 50)
			if (kw_sum(50000) != ref)
				_exit(3);
		_exit(0);
	}
	/* Both at the same time. */
	for (int i = 0; i < 10; i++) {
		ASSERT_TRUE(preempted(self));
	}
	expect_child_ok(_metadata, pid);
}

/*
 * The parent dies first: the child keeps the file open, but neither the group
 * nor the parent's pages can do it any harm.
 */
TEST_F(fork, child_outlives_the_parent)
{
	int done[2];
	pid_t pid;
	char byte;

	ASSERT_EQ(0, pipe(done));
	pid = fork();
	if (!pid) {
		struct kw k;
		pid_t grandchild;

		close(done[0]);
		if (kw_group(&k, 1, 2) || kw_register(&k, 1))
			_exit(1);
		kw_carry(&k, 0);
		kw_waiters(&k, 0, 1);
		grandchild = fork();
		if (!grandchild) {
			uint64_t ref = kw_sum(100000);
			int ret;

			if (!KW_WAIT(KW_LOAD(k.hdr->shutdown)))
				_exit(1);
			for (int i = 0; i < 20; i++)
				if (kw_sum(100000) != ref)
					_exit(1);
			ret = kw_kick(&k, KAUS_ALL, NULL);
			byte = ret == -EPERM || ret == -ESHUTDOWN ? 'k' : 'x';
			close(k.fd);
			if (write(done[1], &byte, 1) != 1)
				_exit(1);
			_exit(0);
		}
		_exit(0);
	}
	expect_child_ok(_metadata, pid);
	close(done[1]);
	byte = 0;
	ASSERT_EQ(1, read(done[0], &byte, 1)) TH_LOG("grandchild died");
	EXPECT_EQ('k', byte);
}

KW_TEST_MAIN
