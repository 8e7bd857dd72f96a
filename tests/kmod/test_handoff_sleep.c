// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker that falls asleep in the kernel, in every way there is: its P goes
 * to a parked worker if somebody waits on it, stays SLEEPING if nobody does,
 * and may be taken by the runtime. The sleeper is woken by the one who got the
 * P, so that a P that is not handed off is a test that hangs; a bug shows as
 * that, as a sleeper that is not told (KAUS_EV_LOST) or told for nothing, or
 * as a call with a wrong result.
 */
#include "kw_test.h"

#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>

/* Worker 0 sleeps, worker 1 is the pool; main looks on. */
struct scene {
	struct kw k;
	const struct kind *kind;
	int fd[2];
	int other;		/* epoll, uffd, second lock */
	pid_t child;
	pid_t sleeper;
	char *page;
	uint32_t word;
	uint32_t rounds;
	uint32_t bad_results;
	uint32_t not_told;
	uint32_t nr_missed;	/* sleeps that ended before anybody had the P */
	uint32_t nr_given;
	uint32_t bad_given;
};

struct kind {
	int (*prepare)(struct scene *s);	/* before a round */
	bool (*sleep)(struct scene *s);		/* true: right result */
	void (*wake)(struct scene *s);
};

static bool read_sleep(struct scene *s)
{
	char byte = 0;

	return read(s->fd[0], &byte, 1) == 1 && byte == 'x';
}

static void write_byte(struct scene *s)
{
	if (write(s->fd[1], "x", 1) != 1)
		KW_ADD(s->bad_results, 1);
}

/* A pipe with room for nothing more. */
static int fill(struct scene *s)
{
	char buf[4096] = { 0 };

	fcntl(s->fd[1], F_SETFL, O_NONBLOCK);
	while (write(s->fd[1], buf, sizeof(buf)) > 0)
		;
	return fcntl(s->fd[1], F_SETFL, 0);
}

static bool write_sleep(struct scene *s)
{
	char buf[4096] = { 0 };

	return write(s->fd[1], buf, sizeof(buf)) == sizeof(buf);
}

static void drain(struct scene *s)
{
	char buf[8192];

	if (read(s->fd[0], buf, sizeof(buf)) != sizeof(buf))
		KW_ADD(s->bad_results, 1);
}

static bool nanosleep_sleep(struct scene *s)
{
	struct timespec ts = { .tv_nsec = 3000000 };

	(void)s;
	return nanosleep(&ts, NULL) == 0;
}

static void wake_itself(struct scene *s)
{
	(void)s;
}

static int futex_prepare(struct scene *s)
{
	KW_STORE(s->word, 0);
	return 0;
}

static bool futex_sleep(struct scene *s)
{
	long ret = 0;

	while (!KW_LOAD(s->word))
		ret = kw_syscall(SYS_futex, (long)&s->word, FUTEX_WAIT, 0, 0,
				 0, 0);
	return ret == 0 || ret == -EAGAIN;
}

static void futex_wake(struct scene *s)
{
	KW_STORE(s->word, 1);
	kw_syscall(SYS_futex, (long)&s->word, FUTEX_WAKE, 1, 0, 0, 0);
}

static bool poll_sleep(struct scene *s)
{
	struct pollfd pfd = { .fd = s->fd[0], .events = POLLIN };

	return poll(&pfd, 1, -1) == 1 && read_sleep(s);
}

static int epoll_prepare(struct scene *s)
{
	struct epoll_event ev = { .events = EPOLLIN };

	if (s->other >= 0)
		return 0;
	s->other = epoll_create1(EPOLL_CLOEXEC);
	return epoll_ctl(s->other, EPOLL_CTL_ADD, s->fd[0], &ev);
}

static bool epoll_sleep(struct scene *s)
{
	struct epoll_event ev;

	return epoll_wait(s->other, &ev, 1, -1) == 1 && read_sleep(s);
}

static int child_prepare(struct scene *s)
{
	char byte;

	s->child = fork();
	if (s->child)
		return s->child < 0 ? -1 : 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	_exit(read(s->fd[0], &byte, 1) == 1 ? 42 : 1);
}

static bool child_sleep(struct scene *s)
{
	int status;

	return waitpid(s->child, &status, 0) == s->child &&
	       WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

static int lock_prepare(struct scene *s)
{
	/* Two descriptions of one file: they exclude each other. */
	if (s->other < 0) {
		char name[] = "/tmp/kaus-XXXXXX";

		close(s->fd[0]);
		s->fd[0] = mkstemp(name);
		s->other = open(name, O_RDWR | O_CLOEXEC);
		unlink(name);
	}
	return flock(s->fd[0], LOCK_EX);
}

static bool lock_sleep(struct scene *s)
{
	return flock(s->other, LOCK_EX) == 0 && flock(s->other, LOCK_UN) == 0;
}

static void unlock(struct scene *s)
{
	flock(s->fd[0], LOCK_UN);
}

static int sigwait_prepare(struct scene *s)
{
	sigset_t set;

	(void)s;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static bool sigwait_sleep(struct scene *s)
{
	sigset_t set;
	int sig;

	(void)s;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigwait(&set, &sig) == 0 && sig == SIGUSR2;
}

static void send_signal(struct scene *s)
{
	syscall(SYS_tgkill, getpid(), s->sleeper, SIGUSR2);
}

/* Not interruptible: the parent sleeps until the child is gone. */
static bool vfork_sleep(struct scene *s)
{
	struct timespec ts = { .tv_nsec = 100000 };
	volatile pid_t pid = vfork();
	int status;

	if (!pid) {
		while (!KW_LOAD(s->word))
			kw_syscall(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
		_exit(42);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 42;
}

static void set_word(struct scene *s)
{
	KW_STORE(s->word, 1);
}

/* A page that is not there until the waker says so. */
static int fault_prepare(struct scene *s)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };

	if (s->page)
		return madvise(s->page, 4096, MADV_DONTNEED);
	s->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	s->other = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (s->page == MAP_FAILED || s->other < 0)
		return -1;
	reg.range.start = (uint64_t)s->page;
	reg.range.len = 4096;
	if (ioctl(s->other, UFFDIO_API, &api))
		return -1;
	return ioctl(s->other, UFFDIO_REGISTER, &reg);
}

static bool fault_sleep(struct scene *s)
{
	return KW_LOAD(s->page[100]) == 'p';
}

/* The fault comes in a system call that copies from there. */
static bool copy_sleep(struct scene *s)
{
	char byte = 0;

	return write(s->fd[1], s->page + 100, 1) == 1 &&
	       read(s->fd[0], &byte, 1) == 1 && byte == 'p';
}

static void resolve(struct scene *s)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct uffdio_copy copy = {
		.dst = (uint64_t)s->page, .src = (uint64_t)page, .len = 4096,
	};
	struct uffd_msg msg;

	page[100] = 'p';
	if (read(s->other, &msg, sizeof(msg)) != sizeof(msg) ||
	    ioctl(s->other, UFFDIO_COPY, &copy))
		KW_ADD(s->bad_results, 1);
}

FIXTURE(sleep) {
	struct scene *s;
};

FIXTURE_VARIANT(sleep) {
	struct kind kind;
};

FIXTURE_VARIANT_ADD(sleep, child) { {
	child_prepare, child_sleep, write_byte } };
FIXTURE_VARIANT_ADD(sleep, epoll) { {
	epoll_prepare, epoll_sleep, write_byte } };
FIXTURE_VARIANT_ADD(sleep, fault) { {
	fault_prepare, fault_sleep, resolve } };
FIXTURE_VARIANT_ADD(sleep, fault_in_call) { {
	fault_prepare, copy_sleep, resolve } };
FIXTURE_VARIANT_ADD(sleep, file_lock) { {
	lock_prepare, lock_sleep, unlock } };
FIXTURE_VARIANT_ADD(sleep, futex) { {
	futex_prepare, futex_sleep, futex_wake } };
FIXTURE_VARIANT_ADD(sleep, nanosleep) { {
	NULL, nanosleep_sleep, wake_itself } };
FIXTURE_VARIANT_ADD(sleep, pipe_read) { {
	NULL, read_sleep, write_byte } };
FIXTURE_VARIANT_ADD(sleep, pipe_write) { {
	fill, write_sleep, drain } };
FIXTURE_VARIANT_ADD(sleep, poll) { {
	NULL, poll_sleep, write_byte } };
FIXTURE_VARIANT_ADD(sleep, sigwait) { {
	sigwait_prepare, sigwait_sleep, send_signal } };
FIXTURE_VARIANT_ADD(sleep, vfork) { {
	futex_prepare, vfork_sleep, set_word } };

FIXTURE_SETUP(sleep)
{
	struct scene *s = calloc(1, sizeof(*s));

	ASSERT_NE(NULL, s);
	self->s = s;
	s->kind = &variant->kind;
	s->other = -1;
	ASSERT_EQ(0, pipe(s->fd));
	if (variant->kind.prepare == fault_prepare && fault_prepare(s))
		SKIP(return, "no userfaultfd: %s", strerror(errno));
	ASSERT_EQ(0, kw_group(&s->k, 1, 3));
}

FIXTURE_TEARDOWN(sleep)
{
	kw_close(&self->s->k);
}

/* One that wakes by itself may be faster than a machine that is not there. */
static bool sleeps(struct scene *s)
{
	bool ok = s->kind->sleep(s);

	while (ok && s->kind->wake == wake_itself &&
	       s->nr_missed <= s->rounds / 5 &&
	       kw_owner_is(&s->k, 0, KAUS_P_RUNNING, 0)) {
		KW_ADD(s->nr_missed, 1);
		ok = s->kind->sleep(s);
	}
	return ok;
}

/* The P came: wake the sleeper, then give the P up. */
static void given(struct kw_thread *t, uint32_t proc)
{
	struct kw_pool *pool = t->arg;
	struct scene *s = pool->arg;

	if (proc || !kw_owner_is(&s->k, 0, KAUS_P_RUNNING, 1))
		KW_ADD(s->bad_given, 1);
	kw_waiters(&s->k, 0, 0);
	s->kind->wake(s);
	KW_ADD(s->nr_given, 1);
	kw_drop(&s->k);
}

static void sleeper(struct kw_thread *t)
{
	struct scene *s = t->arg;

	s->sleeper = t->tid;
	for (uint32_t i = 0; i < s->rounds; i++) {
		uint64_t lost = kw_self.stat->nr_lost;

		if (s->kind->prepare && s->kind->prepare(s))
			KW_ADD(s->bad_results, 1);
		kw_carry(&s->k, 0);
		kw_waiters(&s->k, 0, 1);
		if (!sleeps(s))
			KW_ADD(s->bad_results, 1);
		if (!KW_SPIN(KW_LOAD(kw_self.stat->nr_lost) > lost)) {
			KW_ADD(s->not_told, 1);
			return;
		}
		KW_STORE(kw_self.slot->proc, KAUS_NONE);
		if (!KW_SPIN(kw_owner_is(&s->k, 0, KAUS_P_IDLE, 0)))
			return;
	}
}

TEST_F(sleep, handed_off_if_somebody_waits)
{
	struct scene *s = self->s;
	struct kw_pool pool = { .given = given, .arg = s };
	struct kw_thread b[1] = { 0 }, a = { 0 };
	struct kaus_worker *slot = &s->k.workers[0];

	s->rounds = 25;
	ASSERT_EQ(0, kw_pool_start(&pool, &s->k, b, 1, 1));
	ASSERT_EQ(0, kw_thread_start(&a, &s->k, 0, sleeper, s));
	ASSERT_TRUE(KW_WAIT(KW_LOAD(a.done)))
		TH_LOG("hangs in round %u, owner %#lx", s->nr_given,
		       (unsigned long)kw_owner(&s->k, 0));
	kw_thread_join(&a);
	kw_pool_stop(&pool, b, 1);
	EXPECT_EQ(0, s->not_told) TH_LOG("no KAUS_EV_LOST");
	EXPECT_LE(s->nr_missed, s->rounds / 5);
	EXPECT_EQ(0, s->bad_results);
	EXPECT_EQ(0, s->bad_given);
	EXPECT_EQ(s->rounds, s->nr_given);
	EXPECT_LE(s->rounds, slot->nr_sleeps);
	EXPECT_EQ(s->rounds, slot->nr_handoffs);
	EXPECT_EQ(s->rounds, slot->nr_lost);
	EXPECT_EQ(s->rounds, s->k.stat[0].nr_lost);
	EXPECT_EQ(0, s->k.stat[0].nr_empty);
}

/* One sleep with nobody waiting; then value is nr_lost, count a good result. */
static void lone_sleeper(struct kw_thread *t)
{
	struct scene *s = t->arg;

	s->sleeper = t->tid;
	if (s->kind->prepare && s->kind->prepare(s))
		KW_ADD(s->bad_results, 1);
	kw_carry(&s->k, 0);
	KW_STORE(t->value, 1);
	if (!s->kind->sleep(s))
		KW_ADD(s->bad_results, 1);
	KW_STORE(t->count, 1);
	while (!KW_LOAD(s->rounds))
		__builtin_ia32_pause();
	if (kw_owner_is(&s->k, 0, KAUS_P_RUNNING, 0))
		kw_drop(&s->k);
}

TEST_F(sleep, comes_back_with_its_p_if_nobody_waits)
{
	struct scene *s = self->s;
	struct kw_thread a = { 0 };
	/* The first generation that A gives itself. */
	const uint64_t running = KAUS_OWNER(KAUS_P_RUNNING, 0, 1);

	ASSERT_EQ(0, kw_thread_start(&a, &s->k, 0, lone_sleeper, s));
	ASSERT_TRUE(KW_WAIT(KW_LOAD(a.value)));
	if (s->kind->wake != wake_itself) {
		EXPECT_TRUE(KW_WAIT(kw_owner_is(&s->k, 0, KAUS_P_SLEEPING, 0)))
			TH_LOG("owner %#lx", (unsigned long)kw_owner(&s->k, 0));
		EXPECT_TRUE(KW_WAIT(kw_sleeping_bit(&s->k, 0)));
	}
	s->kind->wake(s);
	EXPECT_TRUE(KW_WAIT(KW_LOAD(a.count)));
	EXPECT_EQ(running, kw_owner(&s->k, 0)) TH_LOG("new generation?");
	EXPECT_FALSE(kw_sleeping_bit(&s->k, 0));
	KW_STORE(s->rounds, 1);
	kw_thread_join(&a);
	EXPECT_EQ(0, s->bad_results);
	EXPECT_LE(1, s->k.workers[0].nr_sleeps);
	EXPECT_EQ(0, s->k.workers[0].nr_handoffs);
	EXPECT_EQ(0, s->k.workers[0].nr_lost);
	EXPECT_EQ(0, s->k.stat[0].nr_entries) TH_LOG("told for nothing");
}

TEST_F(sleep, runtime_takes_it)
{
	struct scene *s = self->s;
	struct kw_thread a = { 0 };

	if (s->kind->wake == wake_itself)
		SKIP(return, "wakes by itself");
	ASSERT_EQ(0, kw_thread_start(&a, &s->k, 0, lone_sleeper, s));
	ASSERT_TRUE(KW_WAIT(kw_owner_is(&s->k, 0, KAUS_P_SLEEPING, 0) &&
			    kw_take(&s->k, 0, kw_owner(&s->k, 0), 2)));
	s->kind->wake(s);
	EXPECT_TRUE(KW_WAIT(KW_LOAD(s->k.stat[0].nr_lost) == 1));
	EXPECT_TRUE(kw_owner_is(&s->k, 0, KAUS_P_RUNNING, 2))
		TH_LOG("taken back: %#lx", (unsigned long)kw_owner(&s->k, 0));
	KW_STORE(s->rounds, 1);
	kw_thread_join(&a);
	EXPECT_EQ(0, s->bad_results);
	EXPECT_EQ(1, s->k.workers[0].nr_lost);
	EXPECT_EQ(0, s->k.workers[0].nr_handoffs);
}

KW_TEST_MAIN
