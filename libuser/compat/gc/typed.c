/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Objects with a map of pointers. A descriptor is the address of a struct map,
 * or one of two small numbers. The collector's types have the size of the object
 * in them: a map has one for each size that it is used with.
 */
#include <gc_typed.h>
#include <kaus/alloc.h>
#include <stdlib.h>

#include "compat/gc/kgc.h"

#define NO_POINTERS	((GC_descr)0)
#define ANY_POINTERS	((GC_descr)1)	/* no memory for a better one */

struct sized {
	struct sized *next;
	struct kaus_type type;
};

struct map {
	struct sized *types;		/* only added to */
	size_t nr_ptrs, ptr_bytes;
	struct kaus_ptrs ptrs[];
};

static size_t nr_runs(const GC_word *bitmap, size_t nr_bits)
{
	size_t nr = 0;

	for (size_t i = 0; i < nr_bits; i++)
		nr += GC_get_bit(bitmap, i) &&
		      (!i || !GC_get_bit(bitmap, i - 1));
	return nr;
}

KG_API GC_descr GC_make_descriptor(const GC_word *bitmap, size_t nr_bits)
{
	size_t nr = nr_runs(bitmap, nr_bits);
	struct kaus_ptrs *run;
	struct map *map;

	if (!nr)
		return NO_POINTERS;
	map = calloc(1, sizeof(*map) + nr * sizeof(map->ptrs[0]));
	if (!map)
		return ANY_POINTERS;
	map->nr_ptrs = nr;
	run = map->ptrs - 1;
	for (size_t i = 0; i < nr_bits; i++) {
		if (!GC_get_bit(bitmap, i))
			continue;
		if (!i || !GC_get_bit(bitmap, i - 1))
			*++run = (struct kaus_ptrs){ (uint32_t)(i * 8), 0 };
		run->nr_words++;
		map->ptr_bytes += 8;
	}
	return (GC_descr)map;
}

/* NULL: no memory. */
static const struct kaus_type *type_of(struct map *map, size_t size)
{
	struct sized *first = smp_load_acquire(&map->types), *s;

	for (s = first; s; s = s->next)
		if (s->type.size == size)
			return &s->type;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->type.size = size;
	s->type.ptr_bytes = map->ptr_bytes;
	s->type.nr_ptrs = map->nr_ptrs;
	s->type.ptrs = map->ptrs;
	s->type.name = "GC_descr";
	s->next = first;
	/* Two of one size do no harm. */
	while (!__atomic_compare_exchange_n(&map->types, &s->next, s, false,
					    __ATOMIC_ACQ_REL,
					    __ATOMIC_ACQUIRE))
		;
	return &s->type;
}

static void *alloc_typed(size_t nr, size_t size, GC_descr descr)
{
	const struct kaus_type *type;
	struct map *map;
	size_t bytes;
	void *obj;

	if (__builtin_mul_overflow(nr, size, &bytes) || bytes > SIZE_MAX - 8)
		return GC_get_oom_fn()(SIZE_MAX);
	if (descr == NO_POINTERS)
		return GC_malloc_atomic(bytes);
	/* Elements that are no whole words have pointers anywhere. */
	if (descr == ANY_POINTERS || (nr != 1 && size % 8))
		return GC_malloc(bytes);
	map = (struct map *)descr;
	type = type_of(map, (size + 7) & ~7UL);
	if (!type)
		return GC_malloc(bytes);
	if (!kg_enter(bytes))
		return GC_get_oom_fn()(bytes);
	obj = kaus_new_array(type, nr);
	if (obj)
		return obj;
	GC_gcollect();
	obj = kaus_new_array(type, nr);
	return obj ? obj : GC_get_oom_fn()(bytes);
}

KG_API void *GC_malloc_explicitly_typed(size_t size, GC_descr descr)
{
	return alloc_typed(1, size, descr);
}

KG_API void *GC_malloc_explicitly_typed_ignore_off_page(size_t size,
							GC_descr descr)
{
	return alloc_typed(1, size, descr);
}

KG_API void *GC_calloc_explicitly_typed(size_t nr, size_t size, GC_descr descr)
{
	return alloc_typed(nr, size, descr);
}
