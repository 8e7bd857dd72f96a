// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory is short, and the kernel says so: by the module, whose shrinker runs
 * when 2 is written to drop_caches; by the events of the process's control
 * group, which is at its limit; by its stalls. All that is free goes back then,
 * the reserve that is kept otherwise as well. It does not say so when a limit
 * is lowered, and kills: what is free must be the kernel's by then. In whole
 * pages: what the kernel does with other ranges is here, too.
 *
 * If it is broken: a test that does not end, as a program that is killed for
 * want of memory that it does not use; or an object that reads as zeros.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "utest.h"

#include "mem/pages.h"
#include "mem/scavenge.h"
#include "os/os.h"

/* Those that the harness makes of FIXTURE_SETUP(). */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define DROP "/proc/sys/vm/drop_caches"

/* ---- ranges that are no pages ---- */

/* That return memory, by one range and by many; that are not of whole pages. */
static atomic_int nr_madvise, nr_batches, nr_odd;

/* The library's calls come here. */
int madvise(void *addr, size_t len, int advice)
{
	atomic_fetch_add(&nr_madvise, advice == MADV_DONTNEED);
	if (((uintptr_t)addr | len) & 4095)
		atomic_fetch_add(&nr_odd, 1);
	return (int)syscall(SYS_madvise, addr, len, advice);
}

static void look_at_batch(const struct iovec *iov, long nr)
{
	atomic_fetch_add(&nr_batches, 1);
	for (long i = 0; i < nr; i++)
		if (((uintptr_t)iov[i].iov_base | iov[i].iov_len) & 4095)
			atomic_fetch_add(&nr_odd, 1);
}

static long raw(long nr, const long *a)
{
	/* Read before: a sanitizer may see to that by calls. */
	long a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3], a4 = a[4], a5 = a[5];
	register long r10 __asm__("r10") = a3;
	register long r8 __asm__("r8") = a4;
	register long r9 __asm__("r9") = a5;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret)
			 : "a"(nr), "D"(a0), "S"(a1), "d"(a2),
			   "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* And so do those that the C library has no function for. */
long syscall(long nr, ...)
{
	long a[6], ret;
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_process_madvise && a[3] == MADV_DONTNEED)
		look_at_batch((const struct iovec *)a[1], a[2]);
	ret = raw(nr, a);
	if ((unsigned long)ret < -4095UL)
		return ret;
	errno = (int)-ret;
	return -1;
}

static long dont_need(const void *addr, size_t len)
{
	return syscall(SYS_madvise, addr, len, MADV_DONTNEED) ? -errno : 0;
}

static unsigned char *two_pages(void)
{
	unsigned char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		memset(p, 1, 8192);
	return p;
}

TEST(the_kernel_rounds)
{
	unsigned char *p = two_pages();

	ASSERT_NE(MAP_FAILED, p);
	/* A beginning that is no page's is refused, */
	EXPECT_EQ(-EINVAL, dont_need(p + 1, 4096));
	EXPECT_EQ(-EINVAL, dont_need(p + 2048, 2048));
	EXPECT_EQ(1, p[1]);
	/* no length is nothing, */
	EXPECT_EQ(0, dont_need(p, 0));
	EXPECT_EQ(1, p[0]);
	/* but an end is rounded up: to more than was asked for. */
	EXPECT_EQ(0, dont_need(p, 1));
	EXPECT_EQ(0, p[4095]);
	EXPECT_EQ(1, p[4096]);
	EXPECT_EQ(0, dont_need(p + 4096, 10));
	EXPECT_EQ(0, p[8191]);
}

static long batch(int fd, void *addr, size_t len, void *addr2, size_t len2)
{
	const struct iovec iov[2] = { { addr, len }, { addr2, len2 } };
	long ret = syscall(SYS_process_madvise, fd, iov, 2, MADV_DONTNEED, 0);

	return ret < 0 ? -errno : ret;
}

/* By ranges it is the same, and what comes before a wrong one is done. */
TEST(the_kernel_rounds_each_of_many)
{
	unsigned char *p = two_pages(), *q = two_pages();
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_NE(MAP_FAILED, q);
	if (!kr_vm_batch_init())
		SKIP(return, "process_madvise() does not return memory here");
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EINVAL, batch(fd, p + 1, 4096, q, 4096));
	EXPECT_EQ(1, p[1]);
	EXPECT_EQ(1, q[0]);
	/* Of a byte it says that it was one, and takes the page. */
	EXPECT_EQ(1 + 10, batch(fd, p, 1, q, 10));
	EXPECT_EQ(0, p[4095]);
	EXPECT_EQ(0, q[4095]);
	EXPECT_EQ(1, p[4096]);
	EXPECT_EQ(1, q[4096]);
	EXPECT_EQ(4096, batch(fd, p + 4096, 4096, q + 4097, 4096));
	EXPECT_EQ(0, p[4096]);
	EXPECT_EQ(1, q[4097]);
	close(fd);
}

TEST(we_do_not_ask)
{
	unsigned char *p = two_pages(), *q = two_pages();
	struct kr_vm_range odd[] = { { p, 4096 }, { q, 100 } };
	struct kr_vm_range odder[] = { { p, 4096 }, { q + 8, 4096 } };
	struct kr_vm_range good[] = { { p, 4096 }, { q + 4096, 4096 } };

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_NE(MAP_FAILED, q);
	/* Not even for the part of it that would be right. */
	EXPECT_EQ(-EINVAL, kr_vm_return(odd, 2));
	EXPECT_EQ(-EINVAL, kr_vm_return(odder, 2));
	EXPECT_EQ(1, p[0]);
	EXPECT_EQ(1, q[0]);
	EXPECT_EQ(0, kr_vm_return(good, 2));
	EXPECT_EQ(0, p[0]);
	EXPECT_EQ(1, p[4096]);
	EXPECT_EQ(1, q[0]);
	EXPECT_EQ(0, q[4096]);
}

static void check_many(struct __test_metadata *_metadata, bool at_once)
{
	struct kr_vm_range r[64];
	unsigned char *p = mmap(NULL, 128 * 4096, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, p);
	memset(p, 1, 128 * 4096);
	for (int i = 0; i < 64; i++)
		r[i] = (struct kr_vm_range){ p + i * 8192, 4096 };
	atomic_store(&nr_madvise, 0);
	EXPECT_EQ(0, kr_vm_return(r, 64));
	EXPECT_EQ(at_once ? 0 : 64, atomic_load(&nr_madvise));
	for (int i = 0; i < 128; i++)
		EXPECT_EQ(i % 2, p[i * 4096 + 77]);
	/* One of them is not there: the others go, and it is told. */
	memset(p, 1, 128 * 4096);
	ASSERT_EQ(0, munmap(p + 20 * 8192, 4096));
	EXPECT_GT(0, kr_vm_return(r, 64));
	for (int i = 0; i < 20; i++)
		EXPECT_EQ(0, p[i * 8192]);
	EXPECT_EQ(1, p[21 * 8192 + 4096]);
	/* Not in a child, whose descriptor would be its parent's memory. */
	memset(p, 1, 20 * 8192);
	if (!fork())
		_exit(-kr_vm_return(r, 20) || p[0]);
	EXPECT_LT(0, wait(NULL));
	EXPECT_EQ(1, p[0]);
	munmap(p, 128 * 4096);
}

/* By one call each, and by one for all if this kernel has that. */
TEST(many_ranges)
{
	check_many(_metadata, false);
	check_many(_metadata, kr_vm_batch_init());
}

/* ---- huge pages ---- */

#define HUGE (2UL << 20)
#define KPF_THP 22

static uint64_t read_word(const char *path, uint64_t nr)
{
	uint64_t word = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, &word, 8, (off_t)(nr * 8)) != 8)
		word = 0;
	if (fd >= 0)
		close(fd);
	return word;
}

/* 1 or 0: it is a part of a huge page, or not; negative: who knows. */
static int is_huge(const void *page)
{
	uint64_t pfn = read_word("/proc/self/pagemap", (uintptr_t)page / 4096) &
		       ((1ULL << 55) - 1);
	uint64_t flags = pfn ? read_word("/proc/kpageflags", pfn) : 0;

	return flags ? (int)(flags >> KPF_THP & 1) : -1;
}

/* What is left of one is small pages, or nothing would be free by it. */
TEST(parts_of_huge_pages)
{
	unsigned char *area = mmap(NULL, 3 * HUGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *p;
	struct kr_vm_range r;

	ASSERT_NE(MAP_FAILED, area);
	p = (unsigned char *)(((uintptr_t)area + HUGE - 1) & ~(HUGE - 1));
	(void)madvise(p, 2 * HUGE, MADV_HUGEPAGE);
	memset(p, 1, 2 * HUGE);
	if (is_huge(p) != 1 || is_huge(p + HUGE) != 1)
		SKIP(goto out, "no huge pages, or no right to see them");
	/* From the midst of one to that of another. */
	r = (struct kr_vm_range){ p + HUGE - 8192, 12288 };
	EXPECT_EQ(0, kr_vm_return(&r, 1));
	EXPECT_EQ(0, is_huge(p));
	EXPECT_EQ(0, is_huge(p + 2 * HUGE - 4096));
	EXPECT_EQ(1, p[HUGE - 8193]);
	EXPECT_EQ(0, p[HUGE - 8192]);
	EXPECT_EQ(0, p[HUGE + 4095]);
	EXPECT_EQ(1, p[HUGE + 4096]);
out:
	munmap(area, 3 * HUGE);
}

/* ---- a heap that keeps a reserve ---- */

#define NR_OBJS 3072
#define NR_KEPT (NR_OBJS - 352)
#define OBJ_BYTES 32000UL
#define LITTLE (256U * KR_HPAGE_BYTES)

static unsigned char *objs[NR_OBJS];

static size_t returnable_bytes(void)
{
	struct kr_page_stats st;

	kr_pages_read_stats(&st);
	return st.returnable_pages * KR_HPAGE_BYTES;
}

/* 11 MiB are free then: enough that somebody looks, too little to return. */
static bool fill(void)
{
	for (int i = 0; i < NR_OBJS; i++) {
		objs[i] = kaus_alloc_noscan(OBJ_BYTES);
		if (!CHECK(objs[i]))
			return false;
		memset(objs[i], i % 255 + 1, OBJ_BYTES);
	}
	for (int i = NR_KEPT; i < NR_OBJS; i++)
		kaus_free(objs[i]);
	while (!kr_scavenge_wake())
		kaus_sleep(MSEC);
	/* So many looks do not change it, unless memory is short by itself. */
	kaus_sleep(500 * MSEC);
	return true;
}

static void check_rest(void)
{
	for (int i = 0; i < NR_KEPT; i++)
		CHECK(objs[i][0] == i % 255 + 1 &&
		      !memcmp(objs[i], objs[i] + 1, OBJ_BYTES - 1));
	CHECK(kr_pages_check());
}

static int write_to(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

static int module_main(void *arg)
{
	if (!fill())
		return 1;
	while (returnable_bytes() > LITTLE) {
		CHECK_EQ(0, write_to(DROP, "2"));
		kaus_sleep(100 * MSEC);
	}
	check_rest();
	return 0;
}

TEST(the_kernel_asks_through_the_module)
{
	if (access(DROP, W_OK) || access("/dev/kaus", W_OK))
		SKIP(return, "no module, or no right to " DROP);
	RUN(module_main, NULL);
}

/* ---- a control group ---- */

static char group[64], other[64];

static int put(const char *name, const char *value)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	return write_to(path, value);
}

static long long get(const char *name, const char *key)
{
	char path[256], line[128];
	long long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", group, name);
	f = fopen(path, "re");
	while (f && value < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			value = atoll(line + strlen(key));
	if (f)
		fclose(f);
	return value;
}

static void put_bytes(const char *name, long long bytes)
{
	char value[32];

	snprintf(value, sizeof(value), "%lld", bytes);
	CHECK_EQ(0, put(name, value));
}

FIXTURE(cgroup)
{
};

FIXTURE_SETUP(cgroup)
{
	(void)write_to("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	snprintf(group, sizeof(group), "/sys/fs/cgroup/kaus-test-%d", getpid());
	snprintf(other, sizeof(other), "/sys/fs/cgroup/kaus-test-%d-b",
		 getpid());
	if (mkdir(group, 0755)) {
		group[0] = 0;
		SKIP(return, "may not make a control group");
	}
	if (get("memory.events", "high ") < 0)
		SKIP(return, "no memory controller");
	ASSERT_EQ(0, put("cgroup.procs", "0"));
}

FIXTURE_TEARDOWN(cgroup)
{
	(void)write_to("/sys/fs/cgroup/cgroup.procs", "0");
	rmdir(other);
	if (group[0])
		EXPECT_EQ(0, rmdir(group));
}

/* Memory beyond the limit, a little. */
static void touch(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	memset(p, 1, bytes);
	munmap(p, bytes);
}

static int high_main(void *arg)
{
	size_t bytes = 0;

	if (!fill())
		return 1;
	put_bytes("memory.high", get("memory.current", ""));
	/*
	 * Already the writing may stall, and be told: no event comes then. And the
	 * kernel takes of what is there for the taking more than it needs: the
	 * limit is reached the next time with as much as that.
	 */
	while (returnable_bytes() > LITTLE) {
		bytes += 1 << 20;
		touch(bytes);
		kaus_sleep(MSEC);
	}
	check_rest();
	CHECK_EQ(0, put("memory.high", "max"));
	return 0;
}

TEST_F(cgroup, the_limit_is_reached)
{
	RUN(high_main, NULL);
}

static void *over_the_limit(void *arg)
{
	atomic_bool *stop = arg;

	while (!atomic_load(stop))
		touch(8 << 20);
	return NULL;
}

/* ---- a limit that is lowered: the kernel asks nobody, and kills ---- */

static void check_not_killed(void)
{
	CHECK_EQ(0, get("memory.events", "oom_kill "));
}

/* What the kernel may have, once that is all that is free. */
static size_t lazy_bytes(void)
{
	struct kr_page_stats st;

	do {
		kaus_sleep(10 * MSEC);
		kr_pages_read_stats(&st);
	} while (st.lazy_pages < st.returnable_pages);
	return st.lazy_pages * KR_HPAGE_BYTES;
}

static void use_again(void)
{
	for (int i = NR_KEPT; i < NR_OBJS; i++) {
		objs[i] = kaus_alloc_noscan(OBJ_BYTES);
		if (CHECK(objs[i]))
			memset(objs[i], 1, OBJ_BYTES);
	}
	for (int i = NR_KEPT; i < NR_OBJS; i++)
		kaus_free(objs[i]);
	kr_scavenge_wake();
}

/*
 * What is kept for use must be the kernel's for the taking: the writer gets it,
 * no thread of ours has to run for it.
 */
static int max_main(void *arg)
{
	size_t bytes;

	if (!fill())
		return 1;
	/* Returned already, if memory is short by itself. */
	while ((bytes = lazy_bytes()) <= 8 << 20)
		use_again();
	put_bytes("memory.max", get("memory.current", "") -
				(long long)(bytes - (4 << 20)));
	check_not_killed();
	check_rest();
	/* Those that are gone, and that are not, are used again. */
	CHECK_EQ(0, put("memory.max", "max"));
	for (int i = NR_KEPT; i < NR_OBJS; i++) {
		objs[i] = kaus_alloc_noscan(OBJ_BYTES);
		CHECK(objs[i] && !objs[i][0] &&
		      !memcmp(objs[i], objs[i] + 1, OBJ_BYTES - 1));
		memset(objs[i], i % 255 + 1, OBJ_BYTES);
	}
	for (int i = 0; i < NR_OBJS; i++)
		CHECK(objs[i][0] == i % 255 + 1 &&
		      !memcmp(objs[i], objs[i] + 1, OBJ_BYTES - 1));
	return 0;
}

TEST_F(cgroup, free_pages_are_there_for_the_taking)
{
	RUN(max_main, NULL);
}

static void wait_for_limit(void)
{
	long long max = get("memory.max", "");

	while (kaus_gc_get(KAUS_GC_LIMIT) != max - max / 10)
		kaus_sleep(10 * MSEC);
}

#define NR_NODES (8 << 10)
#define NODE_BYTES 1024UL
#define GARBAGE (96UL << 20)

struct node {
	struct node *next;
	long nr;
	char rest[NODE_BYTES - 16];
};

static struct node *list;

static void check_list(void)
{
	long nr = NR_NODES;

	for (struct node *n = list; n; n = n->next)
		CHECK_EQ(--nr, n->nr);
	CHECK_EQ(0, nr);
}

/* 8 MiB that live, and so much that does not. */
static void live_and_waste(size_t waste)
{
	for (long i = list ? NR_NODES : 0; i < NR_NODES; i++) {
		struct node *n = kaus_alloc(sizeof(*n));

		if (!CHECK(n))
			return;
		n->next = list;
		n->nr = i;
		list = n;
	}
	for (size_t i = 0; i < waste; i += NODE_BYTES)
		memset(kaus_alloc_noscan(NODE_BYTES), 1, NODE_BYTES);
}

static uint64_t nr_cycles(void)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };

	CHECK_EQ(0, kaus_gc_stats_read(&st));
	return st.nr_cycles;
}

/*
 * On a slow machine cycles may have had too much of the CPU time, and then the
 * limit is not kept to any more.
 */
static void wait_for_time(void)
{
	struct kaus_gc_pacer p = { .size = sizeof(p) };

	do {
		CHECK_EQ(0, kaus_gc_pacer_read(&p));
		if (p.limiting) {
			kaus_sleep(100 * MSEC);
			CHECK_EQ(0, kaus_gc());
		}
	} while (p.limiting);
}

/*
 * Above the limit that comes, and most of it is garbage that nobody has looked
 * for. memory.high is what says so; the runtime collects without being asked to
 * allocate. Then memory.max has room to be lowered, and the program goes on.
 */
static int lowered_main(void *arg)
{
	long long before, max;
	uint64_t nr;

	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, 10000));
	live_and_waste(GARBAGE);
	before = get("memory.current", "");
	CHECK(before > (long long)GARBAGE);
	max = before - (long long)GARBAGE / 2;
	put_bytes("memory.high", max);
	while (get("memory.current", "") > max)
		kaus_sleep(10 * MSEC);
	put_bytes("memory.max", max + (4 << 20));
	check_list();
	nr = nr_cycles();
	for (int i = 0; i < 32; i++) {
		live_and_waste(GARBAGE / 8);
		wait_for_time();
	}
	check_list();
	check_not_killed();
	/* For each there was room for what is some tens of MiB. */
	CHECK(nr_cycles() - nr < 100);
	CHECK_EQ(0, put("memory.max", "max"));
	CHECK_EQ(0, put("memory.high", "max"));
	return 0;
}

TEST_F(cgroup, the_limit_is_lowered)
{
	RUN(lowered_main, NULL);
}

/*
 * All but a few are free when memory.max becomes less than what is resident: the
 * program goes on, its limit follows, and it need not be ignored afterwards.
 */
static int mostly_free_main(void *arg)
{
	struct kaus_gc_stats before = { .size = sizeof(before) }, after;
	size_t bytes;

	/* With one that may be lowered what is free is freed lazily at once. */
	put_bytes("memory.max", 1 << 30);
	wait_for_limit();
	for (int i = 0; i < NR_OBJS; i++) {
		objs[i] = kaus_alloc_noscan(OBJ_BYTES);
		if (!CHECK(objs[i]))
			return 1;
		memset(objs[i], i % 255 + 1, OBJ_BYTES);
	}
	for (int i = 0; i < NR_OBJS; i++) {
		if (i % 16 == 0 && i < NR_KEPT)
			continue;
		kaus_free(objs[i]);
		objs[i] = NULL;
	}
	/* What is kept for use is less where less is used. */
	while ((bytes = lazy_bytes()) <= 3 << 20)
		use_again();
	put_bytes("memory.max", get("memory.current", "") -
				(long long)(bytes - (2 << 20)));
	check_not_killed();
	wait_for_limit();
	/* With room for what is no object: a tenth is a little. */
	put_bytes("memory.max", 96 << 20);
	wait_for_limit();
	after = before;
	CHECK_EQ(0, kaus_gc_stats_read(&before));
	for (int i = 0; i < 8; i++)
		live_and_waste(GARBAGE / 2);
	CHECK_EQ(0, kaus_gc_stats_read(&after));
	/* CPUs that are not there take from the program, and so it seems do cycles. */
	if (slow_factor() == 1)
		CHECK_EQ(before.nr_limited, after.nr_limited);
	check_list();
	check_not_killed();
	for (int i = 0; i < NR_KEPT; i += 16)
		CHECK(objs[i][0] == i % 255 + 1 &&
		      !memcmp(objs[i], objs[i] + 1, OBJ_BYTES - 1));
	CHECK_EQ(0, put("memory.max", "max"));
	return 0;
}

TEST_F(cgroup, the_limit_is_lowered_and_most_is_free)
{
	RUN(mostly_free_main, NULL);
}

/* Each of the sources by itself. */
TEST_F(cgroup, stalls_are_told)
{
	struct kr_pressure pr;
	atomic_bool stop = false;
	pthread_t thread;
	int fd;

	ASSERT_EQ(0, kr_pressure_open(&pr));
	if (pr.cgroup_psi_fd < 0)
		SKIP(return, "no memory.pressure");
	EXPECT_LE(0, pr.cgroup_fd);
	close(pr.psi_fd);
	close(pr.cgroup_fd);
	pr.psi_fd = -1;
	pr.cgroup_fd = -1;
	EXPECT_FALSE(kr_pressure_wait(&pr, 0));
	put_bytes("memory.high", 1 << 20);
	ASSERT_EQ(0, pthread_create(&thread, NULL, over_the_limit, &stop));
	EXPECT_TRUE(kr_pressure_wait(&pr, -1));
	atomic_store(&stop, true);
	put("memory.high", "max");
	pthread_join(thread, NULL);
	/* Woken by one of us: that is no shortage. */
	fd = pr.cgroup_psi_fd;
	pr.cgroup_psi_fd = -1;
	kr_pressure_wake(&pr);
	EXPECT_FALSE(kr_pressure_wait(&pr, -1));
	close(fd);
}

/* Moved elsewhere, and the group it came from is no more. */
TEST_F(cgroup, the_group_is_removed)
{
	struct kr_pressure pr;
	int nr = 0;

	ASSERT_EQ(0, kr_pressure_open(&pr));
	ASSERT_EQ(0, mkdir(other, 0755));
	strcat(other, "/cgroup.procs");
	ASSERT_EQ(0, write_to(other, "0"));
	*strrchr(other, '/') = 0;
	ASSERT_EQ(0, rmdir(group));
	group[0] = 0;
	while (kr_pressure_wait(&pr, 0))
		ASSERT_GT(10, ++nr);
	EXPECT_LE(0, pr.cgroup_fd);
}

/* ---- all of it, with a look at what is asked of the kernel ---- */

static void deep(void *arg)
{
	unsigned char room[20000];

	memset(room, 1, sizeof(room));
	__asm__ volatile("" : : "r" (room) : "memory");
	kaus_waitgroup_done(arg);
}

static int stacks_main(void *arg)
{
	struct kaus_waitgroup wg = { 0 };

	for (int round = 0; round < 3; round++) {
		kaus_waitgroup_add(&wg, 500);
		for (int i = 0; i < 500; i++)
			ut_go(deep, &wg);
		kaus_waitgroup_wait(&wg);
		kaus_sleep(300 * MSEC);
	}
	fill();
	kr_scavenge(100);
	kr_scavenge(UINT64_MAX);
	check_rest();
	return 0;
}

TEST(the_runtime_asks_for_whole_pages)
{
	RUN(stacks_main, NULL);
	EXPECT_LT(0, atomic_load(&nr_madvise));
	if (kr_vm_batch_init())
		EXPECT_LT(1, atomic_load(&nr_batches));
	EXPECT_EQ(0, atomic_load(&nr_odd));
}

TEST_HARNESS_MAIN
