// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page return: writing 2 to drop_caches makes the kernel shrink every cache as
 * far as it goes. A bug shows as a runtime that is not told, or not woken, or
 * woken all the time; as one that is asked for more than its process has,
 * because it said so; as a word written into a region that has another group by
 * now; or as an oops when groups come and go meanwhile.
 */
#include "kw_test.h"

#define DROP		"/proc/sys/vm/drop_caches"
#define DRAIN		"/sys/module/kaus/parameters/drain"
#define INTERVAL	"/sys/module/kaus/parameters/pages_interval_ms"
#define HOUR_MS		"3600000"
#define MINE		4096U	/* pages that are resident for sure */

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

static int shrink(void)
{
	return write_to(DROP, "2");
}

static uint64_t resident_pages(void)
{
	unsigned long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident;
}

FIXTURE(pages) {
	struct kw k;
	char *mem;
};

FIXTURE_SETUP(pages)
{
	struct kaus_info info;

	if (access(DROP, W_OK) || access(INTERVAL, W_OK))
		SKIP(return, "may not write to " DROP);
	ASSERT_EQ(0, kw_group(&self->k, 2, 4));
	ASSERT_EQ(0, kw_info(self->k.fd, &info));
	ASSERT_TRUE(info.features & KAUS_FEAT_PAGES);
	self->mem = mmap(NULL, MINE * 4096UL, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	ASSERT_EQ(0, write_to(INTERVAL, "0"));
}

FIXTURE_TEARDOWN(pages)
{
	if (!self->k.hdr)
		return;
	write_to(INTERVAL, "100");
	kw_close(&self->k);
}

/* Caches that are empty are asked once more: until the words have changed. */
static bool shrink_until_wanted(struct kaus_header *hdr)
{
	return KW_WAIT(shrink() || KW_LOAD(hdr->wanted)) &&
	       KW_LOAD(hdr->wanted);
}

static int serve(struct kw *k, uint64_t deadline_ns)
{
	uint32_t proc = 1;
	int err = kw_park(k, KAUS_PARK_SERVICE, KAUS_NONE, deadline_ns, &proc);

	return err ? err : proc == KAUS_NONE ? 0 : 1;
}

/* All of it is wanted, and no more. */
TEST_F(pages, all_that_is_returnable)
{
	struct kaus_header *hdr = self->k.hdr;

	KW_STORE(hdr->returnable, MINE);
	ASSERT_TRUE(shrink_until_wanted(hdr));
	EXPECT_EQ(MINE, KW_LOAD(hdr->wanted));
	EXPECT_EQ(KAUS_WANTED_DIRECT,
		  KW_LOAD(hdr->wanted_why) & ~KAUS_WANTED_KSWAPD);
	/* What was not taken notice of is not asked for again. */
	ASSERT_EQ(0, shrink());
	EXPECT_EQ(MINE, KW_LOAD(hdr->wanted));
	/* What was taken is, as long as it is there. */
	KW_STORE(hdr->wanted, 0);
	KW_STORE(hdr->returnable, MINE / 2);
	ASSERT_TRUE(shrink_until_wanted(hdr));
	EXPECT_EQ(MINE / 2, KW_LOAD(hdr->wanted));
}

TEST_F(pages, nothing_is_returnable)
{
	struct kaus_header *hdr = self->k.hdr;
	struct kw other;

	/* Another group sees to it that the shrinker runs. */
	ASSERT_EQ(0, kw_group(&other, 1, 1));
	KW_STORE(other.hdr->returnable, MINE);
	ASSERT_TRUE(shrink_until_wanted(other.hdr));
	EXPECT_EQ(0, KW_LOAD(hdr->wanted));
	EXPECT_EQ(0, KW_LOAD(hdr->wanted_why));
	kw_close(&other);
}

/* Two of them are asked for their shares, whatever order they come in. */
TEST_F(pages, shares)
{
	struct kw other;

	ASSERT_EQ(0, kw_group(&other, 1, 1));
	KW_STORE(self->k.hdr->returnable, MINE / 2);
	KW_STORE(other.hdr->returnable, MINE);
	ASSERT_TRUE(shrink_until_wanted(other.hdr));
	EXPECT_EQ(MINE, KW_LOAD(other.hdr->wanted));
	EXPECT_EQ(MINE / 2, KW_LOAD(self->k.hdr->wanted));
	kw_close(&other);
}

TEST_F(pages, a_lie_is_clamped)
{
	static const uint64_t lies[] = { 1ULL << 22, 1ULL << 40, INT64_MAX,
					 UINT64_MAX };
	struct kaus_header *hdr = self->k.hdr;

	for (int i = 0; i < 4; i++) {
		uint64_t slack = 2048;

		KW_STORE(hdr->wanted, 0);
		KW_STORE(hdr->returnable, lies[i]);
		ASSERT_TRUE(shrink_until_wanted(hdr));
		/* The kernel's own count of the size lags a little. */
		EXPECT_GE(resident_pages() + slack, KW_LOAD(hdr->wanted));
		EXPECT_LE(MINE / 2, KW_LOAD(hdr->wanted));
	}
	/* More is wanted than there is: not by us. */
	KW_STORE(hdr->wanted, UINT64_MAX);
	ASSERT_EQ(0, shrink());
	EXPECT_EQ(UINT64_MAX, KW_LOAD(hdr->wanted));
}

static void wait_for_service(struct kw_thread *t)
{
	t->value = (uint64_t)serve(t->kw, KAUS_FOREVER);
}

TEST_F(pages, wakes_the_service_worker)
{
	struct kw_thread t;

	ASSERT_EQ(0, kw_thread_start(&t, &self->k, 0, wait_for_service, NULL));
	ASSERT_TRUE(KW_WAIT(kw_parked(t.tid)));
	KW_STORE(self->k.hdr->returnable, MINE);
	ASSERT_TRUE(KW_WAIT(shrink() || KW_LOAD(t.done)));
	kw_thread_join(&t);
	EXPECT_EQ(0, t.value);
	EXPECT_EQ(MINE, KW_LOAD(self->k.hdr->wanted));
}

/* Nobody was parked: the next one who parks does not sleep. */
TEST_F(pages, a_wake_up_is_kept)
{
	ASSERT_EQ(0, kw_register(&self->k, 0));
	ASSERT_EQ(-ETIMEDOUT, serve(&self->k, 0));
	KW_STORE(self->k.hdr->returnable, MINE);
	ASSERT_TRUE(shrink_until_wanted(self->k.hdr));
	EXPECT_EQ(0, serve(&self->k, KAUS_FOREVER));
	EXPECT_EQ(-ETIMEDOUT, serve(&self->k, 0));
}

TEST_F(pages, one_wake_up_per_interval)
{
	struct kaus_header *hdr = self->k.hdr;

	ASSERT_EQ(0, write_to(INTERVAL, HOUR_MS));
	ASSERT_EQ(0, kw_register(&self->k, 0));
	KW_STORE(hdr->returnable, MINE);
	ASSERT_TRUE(shrink_until_wanted(hdr));
	EXPECT_EQ(0, serve(&self->k, KAUS_FOREVER));
	for (int i = 0; i < 5; i++) {
		KW_STORE(hdr->wanted, 0);
		ASSERT_TRUE(shrink_until_wanted(hdr));
		EXPECT_EQ(MINE, KW_LOAD(hdr->wanted));
		EXPECT_EQ(-ETIMEDOUT, serve(&self->k, 0));
	}
}

/* After a drain the region may have another group: the old one keeps off. */
TEST_F(pages, a_drained_group_is_left_alone)
{
	struct kaus_header *hdr = self->k.hdr;
	struct kw other;

	ASSERT_EQ(0, write_to(DRAIN, "1"));
	ASSERT_EQ(0, write_to(DRAIN, "0"));
	ASSERT_TRUE(KW_WAIT(kw_group(&other, 1, 1) == 0));
	KW_STORE(hdr->returnable, MINE);
	KW_STORE(other.hdr->returnable, MINE);
	ASSERT_TRUE(shrink_until_wanted(other.hdr));
	EXPECT_EQ(0, KW_LOAD(hdr->wanted));
	EXPECT_EQ(0, KW_LOAD(hdr->wanted_why));
	kw_close(&other);
}

/* Words of the old group: not in the way of a new one, if it says so. */
TEST_F(pages, the_region_is_used_again)
{
	struct kaus_header *hdr = self->k.hdr;
	struct kaus_setup setup;

	KW_STORE(hdr->returnable, MINE);
	ASSERT_TRUE(shrink_until_wanted(hdr));
	close(self->k.fd);
	self->k.fd = open(KW_DEV, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->k.fd);
	kw_setup_args(&self->k, &setup);
	EXPECT_EQ(-EINVAL, kw_ioctl(self->k.fd, KAUS_IOC_SETUP, &setup));
	setup.flags = KAUS_SETUP_REUSE;
	ASSERT_EQ(0, kw_ioctl(self->k.fd, KAUS_IOC_SETUP, &setup));
	EXPECT_EQ(0, KW_LOAD(hdr->wanted));
	EXPECT_EQ(0, KW_LOAD(hdr->wanted_why));
	EXPECT_EQ(MINE, KW_LOAD(hdr->returnable));
	ASSERT_TRUE(shrink_until_wanted(hdr));
	EXPECT_EQ(MINE, KW_LOAD(hdr->wanted));
}

/*
 * Who has many groups does not keep others from reclaim: some are asked at a time,
 * and all of them in the end, whatever is before them.
 */
#define NR_MANY 400

static int nr_wanted(const struct kw *k)
{
	int nr = 0;

	for (int i = 0; i < NR_MANY; i++)
		nr += KW_LOAD(k[i].hdr->wanted) != 0;
	return nr;
}

TEST_F(pages, many_groups)
{
	static struct kw k[NR_MANY];
	int nr;

	for (int i = 0; i < NR_MANY; i++)
		ASSERT_EQ(0, kw_group(&k[i], 1, 1));
	/* The oldest, behind those that have nothing. */
	KW_STORE(self->k.hdr->returnable, MINE);
	EXPECT_TRUE(shrink_until_wanted(self->k.hdr));
	for (int i = 0; i < NR_MANY; i++)
		KW_STORE(k[i].hdr->returnable, 1);
	ASSERT_EQ(0, shrink());
	nr = nr_wanted(k);
	EXPECT_GT(NR_MANY, nr) TH_LOG("%d asked at once", nr);
	EXPECT_TRUE(KW_WAIT(shrink() || nr_wanted(k) == NR_MANY))
		TH_LOG("%d asked", nr_wanted(k));
	for (int i = 0; i < NR_MANY; i++)
		kw_close(&k[i]);
}

static void scribble(struct kw *k, uint32_t *x)
{
	*x = *x * 1664525 + 1013904223;
	KW_STORE(k->hdr->returnable, *x % (2 * MINE));
	if (*x >> 30)
		KW_STORE(k->hdr->wanted, *x >> 20);
}

/* Groups come and go, and say this and that, while the kernel reclaims. */
TEST_F(pages, groups_come_and_go)
{
	uint32_t x = 1;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		for (int i = 0; i < 60; i++)
			if (shrink())
				_exit(1);
		_exit(0);
	}
	do {
		struct kw k[4];

		for (int i = 0; i < 4; i++) {
			ASSERT_EQ(0, kw_group(&k[i], 1, 1));
			scribble(&k[i], &x);
		}
		for (int n = 0; n < 1000; n++)
			scribble(&self->k, &x);
		for (int i = 0; i < 4; i++)
			kw_close(&k[i]);
	} while (!waitpid(pid, &status, WNOHANG));
	EXPECT_EQ(0, status);
}

KW_TEST_MAIN
