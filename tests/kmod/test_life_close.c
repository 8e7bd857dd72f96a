// SPDX-License-Identifier: GPL-2.0-only
/*
 * The descriptor is closed while its group is in use: workers parked, running,
 * asleep, on their way. A bug shows as a thread that sleeps for ever in PARK,
 * as a redirect after the end, as a region that is written to when it belongs
 * to something else, or as a thread that cannot register again.
 */
#include "kw_test.h"

#define NR_WORKERS	8

struct worker {
	struct kw_thread t;
	int fd[2];
	int ret;
	unsigned int stop;
	unsigned int bad;
};

FIXTURE(close) {
	struct kw k;
	struct worker w[NR_WORKERS];
};

FIXTURE_SETUP(close)
{
	ASSERT_EQ(0, kw_group(&self->k, 2, NR_WORKERS));
}

FIXTURE_TEARDOWN(close)
{
	kw_close(&self->k);
}

/* The number, kept: kw_close() forgets it. */
static void park(struct kw_thread *t)
{
	struct worker *w = t->arg;
	struct kw k = *t->kw;
	uint32_t flags = t->worker % 3 == 0 ? KAUS_PARK_POOL :
			 t->worker % 3 == 1 ? KAUS_PARK_SERVICE : 0;

	w->ret = kw_park(&k, flags, KAUS_NONE, KAUS_FOREVER, NULL);
	t->keep = true;
}

static void spin(struct kw_thread *t)
{
	struct worker *w = t->arg;
	uint64_t ref = kw_sum(20000);

	kw_carry(t->kw, t->worker & 1);
	while (!KW_LOAD(w->stop)) {
		if (kw_sum(20000) != ref)
			KW_ADD(w->bad, 1);
	}
	t->keep = true;
}

static void sleep_on(struct kw_thread *t)
{
	struct worker *w = t->arg;
	char byte;

	kw_carry(t->kw, t->worker & 1);
	if (read(w->fd[0], &byte, 1) != 1)
		KW_ADD(w->bad, 1);
	t->keep = true;
}

TEST_F(close, parked_workers_return)
{
	for (int i = 0; i < NR_WORKERS; i++) {
		ASSERT_EQ(0, kw_thread_start(&self->w[i].t, &self->k, i, park,
					     &self->w[i]));
	}
	for (int i = 0; i < NR_WORKERS; i++) {
		ASSERT_TRUE(KW_WAIT(kw_parked(self->w[i].t.tid)));
	}
	EXPECT_EQ(0, self->k.hdr->shutdown);
	kw_close(&self->k);
	for (int i = 0; i < NR_WORKERS; i++) {
		ASSERT_TRUE(KW_WAIT(KW_LOAD(self->w[i].t.done)))
			TH_LOG("worker %d sleeps for ever", i);
		kw_thread_join(&self->w[i].t);
		EXPECT_EQ(-ESHUTDOWN, self->w[i].ret);
	}
	EXPECT_EQ(1, KW_LOAD(self->k.hdr->shutdown));
}

TEST_F(close, running_workers_are_left_alone)
{
	uint64_t entries[2];

	for (int i = 0; i < 2; i++) {
		kw_waiters(&self->k, i, 1);
		ASSERT_EQ(0, kw_thread_start(&self->w[i].t, &self->k, i, spin,
					     &self->w[i]));
	}
	for (int i = 0; i < 2; i++) {
		ASSERT_TRUE(KW_WAIT(KW_LOAD(self->k.stat[i].nr_preempt) > 20));
	}
	kw_close(&self->k);
	EXPECT_EQ(1, KW_LOAD(self->k.hdr->shutdown));
	/* One that was on its way may still come. */
	usleep(20000);
	for (int i = 0; i < 2; i++)
		entries[i] = KW_LOAD(self->k.stat[i].nr_entries);
	usleep(100 * KW_SLICE_NS / 1000);
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(entries[i], KW_LOAD(self->k.stat[i].nr_entries))
			TH_LOG("redirected after the end");
		KW_STORE(self->w[i].stop, 1);
		kw_thread_join(&self->w[i].t);
		EXPECT_EQ(0, self->w[i].bad);
	}
}

TEST_F(close, sleeping_workers_wake_normally)
{
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pipe(self->w[i].fd));
		ASSERT_EQ(0, kw_thread_start(&self->w[i].t, &self->k, i,
					     sleep_on, &self->w[i]));
		ASSERT_TRUE(KW_WAIT(kw_owner_is(&self->k, i, KAUS_P_SLEEPING,
						i)));
	}
	kw_close(&self->k);
	/* The region is ordinary memory from now on. */
	usleep(20000);
	memset(self->k.hdr, 0x5a, self->k.len);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(1, write(self->w[i].fd[1], "x", 1));
		ASSERT_TRUE(KW_WAIT(KW_LOAD(self->w[i].t.done)));
		kw_thread_join(&self->w[i].t);
		EXPECT_EQ(0, self->w[i].bad);
	}
	for (size_t i = 0; i < self->k.len; i++) {
		ASSERT_EQ(0x5a, ((char *)self->k.hdr)[i])
			TH_LOG("written to at offset %zu", i);
	}
}

TEST_F(close, every_later_call_fails)
{
	struct kaus_handoff handoff = {
		.home = KAUS_NONE, .target = KAUS_ANY, .target_proc = 0,
	};
	struct kaus_setup setup;
	struct kw old;
	int fd;

	ASSERT_EQ(0, kw_register(&self->k, 0));
	fd = dup(self->k.fd);
	ASSERT_LE(0, fd);
	old = self->k;
	old.fd = fd;
	kw_close(&self->k);
	if (!KW_LOAD(old.hdr->shutdown)) {
		/* Or the group lives until the last of them is closed. */
		EXPECT_EQ(-ETIMEDOUT, kw_park(&old, 0, KAUS_NONE, 0, NULL));
		close(fd);
		return;
	}
	EXPECT_EQ(-ESHUTDOWN, kw_park(&old, 0, KAUS_NONE, 0, NULL));
	EXPECT_EQ(-ESHUTDOWN, kw_wake(&old, 0, KAUS_NONE, 0));
	EXPECT_EQ(-ESHUTDOWN, kw_kick(&old, KAUS_ALL, NULL));
	EXPECT_EQ(-ESHUTDOWN, kw_handoff(&old, &handoff));
	EXPECT_EQ(-ESHUTDOWN, kw_unregister(&old));
	EXPECT_EQ(-ESHUTDOWN, kw_ioctl(fd, KAUS_IOC_REGISTER,
				       &(struct kaus_register){
					       .size = 16, .worker = 1 }));
	kw_setup_args(&old, &setup);
	EXPECT_EQ(-ESHUTDOWN, kw_ioctl(fd, KAUS_IOC_SETUP, &setup));
	close(fd);
}

/* The region may be used again, and so may the thread. */
TEST_F(close, start_over)
{
	ASSERT_EQ(0, kw_register(&self->k, 0));
	for (int i = 0; i < 30; i++) {
		uint64_t before = kw_self.stat->nr_preempt;

		kw_carry(&self->k, 0);
		kw_waiters(&self->k, 0, 1);
		ASSERT_TRUE(KW_SPIN(KW_LOAD(kw_self.stat->nr_preempt) !=
				    before));
		/* In the middle of everything. */
		kw_close(&self->k);
		memset(self->k.hdr, 0, self->k.len);
		self->k.hdr->slice_ns = KW_SLICE_NS;
		self->k.fd = open(KW_DEV, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, self->k.fd);
		ASSERT_EQ(0, kw_setup(&self->k));
		ASSERT_TRUE(KW_WAIT(kw_register(&self->k, i % NR_WORKERS) ==
				    0));
	}
}

TEST_F(close, region_unmapped_before)
{
	struct kaus_park arg = {
		.size = sizeof(arg), .home = KAUS_NONE,
		.deadline_ns = kw_now() + 1000000,
	};
	struct kaus_register reg = { .size = sizeof(reg) };

	ASSERT_EQ(0, kw_ioctl(self->k.fd, KAUS_IOC_REGISTER, &reg));
	ASSERT_EQ(0, munmap(self->k.hdr, self->k.len));
	usleep(3000);
	EXPECT_EQ(-ETIMEDOUT, kw_ioctl(self->k.fd, KAUS_IOC_PARK, &arg));
	EXPECT_EQ(0, kw_kick(&self->k, KAUS_ALL, NULL));
	EXPECT_EQ(0, kw_ioctl(self->k.fd, KAUS_IOC_UNREGISTER, &reg));
}

/* All of it at once, and at a moment that nothing has prepared. */
TEST_F(close, under_load)
{
	for (int round = 0; round < 12; round++) {
		struct kw k;

		ASSERT_EQ(0, kw_group(&k, 2, NR_WORKERS));
		memset(self->w, 0, sizeof(self->w));
		for (int i = 0; i < NR_WORKERS; i++) {
			struct worker *w = &self->w[i];

			if (i < 2)
				kw_waiters(&k, i, 1);
			ASSERT_EQ(0, kw_thread_start(&w->t, &k, i,
						     i < 3 ? spin : park, w));
		}
		for (int i = 0; i < round * 5; i++)
			kw_kick(&k, KAUS_ALL, NULL);
		kw_close(&k);
		for (int i = 0; i < NR_WORKERS; i++) {
			KW_STORE(self->w[i].stop, 1);
			ASSERT_TRUE(KW_WAIT(KW_LOAD(self->w[i].t.done)))
				TH_LOG("round %d, worker %d", round, i);
			kw_thread_join(&self->w[i].t);
			EXPECT_EQ(0, self->w[i].bad);
		}
		munmap(k.hdr, k.len);
	}
}

KW_TEST_MAIN
