/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What is at an address, and checks of pointers. */
#include "compat/gc/kgc.h"

static void same_obj_default(void *p, void *q)
{
	(void)p;
	(void)q;
	kg_abort("GC_same_obj(): pointers into different objects");
}

static void displacement_default(void *p)
{
	(void)p;
	kg_abort("GC_is_valid_displacement(): not in an object");
}

static void visible_default(void *p)
{
	(void)p;
	kg_abort("GC_is_visible(): not where the collector looks");
}

KG_API void (*GC_same_obj_print_proc)(void *p, void *q) = same_obj_default;
KG_API void (*GC_is_valid_displacement_print_proc)(void *p) =
	displacement_default;
KG_API void (*GC_is_visible_print_proc)(void *p) = visible_default;

static bool find(const void *addr, struct kr_gc_object *ret_obj)
{
	return kg.ops && kg.ops->find(addr, ret_obj);
}

KG_API void *GC_base(void *addr)
{
	struct kr_gc_object o;

	return find(addr, &o) ? o.base : NULL;
}

KG_API size_t GC_size(const void *obj)
{
	struct kr_gc_object o;

	return find(obj, &o) ? o.bytes : 0;
}

KG_API int GC_is_heap_ptr(const void *addr)
{
	struct kr_gc_object o;

	return find(addr, &o);
}

KG_API void *GC_same_obj(void *p, void *q)
{
	if (GC_base(p) != GC_base(q))
		GC_same_obj_print_proc(p, q);
	return p;
}

/* Pointers to any byte count, so only what is no object at all is wrong. */
KG_API void *GC_is_valid_displacement(void *p)
{
	return p;
}

KG_API void *GC_is_visible(void *p)
{
	struct kr_gc_object o;

	if ((uintptr_t)p % sizeof(void *) ||
	    (find(p, &o) ? o.noscan : !kg.ops || !kg_is_root(p)))
		GC_is_visible_print_proc(p);
	return p;
}

KG_API void *GC_pre_incr(void **p, ptrdiff_t by)
{
	void *old = *p;

	*p = GC_same_obj((char *)old + by, old);
	return *p;
}

KG_API void *GC_post_incr(void **p, ptrdiff_t by)
{
	void *old = *p;

	*p = GC_same_obj((char *)old + by, old);
	return old;
}
