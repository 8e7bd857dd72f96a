// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a cycle looks at while the program runs already, as there may be many of
 * them: timers that are armed, and what finalizers and cleanups need. What goes
 * away before it was looked at stays for this cycle.
 *
 * If it is broken: a timer fires with an argument that is something else by now,
 * a cleanup is called with one, or the world stands still for as long as there
 * are timers and finalizers.
 */
#include <kaus/weak.h>
#include <pthread.h>

#include "gcbegin.h"

#include "gc/special.h"

#define NR		300
#define FAR_NS		(3600 * SEC)
#define SOON_NS		(SEC / 2)

/* An object that only a timer's queue refers to, and what only it refers to. */
struct owner {
	struct kaus_timer timer;
	struct node *node;
};

static struct {
	uintptr_t hidden;		/* ~ of the owner's address */
	struct kaus_weak owner, node;
} all[NR];

static atomic_int nr_taken, nr_called;

/* sched.scan_timer, and counts. */
static void (*shade)(const void *t);

static void count_taken(const void *t)
{
	atomic_fetch_add(&nr_taken, 1);
	shade(t);
}

static void fired(void *arg)
{
	struct node *n = arg;

	CHECK(is_sound(n) && n->tag < NR);
	CHECK(kaus_weak_get(all[n->tag].node) == n);
	atomic_fetch_add(&nr_called, 1);
}

static void *arm(void *arg)
{
	uint64_t when_ns = kaus_now_ns() + (uint64_t)(uintptr_t)arg;

	for (uint64_t i = 0; i < NR; i++) {
		struct owner *o = kaus_alloc(sizeof(*o));
		struct node *n = make_node(i);

		if (!CHECK(o && n))
			break;
		kaus_timer_init(&o->timer, fired, n);
		KAUS_STORE(&o->node, n);
		CHECK_EQ(0, kaus_timer_start(&o->timer, when_ns, 0));
		all[i].hidden = ~(uintptr_t)o;
		all[i].owner = kaus_weak_make(o);
		all[i].node = kaus_weak_make(n);
	}
	return NULL;
}

__attribute__((noinline)) static void stop(int i)
{
	struct owner *o = (struct owner *)~all[i].hidden;

	CHECK_EQ(1, kaus_timer_stop(&o->timer));
}

static void *count_lost(void *arg)
{
	int *nr = arg;

	*nr = 0;
	for (int i = 0; i < NR; i++) {
		const struct node *n = kaus_weak_get(all[i].node);

		CHECK(!n || (is_sound(n) && n->tag == (uint64_t)i));
		*nr += !n || !kaus_weak_get(all[i].owner);
	}
	return NULL;
}

static void wait_for_end(void)
{
	while (__atomic_load_n(&kaus_gc_barrier_on, __ATOMIC_RELAXED))
		kaus_yield();
}

static void timers_begin(uint64_t ns)
{
	concurrent(0);
	shade = sched.scan_timer;
	sched.scan_timer = count_taken;
	elsewhere(arm, (void *)(uintptr_t)ns);
}

static int timers_stopped(void *arg)
{
	int nr_lost = 0;

	timers_begin(FAR_NS);
	begin_cycle();
	CHECK(kaus_gc_barrier_on);
	CHECK(sched.scan_timers);
	for (int i = 0; i < NR; i += 2)
		stop(i);
	CHECK_EQ(NR / 2, nr_taken);
	kaus_preempt_enable();
	wait_for_end();
	CHECK(!sched.scan_timers);
	elsewhere(count_lost, &nr_lost);
	CHECK_EQ(0, nr_lost);
	/* The other half has nothing but its timer, and keeps it. */
	for (int i = 0; i < 5 && nr_lost < NR / 2; i++) {
		CHECK_EQ(0, kaus_gc());
		elsewhere(count_lost, &nr_lost);
	}
	/* Some may be held by chance. */
	CHECK(nr_lost > NR / 4 && nr_lost <= NR / 2);
	for (int i = 1; i < NR; i += 2)
		stop(i);
	return 0;
}

TEST(timers_that_are_stopped)
{
	const struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, timers_stopped, NULL);
}

static int timers_fired(void *arg)
{
	uint64_t due_ns;

	timers_begin(SOON_NS);
	due_ns = kaus_now_ns() + SOON_NS;
	CHECK_EQ(0, nr_called);
	begin_cycle();
	CHECK(kaus_gc_barrier_on);
	CHECK(sched.scan_timers);
	while (kaus_now_ns() < due_ns)
		;
	kaus_preempt_enable();
	while (atomic_load(&nr_called) < NR)
		kaus_yield();
	CHECK(atomic_load(&nr_taken) > 0);
	wait_for_end();
	return 0;
}

TEST(timers_that_fire)
{
	const struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, timers_fired, NULL);
}

static void nothing(void *arg, const void *lo, const void *hi)
{
	(void)arg;
	(void)lo;
	(void)hi;
}

/*
 * From where nobody has looked, or just has in vain, to where somebody has: as
 * when the number of Ps changes. The other P is one that was there once.
 */
static int timers_moved(void *arg)
{
	int nr_lost;

	CHECK_EQ(0, kaus_set_procs(2));
	CHECK_EQ(0, kaus_set_procs(1));
	timers_begin(FAR_NS);
	kaus_preempt_disable();
	kr_timers_move(sched.allp[0], sched.allp[1]);
	begin_cycle();
	CHECK(sched.scan_timers);
	CHECK(kr_scan_some_timers(nothing, NULL) > 0);
	CHECK(sched.scan_timers);
	kr_timers_move(sched.allp[1], sched.allp[0]);
	CHECK_EQ(NR, nr_taken);
	kaus_preempt_enable();
	kaus_preempt_enable();
	wait_for_end();
	elsewhere(count_lost, &nr_lost);
	CHECK_EQ(0, nr_lost);
	for (int i = 0; i < NR; i++)
		stop(i);
	return 0;
}

TEST(timers_that_move)
{
	const struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, timers_moved, NULL);
}

/*
 * Without a barrier threads that are no goroutines mark as well. They look at
 * timers that others arm and disarm, as soon as a stop has let them go on.
 */
#define NR_ARMED	3000
#define NR_CYCLES	60

static struct kaus_timer armed[NR_ARMED];
static atomic_bool over;
static atomic_int nr_allocators;
static bool skipped;

static void *allocator(void *arg)
{
	CHECK_EQ(0, kaus_gc_thread_register());
	atomic_fetch_add(&nr_allocators, 1);
	while (!atomic_load(&over))
		CHECK(kaus_alloc(1000));
	CHECK_EQ(0, kaus_gc_thread_unregister());
	return arg;
}

static void rearm(void *arg)
{
	static bool is_armed[NR_ARMED];
	uint64_t rand = 4711;
	int nr = 0, nr_stopped = 0;

	while (!atomic_load(&over)) {
		unsigned int i = ut_rand(&rand) % NR_ARMED;

		if (is_armed[i])
			CHECK_EQ(1, kaus_timer_stop(&armed[i]));
		else
			CHECK_EQ(0, kaus_timer_start(&armed[i], kaus_now_ns() +
						     FAR_NS + i * SEC, 0));
		is_armed[i] = !is_armed[i];
		nr += is_armed[i] ? 1 : -1;
	}
	for (int i = 0; i < NR_ARMED; i++)
		nr_stopped += kaus_timer_stop(&armed[i]);
	CHECK_EQ(nr, nr_stopped);
	kaus_waitgroup_done(&mutators);
}

static int beside_threads(void *arg)
{
	pthread_t threads[2];

	skipped = kaus_gc_set(KAUS_GC_CONCURRENT, 2);
	if (skipped)
		return 0;
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, 30));
	elsewhere(make_ballast, (void *)12);
	for (int i = 0; i < NR_ARMED; i++)
		kaus_timer_init(&armed[i], fired, NULL);
	kaus_waitgroup_add(&mutators, 1);
	ut_go(rearm, NULL);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(0, pthread_create(&threads[i], NULL, allocator, NULL));
	while (atomic_load(&nr_allocators) < 2)
		kaus_yield();
	while (gc_stats().nr_by_pages < NR_CYCLES)
		CHECK_EQ(0, kaus_gc());
	atomic_store(&over, true);
	kaus_waitgroup_wait(&mutators);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(0, pthread_join(threads[i], NULL));
	CHECK_EQ(8191, count_tree(ballast));
	return 0;
}

TEST(timers_beside_threads)
{
	const struct kaus_options opts = ut_procs(2);

	UT_SKIP_TSAN("a thread that waits in the runtime gets no signal");
	RUN_WITH(&opts, beside_threads, NULL);
	if (skipped)
		SKIP(return, "this kernel has no way to see what was written");
}

/* ---- finalizers and cleanups ---- */

/* The first one stays until the cycle is over that it was queued in. */
static void cleanup(void *arg)
{
	wait_for_end();
	fired(arg);
}

/* With a child of its own, which nothing else refers to. */
static void finalize(void *obj, void *arg)
{
	struct node *n = obj;

	wait_for_end();
	CHECK(is_sound(n) && is_sound(n->left) && n->left->tag == n->tag);
	CHECK(kaus_weak_get(all[n->tag].owner) == n->left);
	fired(arg);
}

static struct node *keep[NR];

static void *add_records(void *arg)
{
	for (uint64_t i = 0; i < NR; i++) {
		struct node *obj = make_tree(1, i), *n = make_node(i);

		if (!CHECK(obj && n))
			break;
		obj->left->tag = i;
		obj->left->sum = i ^ MAGIC;
		all[i].node = kaus_weak_make(n);
		all[i].owner = kaus_weak_make(obj->left);
		if (arg)
			CHECK_EQ(0, kaus_gc_finalizer_set(obj, finalize, n));
		else
			CHECK_EQ(0, kaus_gc_cleanup_add(obj, cleanup, n));
		keep[i] = obj;
	}
	return NULL;
}

static void free_all(void)
{
	for (int i = 0; i < NR; i++) {
		kaus_free(keep[i]);
		keep[i] = NULL;
	}
}

/* Their records leave the table for the queue, and that for a goroutine. */
static int records_taken(void *arg)
{
	concurrent(0);
	elsewhere(add_records, NULL);
	begin_cycle();
	CHECK(kaus_gc_barrier_on);
	CHECK(kr_special_is_left());
	free_all();
	kaus_preempt_enable();
	while (atomic_load(&nr_called) < NR)
		kaus_yield();
	CHECK(!kr_special_is_left());
	return 0;
}

TEST(cleanups_of_what_is_freed)
{
	const struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, records_taken, NULL);
}

/* Nothing else keeps what finalizers need, for as many cycles as there are. */
static int records_stay(void *arg)
{
	int nr_lost;

	concurrent(0);
	elsewhere(add_records, (void *)1);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(0, kaus_gc());
		elsewhere(count_lost, &nr_lost);
		CHECK_EQ(0, nr_lost);
	}
	memset(keep, 0, sizeof(keep));
	while (atomic_load(&nr_called) < NR) {
		CHECK_EQ(0, kaus_gc());
		kaus_yield();
	}
	return 0;
}

TEST(what_finalizers_need_stays)
{
	const struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, records_stay, NULL);
}

TEST_HARNESS_MAIN
