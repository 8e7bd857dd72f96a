/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Finalizers, in the order that the interface promises.
 *
 * DOC: When all is marked that the program can reach:
 *	1. What each finalizable object that is not marked refers to becomes
 *	   marked, and all behind it, but not the object itself. So of two that
 *	   refer to each other none is left, and of a chain the first one is.
 *	   Without order nothing is marked here; "ignore self" leaves out
 *	   pointers into the object itself.
 *	2. Those that are still not marked are to be called. They and all that
 *	   they refer to become marked, for the finalizer will see it. One that
 *	   asked to be called when it is unreachable goes back if another's
 *	   finalizer can see it.
 * Finalizers are called later, by a thread that allocates or asks for it.
 */
#include <stdlib.h>

#include "compat/gc/kgc.h"

#define MIN_HEADS 256

enum order {
	ORDER,
	IGNORE_SELF,
	NO_ORDER,
	UNREACHABLE,
};

struct fin {
	struct fin *next;
	void *obj, *data;
	GC_finalization_proc fn;
	enum order order;
};

KG_API int GC_finalize_on_demand;
KG_API GC_finalizer_notifier_proc GC_finalizer_notifier;

static struct {
	struct fin **heads;
	size_t nr_heads, nr;		/* a power of two */
	struct fin *first, *last;	/* to be called */
} table;

static __thread bool calling;

static bool is_marked(const void *obj)
{
	struct kr_gc_object o;

	return !kg.ops->find(obj, &o) || o.marked;
}

/* ---- hooks ---- */

static void mark_word(struct kr_marker *mk, void **word)
{
	kg.ops->mark(mk, word, word + 1);
}

void kg_final_mark_roots(struct kr_marker *mk)
{
	struct fin *f;

	for (size_t i = 0; i < table.nr_heads; i++)
		for (f = table.heads[i]; f; f = f->next)
			mark_word(mk, &f->data);
	for (f = table.first; f; f = f->next) {
		mark_word(mk, &f->obj);
		mark_word(mk, &f->data);
	}
}

static void mark_behind(struct kr_marker *mk)
{
	for (size_t i = 0; i < table.nr_heads; i++) {
		for (struct fin *f = table.heads[i]; f; f = f->next) {
			if (f->order == NO_ORDER || is_marked(f->obj))
				continue;
			kg.ops->mark_contents(mk, f->obj,
					      f->order == IGNORE_SELF);
			kg.ops->drain(mk);
		}
	}
}

/* Off the table. */
static struct fin *take_unmarked(void)
{
	struct fin *list = NULL, **end = &list, **at, *f;

	for (size_t i = 0; i < table.nr_heads; i++) {
		for (at = &table.heads[i]; (f = *at);) {
			if (is_marked(f->obj)) {
				at = &f->next;
				continue;
			}
			*at = f->next;
			f->next = NULL;
			*end = f;
			end = &f->next;
			table.nr--;
		}
	}
	return list;
}

static void put_back(struct fin *f)
{
	struct fin **head = &table.heads[kg_hash(f->obj, table.nr_heads)];

	f->next = *head;
	*head = f;
	table.nr++;
}

static void put_last(struct fin *f)
{
	f->next = NULL;
	if (table.last)
		table.last->next = f;
	else
		table.first = f;
	table.last = f;
}

void kg_final_process(struct kr_marker *mk)
{
	struct fin *list, *f, *next;

	if (!table.nr)
		return;
	mark_behind(mk);
	list = take_unmarked();
	for (f = list; f; f = f->next)
		if (f->order != UNREACHABLE || !GC_java_finalization)
			mark_word(mk, &f->obj);
	kg.ops->drain(mk);
	for (f = list; f; f = next) {
		next = f->next;
		if (f->order == UNREACHABLE && GC_java_finalization &&
		    is_marked(f->obj)) {
			put_back(f);
			continue;
		}
		put_last(f);
		mark_word(mk, &f->obj);
		kg.ops->drain(mk);
	}
}

bool kg_final_is_waiting(void)
{
	return READ_ONCE(table.first);
}

/* ---- registering ---- */

static struct fin **find(const void *obj)
{
	struct fin **at = &table.heads[kg_hash(obj, table.nr_heads)];

	while (*at && (*at)->obj != obj)
		at = &(*at)->next;
	return at;
}

static bool make_room(void)
{
	size_t old_nr = table.nr_heads;
	struct fin **old = table.heads, **heads, *f;

	if (table.nr < old_nr)
		return true;
	heads = calloc(old_nr ? 2 * old_nr : MIN_HEADS, sizeof(struct fin *));
	if (!heads)
		return false;
	table.heads = heads;
	table.nr_heads = old_nr ? 2 * old_nr : MIN_HEADS;
	table.nr = 0;
	for (size_t i = 0; i < old_nr; i++) {
		while ((f = old[i])) {
			old[i] = f->next;
			put_back(f);
		}
	}
	free(old);
	return true;
}

static void give_old(const struct fin *f, GC_finalization_proc *ret_fn,
		     void **ret_data)
{
	if (ret_fn)
		*ret_fn = f ? f->fn : NULL;
	if (ret_data)
		*ret_data = f ? f->data : NULL;
}

static void set_finalizer(void *obj, const struct fin *new,
			  GC_finalization_proc *old_fn, void **old_data)
{
	struct fin **at, *f, *gone = NULL;
	struct kr_gc_object o;

	GC_init();
	if (!kg.ops->find(obj, &o) || o.base != obj) {
		give_old(NULL, old_fn, old_data);
		return;
	}
	f = new->fn ? malloc(sizeof(*f)) : NULL;
	if (new->fn && !f) {
		GC_get_oom_fn()(sizeof(*f));
		return;
	}
	if (f)
		*f = *new;
	kg_lock();
	if (!make_room()) {
		kg_unlock();
		free(f);
		GC_get_oom_fn()(sizeof(*f));
		return;
	}
	at = find(obj);
	gone = *at;
	give_old(gone, old_fn, old_data);
	if (gone) {
		*at = gone->next;
		table.nr--;
	}
	if (f)
		put_back(f);
	kg_unlock();
	free(gone);
}

void kg_final_forget(void *obj)
{
	struct fin **at, *f;

	if (!READ_ONCE(table.nr))
		return;
	kg_lock();
	at = find(obj);
	f = *at;
	if (f) {
		*at = f->next;
		table.nr--;
	}
	kg_unlock();
	free(f);
}

KG_API void GC_register_finalizer(void *obj, GC_finalization_proc fn,
				  void *data, GC_finalization_proc *old_fn,
				  void **old_data)
{
	set_finalizer(obj, &(struct fin){ .obj = obj, .fn = fn, .data = data,
					  .order = ORDER },
		      old_fn, old_data);
}

KG_API void GC_register_finalizer_ignore_self(void *obj,
					      GC_finalization_proc fn,
					      void *data,
					      GC_finalization_proc *old_fn,
					      void **old_data)
{
	set_finalizer(obj, &(struct fin){ .obj = obj, .fn = fn, .data = data,
					  .order = IGNORE_SELF },
		      old_fn, old_data);
}

KG_API void GC_register_finalizer_no_order(void *obj, GC_finalization_proc fn,
					   void *data,
					   GC_finalization_proc *old_fn,
					   void **old_data)
{
	set_finalizer(obj, &(struct fin){ .obj = obj, .fn = fn, .data = data,
					  .order = NO_ORDER },
		      old_fn, old_data);
}

KG_API void GC_register_finalizer_unreachable(void *obj,
					      GC_finalization_proc fn,
					      void *data,
					      GC_finalization_proc *old_fn,
					      void **old_data)
{
	set_finalizer(obj, &(struct fin){ .obj = obj, .fn = fn, .data = data,
					  .order = UNREACHABLE },
		      old_fn, old_data);
}

/* ---- calling ---- */

static struct fin *take_first(void)
{
	struct fin *f;

	kg_lock();
	f = table.first;
	if (f) {
		table.first = f->next;
		if (!f->next)
			table.last = NULL;
	} else {
		__atomic_fetch_and(&kg.slow, ~(uint32_t)KG_FINALIZERS,
				   __ATOMIC_RELAXED);
	}
	kg_unlock();
	return f;
}

KG_API int GC_should_invoke_finalizers(void)
{
	return kg_final_is_waiting();
}

KG_API int GC_invoke_finalizers(void)
{
	struct fin *f;
	int nr = 0;

	while ((f = take_first())) {
		void *obj = f->obj, *data = f->data;
		GC_finalization_proc fn = f->fn;

		free(f);
		fn(obj, data);
		/* Here to its end: nothing else may refer to it. */
		GC_reachable_here(obj);
		GC_reachable_here(data);
		nr++;
	}
	return nr;
}

void kg_final_run(void)
{
	GC_finalizer_notifier_proc notify;

	if (calling || kg_is_locked())
		return;
	calling = true;
	if (READ_ONCE(GC_finalize_on_demand)) {
		__atomic_fetch_and(&kg.slow, ~(uint32_t)KG_FINALIZERS,
				   __ATOMIC_RELAXED);
		notify = READ_ONCE(GC_finalizer_notifier);
		if (notify && kg_final_is_waiting())
			notify();
	} else {
		GC_invoke_finalizers();
	}
	calling = false;
}

KG_API void GC_finalize_all(void)
{
	struct fin *f;

	do {
		kg_lock();
		for (size_t i = 0; i < table.nr_heads; i++) {
			while ((f = table.heads[i])) {
				table.heads[i] = f->next;
				table.nr--;
				put_last(f);
			}
		}
		kg_unlock();
	} while (GC_invoke_finalizers());
}

KG_API void GC_set_finalize_on_demand(int on)
{
	GC_finalize_on_demand = on;
}

KG_API int GC_get_finalize_on_demand(void)
{
	return GC_finalize_on_demand;
}

KG_API void GC_set_java_finalization(int on)
{
	GC_java_finalization = on;
}

KG_API int GC_get_java_finalization(void)
{
	return GC_java_finalization;
}

KG_API void GC_set_finalizer_notifier(GC_finalizer_notifier_proc fn)
{
	WRITE_ONCE(GC_finalizer_notifier, fn);
}

KG_API GC_finalizer_notifier_proc GC_get_finalizer_notifier(void)
{
	return READ_ONCE(GC_finalizer_notifier);
}
