// SPDX-License-Identifier: GPL-2.0-only
/*
 * Scheduling by lot (KAUS_SCHED_RANDOM, kaus_options.sched_random): seeds show
 * every order of a small program, and bugs that a normal run on one P cannot
 * show; a seed shows the same one each time.
 *
 * If it is broken: some order never comes, or a failure that was found with a
 * seed does not come again.
 *
 * What never comes up hangs here, and the harness says so.
 */
#include "utest.h"

#define LOG_MAX 4096

/* Written by children; one run of the runtime each. */
struct report {
	size_t len;
	char log[LOG_MAX];
	long value;
	bool disturbed;
};

static struct report *report;
static struct kaus_chan *chan;

static void note(char what)
{
	if (CHECK(report->len < LOG_MAX))
		report->log[report->len++] = what;
}

/* Run @fn by lot on one P: true if nothing outside could meddle. */
static bool run_seed(struct __test_metadata *_metadata, uint64_t seed,
		     int (*fn)(void *))
{
	int status = -1;
	pid_t pid;

	memset(report, 0, sizeof(*report));
	pid = fork();
	if (!pid) {
		struct kaus_options opts = ut_procs(1);

		opts.sched_random = seed;
		opts.slice_ns = SEC;
		exit(kaus_run_with(&opts, fn, NULL) || ut_failures);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	return !report->disturbed;
}

static void see_if_disturbed(void)
{
	struct kaus_stats st = ut_stats();

	report->disturbed = st.nr_preempts || st.nr_handoffs || st.nr_lost ||
			    st.nr_redirects;
}

__attribute__((constructor)) static void make_report(void)
{
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		abort();
}

static void *letter(void *arg)
{
	note((char)(uintptr_t)arg);
	return NULL;
}

static int three(void *arg)
{
	struct kaus_g *gs[3];
	int i;

	for (i = 0; i < 3; i++)
		gs[i] = ut_spawn(letter, (void *)(uintptr_t)('a' + i));
	for (i = 0; i < 3; i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	return 0;
}

#define NR_ORDERS 6U

/* Each of @orders comes with some seed, and no other does. */
static void all_come(struct __test_metadata *_metadata,
		     const char *const orders[NR_ORDERS], int (*fn)(void *arg))
{
	unsigned int seen = 0;
	uint64_t seed;
	unsigned int i;

	for (seed = 1; seen != (1U << NR_ORDERS) - 1; seed++) {
		run_seed(_metadata, seed, fn);
		for (i = 0; i < NR_ORDERS; i++)
			if (!strcmp(orders[i], report->log))
				break;
		ASSERT_NE(NR_ORDERS, i);
		seen |= 1U << i;
	}
	TH_LOG("%llu seeds", (unsigned long long)seed - 1);
}

TEST(every_order_comes)
{
	static const char *const orders[NR_ORDERS] = {
		"abc", "acb", "bac", "bca", "cab", "cba",
	};

	all_come(_metadata, orders, three);
}

static void *give(void *arg)
{
	char what = (char)(uintptr_t)arg;
	int i;

	for (i = 0; i < 2; i++)
		CHECK_EQ(0, kaus_chan_send(chan, &what));
	return NULL;
}

/* What two send to one channel comes in any order. */
static int two_senders(void *arg)
{
	struct kaus_g *a, *b;
	char what;
	int i;

	chan = kaus_chan_make(1, 0);
	a = ut_spawn(give, (void *)(uintptr_t)'a');
	b = ut_spawn(give, (void *)(uintptr_t)'b');
	for (i = 0; i < 4; i++) {
		CHECK_EQ(0, kaus_chan_recv(chan, &what));
		note(what);
	}
	CHECK_EQ(0, kaus_join(a, NULL));
	CHECK_EQ(0, kaus_join(b, NULL));
	kaus_chan_free(chan);
	return 0;
}

TEST(channels_mix_in_every_way)
{
	static const char *const orders[NR_ORDERS] = {
		"aabb", "abab", "abba", "baab", "baba", "bbaa",
	};

	all_come(_metadata, orders, two_senders);
}

static struct kaus_mutex lock;

/* A bug: the lock is not held all the time. */
static void *increment(void *arg)
{
	long value = report->value;

	kaus_mutex_lock(&lock);
	kaus_mutex_unlock(&lock);
	report->value = value + 1;
	return NULL;
}

static int lose(void *arg)
{
	struct kaus_g *a = ut_spawn(increment, NULL);
	struct kaus_g *b = ut_spawn(increment, NULL);

	CHECK_EQ(0, kaus_join(a, NULL));
	CHECK_EQ(0, kaus_join(b, NULL));
	return 0;
}

TEST(a_lost_update_is_found)
{
	uint64_t seed = 0;

	do {
		run_seed(_metadata, ++seed, lose);
	} while (report->value == 2);
	EXPECT_EQ(1, report->value);
	TH_LOG("with seed %llu", (unsigned long long)seed);
}

static void *busy(void *arg)
{
	char me = (char)(uintptr_t)arg;
	int i;

	for (i = 0; i < 30; i++) {
		note(me);
		switch (i % 3) {
		case 0:
			kaus_yield();
			break;
		case 1:
			kaus_mutex_lock(&lock);
			note(me);
			kaus_mutex_unlock(&lock);
			break;
		default:
			CHECK_EQ(0, kaus_chan_send(chan, &me));
			break;
		}
	}
	return NULL;
}

static void take(void *arg)
{
	char what;

	while (!kaus_chan_recv(chan, &what))
		note(what);
}

static int many(void *arg)
{
	struct kaus_g *gs[40];
	unsigned int i;

	chan = kaus_chan_make(1, 3);
	ut_go(take, NULL);
	for (i = 0; i < ARRAY_SIZE(gs); i++)
		gs[i] = ut_spawn(busy, (void *)(uintptr_t)('0' + i));
	for (i = 0; i < ARRAY_SIZE(gs); i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	see_if_disturbed();
	return 0;
}

TEST(a_seed_gives_the_same_order)
{
	static char first[LOG_MAX];

	while (!run_seed(_metadata, 7, many))
		;
	memcpy(first, report->log, LOG_MAX);
	while (!run_seed(_metadata, 8, many))
		;
	EXPECT_NE(0, memcmp(first, report->log, LOG_MAX));
	while (!run_seed(_metadata, 7, many))
		;
	EXPECT_EQ(0, memcmp(first, report->log, LOG_MAX));
}

TEST(the_environment_sets_the_seed)
{
	static char first[LOG_MAX];

	while (!run_seed(_metadata, 77, many))
		;
	memcpy(first, report->log, LOG_MAX);
	setenv("KAUS_SCHED_RANDOM", "77", 1);
	while (!run_seed(_metadata, 0, many))
		;
	EXPECT_EQ(0, memcmp(first, report->log, LOG_MAX));
}

TEST_HARNESS_MAIN
