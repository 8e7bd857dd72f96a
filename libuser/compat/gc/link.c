/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Links that disappear: words that become NULL when an object is no longer
 * reachable, before finalizers are called for it (short) or when not even those
 * can reach it (long).
 */
#include <stdlib.h>

#include "compat/gc/kgc.h"

#define MIN_HEADS 256

struct link {
	struct link *next;
	void **at;
	const void *obj;
};

struct table {
	struct link **heads;
	size_t nr_heads, nr;		/* a power of two */
};

static struct table tables[2];
static struct link *unused;		/* what a cycle has taken out */

static struct link **find(struct table *t, void **at)
{
	struct link **l = &t->heads[kg_hash(at, t->nr_heads)];

	while (*l && (*l)->at != at)
		l = &(*l)->next;
	return l;
}

static void put(struct table *t, struct link *l)
{
	struct link **head = &t->heads[kg_hash(l->at, t->nr_heads)];

	l->next = *head;
	*head = l;
	t->nr++;
}

static void drop(struct table *t, struct link **at)
{
	struct link *l = *at;

	*at = l->next;
	l->next = unused;
	unused = l;
	t->nr--;
}

/* ---- hooks ---- */

void kg_links_clear(bool is_long)
{
	struct table *t = &tables[is_long];
	struct kr_gc_object o;
	struct link **at;

	for (size_t i = 0; i < t->nr_heads; i++) {
		for (at = &t->heads[i]; *at;) {
			if (!kg.ops->find((*at)->obj, &o) || o.marked) {
				at = &(*at)->next;
				continue;
			}
			WRITE_ONCE(*(*at)->at, NULL);
			drop(t, at);
		}
	}
}

void kg_links_forget_dead(bool is_long)
{
	struct table *t = &tables[is_long];
	struct kr_gc_object o;
	struct link **at;

	for (size_t i = 0; i < t->nr_heads; i++) {
		for (at = &t->heads[i]; *at;) {
			if (kg.ops->find((*at)->at, &o) && !o.marked)
				drop(t, at);
			else
				at = &(*at)->next;
		}
	}
}

/* ---- for programs ---- */

static bool make_room(struct table *t)
{
	size_t old_nr = t->nr_heads;
	struct link **old = t->heads, **heads, *l;

	if (t->nr < old_nr)
		return true;
	heads = calloc(old_nr ? 2 * old_nr : MIN_HEADS, sizeof(struct link *));
	if (!heads)
		return false;
	t->heads = heads;
	t->nr_heads = old_nr ? 2 * old_nr : MIN_HEADS;
	t->nr = 0;
	for (size_t i = 0; i < old_nr; i++) {
		while ((l = old[i])) {
			old[i] = l->next;
			put(t, l);
		}
	}
	free(old);
	return true;
}

static int add_locked(struct table *t, void **at, const void *obj)
{
	struct link *l;

	if (!make_room(t))
		return GC_NO_MEMORY;
	l = *find(t, at);
	if (l) {
		l->obj = obj;
		return GC_DUPLICATE;
	}
	l = unused;
	if (l)
		unused = l->next;
	else
		l = malloc(sizeof(*l));
	if (!l)
		return GC_NO_MEMORY;
	l->at = at;
	l->obj = obj;
	put(t, l);
	return GC_SUCCESS;
}

static int add(bool is_long, void **at, const void *obj)
{
	int ret;

	GC_init();
	if ((uintptr_t)at % sizeof(void *))
		kg_abort("a link that is not aligned");
	kg_lock();
	ret = add_locked(&tables[is_long], at, obj);
	kg_unlock();
	return ret;
}

static int move(bool is_long, void **at, void **to)
{
	struct table *t = &tables[is_long];
	struct link **l, *moved;
	int ret = GC_SUCCESS;

	kg_lock();
	l = t->nr ? find(t, at) : NULL;
	if (!l || !*l) {
		ret = GC_NOT_FOUND;
	} else if (at != to && *find(t, to)) {
		ret = GC_DUPLICATE;
	} else {
		moved = *l;
		*l = moved->next;
		t->nr--;
		moved->at = to;
		put(t, moved);
	}
	kg_unlock();
	return ret;
}

static int del(bool is_long, void **at)
{
	struct table *t = &tables[is_long];
	struct link **l;
	bool found;

	kg_lock();
	l = t->nr ? find(t, at) : NULL;
	found = l && *l;
	if (found)
		drop(t, l);
	kg_unlock();
	return found;
}

KG_API int GC_general_register_disappearing_link(void **link, const void *obj)
{
	return add(false, link, obj);
}

KG_API int GC_register_disappearing_link(void **link)
{
	void *obj = GC_base(link);

	if (!obj)
		kg_abort("GC_register_disappearing_link(): not in an object");
	return add(false, link, obj);
}

KG_API int GC_move_disappearing_link(void **link, void **new_link)
{
	return move(false, link, new_link);
}

KG_API int GC_unregister_disappearing_link(void **link)
{
	return del(false, link);
}

KG_API int GC_register_long_link(void **link, const void *obj)
{
	return add(true, link, obj);
}

KG_API int GC_move_long_link(void **link, void **new_link)
{
	return move(true, link, new_link);
}

KG_API int GC_unregister_long_link(void **link)
{
	return del(true, link);
}
