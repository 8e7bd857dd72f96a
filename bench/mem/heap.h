/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The heap that the works of mem.c are measured on, chosen by the compiler's
 * command line: HEAP_KAUS, HEAP_GC (libgc), or else malloc(), whichever library
 * provides it.
 */
#ifndef BENCH_MEM_HEAP_H
#define BENCH_MEM_HEAP_H

#include <stddef.h>

#if defined(HEAP_KAUS)
#include <kaus.h>

static inline void *heap_alloc(size_t size)
{
	return kaus_alloc(size);
}

static inline void *heap_alloc_noscan(size_t size)
{
	return kaus_alloc_noscan(size);
}

/* A collector finds out by itself. */
static inline void heap_drop(void *obj)
{
	(void)obj;
}

#ifdef KAUS_STORE
#define HEAP_STORE(slot, value)	KAUS_STORE(slot, value)
#else
#define HEAP_STORE(slot, value)	(*(slot) = (value))
#endif

static inline int heap_run(int (*fn)(void *arg), void *arg)
{
	return kaus_run(fn, arg);
}

#elif defined(HEAP_GC)
#include <gc.h>

static inline void *heap_alloc(size_t size)
{
	return GC_MALLOC(size);
}

static inline void *heap_alloc_noscan(size_t size)
{
	return GC_MALLOC_ATOMIC(size);
}

static inline void heap_drop(void *obj)
{
	(void)obj;
}

#define HEAP_STORE(slot, value)	(*(slot) = (value))

static inline int heap_run(int (*fn)(void *arg), void *arg)
{
	GC_INIT();
	return fn(arg);
}

#else
#include <stdlib.h>

static inline void *heap_alloc(size_t size)
{
	return malloc(size);
}

static inline void *heap_alloc_noscan(size_t size)
{
	return malloc(size);
}

static inline void heap_drop(void *obj)
{
	free(obj);
}

#define HEAP_STORE(slot, value)	(*(slot) = (value))

static inline int heap_run(int (*fn)(void *arg), void *arg)
{
	return fn(arg);
}
#endif

#endif /* BENCH_MEM_HEAP_H */
