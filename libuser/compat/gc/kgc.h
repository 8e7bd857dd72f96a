/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * libkausgc: the interface of the Boehm-Demers-Weiser collector on that of KAUS.
 * It adds what the latter has not: ordered finalizers, links that disappear,
 * objects that are not collected. All of that is found by addresses in tables
 * from malloc(), which the collector does not look at.
 *
 * kg_lock() protects the tables. A cycle takes it before threads are suspended,
 * so its hooks (init.c) find them whole; they call nothing that allocates.
 */
#ifndef KG_KGC_H
#define KG_KGC_H

#include <gc.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/barrier.h"
#include "base/compiler.h"
#include "gc/compat.h"

#undef pthread_create
#undef pthread_join
#undef pthread_detach
#undef pthread_cancel
#undef pthread_exit

#define KG_API	KR_API

/* Why GC_malloc() cannot just go ahead. */
enum {
	KG_NOT_INIT	= 1,
	KG_FINALIZERS	= 2,	/* some are to be called */
	KG_MAX_HEAP	= 4,	/* the heap has a limit */
};

struct kg {
	uint32_t slow;
	const struct kr_gc_compat *ops;
	size_t max_heap_bytes;
};

extern struct kg kg __attribute__((visibility("hidden")));

/* ---- init.c ---- */

void kg_lock(void);
void kg_unlock(void);
/* The calling thread has it. */
bool kg_is_locked(void);
void kg_warn(const char *fmt, GC_word arg);
KR_NORETURN void kg_abort(const char *msg);

/* ---- alloc.c ---- */

/* One byte more, for pointers just behind the end. */
static inline size_t kg_padded(size_t size)
{
	return size + (GC_all_interior_pointers && size != SIZE_MAX);
}

/* Before an allocation; false: the heap has reached its limit. */
bool kg_slow_enter(size_t size);
/* No memory: collect and try again, and then ask GC_oom_fn. */
void *kg_no_memory(size_t size, void *(*alloc)(size_t size));

static inline bool kg_enter(size_t size)
{
	return likely(!READ_ONCE(kg.slow)) || kg_slow_enter(size);
}

/* ---- root.c: hooks; kg_lock() held ---- */

void kg_uncollectable_mark(struct kr_marker *mk);
void kg_segment(struct kr_marker *mk, const char *lo, const char *hi);
/* False: no memory. */
bool kg_uncollectable_add(void *obj);
bool kg_uncollectable_has(void *obj);
/* False: it is none. */
bool kg_uncollectable_del(void *obj);
/* Is it in memory that is looked at, and is not the heap? */
bool kg_is_root(const char *p);

/* ---- final.c: hooks, and for GC_free() ---- */

void kg_final_mark_roots(struct kr_marker *mk);
void kg_final_process(struct kr_marker *mk);
bool kg_final_is_waiting(void);
/* Some wait: call them, or the one who wants to be told. */
void kg_final_run(void);
void kg_final_forget(void *obj);

/* ---- link.c: hooks ---- */

/* Clear short links, or long ones, to what is not marked. */
void kg_links_clear(bool is_long);
/* Forget those that lie in what is not marked. */
void kg_links_forget_dead(bool is_long);

/* ---- thread.c ---- */

void kg_threads_mark(struct kr_marker *mk);

static inline size_t kg_hash(const void *p, size_t nr_heads)
{
	uint64_t x = (uintptr_t)p >> 3;

	return (x * 0x9e3779b97f4a7c15ULL >> 32) & (nr_heads - 1);
}

#endif /* KG_KGC_H */
