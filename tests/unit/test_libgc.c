// SPDX-License-Identifier: GPL-2.0-only
/*
 * libkausgc: what programs of the Boehm-Demers-Weiser collector rely on, group
 * by group. What is not meant to be found is made by threads of its own, whose
 * stacks are gone when the collector looks.
 *
 * If it is broken: such a program loses an object, or the heap grows without end.
 */
#define GC_THREADS
#define GC_REQUIRE_WCSDUP
#include <wchar.h>

#include <gc.h>
#include <gc_typed.h>

#include "libgctest.h"

/* The compiler would tell, where it sees the number. */
static volatile size_t too_much = SIZE_MAX;

/* ---- allocation ---- */

static bool is_zero(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

static void **kept;

TEST(allocation)
{
	static const size_t sizes[] = { 0, 1, 8, 15, 16, 17, 100, 4096, 32768,
					100000, 1 << 20 };
	char *p, *q;
	void *v;

	GC_INIT();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i];

		p = GC_MALLOC(n);
		CHECK(p && is_zero(p, n));
		CHECK(GC_size(p) > n || !n);
		CHECK_EQ((uintptr_t)p, (uintptr_t)GC_base(p + n / 2));
		/* Behind the end is the object's too. */
		CHECK_EQ((uintptr_t)p, (uintptr_t)GC_base(p + n));
		memset(p, 1, n);
		CHECK(GC_MALLOC_ATOMIC(n));
		CHECK(GC_MALLOC_IGNORE_OFF_PAGE(n));
		CHECK(GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(n));
		GC_FREE(p);
	}
	GC_FREE(NULL);
	CHECK(!GC_MALLOC(too_much));
	CHECK(!GC_MALLOC(too_much / 2));
	p = GC_STRDUP("abc");
	CHECK(!strcmp(p, "abc"));
	q = GC_STRNDUP("abcdef", 3);
	CHECK(!strcmp(q, "abc"));
	CHECK(!strcmp(GC_STRNDUP("ab", 100), "ab"));
	for (size_t align = 1; align <= 65536; align *= 2) {
		p = GC_memalign(align, 100);
		CHECK(p && !((uintptr_t)p % align) && is_zero(p, 100));
		CHECK_EQ((uintptr_t)GC_base(p), (uintptr_t)GC_base(p + 100));
		GC_FREE(p);
	}
	CHECK_EQ(0, GC_posix_memalign(&v, 64, 10));
	CHECK(!((uintptr_t)v % 64));
	CHECK_EQ(EINVAL, GC_posix_memalign(&v, 3, 10));
	CHECK_EQ(EINVAL, GC_posix_memalign(&v, 4, 10));
	CHECK_EQ(ENOMEM, GC_posix_memalign(&v, 64, too_much / 2));
	for (v = GC_malloc_many(40); v; v = GC_NEXT(v))
		CHECK(GC_size(v) >= 40);
	END();
}

TEST(reallocation)
{
	size_t n = 10;
	char *p = GC_REALLOC(NULL, n);

	GC_INIT();
	memset(p, 'x', n);
	while (n < 1 << 20) {
		size_t more = n * 3 / 2;

		p = GC_REALLOC(p, more);
		for (size_t i = 0; i < n; i++)
			if (!CHECK_EQ('x', p[i]))
				break;
		CHECK(is_zero(p + n, more - n));
		memset(p, 'x', more);
		n = more;
	}
	/* What was cut off is zero when it comes back. */
	p = GC_REALLOC(p, n - 100);
	p = GC_REALLOC(p, n);
	CHECK(is_zero(p + n - 100, 100));
	p = GC_REALLOC(p, 10);
	CHECK_EQ('x', p[9]);
	CHECK(GC_size(p) < 100);
	CHECK(!GC_REALLOC(p, 0));
	p = GC_MALLOC_UNCOLLECTABLE(10);
	p = GC_REALLOC(p, 1000);
	GC_FREE(p);
	END();
}

/* ---- what is kept ---- */

TEST(garbage_goes)
{
	GC_INIT();
	elsewhere(make_garbage, NULL);
	collect();
	CHECK(atomic_load(&nr_gone) >= SOME);
	CHECK(atomic_load(&nr_gone) <= NR_OBJS);
	END();
}

/* Each refers to an object that is watched. */
static void *make_uncollectable(void *arg)
{
	void ***seats = arg;

	for (int i = 0; i < NR_OBJS; i++) {
		void *target = GC_MALLOC(50);

		watch(target);
		seats[i] = GC_MALLOC_UNCOLLECTABLE(sizeof(void *));
		*seats[i] = target;
	}
	return NULL;
}

static void *free_all(void *arg)
{
	void ***seats = arg;

	for (int i = 0; i < NR_OBJS; i++)
		GC_FREE(seats[i]);
	return NULL;
}

TEST(uncollectable)
{
	/* Where the collector does not look. */
	void ***seats = malloc(NR_OBJS * sizeof(void *));

	GC_INIT();
	elsewhere(make_uncollectable, seats);
	collect();
	collect();
	CHECK_EQ(0, atomic_load(&nr_gone));
	elsewhere(free_all, seats);
	collect();
	CHECK(atomic_load(&nr_gone) >= SOME);
	free(seats);
	END();
}

static void *fill(void *arg)
{
	void **seats = arg;

	for (int i = 0; i < NR_OBJS; i++) {
		seats[i] = GC_MALLOC(50);
		watch(seats[i]);
		/* Interior, and just behind the end. */
		seats[i] = (char *)seats[i] + i % 51;
	}
	return NULL;
}

static void *static_seats[NR_OBJS];

TEST(roots)
{
	void **seats = malloc(NR_OBJS * sizeof(void *));

	GC_INIT();
	GC_add_roots(seats, seats + NR_OBJS);
	elsewhere(fill, seats);
	collect();
	CHECK_EQ(0, atomic_load(&nr_gone));
	GC_remove_roots(seats, seats + NR_OBJS);
	collect();
	CHECK(atomic_load(&nr_gone) >= SOME);
	free(seats);

	atomic_store(&nr_gone, 0);
	elsewhere(fill, static_seats);
	collect();
	CHECK_EQ(0, atomic_load(&nr_gone));
	GC_exclude_static_roots(static_seats, static_seats + NR_OBJS / 2);
	collect();
	CHECK(atomic_load(&nr_gone) >= SOME / 2 - 10);
	CHECK(atomic_load(&nr_gone) <= NR_OBJS / 2);
	GC_clear_exclusion_table();
	collect();
	CHECK(atomic_load(&nr_gone) <= NR_OBJS / 2);
	GC_clear_roots();
	collect();
	CHECK(atomic_load(&nr_gone) >= SOME);
	END();
}

struct pair {
	void *is_pointer;
	GC_word is_none;
	GC_word pad[4];
};

static GC_descr descr;

static void *make_typed(void *arg)
{
	struct pair *all = GC_calloc_explicitly_typed(NR_OBJS, sizeof(*all),
						      descr);

	for (int i = 0; i < NR_OBJS; i++) {
		struct pair *one = GC_malloc_explicitly_typed(sizeof(*one),
							      descr);

		all[i].is_pointer = one;
		watch(one);
		all[i].is_none = (GC_word)GC_MALLOC(30);
		GC_REGISTER_FINALIZER((void *)all[i].is_none, gone,
				      (void *)1000, NULL, NULL);
	}
	kept = (void **)all;
	return arg;
}

static void *cut_typed(void *arg)
{
	kept = NULL;
	return arg;
}

TEST(typed)
{
	GC_word map[GC_BITMAP_SIZE(struct pair)] = { 0 };

	GC_INIT();
	GC_set_bit(map, GC_WORD_OFFSET(struct pair, is_pointer));
	descr = GC_make_descriptor(map, GC_WORD_LEN(struct pair));
	elsewhere(make_typed, NULL);
	collect();
	CHECK(atomic_load(&nr_gone) >= SOME * 1000);
	CHECK_EQ(0, atomic_load(&nr_gone) % 1000);
	atomic_store(&nr_gone, 0);
	elsewhere(cut_typed, NULL);
	collect();
	CHECK(atomic_load(&nr_gone) >= SOME);
	memset(map, 0, sizeof(map));
	CHECK_EQ(0, GC_make_descriptor(map, GC_WORD_LEN(struct pair)));
	CHECK(GC_malloc_explicitly_typed(100, 0));
	CHECK(!GC_calloc_explicitly_typed(too_much / 8, 64, descr));
	END();
}

/* ---- settings, statistics ---- */

static void *volatile result;
static int nr_oom;

static void *oom(size_t size)
{
	nr_oom++;
	return size == SIZE_MAX / 2 ? &nr_oom : NULL;
}

static void *locked(void *arg)
{
	return (char *)arg + 1;
}

TEST(settings_and_statistics)
{
	struct GC_prof_stats_s st[2];
	GC_word heap, nr;
	size_t total;
	char *p;

	GC_INIT();
	CHECK(GC_is_init_called());
	CHECK_EQ(8, GC_get_version() >> 16);
	GC_set_oom_fn(oom);
	CHECK(GC_get_oom_fn() == oom);
	/* It has the attribute of malloc(): the compiler knows better. */
	result = GC_MALLOC(too_much / 2);
	CHECK(result == &nr_oom);
	CHECK_EQ(1, nr_oom);

	total = GC_get_total_bytes();
	p = GC_MALLOC(1 << 20);
	CHECK(GC_get_total_bytes() >= total + (1 << 20));
	CHECK(GC_get_heap_size() >= 1 << 20);
	CHECK(GC_get_memory_use() >= 1 << 20);
	GC_FREE(p);
	nr = GC_get_gc_no();
	GC_gcollect();
	CHECK_EQ(nr + 1, GC_get_gc_no());
	GC_disable();
	GC_disable();
	GC_gcollect();
	for (int i = 0; i < 2000; i++)
		GC_MALLOC(20000);
	GC_enable();
	CHECK(GC_is_disabled());
	CHECK_EQ(nr + 1, GC_get_gc_no());
	GC_enable();
	CHECK(!GC_is_disabled());
	GC_collect_a_little();
	CHECK_EQ(nr + 2, GC_get_gc_no());
	CHECK_EQ(sizeof(st[0]), GC_get_prof_stats(st, sizeof(st)));
	CHECK_EQ(nr + 2, st[0].gc_no);
	CHECK_EQ(-1, (long)st[1].gc_no);
	CHECK(st[0].heapsize_full >= st[0].free_bytes_full);
	GC_get_heap_usage_safe(&heap, NULL, NULL, NULL, NULL);
	CHECK(heap);

	GC_set_free_space_divisor(1);
	CHECK_EQ(1, GC_get_free_space_divisor());
	CHECK(GC_call_with_alloc_lock(locked, &total) == (char *)&total + 1);
	GC_set_max_heap_size(8 << 20);
	CHECK(!GC_MALLOC(9 << 20));
	CHECK_EQ(2, nr_oom);
	for (int i = 0; i < 200; i++)
		CHECK(GC_MALLOC(200000));
	GC_set_max_heap_size(0);
	CHECK(GC_MALLOC(9 << 20));
	END();
}

/* ---- pointers into the midst, and just behind ---- */

static char *inside[NR_OBJS];

static void *make_inside(void *arg)
{
	for (int i = 0; i < NR_OBJS; i++) {
		char *p = GC_MALLOC_ATOMIC(100);

		watch(p);
		memset(p, i % 127, 100);
		GC_REGISTER_DISPLACEMENT(i % 101);
		inside[i] = p + i % 101;
	}
	return arg;
}

static void *cut_inside(void *arg)
{
	memset(inside, 0, sizeof(inside));
	return arg;
}

TEST(displacements)
{
	GC_INIT();
	CHECK(GC_get_all_interior_pointers());
	elsewhere(make_inside, NULL);
	collect();
	collect();
	CHECK_EQ(0, atomic_load(&nr_gone));
	for (int i = 0; i < NR_OBJS; i++)
		CHECK_EQ(i % 127, inside[i][-(i % 101)]);
	elsewhere(cut_inside, NULL);
	collect();
	CHECK(atomic_load(&nr_gone) >= SOME);
	GC_set_all_interior_pointers(0);
	CHECK_EQ(0, GC_get_all_interior_pointers());
	END();
}

/* ---- cycles that are not to be, and what there was of them ---- */

static int nr_asked;

static int stop_it(void)
{
	nr_asked++;
	return 1;
}

static int go_on(void)
{
	nr_asked++;
	return 0;
}

static void warn(char *fmt, GC_word arg)
{
	(void)fmt;
	(void)arg;
}

static void *with_base(struct GC_stack_base *sb, void *arg)
{
	CHECK((char *)sb->mem_base > (char *)&sb);
	return (char *)arg + 1;
}

static void *calls_back(void *arg)
{
	return GC_call_with_gc_active(locked, arg);
}

TEST(cycles_on_demand)
{
	char *text = (char *)(uintptr_t)"text";
	GC_word nr;

	GC_INIT();
	nr = GC_get_gc_no();
	CHECK_EQ(0, GC_try_to_collect(stop_it));
	CHECK_EQ(nr, GC_get_gc_no());
	CHECK_EQ(1, GC_try_to_collect(go_on));
	CHECK_EQ(nr + 1, GC_get_gc_no());
	CHECK_EQ(2, nr_asked);
	GC_set_stop_func(stop_it);
	CHECK(GC_get_stop_func() == stop_it);
	GC_gcollect();
	CHECK_EQ(nr + 1, GC_get_gc_no());
	GC_gcollect_and_unmap();
	CHECK_EQ(nr + 2, GC_get_gc_no());
	GC_set_stop_func(go_on);
	GC_set_disable_automatic_collection(1);
	CHECK(GC_get_disable_automatic_collection());
	for (int i = 0; i < 4000; i++)
		result = GC_MALLOC(20000);
	CHECK_EQ(nr + 2, GC_get_gc_no());
	GC_set_disable_automatic_collection(0);
	for (int i = 0; i < 4000; i++)
		result = GC_MALLOC(20000);
	CHECK(GC_get_gc_no() > nr + 2);
	CHECK(GC_call_with_stack_base(with_base, text) == text + 1);
	CHECK(GC_do_blocking(calls_back, text) == text + 1);
	GC_start_performance_measurement();
	CHECK_EQ(0, GC_get_full_gc_total_time());
	END();
}

TEST(numbers_of_bytes)
{
	size_t since, freed;
	char *p;

	GC_INIT();
	GC_gcollect();
	since = GC_get_bytes_since_gc();
	freed = GC_get_expl_freed_bytes_since_gc();
	p = GC_MALLOC(100000);
	CHECK(GC_get_bytes_since_gc() >= since + 100000);
	GC_FREE(p);
	CHECK(GC_get_expl_freed_bytes_since_gc() >= freed + 100000);
	CHECK(GC_get_heap_size() >= GC_get_free_bytes());
	CHECK(GC_get_obtained_from_os_bytes() >= GC_get_heap_size());
	CHECK(GC_get_obtained_from_os_bytes() >= GC_get_unmapped_bytes());
	CHECK(GC_expand_hp(1 << 20));
	GC_set_max_heap_size(64 << 20);
	CHECK(!GC_expand_hp(65 << 20));
	GC_set_max_heap_size(0);
	END();
}

/* What is kept, and changes nothing: kaus_libgc(3). */
TEST(settings_that_are_kept)
{
	GC_INIT();
#define KEPT(name, value)					\
	do {							\
		GC_set_##name(value);				\
		CHECK_EQ(value, GC_get_##name());		\
	} while (0)
	KEPT(no_dls, 1);
	KEPT(find_leak, 1);
	KEPT(dont_expand, 1);
	KEPT(dont_precollect, 1);
	KEPT(full_freq, 7);
	KEPT(max_retries, 3);
	KEPT(time_limit, 11);
	KEPT(force_unmap_on_gcollect, 1);
	KEPT(java_finalization, 0);
	KEPT(java_finalization, 1);
	GC_set_warn_proc(warn);
	CHECK(GC_get_warn_proc() == warn);
	GC_enable_incremental();
	CHECK_EQ(0, GC_is_incremental_mode());
	CHECK_EQ(GC_PROTECTS_NONE, GC_incremental_protection_needs());
	END();
}

/* ---- other names of the same ---- */

static void *debug_garbage(void *arg)
{
	for (int i = 0; i < NR_OBJS; i++) {
		char *p = GC_debug_malloc(100, GC_EXTRAS);

		CHECK(p && is_zero(p, 100));
		p = GC_debug_realloc(p, 200, GC_EXTRAS);
		GC_debug_register_finalizer_no_order(p, gone, NULL, NULL, NULL);
		GC_debug_free(GC_debug_malloc_atomic(64, GC_EXTRAS));
	}
	return arg;
}

TEST(other_names)
{
	wchar_t *w;

	GC_INIT();
	CHECK(!strcmp("abc", GC_debug_strdup("abc", GC_EXTRAS)));
	CHECK(!strcmp("ab", GC_debug_strndup("abc", 2, GC_EXTRAS)));
	w = GC_WCSDUP(L"wide");
	CHECK(w && !wcscmp(L"wide", w));
	elsewhere(debug_garbage, NULL);
	collect();
	CHECK(atomic_load(&nr_gone) >= SOME);
	END();
}

/* ---- checks of pointers ---- */

static int nr_wrong;

static void wrong2(void *p, void *q)
{
	(void)p;
	(void)q;
	nr_wrong++;
}

static void wrong1(void *p)
{
	(void)p;
	nr_wrong++;
}

TEST(checks_of_pointers)
{
	char *p, *q, *r;
	void *here[1];

	GC_INIT();
	p = GC_MALLOC(100);
	q = GC_MALLOC_ATOMIC(100);
	GC_same_obj_print_proc = wrong2;
	GC_is_visible_print_proc = wrong1;
	CHECK(GC_same_obj(p, p + 50) == p);
	CHECK(GC_is_heap_ptr(p) && !GC_is_heap_ptr(here));
	CHECK_EQ(0, nr_wrong);
	GC_same_obj(p, q);
	CHECK_EQ(1, nr_wrong);
	GC_is_visible(p);
	GC_is_visible(here);
	GC_is_visible(&kept);
	CHECK_EQ(1, nr_wrong);
	GC_is_visible(q);
	r = malloc(10);
	GC_is_visible(r);
	free(r);
	CHECK_EQ(3, nr_wrong);
	r = p;
	CHECK(GC_post_incr((void **)&r, 8) == p && r == p + 8);
	CHECK(GC_pre_incr((void **)&r, 8) == p + 16);
	CHECK_EQ(3, nr_wrong);
	CHECK(!GC_base(here));
	END();
}

/* ---- threads ---- */

static pthread_barrier_t barrier;

/* Its argument is the only reference until it is read. */
static void *holds(void *arg)
{
	struct cell *c = arg;

	for (int i = 0; i < 20; i++) {
		struct cell *list = NULL;

		for (int k = 0; k < 2000; k++) {
			struct cell *new = GC_NEW(struct cell);

			new->next = list;
			new->nr = k;
			list = new;
		}
		for (int k = 1999; k >= 0; k--, list = list->next)
			if (!CHECK_EQ(k, list->nr))
				break;
	}
	return c;
}

TEST(threads)
{
	pthread_t t[4];
	void *ret;

	GC_INIT();
	for (int i = 0; i < 4; i++) {
		struct cell *c = GC_NEW(struct cell);

		c->nr = i;
		CHECK_EQ(0, pthread_create(&t[i], NULL, holds, c));
	}
	for (int i = 0; i < 10; i++)
		GC_gcollect();
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(0, pthread_join(t[i], &ret));
		CHECK_EQ(i, ((struct cell *)ret)->nr);
	}
	END();
}

static void *exits(void *arg)
{
	struct cell *c = GC_NEW(struct cell);

	c->nr = (int)(intptr_t)arg;
	pthread_exit(c);
}

#undef pthread_create
#undef pthread_join

static void *registers(void *arg)
{
	struct GC_stack_base sb;

	CHECK(!GC_thread_is_registered());
	CHECK_EQ(GC_SUCCESS, GC_get_stack_base(&sb));
	CHECK((char *)sb.mem_base > (char *)&sb);
	CHECK_EQ(GC_SUCCESS, GC_register_my_thread(&sb));
	CHECK_EQ(GC_DUPLICATE, GC_register_my_thread(&sb));
	CHECK(GC_thread_is_registered());
	holds(NULL);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	CHECK_EQ(GC_SUCCESS, GC_unregister_my_thread());
	return arg;
}

TEST(threads_that_exit_or_register)
{
	pthread_t t;
	void *ret;

	GC_INIT();
	GC_allow_register_threads();
	CHECK_EQ(0, GC_pthread_create(&t, NULL, exits, (void *)5));
	usleep(10000);
	GC_gcollect();
	CHECK_EQ(0, GC_pthread_join(t, &ret));
	CHECK_EQ(5, ((struct cell *)ret)->nr);
	CHECK_EQ(0, GC_pthread_create(&t, NULL, exits, (void *)6));
	CHECK_EQ(0, GC_pthread_detach(t));
	CHECK_EQ(0, pthread_barrier_init(&barrier, NULL, 2));
	CHECK_EQ(0, pthread_create(&t, NULL, registers, NULL));
	pthread_barrier_wait(&barrier);
	GC_gcollect();
	pthread_barrier_wait(&barrier);
	CHECK_EQ(0, pthread_join(t, NULL));
	END();
}

TEST(child_of_fork)
{
	int status;
	pid_t pid;

	GC_INIT();
	kept = GC_MALLOC(sizeof(void *));
	*kept = GC_STRDUP("kept");
	pid = fork();
	if (!pid) {
		GC_word nr = GC_get_gc_no();

		for (int i = 0; i < 5000; i++)
			memset(GC_MALLOC(10000), 1, 10000);
		_exit(GC_get_gc_no() > nr && !strcmp(*kept, "kept") ? 0 : 1);
	}
	CHECK_EQ(pid, waitpid(pid, &status, 0));
	CHECK_EQ(0, status);
	END();
}

static int in_goroutine(void *arg)
{
	void **obj = GC_MALLOC(100);

	*obj = GC_STRDUP("deep");
	make_garbage(NULL);
	for (int i = 0; i < 3; i++) {
		GC_gcollect();
		for (int k = 0; k < 2000; k++)
			GC_MALLOC(1000);
	}
	CHECK(!strcmp(*obj, "deep"));
	return 0;
}

TEST(goroutines)
{
	GC_INIT();
	RUN(in_goroutine, NULL);
	CHECK(atomic_load(&nr_gone) > 0);
	END();
}

TEST_HARNESS_MAIN
