// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files: what is written at an offset is read there, whole, whoever does it at
 * the same time; calls that wait for a device go through io_uring if the process
 * may use it, and work as well if not.
 *
 * If it is broken: bytes of one call are found at another's place, reads are
 * short, a goroutine that waits for the disk is taken for a deadlock, or each of
 * them takes a thread.
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>

#include "utest.h"

#define BLOCK 4096
#define NR_BLOCKS 512
#define NR_GS 32

/* As the kernel gives it; its name is gone. On a disk rather than in memory. */
static int make_file(int flags)
{
	char name[64];
	int fd, other;

	snprintf(name, sizeof(name), "%s/test_file.XXXXXX",
		 access("/var/tmp", W_OK) ? "/tmp" : "/var/tmp");
	fd = mkstemp(name);
	if (!CHECK(fd >= 0))
		return -1;
	if (flags) {
		other = open(name, flags | O_RDWR | O_CLOEXEC);
		close(fd);
		fd = other;
	}
	unlink(name);
	return fd;
}

/* What a block says depends on where it is and on who wrote it last. */
static void fill(uint64_t *block, uint64_t index, uint64_t round)
{
	for (uint64_t i = 0; i < BLOCK / 8; i++)
		block[i] = (index << 32 | round << 16) + i;
}

static bool is_whole(const uint64_t *block, uint64_t index)
{
	for (uint64_t i = 0; i < BLOCK / 8; i++)
		if (block[i] != block[0] + i)
			return false;
	return block[0] >> 32 == index;
}

struct user {
	kaus_fd_t fd;
	int raw;
	struct kaus_waitgroup ended;
	atomic_uint next;
	bool drops;
};

static void use(void *arg)
{
	struct user *u = arg;
	unsigned int me = atomic_fetch_add(&u->next, 1);
	uint64_t *block = aligned_alloc(BLOCK, 2UL * BLOCK);

	for (unsigned int i = me; i < NR_BLOCKS; i += NR_GS) {
		fill(block, i, me);
		CHECK_EQ(BLOCK, kaus_fd_pwrite(u->fd, block, BLOCK,
					       (int64_t)i * BLOCK));
	}
	CHECK_EQ(0, kaus_fd_sync(u->fd));
	if (u->drops)
		posix_fadvise(u->raw, 0, 0, POSIX_FADV_DONTNEED);
	for (unsigned int i = me; i < NR_BLOCKS; i += NR_GS) {
		CHECK_EQ(BLOCK, kaus_fd_pread(u->fd, block, BLOCK,
					      (int64_t)i * BLOCK));
		CHECK(is_whole(block, i));
	}
	free(block);
	CHECK_EQ(0, kaus_waitgroup_done(&u->ended));
}

static void use_by_many(int raw, bool drops)
{
	struct user u = { .raw = raw, .drops = drops };

	u.fd = kaus_fd_open(raw);
	if (!CHECK(u.fd > 0))
		return;
	CHECK_EQ(0, kaus_waitgroup_add(&u.ended, NR_GS));
	for (int i = 0; i < NR_GS; i++)
		ut_go(use, &u);
	CHECK_EQ(0, kaus_waitgroup_wait(&u.ended));
	CHECK_EQ(0, kaus_fd_close(u.fd));
}

/* From the cache, not from it, and past it where the file system can. */
static int contents(void *arg)
{
	int direct;

	use_by_many(make_file(0), false);
	use_by_many(make_file(0), true);
	direct = make_file(O_DIRECT);
	if (direct >= 0)
		use_by_many(direct, false);
	return 0;
}

TEST(each_finds_its_own)
{
	RUN(contents, NULL);
}

TEST(each_finds_its_own_with_four_ps)
{
	struct kaus_options opts = ut_procs(4);

	opts.slice_ns = 100 * USEC;
	RUN_WITH(&opts, contents, NULL);
}

TEST(each_finds_its_own_without_io_uring)
{
	setenv("KAUS_IO_URING", "0", 1);
	RUN(contents, NULL);
}

static int ends_main(void *arg)
{
	kaus_fd_t fd = kaus_fd_open(make_file(0));
	char *text = malloc(3 << 20);

	memset(text, 'x', 3 << 20);
	/* Some of it is in the cache, some is not. */
	CHECK_EQ(3 << 20, kaus_fd_pwrite(fd, text, 3 << 20, 10));
	CHECK_EQ(0, kaus_fd_sync(fd));
	posix_fadvise(kaus_fd_num(fd), 1 << 20, 1 << 20, POSIX_FADV_DONTNEED);
	memset(text, 0, 3 << 20);
	CHECK_EQ(3 << 20, kaus_fd_pread(fd, text, 3 << 20, 10));
	CHECK(text[0] == 'x' && !memcmp(text, text + 1, (3 << 20) - 1));
	/* The end of the file, and behind it; a hole reads as zeroes. */
	CHECK_EQ(10, kaus_fd_pread(fd, text, 1 << 20, 3 << 20));
	CHECK_EQ(0, kaus_fd_pread(fd, text, 100, 4 << 20));
	CHECK_EQ(0, kaus_fd_pread(fd, text, 0, 0));
	CHECK_EQ(10, kaus_fd_pread(fd, text, 10, 0));
	CHECK(!text[0] && !text[9]);
	free(text);
	return kaus_fd_close(fd);
}

TEST(short_only_at_the_end)
{
	RUN(ends_main, NULL);
}

static int errors_main(void *arg)
{
	kaus_fd_t fd = kaus_fd_open(make_file(0)), read_only, proc;
	kaus_fd_t ends[2];
	char c = 0;

	CHECK_EQ(-EINVAL, kaus_fd_pread(fd, &c, 1, -1));
	CHECK_EQ(-EINVAL, kaus_fd_pwrite(fd, &c, 1, INT64_MIN));
	CHECK_EQ(-EINVAL, kaus_fd_pwrite(fd, &c, 1, INT64_MAX));
	CHECK_EQ(1, kaus_fd_pwrite(fd, &c, 1, 0));
	CHECK_EQ(-EFAULT, kaus_fd_pread(fd, (void *)8, 1, 0));
	CHECK_EQ(0, kaus_fd_close(fd));
	CHECK_EQ(-EBADF, kaus_fd_pread(fd, &c, 1, 0));
	CHECK_EQ(-EBADF, kaus_fd_pwrite(fd, &c, 1, 0));
	CHECK_EQ(-EBADF, kaus_fd_sync(fd));

	read_only = kaus_fd_open(open("/proc/self/exe", O_RDONLY));
	CHECK_EQ(1, kaus_fd_pread(read_only, &c, 1, 1));
	CHECK_EQ('E', c);
	CHECK_EQ(-EBADF, kaus_fd_pwrite(read_only, &c, 1, 0));
	CHECK_EQ(0, kaus_fd_close(read_only));

	/* Not every file knows how not to wait. */
	proc = kaus_fd_open(open("/proc/self/status", O_RDONLY));
	CHECK_EQ(1, kaus_fd_pread(proc, &c, 1, 0));
	CHECK_EQ('N', c);
	CHECK_EQ(-EINVAL, kaus_fd_sync(proc));
	CHECK_EQ(0, kaus_fd_close(proc));

	CHECK_EQ(0, kaus_fd_pipe(ends));
	CHECK_EQ(-ESPIPE, kaus_fd_pread(ends[0], &c, 1, 0));
	CHECK_EQ(-ESPIPE, kaus_fd_pwrite(ends[1], &c, 1, 0));
	CHECK_EQ(-EINVAL, kaus_fd_sync(ends[1]));
	CHECK_EQ(0, kaus_fd_close(ends[0]));
	return kaus_fd_close(ends[1]);
}

TEST(wrong_calls_say_so)
{
	RUN(errors_main, NULL);
}

TEST(wrong_calls_say_so_without_io_uring)
{
	setenv("KAUS_IO_URING", "0", 1);
	RUN(errors_main, NULL);
}

static bool may_use_rings(void)
{
	struct io_uring_params params = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 1, &params);

	return fd >= 0 && !close(fd);
}

/* How many results the ring of this process has had; -1: there is none. */
static long nr_results(void)
{
	char path[64], target[64], line[256];
	long nr = -1;

	for (int fd = 3; fd < 100 && nr < 0; fd++) {
		ssize_t len;
		FILE *info;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = 0;
		if (!strstr(target, "io_uring"))
			continue;
		nr = 0;
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		info = fopen(path, "r");
		while (info && fgets(line, sizeof(line), info))
			sscanf(line, "CqTail: %ld", &nr);
		if (info)
			fclose(info);
	}
	return nr;
}

static void sync_often(void *arg)
{
	struct user *u = arg;

	for (int i = 0; i < 100; i++)
		CHECK_EQ(0, kaus_fd_sync(u->fd));
	CHECK_EQ(0, kaus_waitgroup_done(&u->ended));
}

/* Main sleeps meanwhile: all are asleep, but for the kernel. */
static int ring_main(void *arg)
{
	struct user u = { .fd = kaus_fd_open(make_file(0)) };
	bool expected = arg;
	long before, nr;

	for (int i = 0; i < 1000 && nr_results() < 1; i++) {
		CHECK_EQ(0, kaus_fd_sync(u.fd));
		if (!expected && i == 10)
			break;
		kaus_sleep(MSEC);
	}
	before = nr_results();
	CHECK_EQ(expected, before >= 1);
	CHECK_EQ(0, kaus_waitgroup_add(&u.ended, NR_GS));
	for (int i = 0; i < NR_GS; i++)
		ut_go(sync_often, &u);
	CHECK_EQ(0, kaus_waitgroup_wait(&u.ended));
	nr = nr_results();
	CHECK(!expected || nr - before >= NR_GS * 100);
	return kaus_fd_close(u.fd);
}

TEST(the_ring_is_used)
{
	RUN(ring_main, may_use_rings() ? "" : NULL);
}

TEST(the_ring_is_not_used_if_it_is_not_wanted)
{
	setenv("KAUS_IO_URING", "0", 1);
	RUN(ring_main, NULL);
}

static int virtual_main(void *arg)
{
	struct user u = { .fd = kaus_fd_open(make_file(0)) };
	uint64_t start = kaus_now_ns();

	for (int i = 0; i < 100; i++)
		CHECK_EQ(0, kaus_fd_sync(u.fd));
	CHECK_EQ(start, kaus_now_ns());
	return kaus_fd_close(u.fd);
}

TEST(virtual_time_does_not_pass_meanwhile)
{
	struct kaus_options opts = ut_procs(2);

	opts.virtual_time = 1;
	RUN_WITH(&opts, virtual_main, NULL);
}

static void *from_a_thread(void *arg)
{
	kaus_fd_t fd = *(kaus_fd_t *)arg;
	char text[4] = "";

	CHECK_EQ(4, kaus_fd_pwrite(fd, "abc", 4, 0));
	CHECK_EQ(4, kaus_fd_pread(fd, text, 4, 0));
	CHECK(!strcmp(text, "abc"));
	CHECK_EQ(0, kaus_fd_sync(fd));
	return NULL;
}

static int thread_main(void *arg)
{
	kaus_fd_t fd = kaus_fd_open(make_file(0));
	pthread_t thread;

	pthread_create(&thread, NULL, from_a_thread, &fd);
	pthread_join(thread, NULL);
	return kaus_fd_close(fd);
}

TEST(threads_may_call_as_well)
{
	RUN(thread_main, NULL);
}

TEST_HARNESS_MAIN
