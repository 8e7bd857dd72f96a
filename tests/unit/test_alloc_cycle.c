// SPDX-License-Identifier: GPL-2.0-only
/*
 * The heap's side of a collector's cycle, with marking by hand: what is marked
 * stays, what is allocated meanwhile stays, the rest is free after sweeping,
 * and each address leads to its object and to no other.
 *
 * If it is broken: an object is lost or never freed, a pointer into it is taken
 * for one into its neighbour, memory of a dead object is not zero when it is
 * allocated again.
 */
#include "utest.h"

#include "mem/cache.h"
#include "sched/sched.h"
#include "sched/stw.h"

#define NR 3000

static unsigned char *objs[NR];
static size_t sizes[NR];

static void make_all(uint64_t *rand)
{
	for (int i = 0; i < NR; i++) {
		uint64_t r = ut_rand(rand);

		if (objs[i])
			continue;
		sizes[i] = r % 50 ? (r >> 8) % 2000 : (r >> 8) % 200000;
		objs[i] = r & 64 ? kaus_alloc(sizes[i]) :
				   kaus_alloc_noscan(sizes[i]);
		if (!CHECK(objs[i]))
			return;
		CHECK(!sizes[i] || (!objs[i][0] &&
		      !memcmp(objs[i], objs[i] + 1, sizes[i] - 1)));
		memset(objs[i], i % 255 + 1, sizes[i]);
	}
}

static void check_all(void)
{
	for (int i = 0; i < NR; i++)
		if (objs[i] && sizes[i])
			CHECK(objs[i][0] == i % 255 + 1 &&
			      !memcmp(objs[i], objs[i] + 1, sizes[i] - 1));
}

static struct m *stop(void)
{
	struct m *mp = kr_enter();

	CHECK(mp);
	CHECK(kr_stop_world(mp, "test"));
	CHECK(kr_outside_lock());
	return mp;
}

static void start(struct m *mp)
{
	kr_outside_unlock();
	kr_start_world(mp);
	kr_exit(mp);
}

static void mark(const void *addr, bool first)
{
	struct kr_span *s = NULL;
	uint32_t index = 0;

	if (!CHECK(kr_obj_find(addr, &s, &index)))
		return;
	CHECK_EQ(first, kr_mark(s, index));
	CHECK(kr_is_marked(s, index));
}

static void lookups(int i)
{
	struct kr_span *s = NULL, *s2 = NULL;
	uint32_t index = 0, index2 = 0;
	size_t usable = kaus_alloc_size(objs[i]);

	CHECK(kr_obj_find(objs[i], &s, &index));
	CHECK((unsigned char *)kr_obj_base(s, index) == objs[i]);
	for (size_t at = 0; at < usable; at += 1 + usable / 7) {
		CHECK(kr_obj_find(objs[i] + at, &s2, &index2));
		CHECK(s == s2 && index == index2);
	}
	CHECK(kr_obj_find(objs[i] + usable - 1, &s2, &index2));
	CHECK(s == s2 && index == index2);
	/* One past the end is somebody else's, or nobody's. */
	if (kr_obj_find(objs[i] + s->elem_bytes, &s2, &index2))
		CHECK(s != s2 || index != index2);
}

static void sweep_all(void)
{
	size_t bytes;

	/* The other goroutine may be at the last one. */
	while (!kr_heap_is_swept()) {
		struct m *mp = kr_enter();

		kr_heap_sweep_one(&bytes);
		kr_exit(mp);
	}
}

static void *allocate_meanwhile(void *arg)
{
	atomic_bool *done = arg;
	unsigned int i = 0;

	while (!atomic_load(done)) {
		unsigned char *p = kaus_alloc(i++ % 500 + 1);

		CHECK(p && !*p);
		*p = 1;
		kaus_yield();
	}
	return NULL;
}

static int cycles_main(void *arg)
{
	uint64_t rand = 4711;
	atomic_bool done = false;
	struct kaus_g *g;
	struct m *mp;

	/* No other cycles than those that are made here. */
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, -1));
	g = ut_spawn(allocate_meanwhile, &done);
	for (int cycle = 0; cycle < 20; cycle++) {
		make_all(&rand);
		check_all();
		for (int i = 0; i < NR; i += 7)
			lookups(i);
		mp = stop();
		kr_heap_mark_begin();
		start(mp);

		/* Some die, some of which are named to be free, for nothing. */
		for (int i = 0; i < NR; i++) {
			uint64_t r = ut_rand(&rand);

			if (r % 3) {
				mark(objs[i] + (sizes[i] ? r % sizes[i] : 0),
				     true);
				mark(objs[i], false);
				continue;
			}
			if (r % 5 == 0)
				kaus_free(objs[i]);
			objs[i] = NULL;
			/* What takes its place is marked from the start. */
			if (r % 7 == 0) {
				sizes[i] = (r >> 8) % 40000;
				objs[i] = kaus_alloc(sizes[i]);
				memset(objs[i], i % 255 + 1, sizes[i]);
				mark(objs[i], false);
			}
		}
		mp = stop();
		kr_heap_mark_end((uint64_t)READ_ONCE(kr_heap.live_bytes));
		start(mp);
		check_all();
		/* In every other cycle allocation does most of it. */
		if (cycle % 2)
			make_all(&rand);
		sweep_all();
		check_all();
		/* Freed in swept spans: gone, and not twice. */
		for (int i = 0; i < NR; i += 11)
			if (objs[i]) {
				kaus_free(objs[i]);
				objs[i] = NULL;
			}
	}
	atomic_store(&done, true);
	kaus_join(g, NULL);

	/* Nothing is reachable: all pages but those of caches come back. */
	mp = stop();
	kr_heap_mark_begin();
	kr_heap_mark_end(0);
	start(mp);
	sweep_all();
	CHECK_EQ(0, READ_ONCE(kr_heap.live_bytes) / (64 << 10));
	for (uint32_t i = 1; i < READ_ONCE(kr_heap.nr_spans); i++)
		CHECK(!kr_span_in_use(&kr_heap.spans[i]) ||
		      kr_state_where(kr_heap.spans[i].state) ==
			      KR_SPAN_CACHED);
	CHECK(kr_pages_check());
	return 0;
}

/* Seen as memory that grows: frees between two cycles were lost. */
static int unswept_main(void *arg)
{
	int64_t before;
	struct m *mp;

	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, -1));
	for (int i = 0; i < NR; i++) {
		sizes[i] = 8192;
		objs[i] = kaus_alloc_noscan(sizes[i]);
	}
	mp = stop();
	kr_heap_mark_begin();
	for (int i = 0; i < NR; i++)
		mark(objs[i], true);
	kr_heap_mark_end((uint64_t)READ_ONCE(kr_heap.live_bytes));
	start(mp);
	before = READ_ONCE(kr_heap.live_bytes);
	for (int i = 0; i < NR; i++)
		kaus_free(objs[i]);
	CHECK(READ_ONCE(kr_heap.live_bytes) <
	      before - (int64_t)(NR - NR / 10) * 8192);
	sweep_all();
	CHECK(kr_pages_check());
	return 0;
}

TEST(frees_before_sweeping_count)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, unswept_main, NULL);
}

TEST(marked_stays_and_the_rest_goes)
{
	struct kaus_options opts = ut_procs(2);

	RUN_WITH(&opts, cycles_main, NULL);
}

TEST_HARNESS_MAIN
