/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Threads: what pthread_create() and the like are by the macros of gc.h. A thread
 * is registered while its function runs. Its argument counts until then, and its
 * result until it is joined.
 */
#define GC_THREADS 1
#include <errno.h>
#include <kaus/gc.h>
#include <pthread.h>
#include <stdlib.h>

#include "compat/gc/kgc.h"

struct thread {
	struct thread *next;
	pthread_t id;
	void *(*fn)(void *arg);
	void *arg, *result;
	bool detached, ended;
};

static struct thread *threads;
static __thread struct thread *self;

void kg_threads_mark(struct kr_marker *mk)
{
	for (struct thread *t = threads; t; t = t->next) {
		kg.ops->mark(mk, &t->arg, &t->arg + 1);
		kg.ops->mark(mk, &t->result, &t->result + 1);
	}
}

/* kg_lock() held. */
static void del(struct thread *t)
{
	struct thread **at = &threads;

	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
}

static void end(void *arg)
{
	struct thread *t = arg;
	bool is_last;

	self = NULL;
	kg_lock();
	t->ended = true;
	is_last = t->detached;
	if (is_last)
		del(t);
	kg_unlock();
	if (is_last)
		free(t);
	kaus_gc_thread_unregister();
}

static void *start(void *arg)
{
	struct thread *t = arg;
	void *result;

	if (kaus_gc_thread_register())
		kg_abort("GC_pthread_create(): no memory");
	self = t;
	pthread_cleanup_push(end, t);
	kg_lock();
	t->id = pthread_self();
	kg_unlock();
	result = t->fn(t->arg);
	t->result = result;
	pthread_cleanup_pop(1);
	return result;
}

KG_API int GC_pthread_create(pthread_t *ret, const pthread_attr_t *attr,
			     void *(*fn)(void *arg), void *arg)
{
	struct thread *t;
	int state, err;

	GC_init();
	t = calloc(1, sizeof(*t));
	if (!t)
		return EAGAIN;
	t->fn = fn;
	t->arg = arg;
	t->detached = attr && !pthread_attr_getdetachstate(attr, &state) &&
		      state == PTHREAD_CREATE_DETACHED;
	kg_lock();
	t->next = threads;
	threads = t;
	/* The thread waits for the lock: its number is known to all first. */
	err = pthread_create(ret, attr, start, t);
	if (err)
		del(t);
	else
		t->id = *ret;
	kg_unlock();
	if (err)
		free(t);
	return err;
}

static struct thread *find_locked(pthread_t id, bool ended)
{
	struct thread *t = threads;

	while (t && (!pthread_equal(t->id, id) || t->detached ||
		     (ended && !t->ended)))
		t = t->next;
	return t;
}

KG_API int GC_pthread_join(pthread_t thread, void **ret)
{
	int err = pthread_join(thread, ret);
	struct thread *t;

	if (err)
		return err;
	/* Its number may be another's by now, who has not ended or is later. */
	kg_lock();
	t = find_locked(thread, true);
	if (t)
		del(t);
	kg_unlock();
	free(t);
	return 0;
}

KG_API int GC_pthread_detach(pthread_t thread)
{
	struct thread *t, *gone = NULL;
	int err;

	kg_lock();
	t = find_locked(thread, false);
	err = pthread_detach(thread);
	if (!err && t) {
		t->detached = true;
		if (t->ended) {
			del(t);
			gone = t;
		}
	}
	kg_unlock();
	free(gone);
	return err;
}

KG_API int GC_pthread_cancel(pthread_t thread)
{
	return pthread_cancel(thread);
}

KG_API void GC_pthread_exit(void *ret)
{
	if (self)
		self->result = ret;
	pthread_exit(ret);
}

/* ---- threads that others have made ---- */

KG_API int GC_get_stack_base(struct GC_stack_base *ret)
{
	uintptr_t end;

	GC_init();
	if (kg.ops->stack_end(&end))
		return GC_UNIMPLEMENTED;
	ret->mem_base = (void *)end;
	return GC_SUCCESS;
}

KG_API void *GC_call_with_stack_base(GC_stack_base_func fn, void *arg)
{
	struct GC_stack_base sb = { .mem_base = __builtin_frame_address(0) };

	return fn(&sb, arg);
}

KG_API void GC_allow_register_threads(void)
{
	GC_init();
}

KG_API int GC_register_my_thread(const struct GC_stack_base *sb)
{
	int err;

	/* The library knows where the stack ends. */
	(void)sb;
	GC_init();
	err = kaus_gc_thread_register();
	if (err == -EEXIST)
		return GC_DUPLICATE;
	if (err)
		kg_abort("GC_register_my_thread(): no memory, or a goroutine");
	return GC_SUCCESS;
}

KG_API int GC_unregister_my_thread(void)
{
	return kaus_gc_thread_unregister() ? GC_NOT_FOUND : GC_SUCCESS;
}

KG_API int GC_thread_is_registered(void)
{
	int err = kaus_gc_thread_register();

	if (!err)
		kaus_gc_thread_unregister();
	return err == -EEXIST;
}

/* A thread that sleeps is stopped by a signal all the same. */
KG_API void *GC_do_blocking(GC_fn_type fn, void *arg)
{
	return fn(arg);
}

KG_API void *GC_call_with_gc_active(GC_fn_type fn, void *arg)
{
	return fn(arg);
}
