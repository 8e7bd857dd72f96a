// SPDX-License-Identifier: GPL-2.0-only
/*
 * Redirects and signals. A redirect must not fall between a signal and the
 * restart of the system call that it interrupted, nor into a handler on its
 * own stack, nor hide where a fault happened. A bug shows as SIGSEGV two bytes
 * before the trampoline, a call that is not restarted or restarts with another
 * one's time, a wrong si_addr, or a signal frame that is written over.
 */
#include "kw_test.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile unsigned int nr_signals, in_handler, nr_in_handler;
static unsigned int nr_rewound;

/* Looks at what was interrupted; runs for every redirect. */
__attribute__((target("general-regs-only")))
static void look(struct kw_regs *regs, unsigned int events)
{
	(void)events;
	if (in_handler)
		nr_in_handler++;
	if (regs->rax == SYS_restart_syscall &&
	    *(const uint16_t *)regs->ip == 0x050f)
		nr_rewound++;
}

static void count(int sig)
{
	(void)sig;
	nr_signals++;
}

FIXTURE(signal) {
	struct kw k;
};

FIXTURE_SETUP(signal)
{
	ASSERT_EQ(0, kw_group(&self->k, 1, 2));
	kw_self.hook = look;
	ASSERT_EQ(0, kw_register(&self->k, 1));
	kw_carry(&self->k, 0);
	kw_waiters(&self->k, 0, 1);
}

FIXTURE_TEARDOWN(signal)
{
	EXPECT_EQ(0, nr_rewound) TH_LOG("redirected at a rewound restart");
	EXPECT_EQ(0, kw_self.stat->nr_foreign);
	kw_unregister(&self->k);
	kw_close(&self->k);
}

static void handle(int sig, void (*fn)(int), int flags)
{
	struct sigaction sa = { .sa_handler = fn, .sa_flags = flags };

	sigaction(sig, &sa, NULL);
}

static void ticks(unsigned int us)
{
	struct itimerval it = {
		.it_interval.tv_usec = us, .it_value.tv_usec = us,
	};

	setitimer(ITIMER_REAL, &it, NULL);
}

/* The P stays ours, whatever the last sleep did to it. */
static void keep_p(void)
{
	if (!kw_owner_is(kw_self.kw, 0, KAUS_P_RUNNING, kw_self.worker))
		kw_carry(kw_self.kw, 0);
}

/* A child that writes @nr bytes, one every @us. */
static pid_t writer(int fd[2], unsigned int nr, unsigned int us)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned int i = 0; i < nr; i++) {
		struct timespec ts = { .tv_nsec = us * 1000 };

		nanosleep(&ts, NULL);
		if (write(fd[1], "x", 1) != 1)
			_exit(1);
	}
	_exit(0);
}

TEST_F(signal, read_restarts)
{
	unsigned int got = 0;
	int fd[2], status;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(fd));
	handle(SIGALRM, count, SA_RESTART);
	pid = writer(fd, 400, 900);
	ASSERT_LT(0, pid);
	ticks(700);
	while (got < 400) {
		ssize_t ret = read(fd[0], &byte, 1);

		ASSERT_EQ(1, ret) TH_LOG("errno %d", errno);
		got++;
		keep_p();
		kw_sum(30000);
	}
	ticks(0);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_LT(20, nr_signals);
	EXPECT_LT(20, kw_self.stat->nr_preempt);
}

/* Without SA_RESTART -EINTR is right, and only after a signal. */
TEST_F(signal, eintr_only_after_a_signal)
{
	unsigned int got = 0, before;
	int fd[2], status;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(fd));
	handle(SIGALRM, count, 0);
	pid = writer(fd, 300, 900);
	ASSERT_LT(0, pid);
	ticks(1100);
	while (got < 300) {
		ssize_t ret;

		before = nr_signals;
		ret = read(fd[0], &byte, 1);
		if (ret == 1)
			got++;
		ASSERT_TRUE(ret == 1 ||
			    (errno == EINTR && nr_signals != before));
		keep_p();
		kw_sum(30000);
	}
	ticks(0);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/*
 * Stop and continue restart a sleep through restart_syscall, which finds the
 * time to go on in the thread, not in the goroutine. The hook must never see
 * that instruction, as it might sleep itself.
 */
struct kicker {
	struct kw *k;
	unsigned int stop;
};

static void *kicker(void *arg)
{
	struct kicker *c = arg;

	while (!KW_LOAD(c->stop)) {
		kw_kick(c->k, 1, NULL);
		kw_nap();
	}
	return NULL;
}

TEST_F(signal, stopped_sleeps_go_on)
{
	struct kicker c = { .k = &self->k };
	pid_t me = getpid(), pid;
	pthread_t thread;
	uint32_t word = 1;
	int rounds = 0;

	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < 150; i++) {
			usleep(1500);
			kill(me, SIGSTOP);
			usleep(500);
			kill(me, SIGCONT);
		}
		_exit(0);
	}
	ASSERT_EQ(0, pthread_create(&thread, NULL, kicker, &c));
	/* One sleep of each kind, with a kick pending when it ends. */
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		struct timespec ts = { .tv_nsec = 4000000 };
		struct pollfd none = { .fd = -1 };
		uint64_t end_ns;

		keep_p();
		end_ns = kw_now() + 4000000;
		ASSERT_EQ(0, kw_syscall(SYS_nanosleep, (long)&ts, 0, 0, 0, 0,
					0));
		ASSERT_LE(end_ns, kw_now()) TH_LOG("nanosleep: too early");
		end_ns = kw_now() + 4000000;
		ASSERT_EQ(0, kw_syscall(SYS_poll, (long)&none, 1, 4, 0, 0, 0));
		ASSERT_LE(end_ns, kw_now()) TH_LOG("poll: too early");
		end_ns = kw_now() + 4000000;
		ASSERT_EQ(-ETIMEDOUT,
			  kw_syscall(SYS_futex, (long)&word, 0, 1, (long)&ts,
				     0, 0));
		ASSERT_LE(end_ns, kw_now()) TH_LOG("futex: too early");
		kw_sum(10000);
		rounds++;
	}
	KW_STORE(c.stop, 1);
	pthread_join(thread, NULL);
	EXPECT_LT(5, rounds);
	EXPECT_LT(5, kw_self.stat->nr_kick);
}

/* On the signal stack, long enough for many slices to end there. */
static void stay(int sig)
{
	uint64_t end_ns = kw_now() + 10 * KW_SLICE_NS;

	(void)sig;
	in_handler = 1;
	while (kw_now() < end_ns)
		;
	nr_signals++;
	in_handler = 0;
}

TEST_F(signal, not_on_the_signal_stack)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	uint64_t ref = kw_sum(50000), refused;

	ASSERT_EQ(0, sigaltstack(&ss, NULL));
	handle(SIGALRM, stay, SA_ONSTACK | SA_RESTART);
	refused = KW_LOAD(kw_self.slot->nr_refused);
	ticks(5000);
	for (int i = 0; nr_signals < 60; i++) {
		ASSERT_EQ(ref, kw_sum(50000));
		ASSERT_GT(100000, i);
	}
	ticks(0);
	EXPECT_EQ(0, nr_in_handler);
	EXPECT_LT(60, KW_LOAD(kw_self.slot->nr_refused) - refused);
	/* And still alive outside of it. */
	nr_signals = kw_self.stat->nr_preempt;
	EXPECT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) > nr_signals));
}

/* A handler on the goroutine's stack is like any function called there. */
TEST_F(signal, handler_on_the_same_stack)
{
	uint64_t ref = kw_sum(50000);

	handle(SIGALRM, stay, SA_RESTART);
	ticks(5000);
	/* A machine that gets no CPU in a handler's time sees no slice end. */
	for (int i = 0; nr_signals < 40 || !nr_in_handler; i++) {
		ASSERT_EQ(ref, kw_sum(50000));
		ASSERT_GT(100000, i) TH_LOG("not redirected in a handler");
	}
	ticks(0);
}

static char *fault_page;
static volatile unsigned int nr_faults, nr_bad_faults;
extern const char fault_at[];

static void on_fault(int sig, siginfo_t *info, void *arg)
{
	ucontext_t *uc = arg;

	if (sig != SIGSEGV || info->si_addr != fault_page + 8 ||
	    uc->uc_mcontext.gregs[REG_RIP] != (long)fault_at)
		nr_bad_faults++;
	nr_faults++;
	uc->uc_mcontext.gregs[REG_RIP] += 2;	/* movl %ecx, (%rax) */
}

#ifndef __clang__
__attribute__((noclone))
#endif
__attribute__((noinline))
static void fault(unsigned int value)
{
	__asm__ volatile(".globl fault_at\n"
			 "fault_at: movl %%ecx, (%%rax)\n"
			 : : "a" (fault_page + 8), "c" (value) : "memory");
}

TEST_F(signal, faults_are_told_exactly)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = {
		.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK,
	};

	fault_page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	ASSERT_NE(MAP_FAILED, fault_page);
	ASSERT_EQ(0, sigaltstack(&ss, NULL));
	ASSERT_EQ(0, sigaction(SIGSEGV, &sa, NULL));
	for (unsigned int i = 0; kw_self.stat->nr_preempt < 400; i++) {
		ASSERT_GT(3000000, i) TH_LOG("not redirected");
		fault(i);
		ASSERT_EQ(i + 1, nr_faults);
	}
	EXPECT_EQ(0, nr_bad_faults);
}

KW_TEST_MAIN
