// SPDX-License-Identifier: GPL-2.0-only
/*
 * The number of Ps follows the CPUs that the process may use, as long as nobody
 * has fixed it: the mask of the thread that called kaus_run(), and quotas of
 * control groups, which are files in a directory of the test's own here. And the
 * limit of the heap follows theirs.
 *
 * If it is broken: a program that was given a part of a machine is throttled
 * because it runs more threads than it may, or leaves CPUs idle that it was
 * given later.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "utest.h"
#include "gchooks.h"

#include "gc/state.h"
#include "mem/pages.h"
#include "sched/follow.h"

/* Those that the harness makes of FIXTURE_SETUP(). */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

/* ---- a process in control groups ---- */

static char dir[128];

__attribute__((format(printf, 2, 3))) static void put(const char *name,
						      const char *fmt, ...)
{
	char path[512];
	va_list ap;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!CHECK(f))
		return;
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fclose(f);
}

static void make_dir(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	CHECK_EQ(0, mkdir(path, 0700));
}

FIXTURE(groups)
{
};

FIXTURE_SETUP(groups)
{
	snprintf(dir, sizeof(dir), "/tmp/kaus_follow.XXXXXX");
	ASSERT_NE(NULL, mkdtemp(dir));
	kr_cgroup_proc = dir;
	make_dir("fs");
	make_dir("fs/a");
	make_dir("fs/a/b");
	put("mountinfo",
	    "22 1 0:5 / /proc rw - proc proc rw\n"
	    "30 1 0:26 / %s/fs rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
	    dir);
	put("cgroup", "0::/a/b\n");
}

FIXTURE_TEARDOWN(groups)
{
	static const char *const names[] = {
		"fs/a/b/cpu.max", "fs/a/cpu.max", "fs/cpu.max",
		"fs/a/b/cpu.cfs_quota_us", "fs/a/b/cpu.cfs_period_us",
		"fs/a/b/memory.max", "fs/a/b/memory.high", "fs/a/memory.max",
		"fs/a/b/memory.limit_in_bytes", "fs/a/b/memory.events",
		"mountinfo", "cgroup", "fs/a/b", "fs/a", "fs", "",
	};
	char path[512];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		remove(path);
	}
	EXPECT_NE(0, access(dir, F_OK));
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

TEST_F(groups, quotas_are_rounded_up)
{
	EXPECT_EQ(0U, kr_cgroup_cpus());
	put("fs/a/b/cpu.max", "max 100000\n");
	EXPECT_EQ(0U, kr_cgroup_cpus());
	put("fs/a/b/cpu.max", "50000 100000\n");
	EXPECT_EQ(1U, kr_cgroup_cpus());
	put("fs/a/b/cpu.max", "100000 100000\n");
	EXPECT_EQ(1U, kr_cgroup_cpus());
	put("fs/a/b/cpu.max", "100001 100000\n");
	EXPECT_EQ(2U, kr_cgroup_cpus());
	put("fs/a/b/cpu.max", "1000 1000000\n");
	EXPECT_EQ(1U, kr_cgroup_cpus());
	put("fs/a/b/cpu.max", "400000 50000\n");
	EXPECT_EQ(8U, kr_cgroup_cpus());
}

TEST_F(groups, the_least_on_the_way_up_counts)
{
	put("fs/a/b/cpu.max", "800000 100000\n");
	put("fs/a/cpu.max", "300000 100000\n");
	EXPECT_EQ(3U, kr_cgroup_cpus());
	put("fs/cpu.max", "200000 100000\n");
	EXPECT_EQ(2U, kr_cgroup_cpus());
	put("fs/a/cpu.max", "100000 100000\n");
	EXPECT_EQ(1U, kr_cgroup_cpus());
}

TEST_F(groups, a_part_of_the_tree_is_mounted)
{
	put("mountinfo", "30 1 0:26 /docker/x %s/fs/a rw - cgroup2 none rw\n",
	    dir);
	put("fs/cpu.max", "100000 100000\n");
	put("fs/a/cpu.max", "500000 100000\n");
	put("fs/a/b/cpu.max", "300000 100000\n");
	put("cgroup", "0::/docker/x/b\n");
	EXPECT_EQ(3U, kr_cgroup_cpus());
	put("cgroup", "0::/docker/x\n");
	EXPECT_EQ(5U, kr_cgroup_cpus());
	/* Elsewhere: the mounted one is all there is to see. */
	put("cgroup", "0::/docker/xy/b\n");
	EXPECT_EQ(5U, kr_cgroup_cpus());
	put("cgroup", "0::/../b\n");
	EXPECT_EQ(5U, kr_cgroup_cpus());
}

TEST_F(groups, version_1)
{
	put("mountinfo",
	    "30 1 0:26 / %s/fs/a rw - cgroup cgroup rw,cpuset\n"
	    "31 1 0:27 / %s/fs rw - cgroup cgroup rw,cpuacct,cpu\n",
	    dir, dir);
	put("cgroup", "5:cpuset:/\n4:cpu,cpuacct:/a/b\n0::/\n");
	put("fs/a/b/cpu.cfs_quota_us", "-1\n");
	put("fs/a/b/cpu.cfs_period_us", "100000\n");
	EXPECT_EQ(0U, kr_cgroup_cpus());
	put("fs/a/b/cpu.cfs_quota_us", "250000\n");
	EXPECT_EQ(3U, kr_cgroup_cpus());
}

TEST_F(groups, what_is_not_understood_is_no_limit)
{
	put("fs/a/b/cpu.max", "%s", "");
	EXPECT_EQ(0U, kr_cgroup_cpus());
	put("fs/a/b/cpu.max", "many\n");
	EXPECT_EQ(0U, kr_cgroup_cpus());
	put("fs/a/b/cpu.max", "-5 100000\n");
	EXPECT_EQ(0U, kr_cgroup_cpus());
	put("fs/a/b/cpu.max", "5 0\n");
	EXPECT_EQ(0U, kr_cgroup_cpus());
	put("cgroup", "nonsense\n");
	EXPECT_EQ(0U, kr_cgroup_cpus());
	put("mountinfo", "%s", "\n - \n1 2 3\n");
	EXPECT_EQ(0U, kr_cgroup_cpus());
	kr_cgroup_proc = "/nowhere";
	EXPECT_EQ(0U, kr_cgroup_cpus());
}

TEST_F(groups, memory)
{
	EXPECT_EQ(UINT64_MAX, kr_cgroup_memory());
	put("fs/a/b/memory.max", "max\n");
	EXPECT_EQ(UINT64_MAX, kr_cgroup_memory());
	put("fs/a/memory.max", "1073741824\n");
	EXPECT_EQ(1ULL << 30, kr_cgroup_memory());
	put("fs/a/b/memory.max", "536870912\n");
	EXPECT_EQ(1ULL << 29, kr_cgroup_memory());
	put("fs/a/b/memory.high", "4096\n");
	EXPECT_EQ(4096U, kr_cgroup_memory());
	put("fs/a/b/memory.high", "0\n");
	EXPECT_EQ(0U, kr_cgroup_memory());
	put("fs/a/b/memory.high", "nothing\n");
	EXPECT_EQ(1ULL << 29, kr_cgroup_memory());
	kr_cgroup_proc = "/nowhere";
	EXPECT_EQ(UINT64_MAX, kr_cgroup_memory());
}

TEST_F(groups, memory_version_1)
{
	put("mountinfo",
	    "31 1 0:27 / %s/fs rw - cgroup cgroup rw,cpuacct,cpu\n"
	    "32 1 0:28 / %s/fs rw - cgroup cgroup rw,memory\n", dir, dir);
	put("cgroup", "5:memory:/a/b\n4:cpu,cpuacct:/\n0::/\n");
	EXPECT_EQ(UINT64_MAX, kr_cgroup_memory());
	/* That is how "none" looks there. */
	put("fs/a/b/memory.limit_in_bytes", "9223372036854771712\n");
	EXPECT_EQ(UINT64_MAX, kr_cgroup_memory());
	put("fs/a/b/memory.limit_in_bytes", "1000000000\n");
	EXPECT_EQ(1000000000U, kr_cgroup_memory());
}

TEST_F(groups, the_groups_own_files)
{
	int fd = kr_cgroup_open("memory.events", O_RDONLY);
	char buf[16];

	EXPECT_EQ(-ENOENT, fd);
	put("fs/a/b/memory.events", "high 0\n");
	fd = kr_cgroup_open("memory.events", O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(7, read(fd, buf, sizeof(buf)));
	close(fd);
	put("cgroup", "nonsense\n");
	EXPECT_EQ(-ENOENT, kr_cgroup_open("memory.events", O_RDONLY));
}

/* ---- while running ---- */

/* Some goroutines beside, that everything moves around. */
static atomic_bool stop;
static struct kaus_waitgroup wg;

static void yielding(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop))
		kaus_yield();
	kaus_waitgroup_done(&wg);
}

static void napping(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop))
		kaus_sleep(1 * MSEC);
	kaus_waitgroup_done(&wg);
}

static void start_others(void (*fn)(void *))
{
	kaus_waitgroup_add(&wg, 4);
	for (int i = 0; i < 4; i++)
		ut_go(fn, NULL);
}

static void end_others(void)
{
	atomic_store(&stop, true);
	kaus_waitgroup_wait(&wg);
}

static void wait_for_procs(unsigned int nr)
{
	while (kaus_procs() != nr)
		kaus_sleep(5 * MSEC);
}

static int quota_changes(void *arg)
{
	unsigned int nr_cpus = *(unsigned int *)arg;

	CHECK_EQ(1, kaus_procs());
	start_others(napping);
	put("fs/a/b/cpu.max", "max 100000\n");
	wait_for_procs(nr_cpus);
	put("fs/a/cpu.max", "20000 100000\n");
	wait_for_procs(1);
	end_others();
	return 0;
}

TEST_F(groups, the_number_follows_the_quota)
{
	unsigned int nr_cpus = kr_cpus_allowed(0, NULL, 0);

	if (nr_cpus < 2)
		SKIP(return, "needs two CPUs");
	put("fs/a/b/cpu.max", "100000 100000\n");
	RUN(quota_changes, &nr_cpus);
}

static void set_cpus(const cpu_set_t *set)
{
	CHECK_EQ(0, sched_setaffinity(getpid(), sizeof(*set), set));
}

static int mask_changes(void *arg)
{
	cpu_set_t all, one;
	unsigned int nr, cpu = 0;

	CHECK_EQ(0, sched_getaffinity(getpid(), sizeof(all), &all));
	nr = (unsigned int)CPU_COUNT(&all);
	CHECK_EQ(nr, kaus_procs());
	start_others(arg);
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	set_cpus(&one);
	wait_for_procs(1);
	set_cpus(&all);
	wait_for_procs(nr);
	end_others();
	return 0;
}

TEST_F(groups, the_number_follows_the_mask)
{
	if (kr_cpus_allowed(0, NULL, 0) < 2)
		SKIP(return, "needs two CPUs");
	RUN(mask_changes, napping);
}

TEST_F(groups, the_number_follows_the_mask_when_busy)
{
	if (kr_cpus_allowed(0, NULL, 0) < 2)
		SKIP(return, "needs two CPUs");
	RUN(mask_changes, yielding);
}

/* ---- stops under a quota ---- */

#define NR_STOPS 64

static unsigned int nr_stops, nr_after_tick;

static void world_is_stopped(void)
{
	uint64_t period, age = kr_clock_tick_ns(&period);

	nr_stops++;
	nr_after_tick += age + kr_gc_tick_before_ns <= period;
}

/* In one of the eighths from one tick to the next. */
static void wait_for_eighth(uint64_t i)
{
	uint64_t period;

	while (kr_clock_tick_ns(&period) * 8 / period != i)
		;
}

/* Of stops that are asked for at any time so many begin in the first quarter. */
static unsigned int after_ticks(void)
{
	nr_stops = nr_after_tick = 0;
	while (nr_stops < NR_STOPS) {
		wait_for_eighth(nr_stops % 8);
		CHECK_EQ(0, kaus_gc());
	}
	return nr_after_tick * 100 / nr_stops;
}

static int stops_with_a_quota(void *arg)
{
	static struct kr_gc_hooks hooks = { NO_GC_HOOKS };
	uint64_t period;

	(void)arg;
	hooks.lock = world_is_stopped;
	kaus_gc_compat(&hooks);
	/* On a busy machine it may miss some. */
	do {
		kr_follow_look();
		(void)kr_clock_tick_ns(&period);
	} while (!period);
	CHECK(sched.quota);
	kr_gc_tick_before_ns = period / 4 * 3;
	/* Some find that it took them too long to get there. */
	CHECK(after_ticks() > 50);
	put("fs/a/b/cpu.max", "max 100000\n");
	kr_follow_look();
	CHECK(!sched.quota);
	CHECK(after_ticks() < 50);
	return 0;
}

TEST_F(groups, stops_begin_after_a_tick)
{
	put("fs/a/b/cpu.max", "100000 100000\n");
	RUN(stops_with_a_quota, NULL);
}

/* ---- fixed ---- */

static int stays(void *arg)
{
	unsigned int nr = *(unsigned int *)arg;

	CHECK_EQ(nr, kaus_procs());
	CHECK(!sched.follow);
	return 0;
}

TEST_F(groups, an_option_fixes_it)
{
	struct kaus_options opts = ut_procs(3);
	unsigned int nr = 3;

	put("fs/a/b/cpu.max", "100000 100000\n");
	RUN_WITH(&opts, stays, &nr);
}

TEST_F(groups, the_environment_fixes_it)
{
	unsigned int nr = 5;

	setenv("KAUS_PROCS", "5", 1);
	RUN(stays, &nr);
}

static int set_by_hand(void *arg)
{
	unsigned int nr = 4;

	(void)arg;
	CHECK(sched.follow);
	CHECK_EQ(0, kaus_set_procs(nr));
	kr_follow_look();
	return stays(&nr);
}

TEST_F(groups, the_program_fixes_it)
{
	RUN(set_by_hand, NULL);
}

static void wait_for_limit(int64_t bytes)
{
	while (kaus_gc_get(KAUS_GC_LIMIT) != bytes)
		kaus_sleep(5 * MSEC);
}

static int limit_changes(void *arg)
{
	(void)arg;
	CHECK_EQ(900 * 1000 * 1000, kaus_gc_get(KAUS_GC_LIMIT));
	start_others(napping);
	put("fs/a/b/memory.high", "500000000\n");
	wait_for_limit(450 * 1000 * 1000);
	put("fs/a/b/memory.high", "max\n");
	wait_for_limit(900 * 1000 * 1000);
	put("fs/a/memory.max", "max\n");
	wait_for_limit(-1);
	/* What the program says is what counts from then on. */
	CHECK_EQ(-EINVAL, kaus_gc_set(KAUS_GC_LIMIT, -2));
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_LIMIT, 123456789));
	put("fs/a/memory.max", "1000000000\n");
	kr_follow_look();
	CHECK_EQ(123456789, kaus_gc_get(KAUS_GC_LIMIT));
	end_others();
	return 0;
}

TEST_F(groups, the_heap_limit_follows)
{
	put("fs/a/memory.max", "1000000000\n");
	RUN(limit_changes, NULL);
}

/* Free pages, of which the heap would keep a reserve, do not fit any more. */
static int limit_is_lowered(void *arg)
{
	static void *objs[2048];
	struct kr_page_stats st;
	uint64_t in_use;

	(void)arg;
	start_others(napping);
	for (int i = 0; i < 2048; i++) {
		objs[i] = kaus_alloc_noscan(32000);
		if (!CHECK(objs[i]))
			return 1;
		memset(objs[i], 1, 32000);
	}
	for (int i = 2048 - 200; i < 2048; i++)
		kaus_free(objs[i]);
	kr_pages_read_stats(&st);
	CHECK(st.returnable_pages > 512);
	in_use = (st.committed_pages - st.free_pages) * KR_HPAGE_BYTES;
	put("fs/a/b/memory.max", "%llu\n",
	    (unsigned long long)in_use * 10 / 9 + 8192);
	do {
		kaus_sleep(5 * MSEC);
		kr_pages_read_stats(&st);
	} while (st.returnable_pages > 256);
	for (int i = 0; i < 2048 - 200; i++)
		CHECK_EQ(1, *(char *)objs[i]);
	end_others();
	return 0;
}

TEST_F(groups, what_is_free_beyond_the_limit_goes_back)
{
	put("fs/a/memory.max", "1000000000\n");
	RUN(limit_is_lowered, NULL);
}

static uint64_t goal(void)
{
	struct kaus_gc_pacer p = { .size = sizeof(p) };

	CHECK_EQ(0, kaus_gc_pacer_read(&p));
	return p.goal_bytes;
}

/* A limit that others use a part of is no longer all the heap's. */
static int others_grow(void *arg)
{
	const size_t much = 200 * 1000 * 1000;
	uint64_t before, after;
	char *other;

	(void)arg;
	/* Nothing but the limit makes a goal. */
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, -1));
	kr_follow_look();
	before = goal();
	CHECK(before < 900 * 1000 * 1000);
	other = mmap(NULL, much, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(other != MAP_FAILED);
	kr_follow_look();
	after = goal();
	CHECK(before - after > much * 8 / 10 && before - after < much * 11 / 10);
	munmap(other, much);
	kr_follow_look();
	CHECK(goal() > before - much / 10);
	return 0;
}

TEST_F(groups, what_is_no_heap_counts_against_the_limit)
{
	put("fs/a/memory.max", "1000000000\n");
	RUN(others_grow, NULL);
}

TEST_HARNESS_MAIN
