/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Allocation. */
#include <errno.h>
#include <kaus/alloc.h>
#include <kaus/gc.h>
#include <string.h>
#include <wchar.h>

#include "compat/gc/kgc.h"

#define ALIGNED_ANYHOW	16

KG_API GC_oom_func GC_oom_fn;

KG_API void GC_set_oom_fn(GC_oom_func fn)
{
	WRITE_ONCE(GC_oom_fn, fn);
}

static void *oom_default(size_t size)
{
	(void)size;
	return NULL;
}

KG_API GC_oom_func GC_get_oom_fn(void)
{
	GC_oom_func fn = READ_ONCE(GC_oom_fn);

	return fn ? fn : oom_default;
}

static bool has_room(size_t size)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };
	size_t max = READ_ONCE(kg.max_heap_bytes);

	kaus_gc_stats_read(&st);
	return !max || (size <= max && st.heap_live_bytes <= max - size);
}

bool kg_slow_enter(size_t size)
{
	uint32_t slow = READ_ONCE(kg.slow);

	if (slow & KG_NOT_INIT)
		GC_init();
	if (slow & KG_FINALIZERS)
		kg_final_run();
	if (!(slow & KG_MAX_HEAP) || has_room(size))
		return true;
	GC_gcollect();
	return has_room(size);
}

void *kg_no_memory(size_t size, void *(*alloc)(size_t size))
{
	void *obj = NULL;

	/* Not if it is the limit, for which that has been done. */
	if (kg_enter(size)) {
		GC_gcollect();
		obj = alloc(kg_padded(size));
	}
	return obj ? obj : GC_get_oom_fn()(size);
}

KG_API void *GC_malloc(size_t size)
{
	void *obj = NULL;

	if (kg_enter(size))
		obj = kaus_alloc(kg_padded(size));
	return likely(obj) ? obj : kg_no_memory(size, kaus_alloc);
}

KG_API void *GC_malloc_atomic(size_t size)
{
	void *obj = NULL;

	if (kg_enter(size))
		obj = kaus_alloc_noscan(kg_padded(size));
	return likely(obj) ? obj : kg_no_memory(size, kaus_alloc_noscan);
}

static void *uncollectable(void *obj)
{
	if (!obj || kg_uncollectable_add(obj))
		return obj;
	GC_free(obj);
	return NULL;
}

KG_API void *GC_malloc_uncollectable(size_t size)
{
	return uncollectable(GC_malloc(size));
}

KG_API void *GC_malloc_atomic_uncollectable(size_t size)
{
	return uncollectable(GC_malloc_atomic(size));
}

KG_API void *GC_malloc_stubborn(size_t size)
{
	return GC_malloc(size);
}

KG_API void *GC_malloc_ignore_off_page(size_t size)
{
	return GC_malloc(size);
}

KG_API void *GC_malloc_atomic_ignore_off_page(size_t size)
{
	return GC_malloc_atomic(size);
}

/* A list of one: more would be kept by those that are still in it. */
KG_API void *GC_malloc_many(size_t size)
{
	return GC_malloc(size);
}

KG_API char *GC_strndup(const char *s, size_t max)
{
	size_t len = strnlen(s, max);
	char *copy = GC_malloc_atomic(len + 1);

	if (!copy) {
		errno = ENOMEM;
		return NULL;
	}
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

KG_API char *GC_strdup(const char *s)
{
	return s ? GC_strndup(s, SIZE_MAX - 1) : NULL;
}

KG_API wchar_t *GC_wcsdup(const wchar_t *s);
KG_API wchar_t *GC_wcsdup(const wchar_t *s)
{
	size_t bytes = (wcslen(s) + 1) * sizeof(*s);
	wchar_t *copy = GC_malloc_atomic(bytes);

	if (copy)
		memcpy(copy, s, bytes);
	return copy;
}

/* Somewhere in an object that is larger: pointers into it count. */
KG_API void *GC_memalign(size_t align, size_t size)
{
	uintptr_t obj;

	if (align <= ALIGNED_ANYHOW)
		return GC_malloc(size);
	if (align & (align - 1) || size > SIZE_MAX - align)
		return NULL;
	obj = (uintptr_t)GC_malloc(size + align - ALIGNED_ANYHOW);
	return obj ? (void *)((obj + align - 1) & ~(align - 1)) : NULL;
}

KG_API int GC_posix_memalign(void **ret, size_t align, size_t size)
{
	void *obj;

	if (!align || align & (align - 1) || align % sizeof(void *))
		return EINVAL;
	obj = GC_memalign(align, size);
	if (!obj)
		return ENOMEM;
	*ret = obj;
	return 0;
}

KG_API void GC_free(void *obj)
{
	struct kr_gc_object o;

	if (!obj)
		return;
	if (!kg.ops || !kg.ops->find(obj, &o))
		kg_abort("GC_free(): not an object, or freed before");
	kg_uncollectable_del(o.base);
	kg_final_forget(o.base);
	kaus_free(o.base);
}

static void *alloc_as(const struct kr_gc_object *o, size_t size, bool stays)
{
	if (stays)
		return o->noscan ? GC_malloc_atomic_uncollectable(size) :
				   GC_malloc_uncollectable(size);
	return o->noscan ? GC_malloc_atomic(size) : GC_malloc(size);
}

KG_API void *GC_realloc(void *obj, size_t size)
{
	struct kr_gc_object o;
	size_t usable;
	bool stays;
	void *new;

	if (!obj)
		return GC_malloc(size);
	if (!size) {
		GC_free(obj);
		return NULL;
	}
	if (!kg.ops || !kg.ops->find(obj, &o))
		kg_abort("GC_realloc(): not an object");
	usable = (size_t)(o.base + o.bytes - (char *)obj);
	/* Not where it would waste more than a half. */
	if (kg_padded(size) <= usable && size >= usable / 2) {
		/* What is behind the end is zero when it grows again. */
		if (!o.noscan)
			memset((char *)obj + size, 0, usable - size);
		return obj;
	}
	stays = kg_uncollectable_has(o.base);
	new = alloc_as(&o, size, stays);
	if (!new)
		return NULL;
	memcpy(new, obj, size < usable ? size : usable);
	GC_free(obj);
	return new;
}

/* ---- cycles ---- */

static GC_stop_func stop_func;

static int never(void)
{
	return 0;
}

KG_API void GC_set_stop_func(GC_stop_func stop)
{
	WRITE_ONCE(stop_func, stop);
}

KG_API GC_stop_func GC_get_stop_func(void)
{
	GC_stop_func stop = READ_ONCE(stop_func);

	return stop ? stop : never;
}

KG_API int GC_try_to_collect(GC_stop_func stop)
{
	int err;

	if (READ_ONCE(GC_dont_gc) || kg_is_locked() || stop())
		return 0;
	if (!GC_is_init_called())
		GC_init();
	err = kaus_gc();
	if (err) {
		kg_warn("a thread that is not registered, or a child of fork() whose parent had more threads, cannot collect (%lu)\n",
			(GC_word)-err);
		return 0;
	}
	if (READ_ONCE(kg.slow) & KG_FINALIZERS)
		kg_final_run();
	return 1;
}

KG_API void GC_gcollect(void)
{
	GC_try_to_collect(GC_get_stop_func());
}

KG_API void GC_gcollect_and_unmap(void)
{
	GC_try_to_collect(never);
}

/* There are no little steps: all of it, if something has been allocated. */
KG_API int GC_collect_a_little(void)
{
	if (GC_get_bytes_since_gc() >= GC_get_heap_size() / 4)
		GC_gcollect();
	return 0;
}

/* Address space is plenty, and memory is taken when it is needed. */
KG_API int GC_expand_hp(size_t bytes)
{
	size_t max = READ_ONCE(kg.max_heap_bytes);

	GC_init();
	return !max || bytes <= max;
}
