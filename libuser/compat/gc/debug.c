/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Calls that say where they are made. Nothing is done with that. */
#include "compat/gc/kgc.h"

KG_API void *GC_debug_malloc(size_t size, GC_EXTRA_PARAMS)
{
	(void)s;
	(void)i;
	return GC_malloc(size);
}

KG_API void *GC_debug_malloc_atomic(size_t size, GC_EXTRA_PARAMS)
{
	(void)s;
	(void)i;
	return GC_malloc_atomic(size);
}

KG_API void *GC_debug_malloc_uncollectable(size_t size, GC_EXTRA_PARAMS)
{
	(void)s;
	(void)i;
	return GC_malloc_uncollectable(size);
}

KG_API void *GC_debug_malloc_atomic_uncollectable(size_t size, GC_EXTRA_PARAMS)
{
	(void)s;
	(void)i;
	return GC_malloc_atomic_uncollectable(size);
}

KG_API void *GC_debug_malloc_stubborn(size_t size, GC_EXTRA_PARAMS)
{
	(void)s;
	(void)i;
	return GC_malloc(size);
}

KG_API void *GC_debug_malloc_ignore_off_page(size_t size, GC_EXTRA_PARAMS)
{
	(void)s;
	(void)i;
	return GC_malloc(size);
}

KG_API void *GC_debug_malloc_atomic_ignore_off_page(size_t size,
						    GC_EXTRA_PARAMS)
{
	(void)s;
	(void)i;
	return GC_malloc_atomic(size);
}

KG_API char *GC_debug_strdup(const char *str, GC_EXTRA_PARAMS)
{
	(void)s;
	(void)i;
	return GC_strdup(str);
}

KG_API char *GC_debug_strndup(const char *str, size_t max, GC_EXTRA_PARAMS)
{
	(void)s;
	(void)i;
	return GC_strndup(str, max);
}

KG_API void *GC_debug_realloc(void *obj, size_t size, GC_EXTRA_PARAMS)
{
	(void)s;
	(void)i;
	return GC_realloc(obj, size);
}

KG_API void *GC_debug_malloc_replacement(size_t size)
{
	return GC_malloc(size);
}

KG_API void *GC_debug_realloc_replacement(void *obj, size_t size)
{
	return GC_realloc(obj, size);
}

KG_API void GC_debug_free(void *obj)
{
	GC_free(obj);
}

KG_API void GC_debug_change_stubborn(const void *obj)
{
	(void)obj;
}

KG_API void GC_debug_end_stubborn_change(const void *obj)
{
	(void)obj;
}

KG_API void GC_debug_ptr_store_and_dirty(void *slot, const void *value)
{
	GC_ptr_store_and_dirty(slot, value);
}

KG_API void GC_debug_register_finalizer(void *obj, GC_finalization_proc fn,
					void *data,
					GC_finalization_proc *old_fn,
					void **old_data)
{
	GC_register_finalizer(obj, fn, data, old_fn, old_data);
}

KG_API void GC_debug_register_finalizer_ignore_self(
	void *obj, GC_finalization_proc fn, void *data,
	GC_finalization_proc *old_fn, void **old_data)
{
	GC_register_finalizer_ignore_self(obj, fn, data, old_fn, old_data);
}

KG_API void GC_debug_register_finalizer_no_order(
	void *obj, GC_finalization_proc fn, void *data,
	GC_finalization_proc *old_fn, void **old_data)
{
	GC_register_finalizer_no_order(obj, fn, data, old_fn, old_data);
}

KG_API void GC_debug_register_finalizer_unreachable(
	void *obj, GC_finalization_proc fn, void *data,
	GC_finalization_proc *old_fn, void **old_data)
{
	GC_register_finalizer_unreachable(obj, fn, data, old_fn, old_data);
}
