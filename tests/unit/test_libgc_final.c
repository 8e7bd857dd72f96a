// SPDX-License-Identifier: GPL-2.0-only
/*
 * libkausgc: finalizers, in each of their orders, and links that disappear. What is
 * to die is made by threads of its own, as in test_libgc.
 *
 * If it is broken: a finalizer runs too early, twice or never, or a weak pointer
 * dangles.
 */
#define GC_THREADS
#include <gc.h>

#include "libgctest.h"

/* ---- finalizers ---- */

static int order[16];
static int nr_order;

static void note(void *obj, void *data)
{
	struct cell *c = obj;

	CHECK_EQ((intptr_t)data, c->nr);
	if (nr_order < 16)
		order[nr_order++] = c->nr;
}

typedef void register_fn(void *obj, GC_finalization_proc fn, void *data,
			 GC_finalization_proc *old_fn, void **old_data);

/* 1 -> 2 -> 3 */
static void *make_chain(void *arg)
{
	register_fn *fn = *(register_fn **)arg;
	struct cell *c = NULL;

	for (int i = 3; i >= 1; i--) {
		struct cell *new = GC_NEW(struct cell);

		new->next = c;
		new->nr = i;
		fn(new, note, (void *)(intptr_t)i, NULL, NULL);
		c = new;
	}
	return NULL;
}

TEST(finalizers_in_order)
{
	register_fn *fn = GC_register_finalizer;

	GC_INIT();
	elsewhere(make_chain, &fn);
	for (int i = 1; i <= 3; i++) {
		collect_until(&nr_order, i);
		CHECK_EQ(i, order[i - 1]);
	}
	collect();
	CHECK_EQ(3, nr_order);
	END();
}

TEST(finalizers_without_order)
{
	register_fn *fn = GC_register_finalizer_no_order;

	GC_INIT();
	elsewhere(make_chain, &fn);
	collect_until(&nr_order, 3);
	END();
}

/* One that refers to itself, and two that refer to each other. */
static void *make_cycles(void *arg)
{
	register_fn *fn = *(register_fn **)arg;
	struct cell *c[3];

	for (int i = 0; i < 3; i++) {
		c[i] = GC_NEW(struct cell);
		c[i]->nr = i + 1;
		fn(c[i], note, (void *)(intptr_t)(i + 1), NULL, NULL);
	}
	c[0]->next = c[0];
	c[1]->next = c[2];
	c[2]->next = c[1];
	memset(c, 0, sizeof(c));
	return NULL;
}

TEST(finalizers_of_cycles)
{
	register_fn *fn = GC_register_finalizer;

	GC_INIT();
	elsewhere(make_cycles, &fn);
	collect();
	CHECK_EQ(0, nr_order);
	fn = GC_register_finalizer_ignore_self;
	elsewhere(make_cycles, &fn);
	collect_until(&nr_order, 1);
	CHECK_EQ(1, order[0]);
	fn = GC_register_finalizer_no_order;
	elsewhere(make_cycles, &fn);
	collect_until(&nr_order, 4);
	END();
}

/* 1, without order, refers to 2, which waits until it is unreachable. */
static void *make_unreachable(void *arg)
{
	struct cell *a = GC_NEW(struct cell), *b = GC_NEW(struct cell);

	a->nr = 1;
	a->next = b;
	b->nr = 2;
	GC_register_finalizer_no_order(a, note, (void *)1, NULL, NULL);
	GC_register_finalizer_unreachable(b, note, (void *)2, NULL, NULL);
	return arg;
}

TEST(finalizers_when_unreachable)
{
	GC_INIT();
	elsewhere(make_unreachable, NULL);
	collect_until(&nr_order, 1);
	CHECK_EQ(1, order[0]);
	collect_until(&nr_order, 2);
	CHECK_EQ(2, order[1]);
	END();
}

static int nr_told;

static void told(void)
{
	nr_told++;
}

TEST(finalizers_on_demand)
{
	GC_finalization_proc old;
	struct cell *c;
	void *data;

	GC_INIT();
	GC_set_finalize_on_demand(1);
	GC_set_finalizer_notifier(told);
	elsewhere(make_garbage, NULL);
	collect();
	CHECK_EQ(0, atomic_load(&nr_gone));
	CHECK_EQ(1, nr_told);
	CHECK(GC_should_invoke_finalizers());
	CHECK(GC_invoke_finalizers() >= SOME);
	CHECK(!GC_should_invoke_finalizers());
	CHECK_EQ(0, GC_invoke_finalizers());
	CHECK(atomic_load(&nr_gone) >= SOME);

	c = GC_NEW(struct cell);
	GC_register_finalizer(c, note, (void *)5, &old, &data);
	CHECK(!old && !data);
	GC_register_finalizer(c, gone, (void *)6, &old, &data);
	CHECK(old == note && data == (void *)5);
	GC_register_finalizer(c, NULL, NULL, &old, &data);
	CHECK(old == gone && data == (void *)6);
	GC_register_finalizer(c, NULL, NULL, &old, &data);
	CHECK(!old && !data);
	GC_register_finalizer(&nr_told, note, NULL, &old, &data);
	CHECK(!old);
	GC_reachable_here(c);
	END();
}

static struct cell *risen;

static void rise(void *obj, void *data)
{
	risen = obj;
	CHECK_EQ(77, risen->next->nr);
	CHECK(!strcmp(data, "data"));
}

static void *make_rising(void *arg)
{
	struct cell *c = GC_NEW(struct cell);
	void **links = arg;

	c->next = GC_NEW(struct cell);
	c->next->nr = 77;
	GC_REGISTER_FINALIZER_NO_ORDER(c, rise, GC_STRDUP("data"), NULL, NULL);
	links[0] = (void *)GC_HIDE_POINTER(c);
	links[1] = (void *)GC_HIDE_POINTER(c);
	CHECK_EQ(GC_SUCCESS,
		 GC_general_register_disappearing_link(&links[0], c));
	CHECK_EQ(GC_SUCCESS, GC_register_long_link(&links[1], c));
	return NULL;
}

static void *let_fall(void *arg)
{
	risen = NULL;
	return arg;
}

TEST(links_short_and_long)
{
	static void *links[2];

	GC_INIT();
	elsewhere(make_rising, links);
	for (int i = 0; i < 20 && !risen; i++)
		collect();
	CHECK(risen);
	CHECK(!links[0]);
	CHECK(links[1]);
	collect();
	CHECK_EQ(77, risen->next->nr);
	CHECK(links[1]);
	elsewhere(let_fall, NULL);
	for (int i = 0; i < 20 && links[1]; i++)
		collect();
	CHECK(!links[1]);
	END();
}

struct weak {
	void *link;
	void *strong;
};

static void *make_links(void *arg)
{
	struct weak *w = arg;

	for (int i = 0; i < NR_OBJS; i++) {
		void *obj = GC_MALLOC(40);

		w[i].link = (void *)GC_HIDE_POINTER(obj);
		w[i].strong = i % 2 ? obj : NULL;
		CHECK_EQ(GC_SUCCESS,
			 GC_general_register_disappearing_link(&w[i].link, obj));
		CHECK_EQ(GC_DUPLICATE,
			 GC_general_register_disappearing_link(&w[i].link, obj));
	}
	return NULL;
}

/* A link of an object to itself, which goes with it. */
static void *make_inner_links(void *arg)
{
	for (int i = 0; i < NR_OBJS; i++) {
		void **obj = GC_MALLOC(40);

		*obj = obj;
		CHECK_EQ(GC_SUCCESS, GC_register_disappearing_link(obj));
	}
	return arg;
}

TEST(links)
{
	static struct weak w[NR_OBJS];
	int nr_left = 0, nr_cleared = 0;
	void *moved;

	GC_INIT();
	elsewhere(make_links, w);
	elsewhere(make_inner_links, NULL);
	collect();
	for (int i = 0; i < NR_OBJS; i++) {
		if (i % 2) {
			nr_left += w[i].link ==
				   (void *)GC_HIDE_POINTER(w[i].strong);
		} else {
			nr_cleared += !w[i].link;
		}
	}
	CHECK_EQ(NR_OBJS / 2, nr_left);
	CHECK(nr_cleared >= SOME / 2);
	CHECK_EQ(GC_NOT_FOUND, GC_move_disappearing_link(&w[0].strong, &moved));
	CHECK_EQ(GC_DUPLICATE,
		 GC_move_disappearing_link(&w[1].link, &w[3].link));
	CHECK_EQ(GC_SUCCESS, GC_move_disappearing_link(&w[1].link, &w[1].link));
	CHECK_EQ(GC_SUCCESS, GC_move_disappearing_link(&w[1].link, &moved));
	CHECK_EQ(0, GC_unregister_disappearing_link(&w[1].link));
	CHECK_EQ(1, GC_unregister_disappearing_link(&moved));
	CHECK_EQ(0, GC_unregister_disappearing_link(&moved));
	CHECK_EQ(0, GC_unregister_long_link(&moved));
	END();
}

/* ---- at the end of the program ---- */

TEST(all_are_finalized)
{
	void *long_link, *moved;
	void **obj;

	GC_INIT();
	obj = GC_MALLOC(40);
	watch(obj);
	long_link = (void *)GC_HIDE_POINTER(obj);
	CHECK_EQ(GC_SUCCESS, GC_register_long_link(&long_link, obj));
	CHECK_EQ(GC_SUCCESS, GC_move_long_link(&long_link, &moved));
	CHECK_EQ(0, GC_unregister_long_link(&long_link));
	CHECK_EQ(1, GC_unregister_long_link(&moved));
	collect();
	CHECK_EQ(0, atomic_load(&nr_gone));
	GC_finalize_all();
	CHECK_EQ(1, atomic_load(&nr_gone));
	GC_reachable_here(obj);
	END();
}

TEST_HARNESS_MAIN
