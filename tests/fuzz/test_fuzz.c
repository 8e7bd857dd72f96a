// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random users of /dev/kaus: many short lives (ops.c) side by side, a process
 * that stops, traces, moves and kills them meanwhile, and at the end a look at
 * whether the kernel is whole and the module has let go of everything. A bug
 * shows as a taint, a line in the kernel log, a process that cannot be killed,
 * or a reference to the module that stays.
 *
 *	KAUS_FUZZ_SEED=n	printed at the start; the same again
 *	KAUS_FUZZ_LIVES=n	so many lives (200)
 *	KAUS_FUZZ_IOCTLS=n	and so many ioctls at least (20000)
 *	KAUS_FUZZ_SECONDS=n	and so long (0)
 *	KAUS_FUZZ_PARALLEL=n	lives at a time (8)
 *
 * A seed repeats what each life does, not how they interleave.
 */
/* Of the harness only the output is used: this is one program, not a list. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "kw_test.h"

#include <dirent.h>
#include <inttypes.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/uio.h>

#include "fuzz.h"

#define MAX_PARALLEL	32
/* A life that parks for ever, or was stopped and forgotten. */
#define LIFE_NS		(1500 * 1000000ULL)

static uint64_t seed, want_lives = 200, want_ioctls = 20000, want_s;
static uint32_t parallel = 8;

/* Shared with the tormentor; under the lock a pid is not reaped. */
static struct table {
	pthread_mutex_t lock;
	pid_t pid[MAX_PARALLEL];
	uint64_t torments;
} *table;
static uint64_t born_ns[MAX_PARALLEL];

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

/* Only those that ask for it (op_fail() in ops.c), silently, one in 20. */
static void arm_failslab(const char *probability)
{
	static const char dir[] = "/sys/kernel/debug/failslab/";
	static const char * const set[][2] = {
		{ "task-filter", "Y" }, { "times", "-1" }, { "verbose", "0" },
		{ "ignore-gfp-wait", "N" }, { "interval", "1" },
	};
	char path[80];

	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", dir, set[i][0]);
		put(path, set[i][1]);
	}
	snprintf(path, sizeof(path), "%sprobability", dir);
	put(path, probability);
}

/* --- the tormentor -------------------------------------------------------- */

static pid_t a_thread(uint64_t *x, pid_t pid)
{
	pid_t tids[64];
	struct dirent *d;
	char path[32];
	uint32_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (n < 64 && (d = readdir(dir))) {
		tids[n] = atoi(d->d_name);
		n += tids[n] > 0;
	}
	closedir(dir);
	return n ? tids[fuzz_of(x, n)] : 0;
}

static bool stopped(pid_t tid)
{
	int status;

	for (int i = 0; i < 50; i++) {
		pid_t ret = waitpid(tid, &status, __WALL | WNOHANG);

		if (ret == tid)
			return WIFSTOPPED(status);
		if (ret < 0)
			return false;
		usleep(500);
	}
	return false;
}

static void trace(uint64_t *x, pid_t tid)
{
	char regs[512];
	struct iovec iov = { regs, sizeof(regs) };
	bool is_stopped;

	if (ptrace(PTRACE_SEIZE, tid, 0, 0))
		return;
	ptrace(PTRACE_INTERRUPT, tid, 0, 0);
	is_stopped = stopped(tid);
	for (uint32_t n = fuzz_of(x, 6); is_stopped && n; n--) {
		ptrace(PTRACE_GETREGSET, tid, (void *)1 /* NT_PRSTATUS */, &iov);
		if (fuzz_once(x, 2))
			ptrace(PTRACE_SETREGSET, tid, (void *)1, &iov);
		if (ptrace(PTRACE_SINGLESTEP, tid, 0, 0))
			break;
		is_stopped = stopped(tid);
	}
	/* Not stopped, it cannot be detached; it dies with its life. */
	if (is_stopped)
		ptrace(PTRACE_DETACH, tid, 0, 0);
}

static void torment(uint64_t x)
{
	cpu_set_t set;
	pid_t pid, tid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		usleep(fuzz_of(&x, 4000));
		pthread_mutex_lock(&table->lock);
		pid = table->pid[fuzz_of(&x, parallel)];
		tid = pid ? a_thread(&x, pid) : 0;
		if (!tid)
			goto next;
		table->torments++;
		switch (fuzz_of(&x, 8)) {
		case 0:
			kill(pid, SIGSTOP);
			usleep(fuzz_of(&x, 3000));
			kill(pid, SIGCONT);
			break;
		case 1:
		case 2:
			trace(&x, tid);
			break;
		case 3:
		case 4:
			CPU_ZERO(&set);
			CPU_SET(fuzz_of(&x, 4), &set);
			sched_setaffinity(tid, sizeof(set), &set);
			break;
		case 5:
		case 6:
			kill(pid, SIGUSR1);
			break;
		case 7:
			if (fuzz_once(&x, 4))
				kill(pid, SIGKILL);
			break;
		}
next:
		pthread_mutex_unlock(&table->lock);
		while (waitpid(-1, NULL, __WALL | WNOHANG) > 0)
			;
	}
}

static void init_lock(void)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&table->lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

/* --- lives ---------------------------------------------------------------- */

/*
 * The tormentor may hold the lock for good: PTRACE_SEIZE waits for a life that
 * is in execve(), which waits for another of its threads to be reaped, by its
 * tracer. Then the lives have to go; their numbers are ours until we wait.
 */
static void lock_table(void)
{
	struct timespec ts;

	for (;;) {
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += 2;
		if (!pthread_mutex_timedlock(&table->lock, &ts))
			return;
		for (uint32_t i = 0; i < parallel; i++)
			if (table->pid[i])
				kill(table->pid[i], SIGKILL);
	}
}

static void begin(uint32_t i, uint64_t life)
{
	pid_t pid = fork();

	if (!pid)
		fuzz_life(seed + life * 0x100000001b3ULL);
	born_ns[i] = kw_now();
	lock_table();
	table->pid[i] = pid > 0 ? pid : 0;
	pthread_mutex_unlock(&table->lock);
}

/* True if the place is free. */
static bool end(uint32_t i)
{
	siginfo_t info = { 0 };
	pid_t pid = table->pid[i];

	if (!pid)
		return true;
	if (kw_now() - born_ns[i] > LIFE_NS)
		kill(pid, SIGKILL);
	if (waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) ||
	    !info.si_pid)
		return false;
	lock_table();
	table->pid[i] = 0;
	pthread_mutex_unlock(&table->lock);
	waitpid(pid, NULL, 0);
	return true;
}

static uint64_t live(void)
{
	uint64_t nr = 0, end_ns, until_ns = kw_now() + want_s * 1000000000;
	pid_t tormentor = fork();
	const struct timespec nap = { .tv_nsec = 10000000 };
	sigset_t child;
	bool busy;

	if (!tormentor)
		torment(seed ^ 0x746f726d656e74ULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	arm_failslab("5");
	while (nr < want_lives || KW_LOAD(fuzz_counts->ioctls) < want_ioctls ||
	       kw_now() < until_ns) {
		busy = true;
		for (uint32_t i = 0; i < parallel; i++) {
			if (!end(i))
				continue;
			begin(i, nr++);
			busy = false;
		}
		if (busy)
			sigtimedwait(&child, NULL, &nap);
	}
	arm_failslab("0");
	kill(tormentor, SIGKILL);
	waitpid(tormentor, NULL, 0);
	/* It may have died with the lock. */
	init_lock();
	end_ns = kw_now() + KW_PATIENCE_NS;
	do {
		busy = false;
		for (uint32_t i = 0; i < parallel; i++)
			busy |= !end(i);
		kw_nap();
	} while (busy && kw_now() < end_ns);
	return busy ? 0 : nr;
}

static long refs(void)
{
	FILE *f = fopen("/sys/module/kaus/refcnt", "re");
	long n = -1;

	if (f) {
		if (fscanf(f, "%ld", &n) != 1)
			n = -1;
		fclose(f);
	}
	return n;
}

static bool still_works(void)
{
	uint32_t kicked = 0;
	struct kw k;

	return !kw_group(&k, 2, 4) && !kw_register(&k, 3) &&
	       !kw_kick(&k, 3, &kicked) && kicked == 1 &&
	       KW_SPIN(KW_LOAD(k.stat[3].nr_kick) == 1) && !kw_unregister(&k);
}

/* A machine that dies has shown nothing of our output: tell its console, too. */
static void tell_seed(void)
{
	char text[64];

	ksft_print_msg("KAUS_FUZZ_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	if (!getenv("KAUS_VM"))
		return;
	snprintf(text, sizeof(text), "<3>test_fuzz: KAUS_FUZZ_SEED=%" PRIu64,
		 seed);
	put("/dev/kmsg", text);
}

static uint64_t env(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s && *s ? strtoull(s, NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
	uint64_t lives;
	long before;

	if (argc > 1 && !strcmp(argv[1], FUZZ_AFTER_EXEC))
		return fuzz_after_exec();
	kw_need_module();
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = kw_now();
	seed = env("KAUS_FUZZ_SEED", seed >> 32);
	want_lives = env("KAUS_FUZZ_LIVES", want_lives);
	want_ioctls = env("KAUS_FUZZ_IOCTLS", want_ioctls);
	want_s = env("KAUS_FUZZ_SECONDS", want_s);
	parallel = env("KAUS_FUZZ_PARALLEL", parallel);
	if (!parallel || parallel > MAX_PARALLEL)
		parallel = MAX_PARALLEL;

	ksft_print_header();
	ksft_set_plan(4);
	tell_seed();
	fuzz_counts = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fuzz_counts == MAP_FAILED)
		ksft_exit_fail_msg("no memory\n");
	table = (void *)fuzz_counts + 4096;
	init_lock();
	if (!fuzz_prepare())
		ksft_exit_fail_msg("cannot prepare\n");
	before = refs();
	lives = live();
	ksft_print_msg("%" PRIu64 " lives, %" PRIu64 " ioctls, of them %" PRIu64
		       " successful, %" PRIu64 " threads, %" PRIu64 " forks, %"
		       PRIu64 " execs, %" PRIu64 " torments\n",
		       lives, fuzz_counts->ioctls, fuzz_counts->ok,
		       fuzz_counts->threads, fuzz_counts->forks,
		       fuzz_counts->execs, table->torments);
	ksft_test_result(lives >= want_lives, "every life has ended\n");
	ksft_test_result(KW_WAIT(refs() <= before),
			 "references to the module: %ld, before %ld\n", refs(),
			 before);
	ksft_test_result(still_works(), "the module works\n");
	ksft_test_result(kw_taint() == kw_taint_before, "kernel is not tainted\n");
	ksft_finished();
}
