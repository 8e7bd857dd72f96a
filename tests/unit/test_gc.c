// SPDX-License-Identifier: GPL-2.0-only
/*
 * The collector: what something refers to stays as it is, what nothing refers to
 * is freed, and the bytes that are left are the bytes that are live.
 *
 * If it is broken: an object changes under the hands of its user, or the heap
 * grows without end.
 */
#include "gctest.h"
#include "gchooks.h"

#include "mem/heap.h"
#include "mem/root.h"
#include "os/os.h"

#define KB 1024UL

/* Old values in registers and on the stack would keep objects. */
__attribute__((noinline)) static void scrub(void)
{
	volatile char junk[4 * KB];

	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = 0;
}

/* ---- live and dead ---- */

/* Touched by goroutines of their own, so that counts are exact. */
static struct node *global_tree;

static void *make_global(void *arg)
{
	global_tree = make_tree(12, 1);
	return NULL;
}

static void *check_global(void *arg)
{
	CHECK_EQ((uintptr_t)arg, check_tree(global_tree, 1));
	return NULL;
}

static void *cut_global(void *arg)
{
	global_tree->left = NULL;
	return NULL;
}

static void *drop_global(void *arg)
{
	global_tree = NULL;
	return NULL;
}

static int live_and_dead(void *arg)
{
	uint64_t base = count_live();

	elsewhere(make_global, NULL);
	CHECK_EQ(base + 8191, count_live());
	CHECK(gc_stats().heap_live_bytes >= 8191 * sizeof(struct node));
	elsewhere(check_global, (void *)8191);
	CHECK_EQ(base + 8191, count_live());

	elsewhere(cut_global, NULL);
	CHECK_EQ(base + 4096, count_live());
	elsewhere(check_global, (void *)4096);

	elsewhere(drop_global, NULL);
	CHECK_EQ(base, count_live());
	return 0;
}

TEST(live_stays_and_dead_is_freed)
{
	RUN(live_and_dead, NULL);
}

static int by_itself(void *arg)
{
	struct node *kept = make_tree(10, 1);
	uint64_t nr;

	kaus_gc();
	nr = gc_stats().nr_cycles;
	/* Far more than the goal: it would be 200 MB. */
	for (int i = 0; i < 3200; i++) {
		CHECK(kaus_alloc(64 * KB - 64));
		CHECK(kaus_alloc_noscan(100));
	}
	CHECK(gc_stats().nr_cycles > nr + 5);
	CHECK(gc_stats().heap_live_bytes < 32 * KB * KB);
	CHECK_EQ(2047, check_tree(kept, 1));
	return 0;
}

TEST(cycles_come_by_themselves)
{
	RUN(by_itself, NULL);
}

static int off(void *arg)
{
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, -1));
	CHECK_EQ(-1, kaus_gc_get(KAUS_GC_PERCENT));
	for (int i = 0; i < 500; i++)
		CHECK(kaus_alloc(64 * KB));
	CHECK_EQ(0, gc_stats().nr_cycles);
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, 50));
	for (int i = 0; i < 500; i++)
		CHECK(kaus_alloc(64 * KB));
	CHECK(gc_stats().nr_cycles > 0);
	CHECK_EQ(-EINVAL, kaus_gc_set(KAUS_GC_PERCENT, -2));
	CHECK_EQ(-EINVAL, kaus_gc_set((enum kaus_gc_setting)77, 1));
	CHECK_EQ(-EINVAL, kaus_gc_get((enum kaus_gc_setting)77));
	return 0;
}

TEST(percent_can_be_set)
{
	RUN(off, NULL);
}

/* The limit makes cycles where the percentage would not. */
static int limited(void *arg)
{
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, -1));
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_LIMIT, 24 * KB * KB));
	for (int i = 0; i < 2000; i++) {
		CHECK(kaus_alloc_noscan(64 * KB));
		CHECK(gc_stats().heap_live_bytes < 32 * KB * KB);
	}
	CHECK(gc_stats().nr_cycles > 3);
	return 0;
}

TEST(limit)
{
	RUN(limited, NULL);
}

/* ---- what counts as a reference ---- */

static struct kaus_gc_root root;

static struct node *in_malloc(struct node ***ret_where)
{
	struct node **where = malloc(sizeof(*where));

	*ret_where = where;
	return *where = make_tree(3, 1);
}

static int roots(void *arg)
{
	struct node **where;
	char *interior;

	in_malloc(&where);
	CHECK_EQ(0, kaus_gc_root_add(&root, where, sizeof(*where)));
	CHECK_EQ(-EINVAL, kaus_gc_root_add(NULL, where, sizeof(*where)));
	scrub();
	kaus_gc();
	for (int i = 0; i < 1000; i++)
		make_tree(3, 7);
	kaus_gc();
	CHECK_EQ(15, check_tree(*where, 1));
	kaus_gc_root_del(&root);
	free(where);

	/* A pointer to the last byte keeps all. */
	interior = (char *)make_tree(3, 1) + sizeof(struct node) - 1;
	scrub();
	kaus_gc();
	for (int i = 0; i < 1000; i++)
		make_tree(3, 7);
	CHECK_EQ(15, check_tree((struct node *)(interior + 1 -
						 sizeof(struct node)), 1));
	return 0;
}

TEST(registered_memory_and_interior_pointers)
{
	RUN(roots, NULL);
}

/* ---- variables that do not count ---- */

#define NR_VARS 200

static struct node *vars[NR_VARS];
static struct node *registered_vars[NR_VARS];
static struct kaus_weak weak_vars[NR_VARS], weak_registered[NR_VARS];
static int nr_gone;

static void *fill_vars(void *arg)
{
	for (uint64_t i = 0; i < NR_VARS; i++) {
		vars[i] = make_node(i);
		registered_vars[i] = make_tree(1, i);
		weak_vars[i] = kaus_weak_make(vars[i]);
		weak_registered[i] = kaus_weak_make(registered_vars[i]);
	}
	return NULL;
}

static void *look_at_vars(void *arg)
{
	nr_gone = 0;
	for (uint64_t i = 0; i < NR_VARS; i++) {
		nr_gone += !kaus_weak_get(weak_vars[i]);
		CHECK(kaus_weak_get(weak_registered[i]));
		CHECK_EQ(3, check_tree(registered_vars[i], i));
	}
	return NULL;
}

static int without_variables(void *arg)
{
	/* By the environment, or by the program. */
	CHECK_EQ(arg ? 0 : 1, kaus_gc_get(KAUS_GC_DATA));
	elsewhere(fill_vars, NULL);
	CHECK_EQ(0, kaus_gc_root_add(&root, registered_vars,
				     sizeof(registered_vars)));
	if (!arg) {
		CHECK_EQ(0, kaus_gc());
		elsewhere(look_at_vars, NULL);
		CHECK_EQ(0, nr_gone);
		CHECK_EQ(0, kaus_gc_set(KAUS_GC_DATA, 0));
	}
	CHECK_EQ(0, kaus_gc());
	elsewhere(look_at_vars, NULL);
	/* But for those that a stale word seems to refer to. */
	CHECK(nr_gone > NR_VARS / 2);
	kaus_gc_root_del(&root);
	return 0;
}

TEST(variables_need_not_count)
{
	RUN(without_variables, NULL);
}

TEST(variables_need_not_count_by_the_environment)
{
	setenv("KAUS_GC_DATA", "2", 1);
	EXPECT_EQ(-EINVAL, kaus_run(without_variables, NULL));
	setenv("KAUS_GC_DATA", "0", 1);
	RUN(without_variables, "env");
}

/* ---- variables of the runtime ---- */

static struct node *seen_vars[NR_VARS];
static struct node *unseen_vars[NR_VARS];
static struct node *seen_behind[NR_VARS];
KR_NOT_A_ROOT(unseen_vars);
static struct kaus_weak weak_seen[NR_VARS], weak_unseen[NR_VARS],
	weak_behind[NR_VARS];

static void *fill_unseen(void *arg)
{
	for (uint64_t i = 0; i < NR_VARS; i++) {
		seen_vars[i] = make_node(i);
		unseen_vars[i] = make_node(i);
		seen_behind[i] = make_node(i);
		weak_seen[i] = kaus_weak_make(seen_vars[i]);
		weak_unseen[i] = kaus_weak_make(unseen_vars[i]);
		weak_behind[i] = kaus_weak_make(seen_behind[i]);
	}
	return NULL;
}

static void *look_at_unseen(void *arg)
{
	nr_gone = 0;
	for (int i = 0; i < NR_VARS; i++) {
		nr_gone += !kaus_weak_get(weak_unseen[i]);
		CHECK(kaus_weak_get(weak_seen[i]));
		CHECK(kaus_weak_get(weak_behind[i]));
	}
	return NULL;
}

#define NO_WAY 3	/* to see what was written */

/* How many bytes there are, and whether two variables are among them. */
struct segments {
	uint64_t bytes;
	unsigned int nr_seen, nr_fixed;
};

/* Read-only after relocation. */
static void *const fixed[] = { &seen_vars };

static bool is_within(const void *p, const void *lo, const void *hi)
{
	return (uintptr_t)p >= (uintptr_t)lo && (uintptr_t)p < (uintptr_t)hi;
}

static void add_segment(void *arg, const void *lo, const void *hi)
{
	struct segments *seg = arg;

	seg->bytes += (uintptr_t)hi - (uintptr_t)lo;
	seg->nr_seen += is_within(seen_vars, lo, hi);
	seg->nr_fixed += is_within(fixed, lo, hi);
}

static int not_roots(void *arg)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };
	struct segments seg = { .bytes = 0 };
	int err = arg ? kaus_gc_set(KAUS_GC_CONCURRENT, 2) : 0;
	uint64_t tables = 0;

	if (err == -EOPNOTSUPP)
		return NO_WAY;
	CHECK_EQ(0, err);
	elsewhere(fill_unseen, NULL);
	CHECK_EQ(0, kaus_gc());
	elsewhere(look_at_unseen, NULL);
	CHECK(nr_gone > NR_VARS / 2);
	CHECK_EQ(0, kaus_gc_stats_read(&st));
	for (const struct kr_not_root *no = __start_kr_not_roots;
	     no < __stop_kr_not_roots; no++)
		tables += (uint64_t)((const char *)no->hi -
				     (const char *)no->lo);
	printf("# %lu KiB of roots, %lu KiB of tables are none\n",
	       (unsigned long)st.root_bytes / KB, (unsigned long)tables / KB);
	/* Descriptors, call chains, lists of spans, records, Ms and Ps. */
	CHECK(tables > 200 * KB);
	kr_segments_for_each(add_segment, &seg);
	CHECK_EQ(1, seg.nr_seen);
	CHECK_EQ(0, seg.nr_fixed);
	/* There are stacks, too. */
	CHECK(st.root_bytes < seg.bytes - tables + 64 * KB);
	return 0;
}

TEST(tables_of_the_runtime_are_no_roots)
{
	RUN(not_roots, NULL);
}

/* With variables looked at page by page. */
TEST(tables_are_no_roots_of_a_cycle_by_pages)
{
	int status = kaus_run(not_roots, "by pages");

	if (status == NO_WAY)
		SKIP(return, "this kernel, or a filter, has not got it");
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

/* In a channel's buffer only. */
static int buffered(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(struct node *), 8);
	struct node *n;

	for (int i = 0; i < 8; i++) {
		n = make_tree(4, 1);
		CHECK_EQ(0, kaus_chan_send(ch, &n));
	}
	n = NULL;
	scrub();
	for (int i = 0; i < 5; i++) {
		kaus_gc();
		for (int k = 0; k < 1000; k++)
			make_tree(3, 7);
	}
	for (int i = 0; i < 8; i++) {
		CHECK_EQ(0, kaus_chan_recv(ch, &n));
		CHECK_EQ(31, check_tree(n, 1));
	}
	kaus_chan_free(ch);
	return 0;
}

TEST(in_a_channel)
{
	RUN(buffered, NULL);
}

/* What the type does not name is not seen, and what is no pointer does no harm. */
struct half {
	struct node *named;
	uintptr_t hidden;
	uint64_t more[4];
};

KAUS_TYPE(half_type, struct half, named);

static struct half *half;

static void *make_half(void *arg)
{
	half = kaus_new(&half_type);
	half->named = make_tree(0, 1);
	half->hidden = (uintptr_t)make_tree(12, 2);
	half->more[0] = 1;
	half->more[1] = ~0ULL;
	return NULL;
}

static int typed(void *arg)
{
	elsewhere(make_half, NULL);
	kaus_gc();
	CHECK_EQ(1, check_tree(half->named, 1));
	CHECK(gc_stats().nr_marked < 8191);
	return 0;
}

TEST(types)
{
	RUN(typed, NULL);
}

/* Arrays, large ones, of each kind. */
static int arrays(void *arg)
{
	struct node *array = kaus_new_array(&node_type, 100000);
	struct node **ptrs = kaus_alloc_array(100000, sizeof(*ptrs));
	char *bytes = kaus_alloc_array_noscan(1000000, 1);

	if (!CHECK(array && ptrs && bytes))
		return 1;
	for (size_t i = 0; i < 100000; i += 997) {
		array[i].left = make_tree(1, i);
		ptrs[i] = make_tree(1, i);
	}
	memset(bytes, 0x5a, 1000000);
	for (int i = 0; i < 4; i++) {
		kaus_gc();
		for (int k = 0; k < 1000; k++)
			make_tree(3, 7);
	}
	for (size_t i = 0; i < 100000; i += 997) {
		CHECK_EQ(3, check_tree(array[i].left, i));
		CHECK_EQ(3, check_tree(ptrs[i], i));
	}
	for (size_t i = 0; i < 1000000; i++)
		if (!CHECK(bytes[i] == 0x5a))
			break;
	return 0;
}

TEST(large_arrays)
{
	RUN(arrays, NULL);
}

/* A list is one chain: it must not need a stack as deep as it is long. */
static int long_list(void *arg)
{
	struct node *head = NULL;
	unsigned long nr = 0;

	for (int i = 0; i < 300000; i++) {
		struct node *n = kaus_new(&node_type);

		n->right = head;
		n->tag = (uint64_t)i;
		head = n;
	}
	kaus_gc();
	for (struct node *n = head; n; n = n->right)
		nr++;
	CHECK_EQ(300000, nr);
	return 0;
}

TEST(a_long_list)
{
	RUN(long_list, NULL);
}

/* ---- many goroutines that change what they have ---- */

#define NR_SLOTS 16

static atomic_int nr_rounds_left;

static void mutate(void *arg)
{
	struct node *slots[NR_SLOTS] = { NULL };
	uint64_t tags[NR_SLOTS] = { 0 };
	uint64_t seed = 88172645463325252ULL + (uintptr_t)arg;
	struct kaus_waitgroup *wg = ((struct kaus_waitgroup **)&arg)[0];

	(void)wg;
	while (atomic_fetch_sub(&nr_rounds_left, 1) > 0) {
		unsigned int i = ut_rand(&seed) % NR_SLOTS;
		int depth = (int)(ut_rand(&seed) % 6);

		check_tree(slots[i], tags[i]);
		tags[i] = ut_rand(&seed) >> 32 | 1;
		slots[i] = make_tree(depth, tags[i]);
		switch (ut_rand(&seed) % 32) {
		case 0:
			kaus_yield();
			break;
		case 1:
			kaus_sleep(10 * USEC);
			break;
		default:
			break;
		}
	}
	for (int i = 0; i < NR_SLOTS; i++)
		check_tree(slots[i], tags[i]);
}

static void mutator(void *arg)
{
	mutate(arg);
	kaus_waitgroup_done(&mutators);
}

static int many(void *arg)
{
	atomic_store(&nr_rounds_left, UT_TSAN ? 3000 : 60000);
	kaus_gc_set(KAUS_GC_PERCENT, 20);
	for (uintptr_t i = 0; i < 50; i++) {
		kaus_waitgroup_add(&mutators, 1);
		ut_go(mutator, (void *)i);
	}
	while (atomic_load(&nr_rounds_left) > 0) {
		kaus_gc();
		kaus_sleep(500 * USEC);
	}
	kaus_waitgroup_wait(&mutators);
	CHECK(gc_stats().nr_cycles > 1);
	return 0;
}

TEST(many_mutators)
{
	RUN(many, NULL);
}

TEST(many_mutators_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, many, NULL);
}

TEST(many_mutators_on_eight_procs)
{
	struct kaus_options opts = ut_procs(8);

	RUN_WITH(&opts, many, NULL);
}

/* ---- plain threads ---- */

static atomic_bool thread_done;

static void *registered(void *arg)
{
	struct node *kept;

	CHECK_EQ(0, kaus_gc_thread_register());
	CHECK_EQ(-EEXIST, kaus_gc_thread_register());
	kept = make_tree(6, 1);
	for (int i = 0; i < 200; i++) {
		struct timespec ts = { 0, 50 * USEC };

		nanosleep(&ts, NULL);
		make_tree(6, 7);
		CHECK_EQ(127, check_tree(kept, 1));
		if (i % 50 == 49)
			CHECK_EQ(0, kaus_gc());
	}
	CHECK_EQ(0, kaus_gc_thread_unregister());
	CHECK_EQ(-ENOENT, kaus_gc_thread_unregister());
	CHECK_EQ(-EPERM, kaus_gc());
	atomic_store(&thread_done, true);
	return NULL;
}

static int threads(void *arg)
{
	pthread_t thread;

	CHECK_EQ(-EPERM, kaus_gc_thread_register());
	CHECK_EQ(0, pthread_create(&thread, NULL, registered, NULL));
	while (!atomic_load(&thread_done)) {
		kaus_gc();
		make_tree(5, 3);
		kaus_sleep(200 * USEC);
	}
	pthread_join(thread, NULL);
	return 0;
}

TEST(registered_thread)
{
	UT_SKIP_TSAN("a thread that waits in the runtime gets no signal");
	RUN(threads, NULL);
}

/* ---- what kaus_gc() has done when it returns ---- */

static atomic_bool others_sweep, held;

/* The cycle ends: as if another thread took a span to sweep at once. */
static void hold_one(struct kr_marker *mk)
{
	(void)mk;
	if (!atomic_exchange(&held, true)) {
		kr_add(&kr_heap.nr_sweepers, 1);
		atomic_store(&others_sweep, true);
	}
}

static void sweep_slowly(void *arg)
{
	(void)arg;
	while (!atomic_load(&others_sweep))
		kaus_sleep(MSEC);
	kaus_sleep(50 * MSEC);
	atomic_store(&others_sweep, false);
	kr_sub(&kr_heap.nr_sweepers, 1);
}

static int all_is_swept(void *arg)
{
	static struct kr_gc_hooks hooks = { NO_GC_HOOKS };

	hooks.marked = hold_one;
	kaus_gc_compat(&hooks);
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_CONCURRENT, !!arg));
	ut_go(sweep_slowly, NULL);
	CHECK_EQ(0, kaus_gc());
	CHECK(atomic_load(&held) && !atomic_load(&others_sweep));
	return 0;
}

TEST(others_have_swept_too)
{
	RUN(all_is_swept, NULL);
}

TEST(others_have_swept_too_after_a_concurrent_cycle)
{
	RUN(all_is_swept, &held);
}

/* ---- before the runtime starts ---- */

static int uses_earlier(void *arg)
{
	struct node **earlier = arg;

	for (int i = 0; i < 5; i++) {
		kaus_gc();
		for (int k = 0; k < 1000; k++)
			make_tree(3, 7);
	}
	CHECK_EQ(127, check_tree(*earlier, 1));
	return 0;
}

TEST(stack_below_kaus_run)
{
	struct node *earlier = make_tree(6, 1);

	EXPECT_EQ(-EPERM, kaus_gc());
	RUN(uses_earlier, &earlier);
}

/*
 * What a goroutine has returned is referred to by nothing else until it has been
 * fetched, which a thread does some time after the goroutine has ended.
 */
static atomic_bool fetched;

static void *fresh(void *arg)
{
	struct node *n = kaus_new(&node_type);

	n->tag = (uintptr_t)arg;
	n->sum = n->tag ^ MAGIC;
	scrub();
	return n;
}

static void *fetch_results(void *arg)
{
	CHECK_EQ(0, kaus_gc_thread_register());
	for (uintptr_t i = 0; i < 500; i++) {
		struct node *n = NULL;
		void *value;

		CHECK_EQ(0, kaus_join(ut_spawn(fresh, (void *)i), &value));
		n = value;
		CHECK_EQ(i, n->tag);
		CHECK_EQ(i ^ MAGIC, n->sum);
	}
	CHECK_EQ(0, kaus_gc_thread_unregister());
	atomic_store(&fetched, true);
	return NULL;
}

static int collect_meanwhile(void *arg)
{
	pthread_t thread;

	CHECK_EQ(0, pthread_create(&thread, NULL, fetch_results, NULL));
	for (uintptr_t i = 0; !atomic_load(&fetched); i++) {
		CHECK_EQ(0, kaus_gc());
		/* What is free is used again. */
		for (int j = 0; j < 64; j++)
			kaus_new(&node_type);
		kaus_yield();
	}
	CHECK_EQ(0, pthread_join(thread, NULL));
	return 0;
}

TEST(results_stay_until_they_are_fetched)
{
	UT_SKIP_TSAN("a thread that waits in the runtime gets no signal");
	RUN(collect_meanwhile, NULL);
}

/* The line for each cycle: all of its fields, in the order of the manual. */
static int traced(void *arg)
{
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_TRACE, 1));
	CHECK_EQ(0, kaus_gc());
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_TRACE, 0));
	CHECK_EQ(0, kaus_gc());
	return 0;
}

TEST(trace_line)
{
	unsigned long nr, percent, before, after, live, goal, roots, procs;
	double at, stop, pause, cpu;
	char line[500], rest[100];
	FILE *f = tmpfile();
	int err = dup(2), nr_lines = 0;

	dup2(fileno(f), 2);
	RUN(traced, NULL);
	dup2(err, 2);
	rewind(f);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "kaus: gc ", 9))
			continue;
		nr_lines++;
		EXPECT_EQ(13, sscanf(line, "kaus: gc %lu @%lf s %lu %%: "
				     "stopped in %lf ms, in all %lf ms, cpu %lf "
				     "ms, %lu -> %lu -> %lu KiB, goal was %lu "
				     "KiB, roots %lu KiB, %lu P%99[^\n]",
				     &nr, &at, &percent, &stop, &pause, &cpu,
				     &before, &after, &live, &goal, &roots,
				     &procs, rest));
		EXPECT_EQ(1UL, nr);
		EXPECT_LE(percent, 100UL);
		EXPECT_LE(stop, pause);
		EXPECT_LE(before, after);
		EXPECT_LE(live, after);
		EXPECT_NE(NULL, strstr(rest, ", forced"));
	}
	EXPECT_EQ(1, nr_lines);
	fclose(f);
}

TEST_HARNESS_MAIN
