// SPDX-License-Identifier: GPL-2.0-only
/*
 * The drain: the administrator detaches all processes. A bug shows as a module
 * that stays in use although everybody has closed his descriptor (a worker
 * asleep in a system call holds it), as a system call that fails because of the
 * drain, as a worker that is redirected afterwards or, if somebody kicked it
 * before, is not, as a region that cannot be used again, or as a P that has
 * disappeared.
 */
#include "kw_test.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>

#define NR_WORKERS	8
#define DRAIN		"/sys/module/kaus/parameters/drain"
#define REFCNT		"/sys/module/kaus/refcnt"

static int write_drain(const char *value)
{
	int fd = open(DRAIN, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

static int read_int(const char *path)
{
	char buf[32] = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (read(fd, buf, sizeof(buf) - 1) <= 0)
		buf[0] = '-';
	close(fd);
	return buf[0] == 'Y' ? 1 : atoi(buf);
}

/* The device takes a moment to come and go. */
static int reopen(void)
{
	int fd = -1;

	(void)KW_WAIT((fd = open(KW_DEV, O_RDWR | O_CLOEXEC)) >= 0);
	return fd;
}

struct worker {
	struct kw_thread t;
	int fd[2];
	int kind;
	int ret;
	unsigned int stop;
	unsigned int bad;
	unsigned int word;	/* a futex */
};

FIXTURE(drain) {
	struct kw k;
	struct worker w[NR_WORKERS];
};

FIXTURE_SETUP(drain)
{
	if (geteuid() || access(DRAIN, W_OK))
		SKIP(return, "may not drain");
	ASSERT_TRUE(KW_WAIT(read_int(REFCNT) == 0))
		TH_LOG("somebody else uses the module");
	ASSERT_EQ(0, kw_group(&self->k, 2, NR_WORKERS));
}

FIXTURE_TEARDOWN(drain)
{
	kw_close(&self->k);
	if (!geteuid())
		write_drain("0");
}

static void park(struct kw_thread *t)
{
	struct worker *w = t->arg;
	uint32_t flags = t->worker % 3 == 0 ? KAUS_PARK_POOL :
			 t->worker % 3 == 1 ? KAUS_PARK_SERVICE : 0;

	w->ret = kw_park(t->kw, flags, KAUS_NONE, KAUS_FOREVER, NULL);
	t->keep = true;
}

static void spin(struct kw_thread *t)
{
	struct worker *w = t->arg;
	uint64_t ref = kw_sum(20000);

	kw_carry(t->kw, t->worker & 1);
	while (!KW_LOAD(w->stop)) {
		if (kw_sum(20000) != ref)
			KW_ADD(w->bad, 1);
	}
	t->keep = true;
}

/* One system call that sleeps, of several kinds; none may notice anything. */
static void sleep_on(struct kw_thread *t)
{
	struct worker *w = t->arg;
	struct pollfd pfd = { .fd = w->fd[0], .events = POLLIN };
	struct epoll_event event = { .events = EPOLLIN };
	struct timespec forever = { .tv_sec = 1 << 20 };
	int ep = epoll_create1(0);
	char byte;

	if (t->worker < 2)
		kw_carry(t->kw, t->worker);
	switch (w->kind) {
	case 0:
		w->ret = read(w->fd[0], &byte, 1) == 1;
		break;
	case 1:
		w->ret = poll(&pfd, 1, -1) == 1;
		break;
	case 2:
		w->ret = epoll_ctl(ep, EPOLL_CTL_ADD, w->fd[0], &event) == 0 &&
			 epoll_wait(ep, &event, 1, -1) == 1;
		break;
	case 3:
		w->ret = syscall(SYS_futex, &w->word, FUTEX_WAIT_PRIVATE, 0,
				 &forever, NULL, 0) == 0;
		break;
	case 4:
		w->ret = ppoll(&pfd, 1, &forever, NULL) == 1;
		break;
	default:
		/* Until the end of the test, which is not waited for. */
		nanosleep(&forever, NULL);
		KW_ADD(w->bad, 1);
		break;
	}
	close(ep);
	t->keep = true;
}

#define NR_KINDS	6

static void wake_sleeper(struct worker *w)
{
	KW_STORE(w->word, 1);
	syscall(SYS_futex, &w->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	if (write(w->fd[1], "x", 1) != 1)
		KW_ADD(w->bad, 1);
}

TEST_F(drain, the_device_goes_and_comes)
{
	struct kaus_setup setup;
	struct kaus_info info;
	struct kw k;

	ASSERT_EQ(0, kw_open(&k, 1, 1));
	kw_setup_args(&k, &setup);
	ASSERT_EQ(0, kw_info(k.fd, &info));
	EXPECT_TRUE(info.features & KAUS_FEAT_DRAIN);
	EXPECT_EQ(0, read_int(DRAIN));
	ASSERT_EQ(0, write_drain("1"));
	EXPECT_EQ(1, read_int(DRAIN));
	EXPECT_EQ(-1, access(KW_DEV, F_OK));
	EXPECT_EQ(-ENODEV, kw_ioctl(k.fd, KAUS_IOC_SETUP, &setup));
	EXPECT_EQ(-EINVAL, write_drain("perhaps"));
	/* Again, and from the other side. */
	EXPECT_EQ(0, write_drain("1"));
	EXPECT_EQ(0, write_drain("0"));
	EXPECT_EQ(0, write_drain("0"));
	EXPECT_EQ(0, read_int(DRAIN));
	close(k.fd);
	k.fd = reopen();
	ASSERT_LE(0, k.fd);
	EXPECT_EQ(0, kw_setup(&k));
	kw_close(&k);
}

TEST_F(drain, only_root)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (setgid(65534) || setuid(65534))
			_exit(2);
		_exit(write_drain("1") == -EACCES ? 0 : 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, read_int(DRAIN));
}

TEST_F(drain, parked_workers_return)
{
	for (int i = 0; i < NR_WORKERS; i++) {
		ASSERT_EQ(0, kw_thread_start(&self->w[i].t, &self->k, i, park,
					     &self->w[i]));
	}
	for (int i = 0; i < NR_WORKERS; i++) {
		ASSERT_TRUE(KW_WAIT(kw_parked(self->w[i].t.tid)));
	}
	ASSERT_EQ(0, write_drain("1"));
	for (int i = 0; i < NR_WORKERS; i++) {
		ASSERT_TRUE(KW_WAIT(KW_LOAD(self->w[i].t.done)))
			TH_LOG("worker %d sleeps for ever", i);
		kw_thread_join(&self->w[i].t);
		EXPECT_EQ(-ESHUTDOWN, self->w[i].ret);
	}
	EXPECT_EQ(KAUS_SHUTDOWN_DRAIN, KW_LOAD(self->k.hdr->shutdown));
	/* The close that follows is not the end of the group: that was it. */
	kw_close(&self->k);
	EXPECT_EQ(KAUS_SHUTDOWN_DRAIN, KW_LOAD(self->k.hdr->shutdown));
	EXPECT_TRUE(KW_WAIT(read_int(REFCNT) == 0));
}

TEST_F(drain, running_workers_are_left_alone)
{
	uint64_t entries[2];

	for (int i = 0; i < 2; i++) {
		kw_waiters(&self->k, i, 1);
		ASSERT_EQ(0, kw_thread_start(&self->w[i].t, &self->k, i, spin,
					     &self->w[i]));
	}
	for (int i = 0; i < 2; i++) {
		ASSERT_TRUE(KW_WAIT(KW_LOAD(self->k.stat[i].nr_preempt) > 20));
	}
	ASSERT_EQ(0, write_drain("1"));
	/* Both run; what is left of the module's users is the descriptor. */
	EXPECT_TRUE(KW_WAIT(read_int(REFCNT) == 1));
	for (int i = 0; i < 2; i++)
		entries[i] = KW_LOAD(self->k.stat[i].nr_entries);
	usleep(100 * KW_SLICE_NS / 1000);
	kw_close(&self->k);
	EXPECT_TRUE(KW_WAIT(read_int(REFCNT) == 0));
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(entries[i], KW_LOAD(self->k.stat[i].nr_entries))
			TH_LOG("redirected after the end");
		KW_STORE(self->w[i].stop, 1);
		kw_thread_join(&self->w[i].t);
		EXPECT_EQ(0, self->w[i].bad);
	}
}

/* They would hold the module for as long as they sleep. */
TEST_F(drain, sleeping_workers_sleep_on)
{
	for (int i = 0; i < NR_KINDS; i++) {
		struct worker *w = &self->w[i];

		w->kind = i;
		ASSERT_EQ(0, pipe(w->fd));
		ASSERT_EQ(0, kw_thread_start(&w->t, &self->k, i, sleep_on, w));
		ASSERT_TRUE(KW_WAIT(i < 2 ? kw_owner_is(&self->k, i,
							KAUS_P_SLEEPING, i) :
					    kw_asleep(w->t.tid)));
	}
	ASSERT_EQ(0, write_drain("1"));
	EXPECT_TRUE(KW_WAIT(read_int(REFCNT) == 1));
	kw_close(&self->k);
	EXPECT_TRUE(KW_WAIT(read_int(REFCNT) == 0));
	for (int i = 0; i < 2; i++) {
		EXPECT_TRUE(kw_owner_is(&self->k, i, KAUS_P_SLEEPING, i));
	}
	for (int i = 0; i < NR_KINDS; i++) {
		EXPECT_EQ(0, KW_LOAD(self->w[i].t.done))
			TH_LOG("sleep of kind %d was interrupted", i);
	}
	for (int i = 0; i < NR_KINDS - 1; i++) {
		struct worker *w = &self->w[i];

		wake_sleeper(w);
		ASSERT_TRUE(KW_WAIT(KW_LOAD(w->t.done)));
		kw_thread_join(&w->t);
		EXPECT_EQ(1, w->ret) TH_LOG("kind %d", i);
		EXPECT_EQ(0, w->bad);
	}
	EXPECT_EQ(0, KW_LOAD(self->w[NR_KINDS - 1].bad));
}

/* A P that was given and not fetched stays with the worker that has it. */
TEST_F(drain, a_given_p_stays_given)
{
	uint64_t owner = kw_owner(&self->k, 0);

	ASSERT_EQ(0, kw_register(&self->k, 3));
	ASSERT_EQ(0, kw_wake(&self->k, 3, 0, owner));
	ASSERT_EQ(0, write_drain("1"));
	EXPECT_EQ(-ESHUTDOWN, kw_park(&self->k, 0, KAUS_NONE, KAUS_FOREVER,
				      NULL));
	EXPECT_TRUE(kw_owner_is(&self->k, 0, KAUS_P_RUNNING, 3));
	kw_close(&self->k);
	EXPECT_TRUE(KW_WAIT(read_int(REFCNT) == 0));
	EXPECT_TRUE(kw_owner_is(&self->k, 0, KAUS_P_RUNNING, 3));
}

/* Who was kicked while it slept does not come back to its code unnoticed. */
TEST_F(drain, a_kick_is_owed)
{
	struct worker *w = &self->w[0];
	struct kaus_info info;

	ASSERT_EQ(0, kw_info(self->k.fd, &info));
	if (!(info.features & KAUS_FEAT_REGS))
		SKIP(return, "the kernel has no user-return notifiers");
	ASSERT_EQ(0, pipe(w->fd));
	ASSERT_EQ(0, kw_thread_start(&w->t, &self->k, 0, sleep_on, w));
	ASSERT_TRUE(KW_WAIT(kw_owner_is(&self->k, 0, KAUS_P_SLEEPING, 0)));
	ASSERT_EQ(0, kw_kick(&self->k, 0, NULL));
	ASSERT_EQ(0, write_drain("1"));
	EXPECT_EQ(-ESHUTDOWN, kw_kick(&self->k, 0, NULL));
	usleep(50000);
	EXPECT_EQ(0, KW_LOAD(self->k.stat[0].nr_kick));
	wake_sleeper(w);
	ASSERT_TRUE(KW_WAIT(KW_LOAD(w->t.done)));
	kw_thread_join(&w->t);
	EXPECT_EQ(1, w->ret);
	EXPECT_EQ(1, self->k.stat[0].nr_kick);
	kw_close(&self->k);
	EXPECT_TRUE(KW_WAIT(read_int(REFCNT) == 0));
}

/* But a runtime that has closed its descriptor is owed nothing. */
TEST_F(drain, a_kick_does_not_hold_the_module)
{
	struct worker *w = &self->w[0];

	ASSERT_EQ(0, pipe(w->fd));
	ASSERT_EQ(0, kw_thread_start(&w->t, &self->k, 0, sleep_on, w));
	ASSERT_TRUE(KW_WAIT(kw_owner_is(&self->k, 0, KAUS_P_SLEEPING, 0)));
	ASSERT_EQ(0, kw_kick(&self->k, 0, NULL));
	ASSERT_EQ(0, write_drain("1"));
	kw_close(&self->k);
	EXPECT_TRUE(KW_WAIT(read_int(REFCNT) == 0));
	wake_sleeper(w);
	ASSERT_TRUE(KW_WAIT(KW_LOAD(w->t.done)));
	kw_thread_join(&w->t);
	EXPECT_EQ(1, w->ret);
	EXPECT_EQ(0, self->k.stat[0].nr_kick);
}

/* The region as it was left, and a thread that comes straight from there. */
TEST_F(drain, the_region_is_used_again)
{
	struct kaus_setup setup;

	ASSERT_EQ(0, kw_register(&self->k, 0));
	kw_setup_args(&self->k, &setup);
	for (int i = 0; i < 20; i++) {
		uint64_t before = kw_self.stat->nr_preempt;

		kw_carry(&self->k, 0);
		kw_waiters(&self->k, 0, 1);
		ASSERT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) !=
				    before));
		ASSERT_EQ(0, write_drain("1"));
		EXPECT_EQ(KAUS_SHUTDOWN_DRAIN, KW_LOAD(self->k.hdr->shutdown));
		close(self->k.fd);
		ASSERT_EQ(0, write_drain("0"));
		self->k.fd = reopen();
		ASSERT_LE(0, self->k.fd);
		setup.flags = 0;
		EXPECT_EQ(-EINVAL, kw_ioctl(self->k.fd, KAUS_IOC_SETUP,
					    &setup));
		setup.flags = KAUS_SETUP_REUSE << 1;
		EXPECT_EQ(-EINVAL, kw_ioctl(self->k.fd, KAUS_IOC_SETUP,
					    &setup));
		setup.flags = KAUS_SETUP_REUSE;
		self->k.hdr->reserved1[3] = 1;
		EXPECT_EQ(-EINVAL, kw_ioctl(self->k.fd, KAUS_IOC_SETUP,
					    &setup));
		self->k.hdr->reserved1[3] = 0;
		ASSERT_EQ(0, kw_ioctl(self->k.fd, KAUS_IOC_SETUP, &setup));
		EXPECT_EQ(0, KW_LOAD(self->k.hdr->shutdown));
		ASSERT_EQ(0, kw_register(&self->k, i % NR_WORKERS));
	}
}

/* The old descriptor ends after the new group has begun. */
TEST_F(drain, an_old_descriptor_lingers)
{
	struct kaus_setup setup;
	int old = self->k.fd;

	kw_setup_args(&self->k, &setup);
	setup.flags = KAUS_SETUP_REUSE;
	ASSERT_EQ(0, write_drain("1"));
	ASSERT_EQ(0, write_drain("0"));
	self->k.fd = reopen();
	ASSERT_LE(0, self->k.fd);
	ASSERT_EQ(0, kw_ioctl(self->k.fd, KAUS_IOC_SETUP, &setup));
	close(old);
	EXPECT_EQ(0, KW_LOAD(self->k.hdr->shutdown));
	EXPECT_EQ(0, kw_register(&self->k, 1));
	EXPECT_EQ(-ETIMEDOUT, kw_park(&self->k, 0, KAUS_NONE, 0, NULL));
}

/* All of it at once, and at a moment that nothing has prepared. */
TEST_F(drain, under_load)
{
	kw_close(&self->k);
	for (int round = 0; round < 12; round++) {
		struct kw k;

		ASSERT_EQ(0, kw_group(&k, 2, NR_WORKERS));
		memset(self->w, 0, sizeof(self->w));
		for (int i = 0; i < NR_WORKERS; i++) {
			struct worker *w = &self->w[i];

			w->kind = 0;
			ASSERT_EQ(0, pipe(w->fd));
			if (i < 2)
				kw_waiters(&k, i, 1);
			ASSERT_EQ(0, kw_thread_start(&w->t, &k, i,
						     i < 3 ? spin :
						     i < 5 ? sleep_on : park,
						     w));
		}
		for (int i = 0; i < round * 5; i++)
			kw_kick(&k, KAUS_ALL, NULL);
		ASSERT_EQ(0, write_drain("1"));
		kw_close(&k);
		EXPECT_TRUE(KW_WAIT(read_int(REFCNT) == 0));
		for (int i = 0; i < NR_WORKERS; i++) {
			struct worker *w = &self->w[i];

			KW_STORE(w->stop, 1);
			wake_sleeper(w);
			ASSERT_TRUE(KW_WAIT(KW_LOAD(w->t.done)))
				TH_LOG("round %d, worker %d", round, i);
			kw_thread_join(&w->t);
			EXPECT_EQ(0, w->bad);
			close(w->fd[0]);
			close(w->fd[1]);
		}
		munmap(k.hdr, k.len);
		ASSERT_EQ(0, write_drain("0"));
		ASSERT_TRUE(KW_WAIT(access(KW_DEV, R_OK) == 0));
	}
}

KW_TEST_MAIN
