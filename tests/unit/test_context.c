// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contexts: cancelled once and for one reason, with all their descendants and
 * nobody else, by a call or by a deadline; freed with the last reference.
 *
 * If it is broken: a child is missed that was made, or freed, at the moment its
 * parent is cancelled (a hang, or a crash), the channel is closed twice, a
 * timer fires in freed memory, or the reason changes.
 */
#include "utest.h"

#define NR_GS 8
#define NR_ROUNDS 300

static struct kaus_context *make(struct kaus_context *parent)
{
	struct kaus_context *ctx = NULL;

	CHECK_EQ(0, kaus_context_with_cancel(parent, &ctx));
	return ctx;
}

static struct kaus_context *make_until(struct kaus_context *parent,
				       uint64_t deadline)
{
	struct kaus_context *ctx = NULL;

	CHECK_EQ(0, kaus_context_with_deadline(parent, deadline, &ctx));
	return ctx;
}

static void check_live(struct kaus_context *ctx)
{
	CHECK_EQ(0, kaus_context_err(ctx));
	CHECK_EQ(-EAGAIN, kaus_chan_try_recv(kaus_context_done(ctx), NULL));
}

static void check_over(struct kaus_context *ctx, int err)
{
	CHECK_EQ(-EPIPE, kaus_chan_recv(kaus_context_done(ctx), NULL));
	CHECK_EQ(err, kaus_context_err(ctx));
}

static int tree(void *arg)
{
	struct kaus_context *root = make(kaus_context_background());
	struct kaus_context *a = make(root), *b = make(root);
	struct kaus_context *aa = make(a), *ab = make(a), *late;

	CHECK_EQ(0, kaus_context_cancel(a));
	check_over(a, -ECANCELED);
	check_over(aa, -ECANCELED);
	check_over(ab, -ECANCELED);
	check_live(root);
	check_live(b);
	CHECK_EQ(0, kaus_context_cancel(a));

	late = make(aa);
	check_over(late, -ECANCELED);
	kaus_context_put(late);
	late = make_until(b, kaus_now_ns() + 100 * SEC);
	check_live(late);
	/* Parents may be put before their children. */
	kaus_context_put(a);
	kaus_context_put(b);
	CHECK_EQ(0, kaus_context_cancel(root));
	kaus_context_put(root);
	check_over(late, -ECANCELED);
	check_over(ab, -ECANCELED);
	kaus_context_put(late);
	kaus_context_put(ab);
	kaus_context_put(aa);
	return 0;
}

TEST(descendants_and_nobody_else)
{
	RUN(tree, NULL);
}

static int background(void *arg)
{
	struct kaus_context *bg = kaus_context_background();
	struct kaus_context *ctx = make(NULL);

	CHECK_EQ(-EINVAL, kaus_context_cancel(bg));
	CHECK_EQ(-EINVAL, kaus_context_cancel(NULL));
	CHECK_EQ(0, kaus_context_err(bg));
	CHECK_EQ(0, kaus_context_err(NULL));
	CHECK(!kaus_context_done(bg));
	CHECK(!kaus_context_done(NULL));
	CHECK(kaus_context_deadline(bg) == KAUS_NO_DEADLINE);
	CHECK(kaus_context_get(bg) == bg);
	kaus_context_put(bg);
	kaus_context_put(bg);
	kaus_context_put(NULL);
	check_live(ctx);
	CHECK(kaus_context_deadline(ctx) == KAUS_NO_DEADLINE);
	kaus_context_put(ctx);
	return 0;
}

TEST(background_is_never_cancelled)
{
	RUN(background, NULL);
}

static int deadlines(void *arg)
{
	uint64_t soon = kaus_now_ns() + 5 * MSEC;
	struct kaus_context *parent = make_until(NULL, soon);
	struct kaus_context *child = make_until(parent, soon + 100 * SEC);
	struct kaus_context *past = make_until(NULL, 1);
	struct kaus_context *early = make_until(parent, soon - 2 * MSEC);

	CHECK(kaus_context_deadline(parent) == soon);
	CHECK(kaus_context_deadline(child) == soon);
	CHECK(kaus_context_deadline(early) == soon - 2 * MSEC);
	check_over(past, -ETIMEDOUT);
	check_over(early, -ETIMEDOUT);
	check_over(parent, -ETIMEDOUT);
	CHECK(kaus_now_ns() >= soon);
	check_over(child, -ETIMEDOUT);
	CHECK_EQ(0, kaus_context_cancel(child));
	CHECK_EQ(-ETIMEDOUT, kaus_context_err(child));
	kaus_context_put(early);
	kaus_context_put(past);
	kaus_context_put(child);
	kaus_context_put(parent);
	return 0;
}

TEST(deadlines_are_inherited)
{
	RUN(deadlines, NULL);
}

struct work {
	struct kaus_context *ctx;
	struct kaus_waitgroup started, ended;
};

static void work_on(struct work *w)
{
	struct kaus_chan *never = kaus_chan_make(0, 0);
	struct kaus_case cases[] = {
		KAUS_RECV(never, NULL),
		KAUS_RECV(kaus_context_done(w->ctx), NULL),
	};

	CHECK_EQ(0, kaus_waitgroup_done(&w->started));
	CHECK_EQ(1, kaus_select(cases, 2));
	CHECK_EQ(-EPIPE, cases[1].result);
	CHECK_EQ(-ECANCELED, kaus_context_err(w->ctx));
	kaus_context_put(w->ctx);
	kaus_chan_free(never);
	CHECK_EQ(0, kaus_waitgroup_done(&w->ended));
}

static void worker(void *arg)
{
	work_on(arg);
}

static void *working_thread(void *arg)
{
	work_on(arg);
	return NULL;
}

static int select_done(void *arg)
{
	struct work w = { .ctx = make(NULL) };
	pthread_t thread;
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&w.started, NR_GS + 1));
	CHECK_EQ(0, kaus_waitgroup_add(&w.ended, NR_GS + 1));
	for (i = 0; i < NR_GS; i++) {
		kaus_context_get(w.ctx);
		ut_go(worker, &w);
	}
	kaus_context_get(w.ctx);
	pthread_create(&thread, NULL, working_thread, &w);
	CHECK_EQ(0, kaus_waitgroup_wait(&w.started));
	CHECK_EQ(0, kaus_context_cancel(w.ctx));
	CHECK_EQ(0, kaus_waitgroup_wait(&w.ended));
	pthread_join(thread, NULL);
	kaus_context_put(w.ctx);
	return 0;
}

TEST(select_sees_the_end)
{
	RUN(select_done, NULL);
}

/* Children come, go, expire and are cancelled while the parent is cancelled. */
static void breed(void *arg)
{
	struct work *w = arg;
	uint64_t rand = kaus_now_ns() | 1;
	struct kaus_context *kept = make(w->ctx);

	CHECK_EQ(0, kaus_waitgroup_done(&w->started));
	while (!kaus_context_err(w->ctx)) {
		struct kaus_context *c, *cc;

		c = make_until(w->ctx,
			       kaus_now_ns() + ut_rand(&rand) % (20 * USEC));
		cc = make(c);
		if (ut_rand(&rand) % 2)
			CHECK_EQ(0, kaus_context_cancel(c));
		if (ut_rand(&rand) % 2)
			CHECK_EQ(0, kaus_context_cancel(cc));
		kaus_context_put(c);
		CHECK_EQ(-EPIPE,
			 kaus_chan_recv(kaus_context_done(cc), NULL));
		CHECK(kaus_context_err(cc));
		kaus_context_put(cc);
	}
	check_over(kept, -ECANCELED);
	kaus_context_put(kept);
	kaus_context_put(w->ctx);
	CHECK_EQ(0, kaus_waitgroup_done(&w->ended));
}

static int races(void *arg)
{
	int round, i;

	for (round = 0; round < NR_ROUNDS; round++) {
		struct work w = { .ctx = make(NULL) };

		CHECK_EQ(0, kaus_waitgroup_add(&w.started, NR_GS));
		CHECK_EQ(0, kaus_waitgroup_add(&w.ended, NR_GS));
		for (i = 0; i < NR_GS; i++) {
			kaus_context_get(w.ctx);
			ut_go(breed, &w);
		}
		CHECK_EQ(0, kaus_waitgroup_wait(&w.started));
		ut_spin(round % 10 * 1000);
		CHECK_EQ(0, kaus_context_cancel(w.ctx));
		kaus_context_put(w.ctx);
		CHECK_EQ(0, kaus_waitgroup_wait(&w.ended));
	}
	return 0;
}

TEST(made_and_freed_while_cancelled)
{
	struct kaus_options opts = ut_procs(4);

	RUN_WITH(&opts, races, NULL);
}

/* Put without a cancel: the timer is gone with it. */
static int put_early(void *arg)
{
	int i;

	for (i = 0; i < 5000; i++) {
		struct kaus_context *ctx;

		ctx = make_until(NULL, kaus_now_ns() + i % 100 * USEC);
		if (i % 3 == 0)
			ut_spin(i % 1000);
		kaus_context_put(ctx);
	}
	CHECK_EQ(0, kaus_sleep(MSEC));
	return 0;
}

TEST(put_before_the_deadline)
{
	RUN(put_early, NULL);
}

static int deep(void *arg)
{
	struct kaus_context *root = make(NULL);
	struct kaus_context *ctx = kaus_context_get(root);
	int i;

	for (i = 0; i < 20000; i++) {
		struct kaus_context *child = make(ctx);

		kaus_context_put(ctx);
		ctx = child;
	}
	CHECK_EQ(0, kaus_context_cancel(root));
	check_over(ctx, -ECANCELED);
	kaus_context_put(root);
	kaus_context_put(ctx);
	return 0;
}

TEST(a_long_line_of_descendants)
{
	RUN(deep, NULL);
}

TEST(without_the_runtime)
{
	struct kaus_context *ctx = NULL;

	EXPECT_EQ(-EPERM, kaus_context_with_cancel(NULL, &ctx));
	EXPECT_EQ(-EPERM, kaus_context_with_deadline(NULL, 1, &ctx));
	EXPECT_EQ(NULL, ctx);
}

TEST_HARNESS_MAIN
