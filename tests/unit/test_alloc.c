// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocation: sizes, alignment, zeroed memory, objects that do not overlap,
 * from goroutines and plain threads, freed where they were made and elsewhere;
 * what happens without memory and with bad arguments.
 *
 * If it is broken: two owners of one object, which show as patterns that
 * change; memory that is not zero; a free that is lost, so that memory grows;
 * a bad free that goes unnoticed.
 */
#include "utest.h"

/* Sanitizers need memory and addresses of their own. */
#if defined(__SANITIZE_ADDRESS__)
#define UT_LIMITABLE 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UT_LIMITABLE 0
#endif
#endif
#ifndef UT_LIMITABLE
#define UT_LIMITABLE (!UT_TSAN)
#endif

/* Fill an object with a pattern of its own; its length goes first. */
struct object {
	size_t size;
	uint64_t seed;
	unsigned char data[];
};

static unsigned char byte_of(uint64_t seed, size_t i)
{
	return (unsigned char)(seed * 31 + i * 7 + (seed >> 8));
}

static bool is_zero(const void *mem, size_t size)
{
	const unsigned char *p = mem;

	return !size || (!p[0] && !memcmp(p, p + 1, size - 1));
}

static struct object *object_make(size_t size, uint64_t seed, bool noscan)
{
	struct object *o;

	if (size < sizeof(*o))
		size = sizeof(*o);
	o = noscan ? kaus_alloc_noscan(size) : kaus_alloc(size);
	if (!CHECK(o))
		return NULL;
	CHECK_EQ(0, (uintptr_t)o % 16);
	CHECK(kaus_alloc_size(o) >= size);
	CHECK(is_zero(o, kaus_alloc_size(o)));
	o->size = size;
	o->seed = seed;
	for (size_t i = 0; i < size - sizeof(*o); i++)
		o->data[i] = byte_of(seed, i);
	return o;
}

static void object_check_free(struct object *o)
{
	bool ok = true;

	for (size_t i = 0; i < o->size - sizeof(*o); i++)
		ok = ok && o->data[i] == byte_of(o->seed, i);
	CHECK(ok);
	kaus_free(o);
}

/* ---- sizes ---- */

static int sizes_main(void *arg)
{
	size_t size, usable;
	unsigned int i;
	void *objs[70];

	for (size = 0; size < 140000; size += size < 2100 ? 1 : 501) {
		for (i = 0; i < 3; i++) {
			objs[i] = i & 1 ? kaus_alloc_noscan(size) :
					  kaus_alloc(size);
			if (!CHECK(objs[i]))
				return 0;
			usable = kaus_alloc_size(objs[i]);
			CHECK(usable >= size);
			if (size > 128 && size < 32768)
				CHECK(usable - size <= size / 7 + 16);
			CHECK_EQ(0, (uintptr_t)objs[i] % 16);
			CHECK(is_zero(objs[i], usable));
			memset(objs[i], 0xa5, usable);
		}
		for (i = 0; i < 3; i++) {
			unsigned char *p = objs[i];

			CHECK(p[0] == 0xa5 && !memcmp(p, p + 1, size ? size - 1 : 0));
			kaus_free(p);
		}
	}
	/* More than a word of bits at a time, reused when freed. */
	for (int round = 0; round < 50; round++) {
		for (i = 0; i < 70; i++) {
			objs[i] = kaus_alloc(1024);
			CHECK(is_zero(objs[i], 1024));
			memset(objs[i], 0xff, 1024);
		}
		for (i = 0; i < 70; i++)
			kaus_free(objs[i]);
	}
	return 0;
}

TEST(sizes_in_a_goroutine)
{
	RUN(sizes_main, NULL);
}

TEST(sizes_without_the_runtime)
{
	sizes_main(NULL);
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

/* ---- bad and extreme arguments ---- */

static int extreme_main(void *arg)
{
	static const size_t sizes[] = {
		(size_t)1 << 63, SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 4096,
		(size_t)PTRDIFF_MAX, (size_t)1 << 47,
	};
	volatile size_t nr;	/* or the compiler sees it coming */
	char *a, *b;

	a = kaus_alloc(0);
	b = kaus_alloc(0);
	CHECK(a && b && a != b);
	kaus_free(a);
	kaus_free(b);
	kaus_free(NULL);
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		ut_set_errno(0);
		CHECK(!kaus_alloc(sizes[i]));
		CHECK_EQ(ENOMEM, ut_errno());
		ut_set_errno(0);
		CHECK(!kaus_alloc_noscan(sizes[i]));
		CHECK_EQ(ENOMEM, ut_errno());
	}
	nr = SIZE_MAX / 8;
	ut_set_errno(0);
	CHECK(!kaus_alloc_array(nr, 9));
	CHECK_EQ(ENOMEM, ut_errno());
	ut_set_errno(0);
	nr = (size_t)1 << 32;
	CHECK(!kaus_alloc_array_noscan(nr, nr));
	CHECK_EQ(ENOMEM, ut_errno());
	a = kaus_alloc_array(100, 100);
	CHECK(kaus_alloc_size(a) >= 10000);
	kaus_free(a);

	/* Sizes of what is no object. */
	a = kaus_alloc(100);
	CHECK(kaus_alloc_size(a) >= 100);
	CHECK_EQ(0, kaus_alloc_size(a + 1));
	CHECK_EQ(0, kaus_alloc_size(NULL));
	CHECK_EQ(0, kaus_alloc_size(&a));
	CHECK_EQ(0, kaus_alloc_size((void *)(uintptr_t)-8));
	kaus_free(a);
	return 0;
}

TEST(extreme_arguments)
{
	RUN(extreme_main, NULL);
}

static void bad_double(void)
{
	char *a = kaus_alloc(100), *keep = kaus_alloc(100);

	kaus_free(a);
	kaus_free(a);
	kaus_free(keep);
}

static void bad_double_large(void)
{
	char *a = kaus_alloc(1000000);

	kaus_free(a);
	kaus_free(a);
}

static void bad_interior(void)
{
	char *volatile a = kaus_alloc(100);

	kaus_free(a + 16);
}

static void bad_interior_large(void)
{
	char *volatile a = kaus_alloc(1000000);

	kaus_free(a + 8192);
}

static void bad_end(void)
{
	char *volatile a = kaus_alloc(4096);

	kaus_free(a + 4096);
}

static void bad_stack(void)
{
	char c[64];

	kaus_free(c);
}

static void bad_wild(void)
{
	kaus_free((void *)(uintptr_t)0x123456789abcdef0);
}

static void bad_malloc(void)
{
	void *mem = malloc(100);

	kaus_free(mem);
	free(mem);
}

TEST(bad_frees_abort)
{
	void (*const bad[])(void) = {
		bad_double, bad_double_large, bad_interior,
		bad_interior_large, bad_end, bad_stack, bad_wild, bad_malloc,
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int status = ut_child(bad[i]);

		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(SIGABRT, WTERMSIG(status));
	}
}

/* ---- types ---- */

struct pair {
	struct pair *left, *right;
};

struct mixed {
	long number;
	struct mixed *next;
	char text[40];
	void *kids[4];
	struct pair pair;
};

struct plain {
	long a, b, c;
};

KAUS_TYPE(pair_type, struct pair, left, right);
KAUS_TYPE(mixed_type, struct mixed, next, kids, pair);
KAUS_TYPE_NOSCAN(plain_type, struct plain);

static int types_main(void *arg)
{
	struct mixed *ms[200], *array;
	struct plain *plain;
	struct pair *pair;

	CHECK_EQ(sizeof(struct mixed), mixed_type.size);
	CHECK_EQ(3, mixed_type.nr_ptrs);
	CHECK_EQ(offsetof(struct mixed, kids), mixed_type.ptrs[1].offset);
	CHECK_EQ(4, mixed_type.ptrs[1].nr_words);
	CHECK_EQ(7 * 8, mixed_type.ptr_bytes);
	CHECK_EQ(sizeof(struct pair), pair_type.ptr_bytes);
	CHECK(!strcmp("struct mixed", mixed_type.name));

	for (int i = 0; i < 200; i++) {
		ms[i] = kaus_new(&mixed_type);
		if (!CHECK(ms[i]))
			return 0;
		CHECK(kaus_alloc_size(ms[i]) >= sizeof(struct mixed));
		CHECK(is_zero(ms[i], kaus_alloc_size(ms[i])));
		memset(ms[i], i, kaus_alloc_size(ms[i]));
	}
	for (int i = 0; i < 200; i++) {
		CHECK_EQ(i, (unsigned char)ms[i]->text[0]);
		kaus_free(ms[i]);
	}
	pair = kaus_new(&pair_type);
	plain = kaus_new(&plain_type);
	CHECK(pair && is_zero(pair, sizeof(*pair)));
	CHECK(plain && is_zero(plain, sizeof(*plain)));
	kaus_free(pair);
	kaus_free(plain);
	for (size_t nr = 1; nr < 3000; nr += 1 + nr / 3) {
		array = kaus_new_array(&mixed_type, nr);
		if (!CHECK(array))
			return 0;
		CHECK(kaus_alloc_size(array) >= nr * sizeof(*array));
		CHECK(is_zero(array, kaus_alloc_size(array)));
		memset(array, 0x77, kaus_alloc_size(array));
		kaus_free(array);
	}
	ut_set_errno(0);
	CHECK(!kaus_new_array(&mixed_type, SIZE_MAX / 64));
	CHECK_EQ(ENOMEM, ut_errno());
	CHECK(!kaus_new_array(&pair_type, SIZE_MAX / 16 + 2));
	return 0;
}

TEST(types_and_arrays_of_them)
{
	RUN(types_main, NULL);
}

/* ---- many at once ---- */

#define NR_WORKERS 16
#define NR_PLAIN 3
#define NR_SHARED 512
#define NR_OWN 64
#define OPS (UT_TSAN ? 2000 : 20000)

/* Objects change hands here: put by one, freed by another. */
static _Atomic(struct object *) shared[NR_SHARED];

static size_t some_size(uint64_t *rand)
{
	uint64_t r = ut_rand(rand);

	switch (r % 64) {
	case 0:
		return (r >> 8) % 300000;	/* large ones too */
	case 1 ... 8:
		return (r >> 8) % 20000;
	default:
		return (r >> 8) % 600;
	}
}

static void churn(uint64_t seed)
{
	struct object *own[NR_OWN] = { NULL };
	uint64_t rand = seed * 2654435761U + 1;

	for (int i = 0; i < OPS; i++) {
		uint64_t r = ut_rand(&rand);
		unsigned int at = (unsigned int)(r >> 16);
		struct object *o;

		if (r % 3) {
			o = own[at % NR_OWN];
			if (o)
				object_check_free(o);
			own[at % NR_OWN] = object_make(some_size(&rand),
						       seed * OPS + i, r & 8);
		} else {
			o = object_make(some_size(&rand), seed * OPS + i,
					r & 8);
			o = atomic_exchange(&shared[at % NR_SHARED], o);
			if (o)
				object_check_free(o);
		}
		if (r % 1024 == 7 && kaus_goid())
			kaus_yield();
	}
	for (int i = 0; i < NR_OWN; i++)
		if (own[i])
			object_check_free(own[i]);
}

static void *churn_g(void *arg)
{
	churn((uintptr_t)arg);
	return NULL;
}

static int churn_main(void *arg)
{
	struct kaus_g *gs[NR_WORKERS];
	pthread_t threads[NR_PLAIN];
	uintptr_t i;

	/* The threads have objects and are not registered. */
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, -1));
	for (i = 0; i < NR_PLAIN; i++)
		CHECK_EQ(0, pthread_create(&threads[i], NULL, churn_g,
					   (void *)(i + 100)));
	for (i = 0; i < NR_WORKERS; i++)
		gs[i] = ut_spawn(churn_g, (void *)(i + 1));
	for (i = 0; i < NR_WORKERS; i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	for (i = 0; i < NR_PLAIN; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < NR_SHARED; i++)
		if (shared[i])
			object_check_free(shared[i]);
	return 0;
}

TEST(objects_are_nobody_elses)
{
	struct kaus_options opts = ut_procs(4);

	RUN_WITH(&opts, churn_main, NULL);
}

/* ---- freed memory is used again ---- */

/* Made here, freed there: it must come back here. */
static struct kaus_chan *queue;

static void *freer(void *arg)
{
	void *obj;

	while (!kaus_chan_recv(queue, &obj))
		kaus_free(obj);
	return NULL;
}

static int cross_main(void *arg)
{
	const size_t total = (size_t)(UT_TSAN ? 64 : 512) << 20;
	struct kaus_g *g;
	size_t done;
	void *obj;

	queue = kaus_chan_make(sizeof(void *), 64);
	g = ut_spawn(freer, NULL);
	for (done = 0; done < total; done += 4096) {
		obj = kaus_alloc_noscan(4096);
		if (!CHECK(obj))
			break;
		*(long *)obj = 1;
		CHECK_EQ(0, kaus_chan_send(queue, &obj));
	}
	kaus_chan_close(queue);
	CHECK_EQ(0, kaus_join(g, NULL));
	kaus_chan_free(queue);
	return 0;
}

static void cross_child(void)
{
	struct rlimit limit = { 512 << 20, 512 << 20 };

	if (UT_LIMITABLE)
		setrlimit(RLIMIT_DATA, &limit);
	_exit(kaus_run(cross_main, NULL) || atomic_load(&ut_failures));
}

/* With twice as much allocated as the process may have. */
TEST(what_others_free_comes_back)
{
	EXPECT_EQ(0, ut_child(cross_child));
}

/* ---- without memory ---- */

static int exhaust_main(void *arg)
{
	static void *objs[100000];
	size_t nr, i;

	for (int round = 0; round < 3; round++) {
		ut_set_errno(0);
		for (nr = 0; nr < 100000; nr++) {
			objs[nr] = kaus_alloc_noscan(nr % 3 ? 20000 : 100000);
			if (!objs[nr])
				break;
		}
		CHECK(nr > 100 && nr < 100000);
		CHECK_EQ(ENOMEM, ut_errno());
		CHECK(!kaus_alloc((size_t)1 << 30));
		for (i = 0; i < nr; i++)
			kaus_free(objs[i]);
		/* And all is there again, in one piece but for a few. */
		objs[0] = kaus_alloc((size_t)16 << 20);
		CHECK(objs[0]);
		kaus_free(objs[0]);
	}
	return 0;
}

static void exhaust_child(void)
{
	struct rlimit limit = { 512 << 20, 512 << 20 };

	if (setrlimit(RLIMIT_AS, &limit))
		_exit(1);
	if (kaus_run(exhaust_main, NULL) || atomic_load(&ut_failures))
		_exit(1);
	_exit(0);
}

static void exhaust_outside_child(void)
{
	struct rlimit limit = { 512 << 20, 512 << 20 };

	if (setrlimit(RLIMIT_AS, &limit))
		_exit(1);
	exhaust_main(NULL);
	_exit(atomic_load(&ut_failures) ? 1 : 0);
}

/* With nothing before it, and as large as what the heap grows by. */
static int first_main(void *arg)
{
	char *obj = kaus_alloc_noscan((size_t)64 << 20);

	if (!CHECK(obj))
		return 0;
	obj[0] = obj[((size_t)64 << 20) - 1] = 1;
	return 0;
}

TEST(the_first_may_be_large)
{
	RUN(first_main, NULL);
}

TEST(out_of_memory_is_an_error)
{
	if (!UT_LIMITABLE)
		SKIP(return, "a sanitizer needs address space of its own");
	EXPECT_EQ(0, ut_child(exhaust_child));
	EXPECT_EQ(0, ut_child(exhaust_outside_child));
}

TEST_HARNESS_MAIN
