// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens to a machine under a program: CPU time is rationed, CPUs are
 * taken out of the program's set and out of the machine, all of it is frozen,
 * stopped or suspended. Two programs at once compute, sleep, block in the
 * kernel and talk over channels and pipes meanwhile: one whose number of Ps
 * follows the CPUs, each bound to one, and one with more Ps than there are CPUs.
 *
 * If it is broken: a goroutine does not go on afterwards, a sleep ends early or
 * by EINTR, a message is lost; a P runs nothing any more, or none is handed off;
 * the number of Ps is not that of the CPUs; or the kernel complains, which its
 * flags of taint tell, and its log after all tests.
 *
 * Needs root, the module, and control groups of version 2. A quota and a suspend
 * switch code of the scheduler: a second emulated CPU that runs through it
 * meanwhile may crash (tests/vm/run.sh), so not with a thread for each CPU.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "utest.h"

#include "sched/sched.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 400

/* Those that the harness makes of FIXTURE_SETUP(). */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define CGROUPS		"/sys/fs/cgroup"
#define GROUP		CGROUPS "/kaus-machine"
#define CPU		"/sys/devices/system/cpu/cpu%d/online"
#define POWER		"/sys/power/"
#define ALARM		"/sys/class/rtc/rtc0/wakealarm"
#define KEYS		"/sys/class/tty/ttyS1/power/wakeup"

#define NR_LOADS	2
#define NR_EACH		4
#define NR_PAIRS	(3 * NR_EACH)
#define NR_SLEEPERS	50
#define MAX_PROCS	64
#define MAX_GS		(2 * NR_PAIRS + NR_SLEEPERS + NR_EACH + MAX_PROCS)
/* How long something that is sure to come may take. */
#define PATIENCE_NS	(60 * SEC * slow_factor())

/* What a load tells the test, and the test a load. */
struct load {
	pid_t pid;
	atomic_uint nr_gs, nr_procs;
	atomic_ulong nr_handoffs;
	atomic_uint ticks[MAX_PROCS];
	atomic_bool stop;
	struct {
		const char *kind;
		atomic_uint count;
		unsigned int seen;
	} gs[MAX_GS];
};

static struct load *loads;
static unsigned int nr_cpus;

/* --- the load: a process of its own --- */

static struct load *mine;
static struct kaus_waitgroup wg;

static void count(unsigned int id)
{
	atomic_fetch_add(&mine->gs[id].count, 1);
}

static bool go_on(void)
{
	return !atomic_load(&mine->stop);
}

static unsigned int new_id(const char *kind)
{
	unsigned int id = atomic_load(&mine->nr_gs);

	mine->gs[id].kind = kind;
	atomic_store(&mine->nr_gs, id + 1);
	return id;
}

static uint64_t sum(void)
{
	uint64_t x = 1;

	for (int i = 0; i < 200000; i++)
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
	return x;
}

static void hog(void *arg)
{
	uint64_t ref = sum();

	while (go_on()) {
		CHECK(sum() == ref);
		count((uintptr_t)arg);
	}
	kaus_waitgroup_done(&wg);
}

static void sleeper(void *arg)
{
	while (go_on()) {
		uint64_t due = kaus_now_ns() + 20 * MSEC;

		CHECK_EQ(0, kaus_sleep_until(due));
		CHECK(kaus_now_ns() >= due);
		count((uintptr_t)arg);
	}
	kaus_waitgroup_done(&wg);
}

/* Nobody sends a signal to a handler: nothing is interrupted. */
static void kernel_sleeper(void *arg)
{
	struct timespec nap = { .tv_nsec = 10 * MSEC };

	while (go_on()) {
		CHECK_EQ(0, nanosleep(&nap, NULL));
		count((uintptr_t)arg);
	}
	kaus_waitgroup_done(&wg);
}

/* Two that answer each other: in the runtime, in the kernel, by epoll. */
enum medium { CHANNELS, PIPES, POLLED };
static const char *const media[] = { "channels", "pipes", "polled pipes" };

static struct pair {
	enum medium medium;
	unsigned int ids[2];
	struct kaus_chan *chans[2];
	int fds[2][2];
	kaus_fd_t polled[2][2];
} pairs[NR_PAIRS];

static bool put(struct pair *p, int to, uint64_t word)
{
	switch (p->medium) {
	case CHANNELS:
		return !kaus_chan_send(p->chans[to], &word);
	case PIPES:
		return write(p->fds[to][1], &word, 8) == 8;
	case POLLED:
		return kaus_fd_write_all(p->polled[to][1], &word, 8, NULL) == 0;
	}
	return false;
}

/* False at the end. */
static bool get(struct pair *p, int from, uint64_t *word)
{
	ssize_t n = 0;

	switch (p->medium) {
	case CHANNELS:
		return !kaus_chan_recv(p->chans[from], word);
	case PIPES:
		n = read(p->fds[from][0], word, 8);
		break;
	case POLLED:
		n = kaus_fd_read_full(p->polled[from][0], word, 8);
		break;
	}
	CHECK(n == 8 || n == 0);
	return n == 8;
}

static void close_way(struct pair *p, int to)
{
	switch (p->medium) {
	case CHANNELS:
		kaus_chan_close(p->chans[to]);
		break;
	case PIPES:
		close(p->fds[to][1]);
		break;
	case POLLED:
		kaus_fd_close(p->polled[to][1]);
		break;
	}
}

static void pinger(void *arg)
{
	struct pair *p = arg;
	uint64_t nr, answer;

	for (nr = 0; go_on(); nr++) {
		CHECK(put(p, 0, nr));
		CHECK(get(p, 1, &answer));
		CHECK(answer == ~nr);
		count(p->ids[0]);
		if (nr % 16 == 0)
			kaus_sleep(1 * MSEC);
	}
	close_way(p, 0);
	CHECK(!get(p, 1, &answer));
	/* All that was sent has been answered. */
	CHECK_EQ(nr, atomic_load(&mine->gs[p->ids[1]].count));
	kaus_waitgroup_done(&wg);
}

static void ponger(void *arg)
{
	struct pair *p = arg;
	uint64_t nr;

	while (get(p, 0, &nr)) {
		count(p->ids[1]);
		CHECK(put(p, 1, ~nr));
	}
	close_way(p, 1);
	kaus_waitgroup_done(&wg);
}

static void start_pair(struct pair *p, enum medium medium)
{
	p->medium = medium;
	for (int i = 0; i < 2; i++) {
		p->ids[i] = new_id(media[medium]);
		p->chans[i] = kaus_chan_make(8, i);
		CHECK_EQ(0, pipe(p->fds[i]));
		CHECK_EQ(0, kaus_fd_pipe(p->polled[i]));
	}
	kaus_waitgroup_add(&wg, 2);
	ut_go(ponger, p);
	ut_go(pinger, p);
}

static void start(const char *kind, void (*fn)(void *), unsigned int nr)
{
	kaus_waitgroup_add(&wg, (int)nr);
	while (nr--)
		ut_go(fn, (void *)(uintptr_t)new_id(kind));
}

static void tell(void)
{
	struct kaus_stats st = ut_stats();

	atomic_store(&mine->nr_procs, st.nr_procs);
	atomic_store(&mine->nr_handoffs, st.nr_handoffs);
	for (unsigned int i = 0; i < st.nr_procs && i < MAX_PROCS; i++)
		atomic_store(&mine->ticks[i],
			     READ_ONCE(sched.allp[i]->slot->sched_tick));
}

static int load_main(void *arg)
{
	CHECK(ut_has_module());
	for (int i = 0; i < NR_PAIRS; i++)
		start_pair(&pairs[i], i % 3);
	start("sleeper", sleeper, NR_SLEEPERS);
	start("kernel sleeper", kernel_sleeper, NR_EACH);
	start("hog", hog, *(unsigned int *)arg);
	while (go_on()) {
		tell();
		kaus_sleep(5 * MSEC);
	}
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	while (ut_stats().nr_gs > 1)
		kaus_sleep(1 * MSEC);
	return 0;
}

/* The first follows the CPUs, the other has twice as many Ps. A hog for each. */
static void run_load(struct load *load)
{
	unsigned int nr = load == loads ? nr_cpus : 2 * nr_cpus;
	struct kaus_options opts = ut_procs(load == loads ? 0 : nr);
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	mine = load;
	err = kaus_run_with(&opts, load_main, &nr);
	_exit(err || atomic_load(&ut_failures));
}

/* --- the machine --- */

__attribute__((format(printf, 2, 3))) static bool set(const char *path,
						      const char *fmt, ...)
{
	char text[128];
	va_list ap;
	bool ok;
	int fd, n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, text, (size_t)n) == n;
	if (!ok)
		printf("# \"%s\" to %s: %s\n", text, path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

/* The file's text, empty if there is none. */
static const char *text_of(const char *path)
{
	static char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	return text;
}

static unsigned long number_after(const char *path, const char *word)
{
	const char *at = strstr(text_of(path), word);

	return at ? strtoul(at + strlen(word), NULL, 10) : 0;
}

static bool set_online(unsigned int cpu, bool on)
{
	char path[64];

	snprintf(path, sizeof(path), CPU, (int)cpu);
	return set(path, "%d", on);
}

static bool all_online(bool on)
{
	bool ok = true;

	for (unsigned int cpu = 1; cpu < nr_cpus; cpu++)
		ok &= set_online(cpu, on);
	return ok;
}

/* Whatever a test has done, or one that was killed. */
static void put_right(void)
{
	nr_cpus = (unsigned int)sysconf(_SC_NPROCESSORS_CONF);
	if (nr_cpus > MAX_PROCS / 2)
		nr_cpus = MAX_PROCS / 2;
	all_online(true);
	set(GROUP "/cpu.max", "max");
	set(GROUP "/cpuset.cpus", "0-%u", nr_cpus - 1);
	set(GROUP "/cgroup.freeze", "0");
	if (!access(POWER "pm_test", W_OK))
		set(POWER "pm_test", "none");
	for (struct load *l = loads; l < loads + NR_LOADS; l++)
		if (l->pid > 0)
			kill(l->pid, SIGCONT);
}

/* Bad page, died, warned, soft lockup. */
static unsigned long taint(void)
{
	return strtoul(text_of("/proc/sys/kernel/tainted"), NULL, 10) &
	       (1UL << 5 | 1UL << 7 | 1UL << 9 | 1UL << 14);
}

/* Wait for @cond; false if it never came. */
#define AWAIT(cond) ({							\
	uint64_t end_ns__ = kaus_now_ns() + PATIENCE_NS;		\
	bool came__;							\
									\
	while (!(came__ = (cond)) && kaus_now_ns() < end_ns__)		\
		usleep(5000);						\
	came__;								\
})

/* Every goroutine of both has done something since the last time. */
static bool all_move(void)
{
	bool ok = true;

	for (struct load *l = loads; l < loads + NR_LOADS; l++) {
		for (unsigned int i = 0; i < atomic_load(&l->nr_gs); i++) {
			if (AWAIT(atomic_load(&l->gs[i].count) !=
				  l->gs[i].seen))
				continue;
			printf("# load %d: %s %u stands still\n",
			       (int)(l - loads), l->gs[i].kind, i);
			ok = false;
			break;
		}
		for (unsigned int i = 0; i < atomic_load(&l->nr_gs); i++)
			l->gs[i].seen = atomic_load(&l->gs[i].count);
	}
	return ok;
}

/* Neither has done anything for a while. */
static bool all_stand_still(void)
{
	unsigned long sums[2] = { 0 };

	for (int round = 0; round < 2; round++) {
		for (struct load *l = loads; l < loads + NR_LOADS; l++)
			for (int i = 0; i < MAX_GS; i++)
				sums[round] += atomic_load(&l->gs[i].count);
		usleep(100000);
	}
	return sums[0] == sums[1];
}

/* All is as it was, with @nr CPUs that the first load knows of. */
static bool is_well(unsigned int nr)
{
	unsigned int procs[NR_LOADS] = { nr, 2 * nr_cpus };
	bool ok = true;

	for (int i = 0; i < NR_LOADS; i++) {
		struct load *l = &loads[i];
		unsigned long handoffs = atomic_load(&l->nr_handoffs);
		unsigned int ticks[MAX_PROCS], p;

		if (!AWAIT(atomic_load(&l->nr_procs) == procs[i])) {
			printf("# load %d: %u Ps, not %u\n", i,
			       atomic_load(&l->nr_procs), procs[i]);
			ok = false;
		}
		for (p = 0; p < procs[i]; p++)
			ticks[p] = atomic_load(&l->ticks[p]);
		for (p = 0; p < procs[i]; p++) {
			if (AWAIT(atomic_load(&l->ticks[p]) != ticks[p]))
				continue;
			printf("# load %d: P %u runs nothing\n", i, p);
			ok = false;
		}
		if (!AWAIT(atomic_load(&l->nr_handoffs) > handoffs)) {
			printf("# load %d: no P is handed off\n", i);
			ok = false;
		}
	}
	/* Once for what was on its way, and once more. */
	return all_move() && all_move() && ok;
}

/* Nobody wants his own machine suspended. */
__attribute__((constructor)) static void need_a_guest(void)
{
	if (getenv("KAUS_VM_ONE_THREAD"))
		return;
	puts("TAP version 13\n"
	     "1..0 # SKIP not in a virtual machine of one thread (tests/vm/run.sh)");
	exit(KSFT_SKIP);
}

FIXTURE(machine)
{
	unsigned long taint;
};

FIXTURE_SETUP(machine)
{
	if (geteuid() || access("/dev/kaus", W_OK) || getenv("KAUS_ASSIST"))
		SKIP(return, "not root, no module, or an assist is given");
	if (!strstr(text_of(CGROUPS "/cgroup.controllers"), "cpuset"))
		SKIP(return, "no control groups of version 2");
	self->taint = taint();
	loads = mmap(NULL, NR_LOADS * sizeof(*loads), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, loads);
	ASSERT_TRUE(set(CGROUPS "/cgroup.subtree_control", "+cpu +cpuset"));
	ASSERT_TRUE(!mkdir(GROUP, 0755) || errno == EEXIST);
	put_right();
	for (struct load *l = loads; l < loads + NR_LOADS; l++) {
		pid_t pid = fork();

		if (!pid) {
			if (set(GROUP "/cgroup.procs", "0"))
				run_load(l);
			_exit(1);
		}
		ASSERT_LT(0, pid);
		l->pid = pid;
	}
	ASSERT_TRUE(is_well(nr_cpus));
}

FIXTURE_TEARDOWN(machine)
{
	int status;

	if (!loads)
		return;
	put_right();
	EXPECT_TRUE(is_well(nr_cpus));
	for (struct load *l = loads; l < loads + NR_LOADS; l++) {
		atomic_store(&l->stop, true);
		EXPECT_EQ(l->pid, waitpid(l->pid, &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_EQ(0, rmdir(GROUP));
	EXPECT_EQ(self->taint, taint());
}

TEST_F(machine, cpu_time_is_rationed)
{
	unsigned long before = number_after(GROUP "/cpu.stat", "nr_throttled ");

	ASSERT_TRUE(set(GROUP "/cpu.max", "30000 100000"));
	EXPECT_TRUE(is_well(1));
	EXPECT_LT(before, number_after(GROUP "/cpu.stat", "nr_throttled "));
	for (int i = 0; i < 20; i++) {
		EXPECT_TRUE(set(GROUP "/cpu.max", "%s 20000",
				i % 2 ? "5000" : "max"));
		usleep(i * 7000);
	}
}

TEST_F(machine, cpus_are_taken_out_of_its_set)
{
	cpu_set_t mask;

	if (nr_cpus < 2)
		SKIP(return, "needs two CPUs");
	for (unsigned int cpu = 0; cpu < 2; cpu++) {
		ASSERT_TRUE(set(GROUP "/cpuset.cpus", "%u", cpu));
		EXPECT_TRUE(is_well(1));
		ASSERT_EQ(0, sched_getaffinity(loads->pid, sizeof(mask), &mask));
		EXPECT_EQ(1, CPU_COUNT(&mask));
		EXPECT_TRUE(CPU_ISSET(cpu, &mask));
	}
	for (int i = 0; i < 20; i++) {
		EXPECT_TRUE(set(GROUP "/cpuset.cpus", "%d-%d", i % 2,
				i % 3 ? 1 : i % 2));
		usleep(i * 10000);
	}
}

TEST_F(machine, cpus_go_and_come_back)
{
	if (nr_cpus < 2)
		SKIP(return, "needs two CPUs");
	ASSERT_TRUE(all_online(false));
	EXPECT_TRUE(is_well(1));
	ASSERT_TRUE(all_online(true));
	EXPECT_TRUE(is_well(nr_cpus));
	for (unsigned int i = 0; i < 10; i++) {
		unsigned int cpu = 1 + i % (nr_cpus - 1);

		EXPECT_TRUE(set_online(cpu, false));
		usleep(i * 10000);
		EXPECT_TRUE(set_online(cpu, true));
	}
}

TEST_F(machine, its_control_group_is_frozen)
{
	for (int i = 0; i < 10; i++) {
		ASSERT_TRUE(set(GROUP "/cgroup.freeze", "1"));
		ASSERT_TRUE(AWAIT(number_after(GROUP "/cgroup.events",
					       "frozen ") == 1));
		EXPECT_TRUE(all_stand_still());
		ASSERT_TRUE(set(GROUP "/cgroup.freeze", "0"));
		if (i % 4 == 0)
			EXPECT_TRUE(is_well(nr_cpus));
		usleep(i * 5000);
	}
}

TEST_F(machine, it_is_stopped_and_continued)
{
	int status;

	for (int i = 0; i < 10; i++) {
		for (int j = 0; j < NR_LOADS; j++) {
			ASSERT_EQ(0, kill(loads[j].pid, SIGSTOP));
			ASSERT_EQ(loads[j].pid, waitpid(loads[j].pid, &status,
							WUNTRACED));
			ASSERT_TRUE(WIFSTOPPED(status));
		}
		EXPECT_TRUE(all_stand_still());
		for (int j = 0; j < NR_LOADS; j++)
			ASSERT_EQ(0, kill(loads[j].pid, SIGCONT));
		if (i % 4 == 0)
			EXPECT_TRUE(is_well(nr_cpus));
		usleep(i * 5000);
	}
}

TEST_F(machine, it_is_suspended_in_part)
{
	/* How far it goes before it turns round. */
	static const char *const levels[] = {
		"freezer", "devices", "platform", "processors", "core",
	};

	if (access(POWER "pm_test", W_OK))
		SKIP(return, "the kernel has no " POWER "pm_test");
	EXPECT_TRUE(set("/sys/module/suspend/parameters/pm_test_delay", "1"));
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		EXPECT_TRUE(set(POWER "pm_test", "%s", levels[i]));
		EXPECT_TRUE(set(POWER "state", "mem"));
		EXPECT_TRUE(is_well(nr_cpus)) TH_LOG("after %s", levels[i]);
	}
}

/* An alarm of the clock wakes QEMU from this. */
TEST_F(machine, it_is_suspended_to_memory)
{
	if (!strstr(text_of(POWER "mem_sleep"), "[deep]") ||
	    access(ALARM, W_OK))
		SKIP(return, "no suspend to memory, or nothing to wake it");
	for (int i = 0; i < 2; i++) {
		ASSERT_TRUE(set(ALARM, "0"));
		ASSERT_TRUE(set(ALARM, "+2"));
		ASSERT_TRUE(set(POWER "state", "mem"));
		EXPECT_TRUE(is_well(nr_cpus));
	}
}

/*
 * The CPUs idle and time stands still. No alarm ends that in QEMU, but what
 * tests/vm/run.sh sends to the second serial line does.
 */
TEST_F(machine, it_is_suspended_to_idle)
{
	if (!getenv("KAUS_VM_WAKE") || access(KEYS, W_OK) ||
	    !strstr(text_of(POWER "mem_sleep"), "s2idle"))
		SKIP(return, "no suspend to idle, or nothing to wake it");
	ASSERT_TRUE(set(KEYS, "enabled"));
	ASSERT_TRUE(set(POWER "mem_sleep", "s2idle"));
	for (int i = 0; i < 2; i++) {
		ASSERT_TRUE(set(POWER "state", "mem"));
		EXPECT_TRUE(is_well(nr_cpus));
	}
	if (strstr(text_of(POWER "mem_sleep"), "deep"))
		EXPECT_TRUE(set(POWER "mem_sleep", "deep"));
}

TEST_HARNESS_MAIN
