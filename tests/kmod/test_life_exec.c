// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker executes another program. The thread stays the same task, notifiers
 * and all, but nothing in it is what it was: no redirect may reach the new
 * image, whether the descriptor is closed by the exec or not. A bug shows as
 * SIGSEGV at an address that the old image had its trampoline at, or worse, as
 * control over a program with more rights.
 */
#include "kw_test.h"

#include <sys/prctl.h>

static char self_path[4096];

/* Worker with a hog's life at the moment of the exec. */
static int become_hog(struct kw *k, bool cloexec)
{
	uint64_t end_ns = kw_now() + KW_PATIENCE_NS;

	if (kw_group(k, 1, 4) || kw_register(k, 1))
		return 1;
	if (!cloexec && fcntl(k->fd, F_SETFD, 0))
		return 2;
	kw_carry(k, 0);
	kw_waiters(k, 0, 1);
	while (kw_self.stat->nr_preempt < 3)
		if (kw_now() > end_ns)
			return 3;
	return 0;
}

static void exec_new_image(const struct kw *k, bool cloexec)
{
	char fd[16];

	snprintf(fd, sizeof(fd), "%d", cloexec ? -1 : k->fd);
	execl(self_path, self_path, "--new-image", fd, NULL);
	_exit(50);
}

/*
 * main() of the new image: a long loop that nothing may disturb. Exits 0 if
 * all is well.
 */
static int new_image(int fd)
{
	uint64_t ref = kw_sum(100000);
	struct kw k;

	for (int i = 0; i < 40; i++) {
		if (kw_sum(100000) != ref)
			return 51;
		/* A notifier that is still there would see these. */
		if (i % 8 == 0)
			usleep(200);
	}
	if (fd >= 0) {
		struct kaus_register reg = { .size = sizeof(reg), .worker = 2 };
		struct kaus_kick kick = {
			.size = sizeof(kick), .worker = KAUS_ALL,
		};
		int ret;

		ret = kw_ioctl(fd, KAUS_IOC_REGISTER, &reg);
		if (ret != -EPERM && ret != -ESHUTDOWN)
			return 52;
		ret = kw_ioctl(fd, KAUS_IOC_KICK, &kick);
		if (ret != -EPERM && ret != -ESHUTDOWN)
			return 53;
	}
	/* It may be a worker in its own right, on the same thread. */
	if (kw_group(&k, 1, 2) || kw_register(&k, 1))
		return 54;
	kw_carry(&k, 0);
	kw_waiters(&k, 0, 1);
	if (!KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) >= 10))
		return 55;
	return kw_unregister(&k) ? 56 : 0;
}

FIXTURE(exec) {
	int unused;
};

FIXTURE_VARIANT(exec) {
	bool cloexec;
};

FIXTURE_VARIANT_ADD(exec, cloexec) { .cloexec = true };
FIXTURE_VARIANT_ADD(exec, inherited) { .cloexec = false };

FIXTURE_SETUP(exec)
{
}

FIXTURE_TEARDOWN(exec)
{
}

static void expect_ok(struct __test_metadata *_metadata, pid_t pid)
{
	int status;

	ASSERT_LT(0, pid);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFEXITED(status))
		TH_LOG("new image killed by signal %d", WTERMSIG(status));
	ASSERT_EQ(0, WEXITSTATUS(status));
}

TEST_F(exec, while_preempted)
{
	for (int i = 0; i < 4; i++) {
		pid_t pid = fork();

		if (!pid) {
			struct kw k;
			int err = become_hog(&k, variant->cloexec);

			if (err)
				_exit(err);
			exec_new_image(&k, variant->cloexec);
		}
		expect_ok(_metadata, pid);
	}
}

static void park(struct kw_thread *t)
{
	kw_park(t->kw, KAUS_PARK_POOL, 0, KAUS_FOREVER, NULL);
}

static void spin(struct kw_thread *t)
{
	kw_carry(t->kw, 0);
	for (;;)
		kw_sum(1000);
}

/* Other threads, parked and running, die in the exec. */
TEST_F(exec, with_other_workers)
{
	for (int i = 0; i < 4; i++) {
		pid_t pid = fork();

		if (!pid) {
			struct kw_thread t[3] = { 0 };
			struct kw k;
			int err = become_hog(&k, variant->cloexec);

			if (err)
				_exit(err);
			if (kw_thread_start(&t[0], &k, 0, park, NULL) ||
			    kw_thread_start(&t[1], &k, 2, park, NULL) ||
			    kw_thread_start(&t[2], &k, 3, spin, NULL))
				_exit(10);
			exec_new_image(&k, variant->cloexec);
		}
		expect_ok(_metadata, pid);
	}
}

struct leaver {
	struct kw_thread t;
	bool cloexec;
};

static void leave(struct kw_thread *t)
{
	struct leaver *l = t->arg;

	exec_new_image(t->kw, l->cloexec);
}

/* A thread that is not the leader takes over its identity. */
TEST_F(exec, from_another_thread)
{
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (!pid) {
			struct leaver l = { .cloexec = variant->cloexec };
			struct kw k;
			int err = become_hog(&k, variant->cloexec);

			if (err)
				_exit(err);
			kw_thread_start(&l.t, &k, 2, leave, &l);
			for (;;)
				kw_sum(1000);
		}
		expect_ok(_metadata, pid);
	}
}

/* An exec that fails changes nothing. */
TEST_F(exec, that_fails)
{
	uint64_t before;
	struct kw k;

	ASSERT_EQ(0, become_hog(&k, variant->cloexec));
	ASSERT_EQ(-1, execl("/nonexistent", "nonexistent", NULL));
	ASSERT_EQ(-1, execl("/", "directory", NULL));
	before = kw_self.stat->nr_preempt;
	EXPECT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) > before + 3));
	EXPECT_EQ(0, k.hdr->shutdown);
	EXPECT_EQ(0, kw_unregister(&k));
	kw_close(&k);
}

int main(int argc, char **argv)
{
	kw_need_module();
	if (argc > 2 && !strcmp(argv[1], "--new-image"))
		return new_image(atoi(argv[2]));
	if (readlink("/proc/self/exe", self_path, sizeof(self_path) - 1) < 0)
		ksft_exit_skip("no /proc/self/exe\n");
	return test_harness_run(argc, argv);
}
