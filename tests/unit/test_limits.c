// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bad input and the ends of resources: each has the result that the manual
 * pages name, nothing is lost without a word, and when there is room again all
 * goes on.
 *
 * If it is broken: a crash where an error is due, a goroutine that was accepted
 * and never ran, or a program that stays stuck after it was out of memory.
 */
#include "utest.h"

#include "sched/sched.h"

extern uint64_t kr_reap_ns;

static struct kaus_options two_procs(void)
{
	return ut_procs(2);
}

#define RUN2(fn) \
	do { \
		struct kaus_options opts_ = two_procs(); \
		RUN_WITH(&opts_, fn, NULL); \
	} while (0)

/* ---- channels ---- */

static int full_and_empty(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 2);
	int value = 1;
	struct kaus_case send = KAUS_SEND(ch, &value);

	CHECK_EQ(-EAGAIN, kaus_chan_try_recv(ch, &value));
	CHECK_EQ(-ETIMEDOUT, kaus_chan_recv_until(ch, &value,
						  kaus_now_ns() + MSEC));
	CHECK_EQ(0, kaus_chan_try_send(ch, &value));
	CHECK_EQ(0, kaus_chan_try_send(ch, &value));
	CHECK_EQ(-EAGAIN, kaus_chan_try_send(ch, &value));
	CHECK_EQ(-EAGAIN, kaus_select_try(&send, 1));
	CHECK_EQ(-ETIMEDOUT, kaus_chan_send_until(ch, &value,
						  kaus_now_ns() + MSEC));
	CHECK_EQ(2, kaus_chan_len(ch));
	kaus_chan_free(ch);
	return 0;
}

TEST(a_full_queue_refuses)
{
	RUN2(full_and_empty);
}

static int of_nothing(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 1000000);

	/* What has no size needs no memory, but counts. */
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(0, kaus_chan_send(ch, NULL));
	CHECK_EQ(1000, kaus_chan_len(ch));
	CHECK_EQ(0, kaus_chan_close(ch));
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(0, kaus_chan_recv(ch, NULL));
	CHECK_EQ(-EPIPE, kaus_chan_recv(ch, NULL));
	kaus_chan_free(ch);
	return 0;
}

TEST(elements_of_no_size_are_counted)
{
	RUN2(of_nothing);
}

/* Nothing to send is for channels whose elements are nothing. */
static int missing(void *arg)
{
	static const size_t sizes[] = { 1, sizeof(uint64_t), 100 };
	char elem[100] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct kaus_chan *ch = kaus_chan_make(sizes[i], 1);
		struct kaus_case cases[] = { KAUS_RECV(ch, elem),
					     KAUS_SEND(ch, NULL) };

		CHECK_EQ(-EINVAL, kaus_chan_send(ch, NULL));
		CHECK_EQ(-EINVAL, kaus_chan_send_until(ch, NULL, 0));
		CHECK_EQ(-EINVAL, kaus_chan_try_send(ch, NULL));
		CHECK_EQ(-EINVAL, kaus_select(cases, 2));
		CHECK_EQ(-EINVAL, kaus_select_try(cases, 2));
		CHECK_EQ(0, kaus_chan_len(ch));
		/* Receiving into nothing drops what comes. */
		CHECK_EQ(0, kaus_chan_send(ch, elem));
		CHECK_EQ(0, kaus_chan_recv(ch, NULL));
		kaus_chan_free(ch);
	}
	return 0;
}

TEST(what_is_missing_is_not_sent)
{
	RUN2(missing);
}

static int closed(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 1);
	int value = 7;
	struct kaus_case send = KAUS_SEND(ch, &value);

	CHECK_EQ(0, kaus_chan_send(ch, &value));
	CHECK_EQ(0, kaus_chan_close(ch));
	CHECK_EQ(-EPIPE, kaus_chan_close(ch));
	CHECK_EQ(-EINVAL, kaus_chan_close(NULL));
	CHECK_EQ(-EPIPE, kaus_chan_send(ch, &value));
	CHECK_EQ(-EPIPE, kaus_chan_try_send(ch, &value));
	CHECK_EQ(-EPIPE, kaus_chan_send_until(ch, &value, 1));
	CHECK_EQ(0, kaus_select(&send, 1));
	CHECK_EQ(-EPIPE, send.result);
	value = 0;
	CHECK_EQ(0, kaus_chan_recv(ch, &value));
	CHECK_EQ(7, value);
	CHECK_EQ(-EPIPE, kaus_chan_recv(ch, &value));
	CHECK_EQ(-EPIPE, kaus_chan_try_recv(ch, &value));
	kaus_chan_free(ch);
	return 0;
}

TEST(what_is_closed_says_so)
{
	RUN2(closed);
}

TEST(impossible_channels_are_not_made)
{
	EXPECT_EQ(NULL, kaus_chan_make(SIZE_MAX, 1));
	EXPECT_EQ(NULL, kaus_chan_make(1, SIZE_MAX));
	EXPECT_EQ(NULL, kaus_chan_make(1UL << 33, 1UL << 33));
}

/* ---- deadlines ---- */

static atomic_int nr_fired;

static void fire(void *arg)
{
	atomic_fetch_add(&nr_fired, 1);
}

static int past(void *arg)
{
	/* The beginning of time, and what a subtraction made of a moment ago. */
	const uint64_t deadlines[] = { 0, 1, kaus_now_ns() - 1 };
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 1);
	struct kaus_mutex mu = KAUS_MUTEX_INIT;
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;
	int value = 1;

	CHECK_EQ(0, kaus_mutex_lock(&mu));
	CHECK_EQ(0, kaus_waitgroup_add(&wg, 1));
	for (size_t i = 0; i < ARRAY_SIZE(deadlines); i++) {
		struct kaus_timer timer = KAUS_TIMER_INIT(fire, NULL);
		uint64_t due = deadlines[i];

		CHECK_EQ(-ETIMEDOUT, kaus_chan_recv_until(ch, &value, due));
		/* What can be had at once is had. */
		CHECK_EQ(0, kaus_chan_send_until(ch, &value, due));
		CHECK_EQ(0, kaus_chan_recv_until(ch, &value, due));
		CHECK_EQ(-ETIMEDOUT, kaus_mutex_lock_until(&mu, due));
		CHECK_EQ(-ETIMEDOUT, kaus_waitgroup_wait_until(&wg, due));
		CHECK_EQ(0, kaus_sleep_until(due));
		CHECK_EQ(0, kaus_timer_start(&timer, due, 0));
		while (atomic_load(&nr_fired) <= (int)i)
			kaus_yield();
		CHECK_EQ(0, kaus_timer_stop(&timer));
	}
	/* Too long for the clock: for ever, not the past. */
	CHECK_EQ(0, kaus_mutex_unlock(&mu));
	CHECK_EQ(0, kaus_mutex_lock_until(&mu, UINT64_MAX - 1));
	kaus_chan_free(ch);
	return 0;
}

TEST(deadlines_in_the_past)
{
	RUN2(past);
}

static struct kaus_chan *forever;

static void sleep_for_ever(void *arg)
{
	kaus_sleep((uint64_t)-1000);
	CHECK(false);
}

static int negative(void *arg)
{
	forever = kaus_chan_make(0, 0);
	ut_go(sleep_for_ever, NULL);
	kaus_sleep(20 * MSEC);
	return 0;
}

TEST(a_negative_sleep_is_a_long_one)
{
	RUN2(negative);
}

/* ---- locks ---- */

static int not_locked(void *arg)
{
	struct kaus_mutex mu = KAUS_MUTEX_INIT;
	struct kaus_rwmutex rw = KAUS_RWMUTEX_INIT;
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;

	for (int i = 0; i < 2; i++) {
		CHECK_EQ(-EPERM, kaus_mutex_unlock(&mu));
		CHECK_EQ(-EPERM, kaus_rwmutex_rdunlock(&rw));
		CHECK_EQ(-EPERM, kaus_rwmutex_wrunlock(&rw));
		CHECK_EQ(-EINVAL, kaus_waitgroup_done(&wg));
		/* And nothing has changed. */
		CHECK_EQ(0, kaus_mutex_lock(&mu));
		CHECK_EQ(0, kaus_mutex_unlock(&mu));
		CHECK_EQ(0, kaus_rwmutex_rdlock(&rw));
		CHECK_EQ(0, kaus_rwmutex_rdunlock(&rw));
		CHECK_EQ(0, kaus_rwmutex_wrlock(&rw));
		CHECK_EQ(0, kaus_rwmutex_wrunlock(&rw));
		CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	}
	return 0;
}

TEST(unlocking_what_is_not_locked)
{
	RUN2(not_locked);
}

/* As many readers as there can be: there is no time to lock so often. */
TEST(readers_beyond_the_limit)
{
	struct kaus_rwmutex rw = { .state = ((1U << 29) - 1) * 4 };

	EXPECT_EQ(-EOVERFLOW, kaus_rwmutex_rdlock(&rw));
	EXPECT_EQ(-EOVERFLOW, kaus_rwmutex_rdlock_until(&rw, 0));
	EXPECT_EQ(-EOVERFLOW, kaus_rwmutex_tryrdlock(&rw));
	EXPECT_EQ(-EAGAIN, kaus_rwmutex_trywrlock(&rw));
	EXPECT_EQ(0, kaus_rwmutex_rdunlock(&rw));
	EXPECT_EQ(0, kaus_rwmutex_rdlock(&rw));
	EXPECT_EQ(-EOVERFLOW, kaus_rwmutex_rdlock(&rw));
}

static int nested_too_deep(void *arg)
{
	for (int i = 0; i < 65535; i++)
		CHECK_EQ(0, kaus_preempt_disable());
	CHECK_EQ(-EOVERFLOW, kaus_preempt_disable());
	for (int i = 0; i < 65535; i++)
		CHECK_EQ(0, kaus_preempt_enable());
	CHECK_EQ(-EINVAL, kaus_preempt_enable());
	return 0;
}

TEST(preemption_disabled_too_often)
{
	RUN2(nested_too_deep);
}

/* ---- memory ---- */

static atomic_int nr_ran;

static void count(void *arg)
{
	struct kaus_chan *gate = arg;

	if (gate)
		kaus_chan_recv(gate, NULL);
	atomic_fetch_add(&nr_ran, 1);
}

static uint64_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	if (!f || fscanf(f, "%lu", &pages) != 1)
		abort();
	fclose(f);
	return pages * (uint64_t)getpagesize();
}

/* A million goroutines where there is room for a fraction of them. */
static int out_of_address_space(void *arg)
{
	struct rlimit old, limit;
	struct kaus_chan *gate = kaus_chan_make(0, 0);
	int nr, err = 0;

	getrlimit(RLIMIT_AS, &old);
	limit = old;
	limit.rlim_cur = address_space() + (256UL << 20);
	CHECK_EQ(0, setrlimit(RLIMIT_AS, &limit));
	for (nr = 0; nr < 1000000; nr++) {
		err = kaus_go(count, gate);
		if (err)
			break;
		/* They get their stacks when they first run. */
		if (nr % 16 == 0)
			kaus_yield();
	}
	CHECK_EQ(-ENOMEM, err);
	CHECK(nr > 0 && nr < 1000000);
	CHECK_EQ(0, kaus_chan_close(gate));
	/* Each that was accepted runs. */
	while (atomic_load(&nr_ran) < nr)
		kaus_sleep(MSEC);
	CHECK_EQ(nr, atomic_load(&nr_ran));
	/* And there is room again. */
	CHECK_EQ(0, kaus_go(count, NULL));
	while (atomic_load(&nr_ran) < nr + 1)
		kaus_sleep(MSEC);
	setrlimit(RLIMIT_AS, &old);
	kaus_chan_free(gate);
	return 0;
}

TEST(goroutines_beyond_the_address_space)
{
	UT_SKIP_TSAN("the sanitizer needs the address space");
#ifdef __SANITIZE_ADDRESS__
	SKIP(return, "the sanitizer needs the address space");
#endif
	RUN2(out_of_address_space);
}

/* Starting with less memory than it takes, up to where it is enough. */
static rlim_t room;

static int do_nothing(void *arg)
{
	return 0;
}

static void run_with_little(void)
{
	struct rlimit limit;
	int err;

	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = address_space() + room;
	if (setrlimit(RLIMIT_AS, &limit))
		_exit(2);
	err = kaus_run(do_nothing, NULL);
	_exit(!err ? 0 : err == -ENOMEM || err == -EAGAIN ? 1 : 2);
}

TEST(no_memory_to_begin_with)
{
	int status = -1, nr_refused = 0;

	UT_SKIP_TSAN("the sanitizer needs the address space");
#ifdef __SANITIZE_ADDRESS__
	SKIP(return, "the sanitizer needs the address space");
#endif
	for (room = 1UL << 16; room < 1UL << 47; room *= 2) {
		status = ut_child(run_with_little);
		ASSERT_TRUE(WIFEXITED(status));
		ASSERT_GT(2, WEXITSTATUS(status));
		if (!WEXITSTATUS(status))
			break;
		nr_refused++;
	}
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_LT(0, nr_refused);
}

/*
 * A timer is due and there is no memory for its goroutine: that comes when some
 * others have ended.
 */
static void set_flag(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
}

static int timer_without_memory(void *arg)
{
	static atomic_bool fired;
	struct kaus_timer timer = KAUS_TIMER_INIT(set_flag, &fired);
	struct kaus_chan *gate = kaus_chan_make(0, 0);
	struct rlimit old, limit;

	getrlimit(RLIMIT_AS, &old);
	limit = old;
	limit.rlim_cur = address_space() + (64UL << 20);
	CHECK_EQ(0, setrlimit(RLIMIT_AS, &limit));
	/* No caches where one could be left. */
	while (!kaus_go(count, gate))
		;
	CHECK_EQ(0, kaus_timer_start(&timer, kaus_now_ns() + MSEC, 0));
	kaus_sleep(20 * MSEC);
	CHECK(!atomic_load(&fired));
	CHECK_EQ(0, kaus_chan_close(gate));
	while (!atomic_load(&fired))
		kaus_sleep(MSEC);
	CHECK_EQ(0, kaus_timer_stop(&timer));
	setrlimit(RLIMIT_AS, &old);
	return 0;
}

TEST(a_timer_without_memory_fires_later)
{
	struct kaus_options opts = ut_procs(1);

	UT_SKIP_TSAN("the sanitizer needs the address space");
#ifdef __SANITIZE_ADDRESS__
	SKIP(return, "the sanitizer needs the address space");
#endif
	RUN_WITH(&opts, timer_without_memory, NULL);
}

/* Timers need a table, and without memory for that the program ends. */
static int too_many_timers(void *arg)
{
	static struct kaus_timer timers[1 << 20];
	struct rlimit limit;

	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = address_space() + (1UL << 20);
	CHECK_EQ(0, setrlimit(RLIMIT_AS, &limit));
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
		kaus_timer_init(&timers[i], count, NULL);
		CHECK_EQ(0, kaus_timer_start(&timers[i],
					     kaus_now_ns() + 1000 * SEC, 0));
	}
	return 0;
}

static int stderr_pipe[2];

static void run_too_many_timers(void)
{
	dup2(stderr_pipe[1], STDERR_FILENO);
	kaus_run(too_many_timers, NULL);
}

TEST(timers_beyond_the_memory)
{
	char said[256] = "";
	int status;

	UT_SKIP_TSAN("the sanitizer needs the address space");
#ifdef __SANITIZE_ADDRESS__
	SKIP(return, "the sanitizer needs the address space");
#endif
	ASSERT_EQ(0, pipe(stderr_pipe));
	status = ut_child(run_too_many_timers);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGABRT, WTERMSIG(status));
	close(stderr_pipe[1]);
	EXPECT_LT(0, read(stderr_pipe[0], said, sizeof(said) - 1));
	EXPECT_NE(NULL, strstr(said, "timer: out of memory")) TH_LOG("%s", said);
}

/* ---- threads ---- */

static void *sleep_in_the_kernel(void *arg)
{
	usleep(5000);
	return arg;
}

static int few_threads(void *arg)
{
	struct kaus_g *gs[64];

	for (size_t i = 0; i < ARRAY_SIZE(gs); i++)
		gs[i] = ut_spawn(sleep_in_the_kernel, gs);
	for (size_t i = 0; i < ARRAY_SIZE(gs); i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	return 0;
}

static int limit_threads(void *arg)
{
	struct rlimit limit = { 0, 0 };

	/* From here on no thread can be made. */
	CHECK_EQ(0, setrlimit(RLIMIT_NPROC, &limit));
	return few_threads(arg);
}

/* The limit does not hold for root. */
static bool become_nobody(void)
{
	return !getuid() ? !setresuid(65534, 65534, 65534) : true;
}

TEST(sleepers_in_the_kernel_beyond_the_threads)
{
	if (!become_nobody())
		SKIP(return, "cannot give up the rights of root");
	RUN2(limit_threads);
}

static void run_without_threads(void)
{
	struct rlimit limit = { 0, 0 };

	if (!become_nobody() || setrlimit(RLIMIT_NPROC, &limit))
		_exit(77);
	_exit(kaus_run(few_threads, NULL) == -EAGAIN ? 0 : 1);
}

TEST(no_thread_to_begin_with)
{
	int status = ut_child(run_without_threads);

	ASSERT_TRUE(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		SKIP(return, "cannot give up the rights of root");
	EXPECT_EQ(0, WEXITSTATUS(status));
}

/* ---- mappings ---- */

#define MAX_MAPPINGS 200000

static size_t max_map_count(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
	size_t max = 0;

	if (f && fscanf(f, "%zu", &max) != 1)
		max = 0;
	if (f)
		fclose(f);
	return max;
}

/*
 * Use up what mappings the process may have: every other page is another one, and
 * the last few are new ones, which is what fails in the end.
 */
static char *use_mappings(size_t *ret_size)
{
	size_t page = (size_t)getpagesize();
	char *all;

	*ret_size = 2 * max_map_count() * page;
	all = mmap(NULL, *ret_size, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!CHECK(all != MAP_FAILED))
		return NULL;
	for (size_t at = 0; at < *ret_size; at += 2 * page)
		if (mprotect(all + at, page, PROT_READ))
			break;
	for (int i = 0; i < 100; i++)
		if (mmap(NULL, page, i % 2 ? PROT_READ : PROT_EXEC,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			return all;
	CHECK(false);
	return all;
}

/* As without address space: none is accepted that does not run. */
static int out_of_mappings(void *arg)
{
	struct kaus_chan *gate = kaus_chan_make(0, 0);
	int nr = 0, err = 0;
	size_t size;
	char *all = use_mappings(&size);

	for (; nr < 1000000; nr++) {
		err = kaus_go(count, gate);
		if (err)
			break;
		if (nr % 16 == 0)
			kaus_yield();
	}
	CHECK_EQ(-ENOMEM, err);
	CHECK_EQ(0, kaus_chan_close(gate));
	while (atomic_load(&nr_ran) < nr)
		kaus_sleep(MSEC);
	CHECK_EQ(nr, atomic_load(&nr_ran));
	munmap(all, size);
	for (int i = 0; i < 10000; i++)
		ut_go(count, NULL);
	while (atomic_load(&nr_ran) < nr + 10000)
		kaus_sleep(MSEC);
	kaus_chan_free(gate);
	return 0;
}

static bool has_many_mappings(void)
{
	size_t max = max_map_count();

	return !max || max > MAX_MAPPINGS;
}

TEST(goroutines_beyond_the_mappings)
{
	UT_SKIP_TSAN("the sanitizer needs mappings");
#ifdef __SANITIZE_ADDRESS__
	SKIP(return, "the sanitizer needs mappings");
#endif
	if (has_many_mappings())
		SKIP(return, "a process may have too many mappings here");
	RUN2(out_of_mappings);
}

/*
 * Threads that ended have left stacks to the C library, which makes others on
 * them without a mapping: what else a thread needs there is none for. Sleepers
 * in the kernel take turns then with the threads that there are.
 */
static void *sleep_for_long(void *arg)
{
	usleep(50000);
	return arg;
}

static int threads_out_of_mappings(void *arg)
{
	struct kaus_g *gs[64];
	size_t size, nr = ARRAY_SIZE(gs);
	char *all = NULL;

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < nr; i++)
			gs[i] = ut_spawn(sleep_for_long, gs);
		for (size_t i = 0; i < nr; i++)
			CHECK_EQ(0, kaus_join(gs[i], NULL));
		if (round == 1)
			munmap(all, size);
		if (round)
			continue;
		CHECK(ut_stats().nr_threads > kr_keep_ms() + 1);
		while (ut_stats().nr_threads > kr_keep_ms() + 1)
			kaus_sleep(2 * MSEC);
		all = use_mappings(&size);
	}
	return 0;
}

TEST(threads_beyond_the_mappings)
{
	UT_SKIP_TSAN("the sanitizer needs mappings");
#ifdef __SANITIZE_ADDRESS__
	SKIP(return, "the sanitizer needs mappings");
#endif
	if (has_many_mappings())
		SKIP(return, "a process may have too many mappings here");
	kr_reap_ns = 5 * MSEC;
	RUN2(threads_out_of_mappings);
}

TEST_HARNESS_MAIN
