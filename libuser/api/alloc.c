/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Allocation: from the P's cache, from that of a registered thread, or from the
 * one for all other threads.
 */
#include <kaus/alloc.h>
#include <kaus/gc.h>
#include <string.h>

#include "gc/gc.h"
#include "mem/cache.h"
#include "sched/sched.h"

/* Zeroing more than this is done where it can be preempted. */
#define ZERO_MAX	(64UL << 10)

static inline struct kr_cache *enter(struct m **ret_mp)
{
	struct m *mp = kr_enter();

	*ret_mp = mp;
	if (likely(mp))
		return mp->p->cache;
	return kr_plain_enter();
}

static inline void leave(struct m *mp)
{
	if (likely(mp))
		kr_exit(mp);
	else
		kr_plain_leave();
}

/* errno must be set before a goroutine may change its thread. */
static KR_NOINLINE void *no_memory(struct m *mp, struct kr_cache *cache)
{
	if (mp)
		*mp->errno_addr = ENOMEM;
	else
		errno = ENOMEM;
	if (cache)
		leave(mp);
	return NULL;
}

static KR_NOINLINE void *alloc_large(size_t size, enum kr_kind kind,
				     const struct kaus_type *type)
{
	struct kr_cache *cache;
	struct m *mp;
	bool zero;
	char *obj;

	cache = enter(&mp);
	if (!cache)
		return no_memory(mp, cache);
	obj = kr_cache_alloc_large(cache, size, kind, type, &zero);
	if (!obj)
		return no_memory(mp, cache);
	if (!zero && size <= ZERO_MAX) {
		memset(obj, 0, kr_span_of(obj)->elem_bytes);
		zero = true;
	}
	leave(mp);
	/*
	 * The collector may see what was there before: memory that it keeps. Its
	 * check mode would miss a barrier for that.
	 */
	if (!zero && kind == KR_NOSCAN)
		memset(obj, 0, kaus_alloc_size(obj));
	else if (!zero)
		kaus_gc_clear(obj, kaus_alloc_size(obj));
	return obj;
}

/* What ends a typed object: before the world can be stopped. */
static inline void set_type(char *obj, size_t bytes,
			    const struct kaus_type *type)
{
	WRITE_ONCE(*(const struct kaus_type **)(void *)
		   (obj + bytes - sizeof(type)), type);
}

/* @size: with the word for the type. */
static KR_NOINLINE void *alloc_slow(size_t size, enum kr_kind kind,
				    const struct kaus_type *type)
{
	struct kr_cache *cache;
	struct m *mp;
	size_t bytes;
	char *obj;

	if (unlikely(size > KR_SMALL_MAX))
		return alloc_large(type ? size - sizeof(type) : size, kind,
				   type);
	cache = enter(&mp);
	if (unlikely(!cache))
		return no_memory(mp, cache);
	obj = kr_cache_alloc(cache, size, kind, &bytes);
	if (unlikely(!obj))
		return no_memory(mp, cache);
	if (type)
		set_type(obj, bytes, type);
	leave(mp);
	return obj;
}

/* kr_exit() where there are events: the object is on the stack meanwhile. */
static KR_NOINLINE void *leave_slow(void *obj)
{
	kr_exit_slow();
	return obj;
}

/* kr_plain_leave() where something is due: as leave_slow(). */
static KR_NOINLINE void *plain_leave_slow(struct kr_gc_thread *t, void *obj)
{
	kr_plain_leave_slow(t);
	return obj;
}

/* A registered thread: the same, with its word that it is busy. */
KR_INLINE void *alloc_plain(size_t size, enum kr_kind kind,
			    const struct kaus_type *type)
{
	struct kr_gc_thread *t = kr_tls_plain;
	struct kr_slot *slot;
	uint64_t free;
	char *obj;

	if (unlikely(!t))
		return alloc_slow(size, kind, type);
	WRITE_ONCE(t->suspend.busy, 1);
	barrier();
	slot = kr_cache_fast_slot(t->cache, size, kind);
	free = slot->free;
	if (unlikely(!free)) {
		/* alloc_slow() is busy too, and looks afterwards. */
		WRITE_ONCE(t->suspend.busy, 0);
		return alloc_slow(size, kind, type);
	}
	obj = kr_slot_take(slot, free);
	if (kind == KR_TYPED)
		set_type(obj, slot->bytes, type);
	barrier();
	WRITE_ONCE(t->suspend.busy, 0);
	barrier();
	if (unlikely(READ_ONCE(t->suspend.late) || READ_ONCE(t->due)))
		return plain_leave_slow(t, obj);
	return obj;
}

/*
 * No call but in the place of the return, so that no register is to be saved:
 * what is not simple is left to alloc_slow() from the beginning.
 */
KR_INLINE void *alloc_any(size_t size, enum kr_kind kind,
			  const struct kaus_type *type)
{
	struct kaus_worker *worker;
	struct m *mp = kr_self();
	struct kr_slot *slot;
	uint64_t free;
	char *obj;

	if (unlikely(size > KR_FAST_MAX))
		return alloc_slow(size, kind, type);
	if (!mp)
		return alloc_plain(size, kind, type);
	if (unlikely(!kr_enter_try(mp)))
		return alloc_slow(size, kind, type);
	worker = mp->slot;
	slot = kr_cache_fast_slot(mp->p->cache, size, kind);
	free = slot->free;
	if (unlikely(!free)) {
		WRITE_ONCE(worker->defer, 0);
		return alloc_slow(size, kind, type);
	}
	obj = kr_slot_take(slot, free);
	if (kind == KR_TYPED)
		set_type(obj, slot->bytes, type);
	/* As kr_exit(). */
	smp_store_release(&worker->defer, 0);
	barrier();
	if (unlikely(READ_ONCE(worker->events)))
		return leave_slow(obj);
	return obj;
}

KR_INLINE void *alloc(size_t size, enum kr_kind kind)
{
	return alloc_any(size, kind, NULL);
}

KR_API void *kaus_alloc(size_t size)
{
	return alloc(size, KR_CONS);
}

KR_API void *kaus_alloc_noscan(size_t size)
{
	return alloc(size, KR_NOSCAN);
}

/* Too much for anybody if the product overflows. */
static inline size_t times(size_t nr, size_t size)
{
	size_t bytes;

	return __builtin_mul_overflow(nr, size, &bytes) ? SIZE_MAX : bytes;
}

KR_API void *kaus_alloc_array(size_t nr, size_t size)
{
	return alloc(times(nr, size), KR_CONS);
}

KR_API void *kaus_alloc_array_noscan(size_t nr, size_t size)
{
	return alloc(times(nr, size), KR_NOSCAN);
}

/* Too much for anybody if the sum overflows. */
static void *alloc_typed(const struct kaus_type *type, size_t size)
{
	size_t bytes;

	if (__builtin_add_overflow(size, sizeof(type), &bytes))
		return alloc_large(size, KR_TYPED, type);
	return alloc_any(bytes, KR_TYPED, type);
}

/*
 * A type of nothing but pointers is what KR_CONS means. So is one so small that
 * a word for its type would cost a third of it or more.
 */
#define TYPED_MIN_BYTES	16

KR_INLINE void *new(const struct kaus_type *type, size_t size)
{
	if (!type->ptr_bytes)
		return alloc(size, KR_NOSCAN);
	if (type->ptr_bytes == type->size || type->size <= TYPED_MIN_BYTES)
		return alloc(size, KR_CONS);
	return alloc_typed(type, size);
}

KR_API void *kaus_new(const struct kaus_type *type)
{
	return new(type, type->size);
}

KR_API void *kaus_new_array(const struct kaus_type *type, size_t nr)
{
	return new(type, times(nr, type->size));
}

KR_API void kaus_free(void *obj)
{
	enum kr_free_result result;
	struct kr_cache *cache;
	struct m *mp;

	if (!obj)
		return;
	cache = enter(&mp);
	result = cache ? kr_heap_free(cache, obj) : KR_FREE_BAD;
	if (cache)
		leave(mp);
	if (unlikely(result == KR_FREE_BAD))
		kr_throw("kaus_free(): not an object, or freed before");
}

KR_API size_t kaus_alloc_size(const void *obj)
{
	struct kr_span *s;
	uint32_t index;

	if (!kr_obj_find(obj, &s, &index) || kr_obj_base(s, index) != obj)
		return 0;
	return kr_obj_bytes(s);
}
