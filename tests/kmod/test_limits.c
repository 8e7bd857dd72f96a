// SPDX-License-Identifier: GPL-2.0-only
/*
 * What one user may have and do: module parameters that the administrator
 * changes at run time. A bug shows as a user who makes groups without end, as
 * one who is refused although he is below the limit, as a user who has to
 * suffer for another one's groups, as kicks that interrupt without bounds or get
 * lost beyond it, or as a P of a sleeper that is looked at without end.
 */
#include "kw_test.h"

#include <sys/stat.h>
#include <sys/socket.h>

#define PARAM		"/sys/module/kaus/parameters/"
#define NOBODY		65534
#define NO_NAMESPACE	98

static int set_param(const char *name, const char *value, char *old)
{
	char path[128], buf[32] = { 0 };
	int fd, ret = 0;

	snprintf(path, sizeof(path), PARAM "%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (old && read(fd, buf, sizeof(buf) - 1) > 0)
		memcpy(old, buf, sizeof(buf));
	if (write(fd, value, strlen(value)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

FIXTURE(limits) {
	char groups[32], kicks[32], workers[32], procs[32];
};

FIXTURE_SETUP(limits)
{
	if (geteuid() || access(PARAM "max_groups", W_OK))
		SKIP(return, "may not change parameters");
	/* The harness goes on in a child: what it changes is put back there. */
	ASSERT_EQ(0, set_param("max_groups", "3", self->groups));
	ASSERT_EQ(0, set_param("max_kicks", "1", self->kicks));
	ASSERT_EQ(0, set_param("max_workers", "7", self->workers));
	ASSERT_EQ(0, set_param("max_procs", "2", self->procs));
	chmod(KW_DEV, 0666);
}

FIXTURE_TEARDOWN(limits)
{
	if (!self->groups[0])
		return;
	set_param("max_groups", self->groups, NULL);
	set_param("max_kicks", self->kicks, NULL);
	set_param("max_workers", self->workers, NULL);
	set_param("max_procs", self->procs, NULL);
}

/* As @uid: how many groups can be made of @nr, and then what. */
static int nr_groups(uid_t uid, int nr, int *err, struct kw *k)
{
	*err = 0;
	for (int i = 0; i < nr; i++) {
		*err = kw_group(&k[i], 1, 1);
		if (*err)
			return i;
	}
	return nr;
}

/* In a child, because a process cannot become root again. */
static int as_user(uid_t uid, int (*fn)(uid_t uid))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (setgid(uid) || setuid(uid))
			_exit(99);
		_exit(fn(uid));
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static int three_and_no_more(uid_t uid)
{
	struct kw k[5] = { 0 };
	int err, nr = nr_groups(uid, 5, &err, k);

	if (nr != 3 || err != -EUSERS)
		return 1;
	kw_close(&k[3]);
	/* One that is freed does not count. */
	kw_close(&k[1]);
	if (kw_group(&k[1], 1, 1))
		return 2;
	return kw_group(&k[4], 1, 1) == -EUSERS ? 0 : 3;
}

/* The descriptor goes and the file stays: so does what the group has pinned. */
static int kept_by_a_copy(uid_t uid)
{
	struct kw k[4] = { 0 };
	int err, copy;

	if (nr_groups(uid, 3, &err, k) != 3)
		return 1;
	copy = dup(k[0].fd);
	if (copy < 0)
		return 2;
	kw_close(&k[0]);
	if (kw_group(&k[3], 1, 1) != -EUSERS)
		return 3;
	kw_close(&k[3]);
	close(copy);
	for (int i = 0; i < 1000; i++) {
		err = kw_group(&k[3], 1, 1);
		if (err != -EUSERS)
			break;
		kw_close(&k[3]);
		usleep(10000);
	}
	return err ? 4 : 0;
}

static int one(uid_t uid)
{
	struct kw k;

	return kw_group(&k, 1, 1) ? 1 : 0;
}

TEST_F(limits, groups_per_user)
{
	EXPECT_EQ(0, as_user(NOBODY, three_and_no_more));
	/* They died with their process. */
	EXPECT_EQ(0, as_user(NOBODY, three_and_no_more));
}

TEST_F(limits, groups_that_have_ended)
{
	EXPECT_EQ(0, as_user(NOBODY, kept_by_a_copy));
}

TEST_F(limits, other_users_have_their_own)
{
	struct kw k[6];
	int err;

	/* Who may exceed resource limits may exceed this one. */
	ASSERT_EQ(6, nr_groups(0, 6, &err, k)) TH_LOG("%d", err);
	EXPECT_EQ(0, as_user(NOBODY, one));
	for (int i = 0; i < 6; i++)
		kw_close(&k[i]);
}

/* --- users of one's own --- */

static int map_ids(pid_t pid)
{
	static const char map[] = "0 65534 1\n1 100000 2\n";
	ssize_t len = -1;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = write(fd, map, strlen(map));
		close(fd);
	}
	return len == strlen(map) ? 0 : -1;
}

/* In a namespace of NOBODY's: three groups in all, as whoever of those in it. */
static int as_others(int fd)
{
	struct kw k[6] = { 0 };
	int err;
	char c;

	if (setuid(NOBODY) || unshare(CLONE_NEWUSER))
		return NO_NAMESPACE;
	if (write(fd, "x", 1) != 1 || read(fd, &c, 1) != 1)
		return 1;
	/* The saved one is kept, to change again. */
	if (nr_groups(0, 2, &err, k) != 2)
		return 2;
	if (setresuid(1, 1, 0))
		return 3;
	if (nr_groups(0, 2, &err, k + 2) != 1 || err != -EUSERS)
		return 4;
	if (setresuid(-1, 0, -1) || setresuid(2, 2, 0))
		return 5;
	return kw_group(&k[5], 1, 1) == -EUSERS ? 0 : 6;
}

TEST_F(limits, users_in_a_namespace_are_one_user)
{
	int fds[2], status;
	pid_t pid;
	char c;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	pid = fork();
	if (!pid)
		_exit(as_others(fds[0]));
	close(fds[0]);
	if (read(fds[1], &c, 1) == 1) {
		EXPECT_EQ(0, map_ids(pid));
		EXPECT_EQ(1, write(fds[1], &c, 1));
	}
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	if (WEXITSTATUS(status) == NO_NAMESPACE)
		SKIP(return, "no user namespaces for users");
	EXPECT_EQ(0, WEXITSTATUS(status));
	close(fds[1]);
}

TEST_F(limits, workers_and_procs)
{
	struct kaus_info info;
	struct kw k;

	ASSERT_EQ(0, kw_open(&k, 1, 1));
	ASSERT_EQ(0, kw_info(k.fd, &info));
	EXPECT_EQ(7, info.max_workers);
	EXPECT_EQ(2, info.max_procs);
	kw_close(&k);
	EXPECT_EQ(-EINVAL, kw_group(&k, 1, 8));
	kw_close(&k);
	EXPECT_EQ(-EINVAL, kw_group(&k, 3, 1));
	kw_close(&k);
	EXPECT_EQ(0, kw_group(&k, 2, 7));
	kw_close(&k);
}

static void spin(struct kw_thread *t)
{
	unsigned int *stop = t->arg;

	kw_carry(t->kw, 0);
	while (!KW_LOAD(*stop))
		kw_sum(1000);
}

/*
 * One that spins is looked at once a second, its slice, and whenever it comes
 * on a CPU again; and one kick a second may interrupt it. All the others wait
 * for one of these, but do arrive.
 */
TEST_F(limits, kicks_per_second)
{
	uint64_t before;
	struct kw_thread t = { 0 };
	unsigned int stop = 0;
	struct kw k;

	ASSERT_EQ(0, kw_group(&k, 1, 2));
	k.hdr->slice_ns = 1000000000;
	ASSERT_EQ(0, kw_thread_start(&t, &k, 0, spin, &stop));
	for (int i = 0; i < 500; i++) {
		ASSERT_EQ(0, kw_kick(&k, 0, NULL));
		usleep(1000);
	}
	/* On the only CPU whoever kicks has it come on again. */
	if (kw_nr_cpus() > 1) {
		EXPECT_LT(KW_LOAD(k.stat[0].nr_kick), 250);
	}
	before = KW_LOAD(k.stat[0].nr_kick);
	EXPECT_EQ(0, kw_kick(&k, 0, NULL));
	EXPECT_TRUE(KW_WAIT(KW_LOAD(k.stat[0].nr_kick) > before))
		TH_LOG("a kick got lost");

	/* Without a limit each arrives at once. */
	ASSERT_EQ(0, set_param("max_kicks", "0", NULL));
	for (int i = 0; i < 100; i++) {
		before = KW_LOAD(k.stat[0].nr_kick);
		ASSERT_EQ(0, kw_kick(&k, 0, NULL));
		ASSERT_TRUE(KW_WAIT(KW_LOAD(k.stat[0].nr_kick) > before));
	}
	KW_STORE(stop, 1);
	kw_thread_join(&t);
	kw_close(&k);
}

/* --- looks at sleepers --- */

#define NR_PS		64
#define NR_LOOKS	2000
#define LOOKS_PER_SEC	1000
#define LOOKS_AT_ONCE	100

struct mover {
	struct kw k;
	unsigned int stop;
};

/* All deadlines are near, and none comes. */
static void *move_deadlines(void *arg)
{
	struct mover *m = arg;

	while (!KW_LOAD(m->stop))
		for (int i = 0; i < NR_PS; i++)
			KW_STORE(m->k.procs[i].timer_ns, kw_now() + 1000000);
	return NULL;
}

/* Leave a P as a worker that sleeps does: its timer is armed in the sleep. */
static void sleep_with(struct kw *k, uint32_t proc)
{
	struct timespec ts = { .tv_nsec = 1000 };

	kw_carry(k, proc);
	nanosleep(&ts, NULL);
	KW_STORE(k->procs[proc].owner,
		 KAUS_OWNER(KAUS_P_SLEEPING, 0, kw_owner(k, proc) >> 32));
	KW_STORE(kw_self.slot->proc, KAUS_NONE);
}

/* The limit is a rate: however long it takes, there were not more. */
TEST(looks_at_sleepers_per_second)
{
	uint64_t begin, may;
	struct mover m = { 0 };
	long nr = 0, before = kw_on_cpus("again");
	pthread_t thread;

	if (before < 0)
		SKIP(return, "cannot read the counters");
	ASSERT_EQ(0, kw_group(&m.k, NR_PS, 1));
	ASSERT_EQ(0, kw_register(&m.k, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, move_deadlines, &m));
	begin = kw_now();
	/* What is armed by going to sleep is looked at besides. */
	for (may = LOOKS_AT_ONCE; nr < NR_LOOKS; may++) {
		sleep_with(&m.k, may % NR_PS);
		usleep(1000);
		nr = kw_on_cpus("again") - before;
	}
	may += (kw_now() - begin) / (1000000000 / LOOKS_PER_SEC) + 1;
	EXPECT_GE(may, nr);
	KW_STORE(m.stop, 1);
	pthread_join(thread, NULL);
	kw_unregister(&m.k);
	kw_close(&m.k);
}

KW_TEST_MAIN
