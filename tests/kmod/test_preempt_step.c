// SPDX-License-Identifier: GPL-2.0-only
/*
 * Debugging a worker: single steps, breakpoints and system-call stops, the
 * things gdb is made of, while its slices run out. A bug shows as a step that
 * ends in the trampoline instead of at the next instruction, as the trap flag
 * carried into the trampoline (SIGTRAP out of nowhere), or as a wrong result.
 * With the argument --victim it is the program that run_preempt_gdb.sh
 * debugs.
 */
#include "kw_test.h"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>

/* rounds in %rdi; returns 3 * rounds. Each instruction has a name. */
uint64_t step_loop(uint64_t rounds);
extern const char step_add[], step_dec[], step_jnz[], step_ret[];

__asm__(
"	.text\n"
"	.globl step_loop, step_add, step_dec, step_jnz, step_ret\n"
"	.type step_loop, @function\n"
"step_loop:\n"
"	xorl %eax, %eax\n"
"step_add:\n"
"	leaq 3(%rax), %rax\n"
"step_dec:\n"
"	decq %rdi\n"
"step_jnz:\n"
"	jnz step_add\n"
"step_ret:\n"
"	ret\n"
"	.size step_loop, . - step_loop\n");

/* A place for a breakpoint. */
uint64_t break_here(uint64_t x);

__asm__(
"	.globl break_here\n"
"	.type break_here, @function\n"
"break_here:\n"
"	leaq 1(%rdi), %rax\n"
"	ret\n"
"	.size break_here, . - break_here\n");

enum { STEPS = 1600, BREAKS = 100, CALLS = 150 };

/* A worker that is always due for preemption. */
static int become_hog(struct kw *k)
{
	int ret = kw_group(k, 1, 2);

	if (!ret)
		ret = kw_register(k, 1);
	if (ret)
		return ret;
	kw_carry(k, 0);
	kw_waiters(k, 0, 1);
	return 0;
}

static bool still_preempted(void)
{
	uint64_t want = kw_self.stat->nr_preempt + 3;

	if (!kw_owner_is(kw_self.kw, 0, KAUS_P_RUNNING, kw_self.worker))
		kw_carry(kw_self.kw, 0);
	return KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) >= want);
}

enum { ALL_WELL, NO_GROUP, WRONG_RESULT, NOT_PREEMPTED };

static int stepped(struct kw *k)
{
	if (become_hog(k))
		return NO_GROUP;
	raise(SIGSTOP);
	if (step_loop(STEPS) != 3 * STEPS)
		return WRONG_RESULT;
	return still_preempted() ? ALL_WELL : NOT_PREEMPTED;
}

static int broken(struct kw *k)
{
	uint64_t x = 0;

	if (become_hog(k))
		return NO_GROUP;
	raise(SIGSTOP);
	for (int i = 0; i < BREAKS; i++) {
		kw_sum(20000);
		x = break_here(x);
	}
	if (x != BREAKS)
		return WRONG_RESULT;
	return still_preempted() ? ALL_WELL : NOT_PREEMPTED;
}

static int called(struct kw *k)
{
	const pid_t ppid = getppid();

	if (become_hog(k))
		return NO_GROUP;
	raise(SIGSTOP);
	for (int i = 0; i < CALLS; i++) {
		kw_sum(5000);
		if (kw_syscall(SYS_getppid, 0, 0, 0, 0, 0, 0) != ppid)
			return WRONG_RESULT;
	}
	return still_preempted() ? ALL_WELL : NOT_PREEMPTED;
}

/* Start @fn as a tracee; it is stopped when this returns. */
static pid_t trace(int (*fn)(struct kw *k))
{
	static struct kw k;
	pid_t pid = fork();
	int status;

	if (pid) {
		if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			return -1;
		ptrace(PTRACE_SETOPTIONS, pid, 0,
		       PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	_exit(fn(&k));
}

static uint64_t pc(pid_t pid)
{
	return ptrace(PTRACE_PEEKUSER, pid,
		      offsetof(struct user_regs_struct, rip), 0);
}

static bool in_tramp(uint64_t ip)
{
	return ip >= (uint64_t)kw_tramp && ip < (uint64_t)kw_tramp_end;
}

/* Go on with @how; returns the signal it stopped with, 0 when it is gone. */
static int resume(pid_t pid, int how, int *status)
{
	ptrace(how, pid, 0, 0);
	if (waitpid(pid, status, 0) != pid || !WIFSTOPPED(*status))
		return 0;
	return WSTOPSIG(*status);
}

static void finish(struct __test_metadata *_metadata, pid_t pid)
{
	int status;

	ASSERT_EQ(0, resume(pid, PTRACE_CONT, &status))
		TH_LOG("stopped with %d", WSTOPSIG(status));
	ASSERT_TRUE(WIFEXITED(status)) TH_LOG("killed by %d", WTERMSIG(status));
	EXPECT_EQ(ALL_WELL, WEXITSTATUS(status));
}

TEST(single_steps)
{
	uint64_t next = (uint64_t)step_add;
	pid_t pid = trace(stepped);
	int status, i;

	ASSERT_LT(0, pid);
	/* From raise() to the loop, system calls included. */
	for (i = 0; pc(pid) != (uint64_t)step_add; i++) {
		ASSERT_GT(20000, i);
		ASSERT_EQ(SIGTRAP, resume(pid, PTRACE_SINGLESTEP, &status));
		ASSERT_FALSE(in_tramp(pc(pid)));
	}
	/* Half of the loop in steps: no instruction skipped or added. */
	for (i = 0; i < 3 * STEPS / 2; i++) {
		ASSERT_EQ(next, pc(pid)) TH_LOG("step %d", i);
		ASSERT_EQ(SIGTRAP, resume(pid, PTRACE_SINGLESTEP, &status));
		if (next == (uint64_t)step_add)
			next = (uint64_t)step_dec;
		else if (next == (uint64_t)step_dec)
			next = (uint64_t)step_jnz;
		else
			next = (uint64_t)step_add;
	}
	finish(_metadata, pid);
}

TEST(breakpoints)
{
	const long at = (long)break_here;
	pid_t pid = trace(broken);
	long word, trap;
	int status;

	ASSERT_LT(0, pid);
	word = ptrace(PTRACE_PEEKTEXT, pid, at, 0);
	trap = (word & ~0xffL) | 0xcc;
	for (int i = 0; i < BREAKS; i++) {
		ASSERT_EQ(0, ptrace(PTRACE_POKETEXT, pid, at, trap));
		ASSERT_EQ(SIGTRAP, resume(pid, PTRACE_CONT, &status))
			TH_LOG("break %d", i);
		ASSERT_EQ(at + 1, pc(pid)) TH_LOG("break %d", i);
		ASSERT_EQ(0, ptrace(PTRACE_POKETEXT, pid, at, word));
		ASSERT_EQ(0, ptrace(PTRACE_POKEUSER, pid,
				    offsetof(struct user_regs_struct, rip),
				    at));
		ASSERT_EQ(SIGTRAP, resume(pid, PTRACE_SINGLESTEP, &status));
		ASSERT_EQ(at + 4, pc(pid)) TH_LOG("step %d", i);
	}
	finish(_metadata, pid);
}

TEST(system_call_stops)
{
	struct user_regs_struct regs;
	pid_t pid = trace(called);
	int status, seen = 0;
	bool entry = true;

	ASSERT_LT(0, pid);
	/* An even number of stops up to here: none. */
	while (seen < CALLS) {
		ASSERT_EQ(SIGTRAP | 0x80, resume(pid, PTRACE_SYSCALL,
						 &status));
		ASSERT_EQ(0, ptrace(PTRACE_GETREGS, pid, 0, &regs));
		ASSERT_FALSE(in_tramp(regs.rip));
		if (regs.orig_rax == SYS_getppid && !entry) {
			ASSERT_EQ(getpid(), regs.rax);
			seen++;
		} else if (entry) {
			ASSERT_EQ(-ENOSYS, regs.rax);
		}
		entry = !entry;
	}
	finish(_metadata, pid);
}

static int victim(void)
{
	static struct kw k;

	if (become_hog(&k))
		return NO_GROUP;
	for (int i = 0; i < 20; i++) {
		kw_sum(20000);
		if (break_here(i) != i + 1U || step_loop(STEPS) != 3 * STEPS)
			return WRONG_RESULT;
	}
	return still_preempted() ? ALL_WELL : NOT_PREEMPTED;
}

int main(int argc, char **argv)
{
	kw_need_module();
	if (argc > 1 && !strcmp(argv[1], "--victim"))
		return victim();
	return test_harness_run(argc, argv);
}
