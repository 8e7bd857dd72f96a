// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages have been written, by each way in which the kernel tells it
 * (os/dirty.c): all that the collector relies on where there is no barrier.
 *
 * If it is broken: a write is not noticed, and what was written is lost.
 */
#include <fcntl.h>
#include <sys/uio.h>

#include "os/os.h"
#include "utest.h"

/* The harness's fixtures have none. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define NR_PAGES 64
#define HUGE_BYTES (2UL << 20)

static char *mem;
static bool written[NR_PAGES];

static void note(void *arg, const char *lo, const char *hi)
{
	const char *base = arg;

	for (; lo < hi; lo += KR_PAGE_SIZE)
		written[(size_t)(lo - base) / KR_PAGE_SIZE] = true;
}

/* What cannot be told counts as written. */
static bool is_written_at(char *base, size_t page, bool take)
{
	memset(written, 0, sizeof(written));
	if (kr_dirty_each(base + page * KR_PAGE_SIZE,
			  base + (page + 1) * KR_PAGE_SIZE, take, note, base))
		return true;
	return written[page];
}

static bool is_written(size_t page)
{
	return is_written_at(mem, page, false);
}

static volatile char *at(size_t page)
{
	return mem + page * KR_PAGE_SIZE + 100;
}

static int nr_all(void)
{
	int nr = 0;

	memset(written, 0, sizeof(written));
	if (kr_dirty_each(mem, mem + NR_PAGES * KR_PAGE_SIZE, false, note, mem))
		return -1;
	for (int i = 0; i < NR_PAGES; i++)
		nr += written[i];
	return nr;
}

static bool from_now_on(void)
{
	return !kr_dirty_begin() && !kr_dirty_clean(mem, NR_PAGES * KR_PAGE_SIZE);
}

/* Half of the pages are there. */
static bool start(const char *way)
{
	if (!kr_dirty_open(way))
		return false;
	mem = mmap(NULL, NR_PAGES * KR_PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < NR_PAGES / 2; i++)
		*at(i) = 1;
	return mem != MAP_FAILED &&
	       !kr_dirty_add(mem, NR_PAGES * KR_PAGE_SIZE) && from_now_on();
}

FIXTURE(way)
{
	int unused;
};

FIXTURE_VARIANT(way)
{
	const char *name;
};

FIXTURE_VARIANT_ADD(way, scan)
{
	.name = "scan",
};

FIXTURE_VARIANT_ADD(way, soft)
{
	.name = "soft",
};

FIXTURE_SETUP(way)
{
	if (!start(variant->name))
		SKIP(return, "this kernel, or a filter, has not got it");
}

FIXTURE_TEARDOWN(way)
{
	kr_dirty_end();
}

TEST_F(way, writes_and_reads)
{
	EXPECT_EQ(0, nr_all());
	EXPECT_EQ(1, *at(3));
	EXPECT_FALSE(is_written(3));
	*at(4) = 2;
	*at(6) = 2;
	EXPECT_EQ(2, nr_all());
	EXPECT_TRUE(is_written(4));
	EXPECT_FALSE(is_written(5));
	EXPECT_TRUE(is_written(6));
	/* All that has been asked about stays as it is. */
	EXPECT_TRUE(is_written(4));
	EXPECT_TRUE(kr_dirty_intact());
}

TEST_F(way, pages_that_were_not_there)
{
	size_t page = NR_PAGES / 2 + 3;

	*at(page) = 1;
	EXPECT_TRUE(is_written(page));
	EXPECT_EQ(0, *at(page + 1));
	*at(page + 1) = 1;
	EXPECT_TRUE(is_written(page + 1));
}

TEST_F(way, next_cycle)
{
	*at(1) = 2;
	*at(NR_PAGES - 1) = 2;
	kr_dirty_end();
	ASSERT_TRUE(from_now_on());
	EXPECT_EQ(0, nr_all());
	*at(1) = 3;
	*at(NR_PAGES - 1) = 3;
	EXPECT_EQ(2, nr_all());
}

TEST_F(way, taken_pages)
{
	if (!kr_dirty_takes())
		SKIP(return, "it is not one step");
	*at(1) = 2;
	EXPECT_TRUE(is_written_at(mem, 1, true));
	EXPECT_FALSE(is_written(1));
	*at(1) = 3;
	EXPECT_TRUE(is_written(1));
	/* More runs than fit into one call. */
	for (int i = 0; i < NR_PAGES; i += 2)
		*at(i) = 4;
	memset(written, 0, sizeof(written));
	ASSERT_EQ(0, kr_dirty_each(mem, mem + NR_PAGES * KR_PAGE_SIZE, true,
				   note, mem));
	for (int i = 0; i < NR_PAGES; i += 2)
		EXPECT_TRUE(written[i]);
	EXPECT_EQ(0, nr_all());
}

TEST_F(way, kernel_writes)
{
	struct iovec from = { "abc", 3 }, to = { (char *)at(7), 3 };
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ(3, write(fds[1], "abc", 3));
	ASSERT_EQ(3, read(fds[0], (char *)at(5), 3));
	EXPECT_TRUE(is_written(5));
	ASSERT_EQ(3, write(fds[1], "abc", 3));
	ASSERT_EQ(3, read(fds[0], (char *)at(NR_PAGES - 2), 3));
	EXPECT_TRUE(is_written(NR_PAGES - 2));
	if (process_vm_writev(getpid(), &from, 1, &to, 1, 0) == 3)
		EXPECT_TRUE(is_written(7));
}

TEST_F(way, pages_given_back)
{
	ASSERT_EQ(0, madvise(mem, 4 * KR_PAGE_SIZE, MADV_DONTNEED));
	*at(1) = 5;
	EXPECT_TRUE(is_written(1));
	EXPECT_EQ(0, *at(2));
	*at(2) = 5;
	EXPECT_TRUE(is_written(2));
	ASSERT_EQ(0, madvise(mem + 8 * KR_PAGE_SIZE, 4 * KR_PAGE_SIZE,
			     MADV_FREE));
	*at(9) = 5;
	EXPECT_TRUE(is_written(9));
}

/* What was written goes with them, or nothing can be told. */
TEST_F(way, pages_that_move)
{
	char *to = mmap(NULL, NR_PAGES * KR_PAGE_SIZE, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*at(2) = 2;
	ASSERT_EQ((void *)to, mremap(mem, 4 * KR_PAGE_SIZE, 4 * KR_PAGE_SIZE,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(2, to[2 * KR_PAGE_SIZE + 100]);
	EXPECT_TRUE(is_written_at(to, 2, false));
}

/* Somebody has put other memory there: the kernel was not asked about that. */
TEST_F(way, other_memory)
{
	for (size_t i = 4; i < 8; i += 2) {
		ASSERT_NE(MAP_FAILED, mmap(mem + i * KR_PAGE_SIZE, KR_PAGE_SIZE,
					   PROT_READ | PROT_WRITE, MAP_PRIVATE |
					   MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		*at(i) = 1;
		EXPECT_TRUE(is_written_at(mem, i, kr_dirty_takes()));
		*at(i) = 2;
		EXPECT_TRUE(is_written_at(mem, i, kr_dirty_takes()));
		*at(i) = 3;
		EXPECT_TRUE(is_written(i));
	}
}

TEST_F(way, memory_that_becomes_accessible)
{
	char *more = mmap(NULL, NR_PAGES * KR_PAGE_SIZE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	kr_dirty_end();
	ASSERT_EQ(0, kr_dirty_add(more, NR_PAGES * KR_PAGE_SIZE));
	ASSERT_EQ(0, mprotect(more, 8 * KR_PAGE_SIZE, PROT_READ | PROT_WRITE));
	more[0] = 1;
	ASSERT_EQ(0, kr_dirty_begin());
	ASSERT_EQ(0, kr_dirty_clean(more, 8 * KR_PAGE_SIZE));
	ASSERT_EQ(0, mprotect(more + 8 * KR_PAGE_SIZE, 8 * KR_PAGE_SIZE,
			      PROT_READ | PROT_WRITE));
	more[8 * KR_PAGE_SIZE] = 1;
	EXPECT_FALSE(is_written_at(more, 0, false));
	EXPECT_TRUE(is_written_at(more, 8, false));
}

TEST_F(way, huge_pages)
{
	char *addr = mmap(NULL, 2 * HUGE_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *huge = (char *)(((uintptr_t)addr + HUGE_BYTES - 1) &
			      ~(HUGE_BYTES - 1));

	kr_dirty_end();
	if (madvise(huge, HUGE_BYTES, MADV_HUGEPAGE))
		SKIP(return, "no huge pages here");
	memset(huge, 1, HUGE_BYTES);
	ASSERT_EQ(0, kr_dirty_add(huge, HUGE_BYTES));
	ASSERT_EQ(0, kr_dirty_begin());
	ASSERT_EQ(0, kr_dirty_clean(huge, HUGE_BYTES));
	EXPECT_FALSE(is_written_at(huge, 5, false));
	huge[7 * KR_PAGE_SIZE] = 2;
	EXPECT_TRUE(is_written_at(huge, 7, false));
}

/* Neither protection nor descriptors are of use to a child. */
TEST_F(way, child_of_fork)
{
	int status;
	pid_t pid;

	kr_dirty_end();
	pid = fork();
	if (!pid) {
		int err = 0;

		kr_dirty_forked();
		if (!kr_dirty_open(variant->name) ||
		    kr_dirty_add(mem, NR_PAGES * KR_PAGE_SIZE) ||
		    !from_now_on())
			_exit(1);
		*at(4) = 2;
		err |= is_written(3) ? 2 : 0;
		err |= is_written(4) ? 0 : 4;
		_exit(err);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	ASSERT_TRUE(from_now_on());
	*at(4) = 2;
	EXPECT_FALSE(is_written(3));
	EXPECT_TRUE(is_written(4));
}

/* A program that closes all that it does not know. */
TEST_F(way, descriptors_closed)
{
	*at(4) = 2;
	for (int fd = 3; fd < 100; fd++)
		close(fd);
	EXPECT_TRUE(is_written(4));
	kr_dirty_end();
	/* It fails, or it works. */
	if (!from_now_on())
		return;
	*at(5) = 2;
	EXPECT_TRUE(is_written(5));
}

TEST(others_clear_the_bits)
{
	int fd;

	if (!start("soft"))
		SKIP(return, "this kernel has no such bits");
	*at(4) = 2;
	EXPECT_TRUE(kr_dirty_intact());
	fd = open("/proc/self/clear_refs", O_WRONLY);
	ASSERT_EQ(1, write(fd, "4", 1));
	EXPECT_FALSE(is_written(4));
	EXPECT_FALSE(kr_dirty_intact());
}

/* Whether a write shows in bit 55 of pagemap, asked without the library. */
static bool kernel_has_bits(void)
{
	int refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	volatile char *page = mmap(NULL, KR_PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t entry[2] = { 0 };

	*page = 1;
	for (int i = 0; i < 2; i++) {
		if (write(refs, "4", 1) != 1)
			return false;
		if (i)
			*page = 2;
		if (pread(map, &entry[i], 8,
			  (off_t)((uintptr_t)page / KR_PAGE_SIZE * 8)) != 8)
			return false;
	}
	close(refs);
	close(map);
	return !(entry[0] >> 55 & 1) && (entry[1] >> 55 & 1);
}

/* Or all tests of it are skipped, and nobody notices. */
TEST(bits_are_found_where_they_are)
{
	if (!kernel_has_bits())
		SKIP(return, "this kernel has no such bits");
	EXPECT_TRUE(start("soft"));
}

TEST(no_such_way)
{
	EXPECT_EQ(NULL, kr_dirty_open("other"));
}

TEST_HARNESS_MAIN
