// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens when objects die: finalizers, cleanups, weak pointers.
 *
 * If it is broken: a finalizer is not called, or twice, or with an object whose
 * memory is another's; a weak pointer leads to such memory; what a finalizer
 * needs is gone.
 */
#include "gctest.h"

#define KB 1024UL
#define NR 500

/* Fill the heap with something else. */
static void *litter(void *arg)
{
	for (int i = 0; i < 3000; i++)
		make_node(~0ULL);
	return NULL;
}

static void collect(void)
{
	CHECK_EQ(0, kaus_gc());
	elsewhere(litter, NULL);
}

static atomic_int nr_called;

/* Until so many have been called. It hangs if they are not. */
static void collect_until(int nr)
{
	while (atomic_load(&nr_called) < nr) {
		collect();
		kaus_sleep(20 * USEC);
	}
}

/* ---- finalizers ---- */

static atomic_int seen[NR];

static void note(void *obj, void *arg)
{
	struct node *n = obj;

	CHECK(is_sound(n));
	CHECK(is_sound(arg) && ((struct node *)arg)->tag == n->tag + NR);
	CHECK(is_sound(n->left) && n->left->tag == n->tag + 2 * NR);
	CHECK_EQ(0, atomic_fetch_add(&seen[n->tag], 1));
	atomic_fetch_add(&nr_called, 1);
}

static void *make_many(void *arg)
{
	for (uint64_t i = 0; i < NR; i++) {
		struct node *n = make_node(i);

		n->left = make_node(i + 2 * NR);
		CHECK_EQ(0, kaus_gc_finalizer_set(n, note, make_node(i + NR)));
	}
	return NULL;
}

static int called(void *arg)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };

	elsewhere(make_many, NULL);
	collect_until(NR);
	CHECK_EQ(0, kaus_gc_stats_read(&st));
	CHECK_EQ(NR, st.nr_finalizers);
	CHECK_EQ(0, st.nr_finalizers_waiting);
	for (int i = 0; i < 3; i++)
		collect();
	kaus_sleep(MSEC);
	CHECK_EQ(NR, atomic_load(&nr_called));
	return 0;
}

TEST(each_is_called_once)
{
	RUN(called, NULL);
}

/* What is reachable is left alone; one that is taken off is not called. */
static struct node *kept[NR];

static void must_not(void *obj, void *arg)
{
	CHECK(!obj);
}

static void *make_kept(void *arg)
{
	for (uint64_t i = 0; i < NR; i++) {
		kept[i] = make_node(i);
		CHECK_EQ(0, kaus_gc_finalizer_set(kept[i], must_not, NULL));
	}
	return NULL;
}

static void *take_off(void *arg)
{
	for (uint64_t i = 0; i < NR; i++) {
		CHECK(is_sound(kept[i]));
		CHECK_EQ(0, kaus_gc_finalizer_set(kept[i], NULL, NULL));
		CHECK_EQ(-ENOENT,
			 kaus_gc_finalizer_set(kept[i], NULL, NULL));
		kept[i] = NULL;
	}
	return NULL;
}

static int not_called(void *arg)
{
	elsewhere(make_kept, NULL);
	for (int i = 0; i < 3; i++)
		collect();
	elsewhere(take_off, NULL);
	for (int i = 0; i < 3; i++)
		collect();
	kaus_sleep(MSEC);
	return 0;
}

TEST(not_while_reachable_nor_when_taken_off)
{
	RUN(not_called, NULL);
}

/* A is before B is before C, each in a cycle of its own. */
static uint64_t order[3], order_cycle[3];

static void in_order(void *obj, void *arg)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };
	struct node *n = obj;
	int nr = atomic_load(&nr_called);

	CHECK(is_sound(n));
	CHECK_EQ(0, kaus_gc_stats_read(&st));
	order[nr] = n->tag;
	order_cycle[nr] = st.nr_cycles;
	atomic_store(&nr_called, nr + 1);
}

static void *make_chain(void *arg)
{
	struct node *next = NULL;

	for (uint64_t tag = 3; tag-- > 0;) {
		struct node *n = make_node(tag);

		n->right = next;
		next = n;
		CHECK_EQ(0, kaus_gc_finalizer_set(n, in_order, NULL));
	}
	return NULL;
}

static int ordered(void *arg)
{
	elsewhere(make_chain, NULL);
	collect_until(3);
	for (uint64_t i = 0; i < 3; i++) {
		CHECK_EQ(i, order[i]);
		if (i)
			CHECK(order_cycle[i] > order_cycle[i - 1]);
	}
	return 0;
}

TEST(who_refers_comes_before_what_it_refers_to)
{
	RUN(ordered, NULL);
}

static void *make_rings(void *arg)
{
	struct node *a = make_node(1), *b = make_node(2), *self = make_node(3);

	a->left = b;
	b->left = a;
	self->left = self;
	CHECK_EQ(0, kaus_gc_finalizer_set(a, must_not, NULL));
	CHECK_EQ(0, kaus_gc_finalizer_set(self, must_not, NULL));
	return NULL;
}

static int ring(void *arg)
{
	elsewhere(make_rings, NULL);
	for (int i = 0; i < 4; i++)
		collect();
	kaus_sleep(MSEC);
	return 0;
}

TEST(a_ring_is_never_freed)
{
	RUN(ring, NULL);
}

/* ---- they do what they like ---- */

static struct node *saved;
static struct kaus_weak saved_weak;

static void resurrect(void *obj, void *arg)
{
	struct node *n = obj;

	CHECK(is_sound(n) && is_sound(n->left) && is_sound(n->left->left));
	/* Cleared, though it will be reachable again. */
	CHECK(!kaus_weak_get(saved_weak));
	saved = n;
	if (atomic_fetch_add(&nr_called, 1) < 2)
		CHECK_EQ(0, kaus_gc_finalizer_set(n, resurrect, NULL));
}

static void *make_saved(void *arg)
{
	struct node *n = make_node(1);

	n->left = make_node(2);
	n->left->left = make_node(3);
	CHECK_EQ(0, kaus_gc_finalizer_set(n, resurrect, NULL));
	saved_weak = kaus_weak_make(n);
	CHECK(kaus_weak_get(saved_weak) == n);
	return NULL;
}

static void *check_saved(void *arg)
{
	CHECK(is_sound(saved) && is_sound(saved->left) &&
	      is_sound(saved->left->left));
	CHECK(!kaus_weak_get(saved_weak));
	saved = NULL;
	return NULL;
}

static int resurrected(void *arg)
{
	elsewhere(make_saved, NULL);
	for (int i = 1; i <= 3; i++) {
		collect_until(i);
		collect();
		elsewhere(check_saved, NULL);
	}
	for (int i = 0; i < 3; i++)
		collect();
	kaus_sleep(MSEC);
	CHECK_EQ(3, atomic_load(&nr_called));
	CHECK_EQ(0, kaus_weak_drop(saved_weak));
	return 0;
}

TEST(resurrected_and_finalized_again)
{
	RUN(resurrected, NULL);
}

static struct kaus_chan *finalizer_waits;
static atomic_int nr_spawned;

static void spawned(void *arg)
{
	CHECK(is_sound(arg));
	atomic_fetch_add(&nr_spawned, 1);
}

static void busy(void *obj, void *arg)
{
	struct node *n = obj;

	/* A cycle or two in the midst of it. */
	for (int i = 0; i < 100; i++)
		CHECK(kaus_alloc(64 * KB));
	CHECK_EQ(0, kaus_gc());
	CHECK(is_sound(n));
	CHECK_EQ(0, kaus_go(spawned, n));
	if (n->tag == 0)
		CHECK_EQ(0, kaus_chan_recv(finalizer_waits, &n));
	atomic_fetch_add(&nr_called, 1);
}

static void *make_busy(void *arg)
{
	for (uint64_t i = 0; i < 10; i++)
		CHECK_EQ(0, kaus_gc_finalizer_set(make_node(i), busy, NULL));
	return NULL;
}

static int busily(void *arg)
{
	struct node *n = NULL;

	finalizer_waits = kaus_chan_make(sizeof(n), 0);
	elsewhere(make_busy, NULL);
	CHECK_EQ(0, kaus_gc());
	/* It waits for us, and nobody else is called meanwhile. */
	CHECK_EQ(0, kaus_chan_send(finalizer_waits, &n));
	collect_until(10);
	while (atomic_load(&nr_spawned) < 10)
		kaus_sleep(20 * USEC);
	return 0;
}

TEST(they_allocate_wait_and_start_goroutines)
{
	RUN(busily, NULL);
}

/* Which they shall not do; but others are called all the same. */
static void leaves(void *obj, void *arg)
{
	atomic_fetch_add(&nr_called, 1);
	kaus_exit();
}

static void *make_leaving(void *arg)
{
	for (uint64_t i = 0; i < 5; i++)
		CHECK_EQ(0, kaus_gc_finalizer_set(make_node(i), leaves, NULL));
	return NULL;
}

static int left(void *arg)
{
	elsewhere(make_leaving, NULL);
	collect_until(5);
	return 0;
}

TEST(one_that_exits)
{
	RUN(left, NULL);
}

/* Objects of all kinds and sizes; the runtime sees main asleep meanwhile. */
static struct kaus_waitgroup all_done;

static void big(void *obj, void *arg)
{
	size_t size = (uintptr_t)arg;
	unsigned char *p = obj;

	CHECK(p[0] == 0x5a && p[size / 2] == 0x5a && p[size - 1] == 0x5a);
	CHECK(kaus_alloc_size(obj) >= size);
	kaus_waitgroup_done(&all_done);
}

static void *make_big(void *arg)
{
	static const size_t sizes[] = { 1, 16, 100, 4000, 40000, 3000000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		void *objs[] = { kaus_alloc(sizes[i]),
				 kaus_alloc_noscan(sizes[i]) };

		for (int k = 0; k < 2; k++) {
			memset(objs[k], 0x5a, sizes[i]);
			kaus_waitgroup_add(&all_done, 1);
			CHECK_EQ(0, kaus_gc_finalizer_set(objs[k], big,
							  (void *)sizes[i]));
		}
	}
	return NULL;
}

static int sizes(void *arg)
{
	elsewhere(make_big, NULL);
	CHECK_EQ(0, kaus_gc());
	kaus_waitgroup_wait(&all_done);
	return 0;
}

TEST(sizes_and_kinds)
{
	RUN(sizes, NULL);
}

/* ---- cleanups ---- */

static struct kaus_weak gone_weak;
static int stage;

static void gone(void *arg)
{
	CHECK(is_sound(arg));
	CHECK(!kaus_weak_get(gone_weak));
	CHECK_EQ(1, stage);
	atomic_fetch_add(&nr_called, 1);
}

static void gone_not(void *arg)
{
	CHECK(!"called");
}

static void first(void *obj, void *arg)
{
	CHECK_EQ(0, stage);
	CHECK(is_sound(obj));
	stage = 1;
}

static void *make_cleaned(void *arg)
{
	struct node *n = make_node(1);
	char *interior = (char *)n + sizeof(*n) - 1;

	gone_weak = kaus_weak_make(n);
	CHECK_EQ(0, kaus_gc_cleanup_add(n, gone, make_node(2)));
	CHECK_EQ(0, kaus_gc_cleanup_add(interior, gone, make_node(3)));
	CHECK_EQ(0, kaus_gc_cleanup_add(n, gone_not, NULL));
	CHECK_EQ(0, kaus_gc_cleanup_del(interior, gone_not, NULL));
	CHECK_EQ(-ENOENT, kaus_gc_cleanup_del(n, gone_not, NULL));
	CHECK_EQ(0, kaus_gc_finalizer_set(n, first, NULL));
	return NULL;
}

static int cleaned(void *arg)
{
	elsewhere(make_cleaned, NULL);
	collect_until(2);
	return 0;
}

TEST(cleanups_after_the_finalizer)
{
	RUN(cleaned, NULL);
}

static void *free_it(void *arg)
{
	struct node *n = make_node(1);
	struct kaus_weak weak = kaus_weak_make(n);

	CHECK_EQ(0, kaus_gc_finalizer_set(n, must_not, NULL));
	CHECK_EQ(0, kaus_gc_cleanup_add(n, gone, make_node(2)));
	stage = 1;
	kaus_free(n);
	CHECK(!kaus_weak_get(weak));
	CHECK_EQ(0, kaus_weak_drop(weak));
	return NULL;
}

static int freed(void *arg)
{
	elsewhere(free_it, NULL);
	while (!atomic_load(&nr_called))
		kaus_sleep(20 * USEC);
	collect();
	kaus_sleep(MSEC);
	CHECK_EQ(1, atomic_load(&nr_called));
	return 0;
}

TEST(freed_by_the_program)
{
	RUN(freed, NULL);
}

/* ---- weak pointers ---- */

static struct node *strong[NR];
static struct kaus_weak weak[NR], weak_inside[NR];

static void *make_weak(void *arg)
{
	for (uint64_t i = 0; i < NR; i++) {
		struct node *n = make_node(i);

		weak[i] = kaus_weak_make(n);
		weak_inside[i] = kaus_weak_make(&n->tag);
		CHECK(weak[i].id && weak_inside[i].id);
		CHECK(weak[i].id != weak_inside[i].id);
		CHECK_EQ(weak[i].id, kaus_weak_make(n).id);
		CHECK(kaus_weak_get(weak[i]) == n);
		CHECK(kaus_weak_get(weak_inside[i]) == &n->tag);
		if (i % 2)
			strong[i] = n;
	}
	return NULL;
}

static int nr_null;

static void *check_weak(void *arg)
{
	nr_null = 0;
	for (uint64_t i = 0; i < NR; i++) {
		struct node *n = kaus_weak_get(weak[i]);

		CHECK_EQ(!n, !kaus_weak_get(weak_inside[i]));
		if (strong[i])
			CHECK(n == strong[i] && is_sound(n) && n->tag == i);
		else if (n)
			CHECK(is_sound(n) && n->tag == i);
		nr_null += !n;
	}
	return NULL;
}

static void *drop_weak(void *arg)
{
	for (uint64_t i = 0; i < NR; i++) {
		/* Made twice. */
		CHECK_EQ(0, kaus_weak_drop(weak[i]));
		CHECK_EQ(0, kaus_weak_drop(weak[i]));
		CHECK_EQ(-EINVAL, kaus_weak_drop(weak[i]));
		CHECK(!kaus_weak_get(weak[i]));
		CHECK_EQ(0, kaus_weak_drop(weak_inside[i]));
	}
	/* Slots are used again, and the old pointers stay NULL. */
	for (uint64_t i = 0; i < NR; i += 2)
		CHECK(kaus_weak_make(strong[1]).id != weak[i].id);
	for (uint64_t i = 0; i < NR; i++)
		CHECK(!kaus_weak_get(weak[i]));
	return NULL;
}

static int weakly(void *arg)
{
	elsewhere(make_weak, NULL);
	elsewhere(check_weak, NULL);
	CHECK_EQ(0, nr_null);
	/* What was in a register by chance may have stayed for one cycle. */
	do {
		collect();
		elsewhere(check_weak, NULL);
	} while (nr_null < NR / 2);
	CHECK_EQ(NR / 2, nr_null);
	elsewhere(drop_weak, NULL);
	return 0;
}

TEST(weak_pointers)
{
	RUN(weakly, NULL);
}

/*
 * Objects come and go while others read: what they get is sound, has not been
 * finalized, and stays so while they look at it. A cycle is under way all the
 * time.
 */
#define NR_CELLS 64
#define NR_MUTATORS 8

static struct cell {
	uint64_t weak;		/* atomic */
	struct node *strong;	/* of one mutator */
} cells[NR_CELLS];

static atomic_int nr_rounds_left;
static atomic_int nr_finalized, nr_made;
static struct kaus_waitgroup mutators;

static void spoil(void *obj, void *arg)
{
	struct node *n = obj;

	CHECK(is_sound(n));
	n->sum = ~n->sum;
	atomic_fetch_add(&nr_finalized, 1);
}

static void change(struct cell *c, uint64_t tag)
{
	struct node *n = make_node(tag);
	struct kaus_weak old = { c->weak }, new = kaus_weak_make(n);

	CHECK(new.id);
	CHECK_EQ(0, kaus_gc_finalizer_set(n, spoil, NULL));
	atomic_fetch_add(&nr_made, 1);
	__atomic_store_n(&c->weak, new.id, __ATOMIC_RELEASE);
	c->strong = n;
	if (old.id)
		CHECK_EQ(0, kaus_weak_drop(old));
}

static void look(struct cell *c, bool may_yield)
{
	struct kaus_weak w = {
		__atomic_load_n(&c->weak, __ATOMIC_ACQUIRE)
	};
	struct node *n = kaus_weak_get(w);

	if (!n)
		return;
	CHECK(is_sound(n));
	if (may_yield)
		kaus_yield();
	CHECK(is_sound(n));
}

static void mutator(void *arg)
{
	uint64_t seed = 88172645463325252ULL + (uintptr_t)arg;

	while (atomic_fetch_sub(&nr_rounds_left, 1) > 0) {
		uint64_t r = ut_rand(&seed);
		/* Cells are written by one each, and read by all. */
		struct cell *own = &cells[r % (NR_CELLS / NR_MUTATORS) *
					  NR_MUTATORS + (uintptr_t)arg];

		if (r >> 32 & 1)
			change(own, r >> 40);
		else if (r >> 33 & 1)
			own->strong = NULL;
		for (int i = 0; i < 4; i++)
			look(&cells[ut_rand(&seed) % NR_CELLS], !i);
	}
	kaus_waitgroup_done(&mutators);
}

static void *plain_reader(void *arg)
{
	uint64_t seed = 12345;

	CHECK_EQ(0, kaus_gc_thread_register());
	while (atomic_load(&nr_rounds_left) > 0) {
		for (int i = 0; i < 16; i++)
			look(&cells[ut_rand(&seed) % NR_CELLS], false);
		/* Others want the lock too, the collector among them. */
		usleep(50);
	}
	CHECK_EQ(0, kaus_gc_thread_unregister());
	return NULL;
}

static int concurrently(void *arg)
{
	pthread_t thread;

	atomic_store(&nr_rounds_left, UT_TSAN ? 2000 : 20000);
	/* The sanitizer delivers no signal to a thread that waits for a lock. */
	if (!UT_TSAN)
		CHECK_EQ(0, pthread_create(&thread, NULL, plain_reader, NULL));
	for (uintptr_t i = 0; i < NR_MUTATORS; i++) {
		kaus_waitgroup_add(&mutators, 1);
		ut_go(mutator, (void *)i);
	}
	while (atomic_load(&nr_rounds_left) > 0) {
		CHECK_EQ(0, kaus_gc());
		kaus_sleep(200 * USEC);
	}
	kaus_waitgroup_wait(&mutators);
	if (!UT_TSAN)
		CHECK_EQ(0, pthread_join(thread, NULL));
	memset(cells, 0, sizeof(cells));
	while (atomic_load(&nr_finalized) < atomic_load(&nr_made) / 2) {
		collect();
		kaus_sleep(20 * USEC);
	}
	CHECK(atomic_load(&nr_finalized) <= atomic_load(&nr_made));
	return 0;
}

TEST(read_while_objects_die)
{
	RUN(concurrently, NULL);
}

/* ---- plain threads, and before there is a runtime ---- */

static void *plain_free(void *arg)
{
	struct node *n = make_node(1);

	CHECK_EQ(0, kaus_gc_cleanup_add(n, gone, arg));
	stage = 1;
	kaus_free(n);
	return NULL;
}

static int from_thread(void *arg)
{
	struct node *n = make_node(7);
	pthread_t thread;

	CHECK_EQ(0, pthread_create(&thread, NULL, plain_free, n));
	while (!atomic_load(&nr_called))
		kaus_sleep(20 * USEC);
	CHECK_EQ(0, pthread_join(thread, NULL));
	CHECK(is_sound(n));
	return 0;
}

TEST(from_a_plain_thread)
{
	struct node *n = make_node(1);
	struct kaus_weak w = kaus_weak_make(n);

	/* No runtime yet. */
	EXPECT_EQ(n, kaus_weak_get(w));
	EXPECT_EQ(0, kaus_gc_finalizer_set(n, must_not, NULL));
	kaus_free(n);
	EXPECT_EQ(NULL, kaus_weak_get(w));
	EXPECT_EQ(0, kaus_weak_drop(w));
	RUN(from_thread, NULL);
}

/* Collected without a runtime, they wait for one. */
static void note_plain(void *obj, void *arg)
{
	CHECK(is_sound(obj));
	CHECK(kaus_goid());
	atomic_fetch_add(&nr_called, 1);
}

__attribute__((noinline)) static void make_plain(void)
{
	for (uint64_t i = 0; i < 50; i++)
		CHECK_EQ(0, kaus_gc_finalizer_set(make_node(i), note_plain, NULL));
}

/* A few may still be referred to by what is left on the stack. */
static int await_most(void *arg)
{
	while (atomic_load(&nr_called) < 25)
		kaus_sleep(20 * USEC);
	return 0;
}

TEST(without_a_runtime)
{
	ASSERT_EQ(0, kaus_gc_thread_register());
	make_plain();
	EXPECT_EQ(0, kaus_gc());
	EXPECT_EQ(0, atomic_load(&nr_called));
	RUN(await_most, NULL);
}

/* ---- what cannot be ---- */

static int refused(void *arg)
{
	struct node *n = make_node(1), *other = make_node(2);
	char *inside = (char *)n + 8;
	char *stack = (char *)&inside, *mem = malloc(100);
	char *large = kaus_alloc(100 * KB);
	/* Nothing follows a large object within its pages. */
	char *behind = large + kaus_alloc_size(large);
	struct kaus_weak bad[] = { { 0 },	   { 1 },
				   { ~0ULL },	   { 1ULL << 32 },
				   { 1ULL << 63 }, { 0x7fffffff80000000 } };
	const void *none[] = { NULL, stack, mem, (void *)1, (void *)-1,
			       (void *)"text" };

	CHECK_EQ(-EINVAL, kaus_gc_finalizer_set(inside, must_not, NULL));
	CHECK_EQ(-EINVAL, kaus_gc_finalizer_set(n, must_not, n));
	CHECK_EQ(-EINVAL, kaus_gc_finalizer_set(n, must_not, inside));
	CHECK_EQ(-ENOENT, kaus_gc_finalizer_set(n, NULL, NULL));
	CHECK_EQ(-EINVAL, kaus_gc_cleanup_add(n, NULL, NULL));
	CHECK_EQ(-EINVAL, kaus_gc_cleanup_add(n, gone_not, inside));
	CHECK_EQ(-ENOENT, kaus_gc_cleanup_del(n, gone_not, NULL));
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		CHECK_EQ(-EINVAL, kaus_gc_finalizer_set((void *)none[i],
							must_not, NULL));
		CHECK_EQ(-EINVAL, kaus_gc_cleanup_add(none[i], gone_not, NULL));
		CHECK_EQ(-EINVAL, kaus_gc_cleanup_del(none[i], gone_not, NULL));
		CHECK_EQ(0, kaus_weak_make(none[i]).id);
	}
	/* Just behind: the object there, if any, and not this one. */
	CHECK_EQ(0, kaus_gc_cleanup_add(large, gone_not, NULL));
	CHECK(kaus_gc_cleanup_del(behind, gone_not, NULL) != 0);
	CHECK_EQ(0, kaus_gc_cleanup_del(behind - 1, gone_not, NULL));
	kaus_free(large);
	CHECK_EQ(-EINVAL, kaus_gc_finalizer_set(large, must_not, NULL));
	CHECK_EQ(0, kaus_weak_make(large).id);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK(!kaus_weak_get(bad[i]));
		CHECK_EQ(-EINVAL, kaus_weak_drop(bad[i]));
	}
	CHECK(is_sound(n) && is_sound(other));
	free(mem);
	return 0;
}

TEST(what_is_refused)
{
	RUN(refused, NULL);
}

/* Tables grow; a slot for each of many. */
static struct kaus_weak *lots;
static atomic_int nr_lots;

static void count(void *obj, void *arg)
{
	atomic_fetch_add(&nr_lots, 1);
}

static void *make_lots(void *arg)
{
	for (uintptr_t i = 0; i < (uintptr_t)arg; i++) {
		struct node *n = make_node(i);

		lots[i] = kaus_weak_make(n);
		CHECK_EQ(0, kaus_gc_finalizer_set(n, count, NULL));
	}
	return NULL;
}

static int many(void *arg)
{
	uintptr_t nr = UT_TSAN ? 5000 : 50000;
	uintptr_t nr_left;

	lots = malloc(nr * sizeof(*lots));
	elsewhere(make_lots, (void *)nr);
	do {
		collect();
		kaus_sleep(20 * USEC);
		nr_left = 0;
		for (uintptr_t i = 0; i < nr; i++)
			nr_left += kaus_weak_get(lots[i]) != NULL;
	} while (nr_left > nr / 10);
	while (atomic_load(&nr_lots) < (int)(nr - nr / 10))
		kaus_sleep(20 * USEC);
	for (uintptr_t i = 0; i < nr; i++)
		CHECK_EQ(0, kaus_weak_drop(lots[i]));
	free(lots);
	return 0;
}

TEST(very_many)
{
	RUN(many, NULL);
}

TEST_HARNESS_MAIN
