// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs that may do little: no device, no permission for it, no locked
 * memory, a seccomp filter that denies or kills, no descriptor left. The
 * runtime goes on with signals, and says why if it was told not to. If it is
 * broken a program dies of a system call it did not ask for, does not start,
 * or starts without preemption and hangs behind its first hog.
 */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kaus.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "utest.h"

#ifdef __SANITIZE_ADDRESS__
#define UT_ASAN 1
#else
#define UT_ASAN 0
#endif

#define NOBODY		65534
/* A child that hangs ends before the harness gives up on its parent. */
#define PATIENCE_S	50

/* What a child ends with. */
enum { FINE, FAILED = 1, WRONG_ASSIST, NO_RIGHTS = 90 };

/* --- filters --- */

#define LOAD(field) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(what)	BPF_STMT(BPF_RET | BPF_K, what)
#define DENY(err)	RETURN(SECCOMP_RET_ERRNO | (err))

static bool install(struct sock_filter *code, unsigned short len)
{
	struct sock_fprog prog = { .len = len, .filter = code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

/* Ioctls of our type, whatever the descriptor. */
static bool deny_ioctls(void)
{
	struct sock_filter code[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
		LOAD(args[1]),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KAUS_IOC_TYPE << 8, 0, 1),
		DENY(EPERM),
		RETURN(SECCOMP_RET_ALLOW),
	};

	return install(code, ARRAY_SIZE(code));
}

static bool deny_open(void)
{
	struct sock_filter code[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_open, 0, 1),
		DENY(EACCES),
		RETURN(SECCOMP_RET_ALLOW),
	};

	return install(code, ARRAY_SIZE(code));
}

/*
 * What the runtime calls with the signal assist, with what the C library needs
 * for it. doc/design/security.md has the list; whatever else is called kills.
 */
static const unsigned short allowed[] = {
	SYS_access, SYS_brk, SYS_clock_gettime, SYS_clock_nanosleep, SYS_clone, SYS_clone3,
	SYS_close, SYS_dup3, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
	SYS_epoll_pwait2, SYS_epoll_wait, SYS_eventfd2, SYS_exit,
	SYS_exit_group, SYS_fcntl, SYS_fstat, SYS_futex, SYS_getcpu, SYS_getpid,
	SYS_getrandom, SYS_gettid, SYS_lseek, SYS_madvise, SYS_membarrier,
	SYS_mmap, SYS_mprotect, SYS_mremap, SYS_munmap, SYS_nanosleep,
	SYS_newfstatat, SYS_openat, SYS_pipe2, SYS_poll, SYS_ppoll, SYS_prctl,
	SYS_pread64, SYS_prlimit64, SYS_read, SYS_readlink, SYS_readlinkat,
	SYS_restart_syscall, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigprocmask,
	SYS_rt_sigreturn, SYS_sched_getaffinity, SYS_sched_setaffinity,
	SYS_sched_yield, SYS_set_robust_list, SYS_sigaltstack, SYS_statfs,
	SYS_sysinfo, SYS_tgkill,
	SYS_write, SYS_writev,
};

static bool kill_unknown(void)
{
	struct sock_filter code[ARRAY_SIZE(allowed) + 3] = { LOAD(nr) };
	unsigned int nr = 1, left = ARRAY_SIZE(allowed);

	for (unsigned int i = 0; i < ARRAY_SIZE(allowed); i++, left--)
		code[nr++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, allowed[i], left, 0);
	code[nr++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
	code[nr++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	return install(code, nr);
}

/* --- what has to work --- */

static void sleep_in_read(void *arg)
{
	int *fds = arg;
	char byte;

	CHECK_EQ(1, syscall(SYS_read, fds[0], &byte, 1));
	atomic_fetch_add((atomic_int *)&fds[2], 1);
}

/* One P: each of these hangs if it is not taken away from somebody. */
static int work(void *arg)
{
	int fds[3] = { 0 };

	if (arg && strcmp(ut_stats().assist, arg))
		return WRONG_ASSIST;
	CHECK_EQ(0, pipe2(fds, O_CLOEXEC));
	ut_go(sleep_in_read, fds);
	kaus_yield();
	CHECK_EQ(1, syscall(SYS_write, fds[1], "x", 1));
	while (!atomic_load((atomic_int *)&fds[2]))
		kaus_sleep(MSEC);
	ut_go(ut_hog, NULL);
	for (int i = 0; i < 3; i++)
		kaus_sleep(MSEC);
	return atomic_load(&ut_failures) ? FAILED : FINE;
}

/* Never returns. */
static void run(int assist, const char *expected)
{
	struct kaus_options opts = ut_procs(1);

	opts.assist = assist;
	_exit(kaus_run_with(&opts, work, (void *)expected));
}

static void run_auto(void)
{
	run(KAUS_ASSIST_AUTO, "signal");
}

static void without_ioctls(void)
{
	if (!deny_ioctls())
		_exit(NO_RIGHTS);
	run_auto();
}

static void without_open(void)
{
	if (!deny_open())
		_exit(NO_RIGHTS);
	run_auto();
}

static void under_penalty(void)
{
	if (!kill_unknown())
		_exit(NO_RIGHTS);
	run(KAUS_ASSIST_SIGNAL, "signal");
}

static int no_descriptors(void *arg)
{
	struct rlimit limit;
	int fds[3] = { 0 };

	CHECK_EQ(0, pipe2(fds, O_CLOEXEC));
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = 0;
	CHECK_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	ut_go(sleep_in_read, fds);
	kaus_yield();
	CHECK_EQ(1, syscall(SYS_write, fds[1], "x", 1));
	while (!atomic_load((atomic_int *)&fds[2]))
		kaus_sleep(MSEC);
	ut_go(ut_hog, NULL);
	for (int i = 0; i < 3; i++)
		kaus_sleep(MSEC);
	return atomic_load(&ut_failures) ? FAILED : FINE;
}

static void without_descriptors(void)
{
	struct kaus_options opts = ut_procs(1);

	_exit(kaus_run_with(&opts, no_descriptors, NULL));
}

/* A /dev without the device, or with one for others. */
static void hide_device(mode_t mode)
{
	struct stat st;
	bool there = !stat("/dev/kaus", &st);

	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/dev", "tmpfs", 0, NULL))
		_exit(NO_RIGHTS);
	if (!mode)
		return;
	if (!there || mknod("/dev/kaus", S_IFCHR | mode, st.st_rdev) ||
	    setgid(NOBODY) || setuid(NOBODY))
		_exit(NO_RIGHTS);
}

static void in_a_container(void)
{
	hide_device(0);
	run_auto();
}

static void of_another_group(void)
{
	hide_device(0660);
	run_auto();
}

static void without_memlock(void)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_MEMLOCK, &none) || setgid(NOBODY) ||
	    setuid(NOBODY))
		_exit(NO_RIGHTS);
	run_auto();
}

/* With KAUS_ASSIST=module it does not start, and says why. */
static void insist(void)
{
	struct kaus_options opts = ut_procs(1);
	char text[256] = { 0 };
	int fds[2], ret;

	if (!deny_ioctls() || pipe(fds) || dup2(fds[1], STDERR_FILENO) < 0)
		_exit(NO_RIGHTS);
	opts.assist = KAUS_ASSIST_MODULE;
	ret = kaus_run_with(&opts, work, NULL);
	close(fds[1]);
	close(STDERR_FILENO);
	if (ret != -ENODEV || read(fds[0], text, sizeof(text) - 1) <= 0)
		_exit(FAILED);
	/* The reason is the filter's, if there is a device at all. */
	_exit(strstr(text, "/dev/kaus") &&
	      strstr(text, strerror(access("/dev/kaus", F_OK) ? ENOENT : EPERM)) ?
	      FINE : FAILED);
}

static void (*child)(void);

static void mortal(void)
{
	alarm(PATIENCE_S);
	child();
}

#define EXPECT_FINE(fn)							\
	do {								\
		int status__ = (child = (fn), ut_child(mortal));	\
									\
		if (WIFEXITED(status__) &&				\
		    WEXITSTATUS(status__) == NO_RIGHTS)			\
			SKIP(return, "not allowed here");		\
		EXPECT_TRUE(WIFEXITED(status__))			\
			TH_LOG("signal %d", WTERMSIG(status__));	\
		EXPECT_EQ(FINE, WEXITSTATUS(status__));			\
	} while (0)

/* A choice in the environment would be no fallback. */
#define NEEDS_CHOICE()							\
	do {								\
		if (getenv("KAUS_ASSIST"))				\
			SKIP(return, "KAUS_ASSIST is set");		\
	} while (0)

TEST(filter_denies_ioctls)
{
	NEEDS_CHOICE();
	EXPECT_FINE(without_ioctls);
}

TEST(filter_denies_open)
{
	NEEDS_CHOICE();
	EXPECT_FINE(without_open);
}

TEST(filter_kills)
{
	if (UT_ASAN || UT_TSAN)
		SKIP(return, "a sanitizer makes system calls of its own");
	EXPECT_FINE(under_penalty);
}

TEST(the_reason_is_told)
{
	EXPECT_FINE(insist);
}

TEST(no_descriptor_is_left)
{
	EXPECT_FINE(without_descriptors);
}

TEST(no_device)
{
	NEEDS_CHOICE();
	EXPECT_FINE(in_a_container);
}

TEST(a_device_for_others)
{
	NEEDS_CHOICE();
	EXPECT_FINE(of_another_group);
}

TEST(no_locked_memory)
{
	NEEDS_CHOICE();
	EXPECT_FINE(without_memlock);
}

TEST_HARNESS_MAIN
