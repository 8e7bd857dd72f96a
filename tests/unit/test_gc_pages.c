// SPDX-License-Identifier: GPL-2.0-only
/*
 * The collector that marks while the program runs and is told of no store: the
 * kernel says which pages were written. Tokens are moved about with plain stores
 * among objects, variables and new objects, so that the only reference to each is
 * now and then where the collector has been already. Nothing but the second look
 * at written pages finds them.
 *
 * Each way in which the kernel tells it is tried; what it has not is skipped.
 *
 * If it is broken: a token is lost, which check mode says, and whoever looks at
 * the token finds another object.
 */
#define _GNU_SOURCE
#include <kaus/weak.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "gcbegin.h"

#include "mem/heap.h"

/* The harness's fixtures have none. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wclobbered"
#endif

/* Its handlers run later, and elsewhere. */
#define WHY_TSAN "a suspended thread has no known stack under ThreadSanitizer"

#define NR_TOKENS 512
#define NR_PLACES 4096
#define NR_MOVES 64
#define NR_CYCLES 8	/* each would lose many, if it lost any */
#define NR_FORKS 16
#define BALLAST (UT_TSAN ? 12 : 14)

struct token {
	uint64_t nr, sum;
	struct token *self;
};

/* Some 800 KB of pages that are not next to each other. */
struct place {
	struct token *token;
	struct token *others[24];
};

struct typed_place {
	uint64_t before[3];
	struct token *token;
	uint64_t after[4];
};

KAUS_TYPE(typed_type, struct typed_place, token);

static struct world {
	struct place *places[NR_PLACES];
	struct typed_place *typed;	/* NR_PLACES in one large object */
	struct token **words;		/* the same */
} *world;

static struct token *in_bss[NR_PLACES];
static uint64_t seed = 88172645463325252ULL;
static int fds[2];

/* ---- places ---- */

enum { IN_PLACE, IN_TYPED, IN_WORDS, IN_BSS, NR_KINDS };

static struct token **place_at(unsigned int i)
{
	unsigned int k = i / NR_KINDS % NR_PLACES;

	switch (i % NR_KINDS) {
	case IN_PLACE:
		return &world->places[k]->token;
	case IN_TYPED:
		return &world->typed[k].token;
	case IN_WORDS:
		return &world->words[k];
	default:
		return &in_bss[k];
	}
}

static struct token **random_place(void)
{
	return place_at((unsigned int)ut_rand(&seed) % (NR_KINDS * NR_PLACES));
}

static struct place *new_place(void)
{
	struct place *p = kaus_alloc(sizeof(*p));

	return CHECK(p) ? p : NULL;
}

static void make_world(void)
{
	world = kaus_alloc(sizeof(*world));
	world->typed = kaus_new_array(&typed_type, NR_PLACES);
	world->words = kaus_alloc_array(NR_PLACES, sizeof(void *));
	for (unsigned int i = 0; i < NR_PLACES; i++)
		world->places[i] = new_place();
	for (unsigned int i = 0; i < NR_TOKENS; i++) {
		struct token *t = kaus_alloc(sizeof(*t)), **to;

		do
			to = random_place();
		while (*to);
		t->nr = i;
		t->sum = i ^ MAGIC;
		t->self = t;
		*to = t;
	}
}

static bool is_token(const struct token *t)
{
	return CHECK(t->self == t && t->sum == (t->nr ^ MAGIC) &&
		     t->nr < NR_TOKENS);
}

static void count_tokens(void)
{
	static uint8_t seen[NR_TOKENS];
	unsigned int nr = 0;

	memset(seen, 0, sizeof(seen));
	for (unsigned int i = 0; i < NR_KINDS * NR_PLACES; i++) {
		struct token *t = *place_at(i);

		if (!t || !is_token(t))
			continue;
		CHECK(!seen[t->nr]);
		seen[t->nr] = 1;
		nr++;
	}
	CHECK_EQ(NR_TOKENS, nr);
}

/* ---- moves ---- */

/* By the kernel's hand. */
static void copy_by_pipe(struct token **to, struct token **from)
{
	CHECK_EQ(sizeof(*from), write(fds[1], from, sizeof(*from)));
	CHECK_EQ(sizeof(*to), read(fds[0], to, sizeof(*to)));
}

__attribute__((noinline)) static void move(struct token **to, struct token **from)
{
	struct token *t = *to;

	if (t && is_token(t) && *from)
		is_token(*from);
	*to = *from;
	*from = t;
}

/* The new one is never looked at but as a page. */
__attribute__((noinline)) static void renew_place(unsigned int i)
{
	struct place *new = new_place();

	if (!new)
		return;
	new->token = world->places[i]->token;
	new->others[7] = NULL;
	world->places[i]->token = NULL;
	world->places[i] = new;
}

static void move_some(void)
{
	for (int i = 0; i < NR_MOVES; i++) {
		struct token **from = random_place(), **to = random_place();

		if (i % 16 == 0) {
			renew_place((unsigned int)ut_rand(&seed) % NR_PLACES);
		} else if (i % 16 == 1 && *from && !*to) {
			copy_by_pipe(to, from);
			*from = NULL;
		} else {
			move(to, from);
		}
	}
}

/* Garbage, small and large, some of it without pointers. */
static void litter(void)
{
	for (int i = 0; i < 8; i++) {
		char *p = kaus_alloc(1000);

		CHECK(p);
		/* What dies is overwritten, for all that is lost to show. */
		memset(p, 0x55, 1000);
		CHECK(kaus_alloc_noscan(500));
		CHECK(kaus_alloc(sizeof(struct token)));
	}
}

/* No reference stays in a frame of a caller. */
__attribute__((noinline)) static void
move_until(uint64_t nr_cycles, bool collects)
{
	uint64_t end = gc_stats().nr_by_pages + nr_cycles;

	for (unsigned int i = 0; gc_stats().nr_by_pages < end; i++) {
		move_some();
		litter();
		if (collects && i % 256 == 0)
			CHECK_EQ(0, kaus_gc());
	}
}

/* ---- set-up ---- */

static bool set_up(const char *way)
{
	setenv("KAUS_GC_PAGES", way, 1);
	setenv("KAUS_HEAP_PROFILE_RATE", "0", 1);
	return !pipe(fds);
}

static bool by_pages(int check)
{
	int err = kaus_gc_set(KAUS_GC_CONCURRENT, 2);

	if (err) {
		CHECK_EQ(-EOPNOTSUPP, err);
		return false;
	}
	CHECK_EQ(2, kaus_gc_get(KAUS_GC_CONCURRENT));
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_CHECK, check));
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, 30));
	return true;
}

static void end(void)
{
	CHECK_EQ(0, kaus_gc());
	count_tokens();
	CHECK_EQ(0, gc_stats().nr_missed);
}

#define SKIP_WAY() SKIP(return, "this kernel, or a filter, has not got it")

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
	ASSERT_TRUE(set_up(variant->name));
}

FIXTURE_TEARDOWN(way)
{
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

/* ---- a plain thread ---- */

static void *build(void *arg)
{
	CHECK_EQ(0, kaus_gc_thread_register());
	make_world();
	make_ballast((void *)BALLAST);
	CHECK_EQ(0, kaus_gc_thread_unregister());
	return arg;
}

static void build_elsewhere(void)
{
	pthread_t thread;

	CHECK_EQ(0, pthread_create(&thread, NULL, build, NULL));
	CHECK_EQ(0, pthread_join(thread, NULL));
}

TEST_F(way, tokens_are_moved)
{
	UT_SKIP_TSAN(WHY_TSAN);
	ASSERT_EQ(0, kaus_gc_thread_register());
	if (!by_pages(1))
		SKIP_WAY();
	build_elsewhere();
	move_until(NR_CYCLES, false);
	end();
	EXPECT_LE(gc_stats().nr_by_pages, gc_stats().nr_concurrent);
}

/* Where check mode does not mend what it finds. */
TEST_F(way, tokens_are_moved_unchecked)
{
	UT_SKIP_TSAN(WHY_TSAN);
	ASSERT_EQ(0, kaus_gc_thread_register());
	if (!by_pages(0))
		SKIP_WAY();
	build_elsewhere();
	move_until(NR_CYCLES, false);
	end();
}

/* kaus_gc() stops the world for what is left of a cycle. */
TEST_F(way, cycles_cut_short)
{
	UT_SKIP_TSAN(WHY_TSAN);
	ASSERT_EQ(0, kaus_gc_thread_register());
	if (!by_pages(1))
		SKIP_WAY();
	build_elsewhere();
	move_until(NR_CYCLES / 2, true);
	end();
}

/* Words that only another thread's stack has when the last stop comes. */
static atomic_bool thread_done;

static void *keep_on_stack(void *arg)
{
	CHECK_EQ(0, kaus_gc_thread_register());
	while (!atomic_load(&thread_done)) {
		struct token *volatile kept[8];

		for (int i = 0; i < 8; i++) {
			kept[i] = kaus_alloc(sizeof(struct token));
			kept[i]->nr = (uint64_t)i;
			kept[i]->sum = (uint64_t)i ^ MAGIC;
			kept[i]->self = kept[i];
		}
		usleep(300);
		for (int i = 0; i < 8; i++)
			is_token(kept[i]);
	}
	CHECK_EQ(0, kaus_gc_thread_unregister());
	return arg;
}

static void with_threads(void)
{
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		CHECK_EQ(0, pthread_create(&threads[i], NULL, keep_on_stack,
					   NULL));
	move_until(NR_CYCLES / 2, false);
	atomic_store(&thread_done, true);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(0, pthread_join(threads[i], NULL));
}

TEST_F(way, other_threads)
{
	UT_SKIP_TSAN(WHY_TSAN);
	ASSERT_EQ(0, kaus_gc_thread_register());
	if (!by_pages(1))
		SKIP_WAY();
	build_elsewhere();
	with_threads();
	end();
}

/* ---- fork: the child has no such thread, and no page is watched ---- */

static int in_child(void)
{
	uint64_t before = gc_stats().nr_by_pages;

	count_tokens();
	CHECK_EQ(0, kaus_gc());
	move_until(1, false);
	end();
	CHECK(gc_stats().nr_by_pages >= before + 1);
	return atomic_load(&ut_failures) ? 1 : 0;
}

/* At any time, also in the midst of a cycle. */
static void fork_after(unsigned int nr)
{
	int status;
	pid_t pid;

	while (nr--) {
		move_some();
		litter();
	}
	pid = fork();
	if (!pid)
		_exit(in_child());
	CHECK_EQ(pid, waitpid(pid, &status, 0));
	CHECK(WIFEXITED(status));
	CHECK_EQ(0, WEXITSTATUS(status));
}

TEST_F(way, children_of_fork)
{
	UT_SKIP_TSAN(WHY_TSAN);
	ASSERT_EQ(0, kaus_gc_thread_register());
	if (!by_pages(1))
		SKIP_WAY();
	build_elsewhere();
	for (int i = 0; i < NR_FORKS; i++)
		fork_after((unsigned int)ut_rand(&seed) % 128);
	end();
}

/* ---- goroutines ---- */

static bool skipped;

static void *build_g(void *arg)
{
	make_world();
	make_ballast((void *)BALLAST);
	return arg;
}

static int goroutines(void *arg)
{
	if (!by_pages(1)) {
		skipped = true;
		return 0;
	}
	elsewhere(build_g, NULL);
	kaus_waitgroup_add(&mutators, 1);
	ut_go(collector, NULL);
	move_until(NR_CYCLES, false);
	atomic_store(&planted, true);
	kaus_waitgroup_wait(&mutators);
	end();
	return 0;
}

TEST_F(way, goroutines)
{
	RUN(goroutines, NULL);
	if (skipped)
		SKIP_WAY();
}

TEST_F(way, goroutines_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, goroutines, NULL);
	if (skipped)
		SKIP_WAY();
}

/* Out of an object before that was looked at, to a stack that has been. */
struct chest {
	struct token *tokens[64];
};

static struct chest *chest;
static struct kaus_weak weak[64];

static void *fill(void *arg)
{
	chest = kaus_alloc(sizeof(*chest));
	for (uint64_t i = 0; i < 64; i++) {
		struct token *t = kaus_alloc(sizeof(*t));

		t->nr = i;
		t->sum = i ^ MAGIC;
		t->self = t;
		chest->tokens[i] = t;
		weak[i] = kaus_weak_make(t);
	}
	return arg;
}

static int taken(void *arg)
{
	struct token *volatile mine[64];

	if (!by_pages(0)) {
		skipped = true;
		return 0;
	}
	elsewhere(build_g, NULL);
	elsewhere(fill, NULL);
	CHECK_EQ(0, kaus_gc());
	begin_cycle();
	for (int i = 0; i < 64; i++) {
		mine[i] = chest->tokens[i];
		chest->tokens[i] = NULL;
	}
	kaus_preempt_enable();
	while (READ_ONCE(kr_heap.marking))
		kaus_yield();
	for (int i = 0; i < 64; i++)
		CHECK(mine[i] && is_token(mine[i]) &&
		      kaus_weak_get(weak[i]) == mine[i]);
	return 0;
}

TEST_F(way, taken_to_a_stack)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, taken, NULL);
	if (skipped)
		SKIP_WAY();
}

/* Only a goroutine's stack, a channel, and a local value have it. */
static struct kaus_chan *chan;

static void hold_on_stack(void *arg)
{
	struct token *volatile t = NULL;

	for (int i = 0; !atomic_load(&planted); i++) {
		struct token *sent, *back;

		if (i % 8 == 0) {
			t = kaus_alloc(sizeof(*t));
			t->nr = (uint64_t)(uintptr_t)arg;
			t->sum = t->nr ^ MAGIC;
			t->self = t;
		}
		is_token(t);
		sent = t;
		t = NULL;
		kaus_chan_send(chan, &sent);
		sent = NULL;
		kaus_yield();
		kaus_chan_recv(chan, &back);
		t = back;
		back = NULL;
	}
	kaus_waitgroup_done(&mutators);
}

static int roots(void *arg)
{
	if (!by_pages(1)) {
		skipped = true;
		return 0;
	}
	elsewhere(build_g, NULL);
	chan = kaus_chan_make(sizeof(struct token *), 64);
	for (uintptr_t i = 0; i < 16; i++) {
		kaus_waitgroup_add(&mutators, 1);
		ut_go(hold_on_stack, (void *)i);
	}
	move_until(NR_CYCLES, false);
	atomic_store(&planted, true);
	kaus_waitgroup_wait(&mutators);
	end();
	kaus_chan_free(chan);
	return 0;
}

TEST_F(way, stacks_and_channels)
{
	RUN(roots, NULL);
	if (skipped)
		SKIP_WAY();
}

static int dead(void *arg)
{
	uint64_t base;

	if (!by_pages(1)) {
		skipped = true;
		return 0;
	}
	base = count_live();
	elsewhere(make_ballast, (void *)12);
	check_live(base + 8191);
	ballast->left = NULL;
	kaus_gc();
	check_live(base + 4096);
	CHECK_EQ(4096, count_tree(ballast));
	return 0;
}

TEST_F(way, dead_is_freed)
{
	RUN(dead, NULL);
	if (skipped)
		SKIP_WAY();
}

/* ---- where it cannot be had ---- */

TEST(not_possible)
{
	ASSERT_TRUE(set_up("off"));
	ASSERT_EQ(0, kaus_gc_thread_register());
	EXPECT_EQ(-EOPNOTSUPP, kaus_gc_set(KAUS_GC_CONCURRENT, 2));
	EXPECT_EQ(-EOPNOTSUPP, kaus_gc_set(KAUS_GC_CONCURRENT, 3));
	EXPECT_EQ(-EINVAL, kaus_gc_set(KAUS_GC_CONCURRENT, 4));
	EXPECT_EQ(-EINVAL, kaus_gc_set(KAUS_GC_CONCURRENT, -1));
	EXPECT_EQ(0, kaus_gc_get(KAUS_GC_CONCURRENT));
}

/* What is asked for by the environment is a wish. */
TEST(stops_the_world_where_not_possible)
{
	ASSERT_TRUE(set_up("off"));
	setenv("KAUS_GC_MODE", "pages", 1);
	ASSERT_EQ(0, kaus_gc_thread_register());
	EXPECT_EQ(2, kaus_gc_get(KAUS_GC_CONCURRENT));
	build_elsewhere();
	for (int i = 0; i < 3000; i++)
		litter();
	end();
	CHECK(gc_stats().nr_cycles > 1);
	CHECK_EQ(0, gc_stats().nr_concurrent);
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

static int wrong_way(void *arg)
{
	return 1;
}

TEST(environment)
{
	ASSERT_TRUE(set_up("other"));
	EXPECT_EQ(-EINVAL, kaus_run(wrong_way, NULL));
}

TEST(filtered)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = 4, .filter = code };

	ASSERT_TRUE(set_up("scan"));
	ASSERT_EQ(0, kaus_gc_thread_register());
	ASSERT_EQ(0, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		SKIP(return, "no filters here");
	EXPECT_EQ(-EOPNOTSUPP, kaus_gc_set(KAUS_GC_CONCURRENT, 2));
	EXPECT_EQ(0, kaus_gc());
}

/* Small heaps are not worth it. */
TEST(only_where_a_stop_is_long)
{
	UT_SKIP_TSAN(WHY_TSAN);
	unsetenv("KAUS_GC_PAGES");
	ASSERT_EQ(0, kaus_gc_thread_register());
	if (kaus_gc_set(KAUS_GC_CONCURRENT, 3))
		SKIP_WAY();
	for (int i = 0; i < 3000; i++)
		litter();
	CHECK(gc_stats().nr_cycles > 0);
	CHECK_EQ(0, gc_stats().nr_by_pages);
	/* 16 MiB of nodes are. */
	ballast = make_tree(18, 1);
	CHECK_EQ(0, kaus_gc());
	for (int i = 0; i < 100000 && !gc_stats().nr_by_pages; i++)
		litter();
	CHECK(gc_stats().nr_by_pages > 0);
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

TEST_HARNESS_MAIN
