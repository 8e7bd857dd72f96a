// SPDX-License-Identifier: GPL-2.0-only
/*
 * More threads that want to run than there are CPUs: four Ps for each, or four
 * processes with a P for each. Goroutines compute, sleep, block in the kernel,
 * take a lock and pass a token on.
 *
 * If it is broken: one makes no progress, because who has the lock, the token or
 * the P does not run and others spin for it; or those that compute get shares
 * that are worlds apart; or an M takes and gives back a P again and again, as there
 * is work that another one has been woken for which does not get the CPU.
 */
#include <sched.h>
#include <sys/prctl.h>

#include "utest.h"

#include "sched/sched.h"

UT_PREEMPTS

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 170

#define TIMES		4
#define MAX_CPUS	2
#define MAX_PROCESSES	(TIMES * MAX_CPUS)
#define NR_EACH		3
#define MAX_HOGS	(2 * TIMES * MAX_CPUS)
/* What each has to do at least. */
#define HOG_STEPS	1000
#define OTHER_STEPS	5

enum kind { SLEEP, KERNEL, LOCK, TOKEN, NR_KINDS };

/* Shared by all processes. */
static struct shared {
	atomic_bool stop;
	struct counts {
		atomic_ulong hogs[MAX_HOGS];
		atomic_ulong others[NR_KINDS][NR_EACH];
		atomic_bool done;
	} counts[MAX_PROCESSES];
} *shared;

static bool go_on(void)
{
	return !atomic_load(&shared->stop);
}

static void hog(void *arg)
{
	while (go_on()) {
		ut_spin(20000);
		atomic_fetch_add((atomic_ulong *)arg, 1);
	}
}

static void sleeper(void *arg)
{
	while (go_on()) {
		CHECK_EQ(0, kaus_sleep(1 * MSEC));
		atomic_fetch_add((atomic_ulong *)arg, 1);
	}
}

static void kernel_sleeper(void *arg)
{
	while (go_on()) {
		usleep(1000);
		atomic_fetch_add((atomic_ulong *)arg, 1);
	}
}

static struct kaus_mutex mutex = KAUS_MUTEX_INIT;
static volatile unsigned long guarded[2];

static void locker(void *arg)
{
	while (go_on()) {
		CHECK_EQ(0, kaus_mutex_lock(&mutex));
		CHECK(guarded[0] == guarded[1]);
		guarded[0]++;
		ut_spin(1000);
		guarded[1]++;
		CHECK_EQ(0, kaus_mutex_unlock(&mutex));
		atomic_fetch_add((atomic_ulong *)arg, 1);
	}
}

static struct kaus_chan *ring[NR_EACH];
static atomic_uint nr_in_ring;

/* From its own channel to the next one's, until one end is closed. */
static void passer(void *arg)
{
	unsigned int i = atomic_fetch_add(&nr_in_ring, 1);
	uint64_t token;

	while (!kaus_chan_recv(ring[i], &token)) {
		atomic_fetch_add((atomic_ulong *)arg, 1);
		if (kaus_chan_send(ring[(i + 1) % NR_EACH], &token))
			break;
	}
}

static void (*const works[NR_KINDS])(void *) = {
	[SLEEP] = sleeper,
	[KERNEL] = kernel_sleeper,
	[LOCK] = locker,
	[TOKEN] = passer,
};

static bool have_all_run(struct counts *c, unsigned int nr_hogs)
{
	for (unsigned int i = 0; i < nr_hogs; i++)
		if (atomic_load(&c->hogs[i]) < HOG_STEPS)
			return false;
	for (int i = 0; i < NR_KINDS * NR_EACH; i++)
		if (atomic_load(&c->others[i / NR_EACH][i % NR_EACH]) <
		    OTHER_STEPS)
			return false;
	return true;
}

static int work(void *arg)
{
	unsigned int nr_hogs = 2 * kaus_procs();
	struct counts *c = arg;
	uint64_t token = 0;

	for (int i = 0; i < NR_EACH; i++)
		ring[i] = kaus_chan_make(sizeof(token), 1);
	for (unsigned int i = 0; i < nr_hogs; i++)
		ut_go(hog, &c->hogs[i]);
	for (int i = 0; i < NR_KINDS * NR_EACH; i++)
		ut_go(works[i / NR_EACH], &c->others[i / NR_EACH][i % NR_EACH]);
	CHECK_EQ(0, kaus_chan_send(ring[0], &token));
	while (!have_all_run(c, nr_hogs))
		kaus_sleep(2 * MSEC);
	atomic_store(&c->done, true);
	while (go_on())
		kaus_sleep(2 * MSEC);
	for (int i = 0; i < NR_EACH; i++)
		kaus_chan_close(ring[i]);
	while (ut_stats().nr_gs > 1)
		kaus_sleep(1 * MSEC);
	for (int i = 0; i < NR_EACH; i++)
		kaus_chan_free(ring[i]);
	return 0;
}

/* No more CPUs than @max, lest the test grow with the machine. */
static unsigned int take_cpus(int max)
{
	cpu_set_t have, some;
	int nr = 0;

	CPU_ZERO(&some);
	CHECK_EQ(0, sched_getaffinity(0, sizeof(have), &have));
	for (int cpu = 0; cpu < CPU_SETSIZE && nr < max; cpu++) {
		if (CPU_ISSET(cpu, &have)) {
			CPU_SET(cpu, &some);
			nr++;
		}
	}
	CHECK_EQ(0, sched_setaffinity(0, sizeof(some), &some));
	return (unsigned int)nr;
}

/* The least of @nr shares is no less than a twentieth of the mean. */
static bool is_fair(const unsigned long *shares, unsigned int nr)
{
	unsigned long min = ULONG_MAX, max = 0, total = 0;

	for (unsigned int i = 0; i < nr; i++) {
		min = shares[i] < min ? shares[i] : min;
		max = shares[i] > max ? shares[i] : max;
		total += shares[i];
	}
	printf("# %u shares from %lu to %lu, mean %lu\n", nr, min, max,
	       total / nr);
	return total / nr <= 20 * min;
}

/* All have their least; returns how many processes have failed. */
static unsigned int run(unsigned int nr_processes, unsigned int nr_procs)
{
	struct kaus_options opts = ut_procs(nr_procs);
	unsigned int nr_failed = 0;
	pid_t pids[MAX_PROCESSES];
	int status;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return nr_processes;
	for (unsigned int i = 0; i < nr_processes; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(kaus_run_with(&opts, work, &shared->counts[i]) ||
			      atomic_load(&ut_failures));
		}
	}
	for (unsigned int i = 0; i < nr_processes; i++)
		while (!atomic_load(&shared->counts[i].done))
			usleep(5000);
	atomic_store(&shared->stop, true);
	for (unsigned int i = 0; i < nr_processes; i++)
		nr_failed += waitpid(pids[i], &status, 0) != pids[i] || status;
	return nr_failed;
}

TEST(four_ps_for_each_cpu)
{
	unsigned int nr_procs = TIMES * take_cpus(MAX_CPUS);
	unsigned long shares[MAX_HOGS];

	ASSERT_EQ(0U, run(1, nr_procs));
	for (unsigned int i = 0; i < 2 * nr_procs; i++)
		shares[i] = atomic_load(&shared->counts->hogs[i]);
	EXPECT_TRUE(is_fair(shares, 2 * nr_procs));
}

TEST(four_processes_for_each_cpu)
{
	unsigned int nr_cpus = take_cpus(MAX_CPUS), nr = TIMES * nr_cpus;
	unsigned long shares[MAX_PROCESSES] = { 0 };

	ASSERT_EQ(0U, run(nr, nr_cpus));
	for (unsigned int i = 0; i < nr; i++)
		for (unsigned int j = 0; j < 2 * nr_cpus; j++)
			shares[i] += atomic_load(&shared->counts[i].hogs[j]);
	EXPECT_TRUE(is_fair(shares, nr));
}

#define NR_SLEEPERS	1000
#define SPREAD		(500 * MSEC)
#define MAX_TAKES	20	/* 2 is usual; it was 300 */

static void sleep_for(void *arg)
{
	CHECK_EQ(0, kaus_sleep((uint64_t)(uintptr_t)arg));
}

/* How often a P has been taken, on the average for each of the sleepers. */
static int count_takes(void *arg)
{
	uint64_t before = 0, after = 0;

	for (unsigned int i = 0; i < kaus_procs(); i++)
		before += KAUS_OWNER_GEN(kr_owner(sched.allp[i]));
	for (uint64_t i = 0; i < NR_SLEEPERS; i++)
		ut_go(sleep_for,
		      (void *)(uintptr_t)(i * 2654435761ULL % SPREAD));
	while (ut_stats().nr_gs > 1)
		kaus_sleep(10 * MSEC);
	for (unsigned int i = 0; i < kaus_procs(); i++)
		after += KAUS_OWNER_GEN(kr_owner(sched.allp[i]));
	*(double *)arg = (double)(after - before) / NR_SLEEPERS;
	return 0;
}

TEST(timers_of_two_ps_on_one_cpu)
{
	struct kaus_options opts = ut_procs(2);
	double takes = 0;

	ASSERT_EQ(1U, take_cpus(1));
	ASSERT_EQ(0, kaus_run_with(&opts, count_takes, &takes));
	printf("# a P was taken %.1f times for each that slept\n", takes);
	EXPECT_LE(takes, (double)MAX_TAKES);
}

TEST_HARNESS_MAIN
