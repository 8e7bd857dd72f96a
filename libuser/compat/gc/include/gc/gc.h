/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The interface of the Boehm-Demers-Weiser collector, version 8.2, as far as
 * libkausgc has it: programs written for that collector use the one of KAUS.
 * What is missing, and what differs, is in kaus_libgc(3). Names, arguments and
 * values are those of the original, so that programs also run without being
 * compiled again.
 */
#ifndef GC_H
#define GC_H

#include <stddef.h>

#include "gc_version.h"

#ifdef GC_THREADS
#ifndef GC_PTHREADS
#define GC_PTHREADS		1
#endif
#include <pthread.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define GC_API			extern
#define GC_CALL
#define GC_CALLBACK
#define GC_ATTR_MALLOC		__attribute__((__malloc__))
#define GC_ATTR_ALLOC_SIZE(n)	__attribute__((__alloc_size__(n)))
#define GC_ATTR_CALLOC_SIZE(n, s) __attribute__((__alloc_size__(n, s)))
#define GC_ATTR_NONNULL(n)	__attribute__((__nonnull__(n)))

typedef void *GC_PTR;
typedef unsigned long GC_word;
typedef long GC_signed_word;

#define GC_SUCCESS		0
#define GC_DUPLICATE		1
#define GC_NO_THREADS		2
#define GC_NO_MEMORY		2
#define GC_UNIMPLEMENTED	3
#define GC_NOT_FOUND		4
#define GC_TIME_UNLIMITED	999999
#define GC_PROTECTS_NONE	0

/* ---- start, settings ---- */

GC_API unsigned int GC_get_version(void);
GC_API void GC_init(void);
GC_API int GC_is_init_called(void);
GC_API void GC_deinit(void);

#ifdef GC_IGNORE_WARN
#define GC_INIT_WARN_()		GC_set_warn_proc(GC_ignore_warn_proc)
#else
#define GC_INIT_WARN_()		((void)0)
#endif
#ifdef GC_MAXIMUM_HEAP_SIZE
#define GC_INIT_MAX_()		GC_set_max_heap_size(GC_MAXIMUM_HEAP_SIZE)
#else
#define GC_INIT_MAX_()		((void)0)
#endif
#ifdef GC_FREE_SPACE_DIVISOR
#define GC_INIT_DIVISOR_()	GC_set_free_space_divisor(GC_FREE_SPACE_DIVISOR)
#else
#define GC_INIT_DIVISOR_()	((void)0)
#endif
#define GC_INIT()						\
	do {							\
		GC_INIT_DIVISOR_();				\
		GC_INIT_MAX_();					\
		GC_init();					\
		GC_INIT_WARN_();				\
	} while (0)

GC_API GC_word GC_gc_no;
GC_API int GC_dont_gc, GC_all_interior_pointers, GC_finalize_on_demand,
	GC_java_finalization, GC_find_leak, GC_parallel;

GC_API void GC_set_all_interior_pointers(int on);
GC_API int GC_get_all_interior_pointers(void);
GC_API void GC_set_free_space_divisor(GC_word divisor);
GC_API GC_word GC_get_free_space_divisor(void);
GC_API void GC_set_max_heap_size(GC_word bytes);
GC_API void GC_set_no_dls(int on);
GC_API int GC_get_no_dls(void);
GC_API void GC_set_find_leak(int on);
GC_API int GC_get_find_leak(void);
GC_API void GC_set_dont_expand(int on);
GC_API int GC_get_dont_expand(void);
GC_API void GC_set_dont_precollect(int on);
GC_API int GC_get_dont_precollect(void);
GC_API void GC_set_full_freq(int freq);
GC_API int GC_get_full_freq(void);
GC_API void GC_set_max_retries(GC_word nr);
GC_API GC_word GC_get_max_retries(void);
GC_API void GC_set_time_limit(unsigned long ms);
GC_API unsigned long GC_get_time_limit(void);
GC_API void GC_set_non_gc_bytes(GC_word bytes);
GC_API GC_word GC_get_non_gc_bytes(void);
GC_API void GC_set_pages_executable(int on);
GC_API int GC_get_pages_executable(void);
GC_API void GC_set_force_unmap_on_gcollect(int on);
GC_API int GC_get_force_unmap_on_gcollect(void);
GC_API void GC_set_handle_fork(int on);
GC_API void GC_atfork_prepare(void);
GC_API void GC_atfork_parent(void);
GC_API void GC_atfork_child(void);
GC_API int GC_get_parallel(void);
GC_API void GC_set_markers_count(unsigned int nr);
GC_API void GC_start_mark_threads(void);

/* ---- allocation ---- */

GC_API void *GC_malloc(size_t size) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_malloc_atomic(size_t size)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_malloc_uncollectable(size_t size)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_malloc_atomic_uncollectable(size_t size)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_malloc_stubborn(size_t size)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_malloc_ignore_off_page(size_t size)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_malloc_atomic_ignore_off_page(size_t size)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_malloc_many(size_t size) GC_ATTR_MALLOC;
#define GC_NEXT(p)		(*(void **)(p))
GC_API char *GC_strdup(const char *s) GC_ATTR_MALLOC;
GC_API char *GC_strndup(const char *s, size_t max)
	GC_ATTR_MALLOC GC_ATTR_NONNULL(1);
#ifdef GC_REQUIRE_WCSDUP
GC_API wchar_t *GC_wcsdup(const wchar_t *s) GC_ATTR_MALLOC GC_ATTR_NONNULL(1);
#define GC_WCSDUP(s)		GC_wcsdup(s)
#endif
GC_API void *GC_memalign(size_t align, size_t size)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(2);
GC_API int GC_posix_memalign(void **ret, size_t align, size_t size)
	GC_ATTR_NONNULL(1);
GC_API void *GC_realloc(void *obj, size_t size) GC_ATTR_ALLOC_SIZE(2);
GC_API void GC_free(void *obj);
GC_API void GC_change_stubborn(const void *obj);
GC_API void GC_end_stubborn_change(const void *obj);
GC_API void GC_ptr_store_and_dirty(void *slot, const void *value);

/* ---- what is at an address ---- */

GC_API void *GC_base(void *addr);
GC_API size_t GC_size(const void *obj) GC_ATTR_NONNULL(1);
GC_API int GC_is_heap_ptr(const void *addr);
GC_API void *GC_same_obj(void *p, void *q);
GC_API void *GC_is_visible(void *p);
GC_API void *GC_is_valid_displacement(void *p);
GC_API void *GC_pre_incr(void **p, ptrdiff_t by) GC_ATTR_NONNULL(1);
GC_API void *GC_post_incr(void **p, ptrdiff_t by) GC_ATTR_NONNULL(1);
GC_API void (*GC_same_obj_print_proc)(void *p, void *q);
GC_API void (*GC_is_valid_displacement_print_proc)(void *p);
GC_API void (*GC_is_visible_print_proc)(void *p);

/* ---- roots, displacements ---- */

GC_API void GC_add_roots(void *lo, void *hi);
GC_API void GC_remove_roots(void *lo, void *hi);
GC_API void GC_clear_roots(void);
GC_API void GC_exclude_static_roots(void *lo, void *hi);
GC_API void GC_clear_exclusion_table(void);
GC_API void GC_register_displacement(size_t offset);
GC_API void GC_debug_register_displacement(size_t offset);

/* ---- cycles ---- */

typedef int (*GC_stop_func)(void);

GC_API void GC_gcollect(void);
GC_API void GC_gcollect_and_unmap(void);
GC_API int GC_try_to_collect(GC_stop_func stop) GC_ATTR_NONNULL(1);
GC_API void GC_set_stop_func(GC_stop_func stop) GC_ATTR_NONNULL(1);
GC_API GC_stop_func GC_get_stop_func(void);
GC_API int GC_collect_a_little(void);
GC_API void GC_enable(void);
GC_API void GC_disable(void);
GC_API int GC_is_disabled(void);
GC_API int GC_expand_hp(size_t bytes);
GC_API void GC_enable_incremental(void);
GC_API int GC_is_incremental_mode(void);
GC_API int GC_incremental_protection_needs(void);
GC_API void GC_start_incremental_collection(void);
GC_API void GC_set_disable_automatic_collection(int on);
GC_API int GC_get_disable_automatic_collection(void);

/* ---- statistics ---- */

struct GC_prof_stats_s {
	GC_word heapsize_full;
	GC_word free_bytes_full;
	GC_word unmapped_bytes;
	GC_word bytes_allocd_since_gc;
	GC_word allocd_bytes_before_gc;
	GC_word non_gc_bytes;
	GC_word gc_no;
	GC_word markers_m1;
	GC_word bytes_reclaimed_since_gc;
	GC_word reclaimed_bytes_before_gc;
	GC_word expl_freed_bytes_since_gc;
	GC_word obtained_from_os_bytes;
};

GC_API GC_word GC_get_gc_no(void);
GC_API size_t GC_get_heap_size(void);
GC_API size_t GC_get_free_bytes(void);
GC_API size_t GC_get_unmapped_bytes(void);
GC_API size_t GC_get_bytes_since_gc(void);
GC_API size_t GC_get_expl_freed_bytes_since_gc(void);
GC_API size_t GC_get_total_bytes(void);
GC_API size_t GC_get_obtained_from_os_bytes(void);
GC_API size_t GC_get_memory_use(void);
GC_API void GC_get_heap_usage_safe(GC_word *ret_heap, GC_word *ret_free,
				   GC_word *ret_unmapped, GC_word *ret_since,
				   GC_word *ret_total);
GC_API size_t GC_get_prof_stats(struct GC_prof_stats_s *ret, size_t size);
GC_API size_t GC_get_prof_stats_unsafe(struct GC_prof_stats_s *ret,
				       size_t size);
GC_API void GC_start_performance_measurement(void);
GC_API unsigned long GC_get_full_gc_total_time(void);
GC_API void GC_dump(void);

/* ---- callbacks ---- */

typedef void *(*GC_oom_func)(size_t size);
typedef void (*GC_warn_proc)(char *fmt, GC_word arg);
typedef void (*GC_abort_func)(const char *msg);
typedef void (*GC_finalizer_notifier_proc)(void);
typedef void *(*GC_fn_type)(void *arg);

GC_API GC_oom_func GC_oom_fn;
GC_API void GC_set_oom_fn(GC_oom_func fn) GC_ATTR_NONNULL(1);
GC_API GC_oom_func GC_get_oom_fn(void);
GC_API void GC_set_warn_proc(GC_warn_proc fn) GC_ATTR_NONNULL(1);
GC_API GC_warn_proc GC_get_warn_proc(void);
GC_API void GC_ignore_warn_proc(char *fmt, GC_word arg);
GC_API void GC_set_abort_func(GC_abort_func fn) GC_ATTR_NONNULL(1);
GC_API GC_abort_func GC_get_abort_func(void);
GC_API void GC_abort_on_oom(void);
GC_API void *GC_call_with_alloc_lock(GC_fn_type fn, void *arg)
	GC_ATTR_NONNULL(1);
GC_API void GC_alloc_lock(void);
GC_API void GC_alloc_unlock(void);

/* ---- finalizers, links ---- */

typedef void (*GC_finalization_proc)(void *obj, void *data);

GC_API void GC_register_finalizer(void *obj, GC_finalization_proc fn,
				  void *data, GC_finalization_proc *old_fn,
				  void **old_data) GC_ATTR_NONNULL(1);
GC_API void GC_register_finalizer_ignore_self(void *obj,
					      GC_finalization_proc fn,
					      void *data,
					      GC_finalization_proc *old_fn,
					      void **old_data)
	GC_ATTR_NONNULL(1);
GC_API void GC_register_finalizer_no_order(void *obj, GC_finalization_proc fn,
					   void *data,
					   GC_finalization_proc *old_fn,
					   void **old_data)
	GC_ATTR_NONNULL(1);
GC_API void GC_register_finalizer_unreachable(void *obj,
					      GC_finalization_proc fn,
					      void *data,
					      GC_finalization_proc *old_fn,
					      void **old_data)
	GC_ATTR_NONNULL(1);
GC_API int GC_should_invoke_finalizers(void);
GC_API int GC_invoke_finalizers(void);
GC_API void GC_finalize_all(void);
GC_API void GC_set_finalize_on_demand(int on);
GC_API int GC_get_finalize_on_demand(void);
GC_API void GC_set_java_finalization(int on);
GC_API int GC_get_java_finalization(void);
GC_API GC_finalizer_notifier_proc GC_finalizer_notifier;
GC_API void GC_set_finalizer_notifier(GC_finalizer_notifier_proc fn);
GC_API GC_finalizer_notifier_proc GC_get_finalizer_notifier(void);

GC_API int GC_register_disappearing_link(void **link) GC_ATTR_NONNULL(1);
GC_API int GC_general_register_disappearing_link(void **link, const void *obj)
	GC_ATTR_NONNULL(1) GC_ATTR_NONNULL(2);
GC_API int GC_move_disappearing_link(void **link, void **new_link)
	GC_ATTR_NONNULL(2);
GC_API int GC_unregister_disappearing_link(void **link);
GC_API int GC_register_long_link(void **link, const void *obj)
	GC_ATTR_NONNULL(1) GC_ATTR_NONNULL(2);
GC_API int GC_move_long_link(void **link, void **new_link) GC_ATTR_NONNULL(2);
GC_API int GC_unregister_long_link(void **link);

typedef GC_word GC_hidden_pointer;
#define GC_HIDE_POINTER(p)	(~(GC_hidden_pointer)(p))
#define GC_REVEAL_POINTER(p)	((void *)GC_HIDE_POINTER(p))
#if defined(I_HIDE_POINTERS) || defined(GC_I_HIDE_POINTERS)
#define HIDE_POINTER(p)		GC_HIDE_POINTER(p)
#define REVEAL_POINTER(p)	GC_REVEAL_POINTER(p)
#endif
#define GC_reachable_here(p)	__asm__ __volatile__(" " : : "X"(p) : "memory")
GC_API void GC_noop1(GC_word x);

/* ---- threads ---- */

struct GC_stack_base {
	void *mem_base;
};

typedef void *(*GC_stack_base_func)(struct GC_stack_base *sb, void *arg);

GC_API int GC_get_stack_base(struct GC_stack_base *ret) GC_ATTR_NONNULL(1);
GC_API void *GC_call_with_stack_base(GC_stack_base_func fn, void *arg)
	GC_ATTR_NONNULL(1);
GC_API void GC_allow_register_threads(void);
GC_API int GC_register_my_thread(const struct GC_stack_base *sb)
	GC_ATTR_NONNULL(1);
GC_API int GC_thread_is_registered(void);
GC_API int GC_unregister_my_thread(void);
GC_API void *GC_do_blocking(GC_fn_type fn, void *arg) GC_ATTR_NONNULL(1);
GC_API void *GC_call_with_gc_active(GC_fn_type fn, void *arg)
	GC_ATTR_NONNULL(1);

#ifdef GC_PTHREADS
GC_API int GC_pthread_create(pthread_t *ret, const pthread_attr_t *attr,
			     void *(*fn)(void *arg), void *arg);
GC_API int GC_pthread_join(pthread_t thread, void **ret);
GC_API int GC_pthread_detach(pthread_t thread);
GC_API int GC_pthread_cancel(pthread_t thread);
GC_API void GC_pthread_exit(void *ret) __attribute__((__noreturn__));

#ifndef GC_NO_THREAD_REDIRECTS
#undef pthread_create
#define pthread_create		GC_pthread_create
#undef pthread_join
#define pthread_join		GC_pthread_join
#undef pthread_detach
#define pthread_detach		GC_pthread_detach
#undef pthread_cancel
#define pthread_cancel		GC_pthread_cancel
#undef pthread_exit
#define pthread_exit		GC_pthread_exit
#endif
#endif /* GC_PTHREADS */

/* ---- with the place of the call, which is not made use of ---- */

#define GC_EXTRAS		__FILE__, __LINE__
#define GC_EXTRA_PARAMS		const char *s, int i

GC_API void *GC_debug_malloc(size_t size, GC_EXTRA_PARAMS)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_debug_malloc_atomic(size_t size, GC_EXTRA_PARAMS)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_debug_malloc_uncollectable(size_t size, GC_EXTRA_PARAMS)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_debug_malloc_atomic_uncollectable(size_t size, GC_EXTRA_PARAMS)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_debug_malloc_stubborn(size_t size, GC_EXTRA_PARAMS)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_debug_malloc_ignore_off_page(size_t size, GC_EXTRA_PARAMS)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_debug_malloc_atomic_ignore_off_page(size_t size,
						    GC_EXTRA_PARAMS)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API char *GC_debug_strdup(const char *str, GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
GC_API char *GC_debug_strndup(const char *str, size_t max, GC_EXTRA_PARAMS)
	GC_ATTR_MALLOC GC_ATTR_NONNULL(1);
GC_API void *GC_debug_realloc(void *obj, size_t size, GC_EXTRA_PARAMS)
	GC_ATTR_ALLOC_SIZE(2);
GC_API void *GC_debug_malloc_replacement(size_t size)
	GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_debug_realloc_replacement(void *obj, size_t size)
	GC_ATTR_ALLOC_SIZE(2);
GC_API void GC_debug_free(void *obj);
GC_API void GC_debug_change_stubborn(const void *obj);
GC_API void GC_debug_end_stubborn_change(const void *obj);
GC_API void GC_debug_ptr_store_and_dirty(void *slot, const void *value);
GC_API void GC_debug_register_finalizer(void *obj, GC_finalization_proc fn,
					void *data,
					GC_finalization_proc *old_fn,
					void **old_data) GC_ATTR_NONNULL(1);
GC_API void GC_debug_register_finalizer_ignore_self(
	void *obj, GC_finalization_proc fn, void *data,
	GC_finalization_proc *old_fn, void **old_data) GC_ATTR_NONNULL(1);
GC_API void GC_debug_register_finalizer_no_order(
	void *obj, GC_finalization_proc fn, void *data,
	GC_finalization_proc *old_fn, void **old_data) GC_ATTR_NONNULL(1);
GC_API void GC_debug_register_finalizer_unreachable(
	void *obj, GC_finalization_proc fn, void *data,
	GC_finalization_proc *old_fn, void **old_data) GC_ATTR_NONNULL(1);

/* ---- the names in capitals ---- */

#if defined(GC_DEBUG) || defined(GC_DEBUG_REPLACEMENT)
#define GC_MALLOC(n)		GC_debug_malloc(n, GC_EXTRAS)
#define GC_REALLOC(p, n)	GC_debug_realloc(p, n, GC_EXTRAS)
#else
#define GC_MALLOC(n)		GC_malloc(n)
#define GC_REALLOC(p, n)	GC_realloc(p, n)
#endif
#define GC_MALLOC_ATOMIC(n)	GC_malloc_atomic(n)
#define GC_MALLOC_UNCOLLECTABLE(n) GC_malloc_uncollectable(n)
#define GC_MALLOC_ATOMIC_UNCOLLECTABLE(n) GC_malloc_atomic_uncollectable(n)
#define GC_MALLOC_IGNORE_OFF_PAGE(n) GC_malloc_ignore_off_page(n)
#define GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(n) GC_malloc_atomic_ignore_off_page(n)
#define GC_MALLOC_STUBBORN(n)	GC_MALLOC(n)
#define GC_STRDUP(s)		GC_strdup(s)
#define GC_STRNDUP(s, n)	GC_strndup(s, n)
#define GC_FREE(p)		GC_free(p)
#define GC_CHANGE_STUBBORN(p)	GC_change_stubborn(p)
#define GC_END_STUBBORN_CHANGE(p) GC_end_stubborn_change(p)
#define GC_PTR_STORE_AND_DIRTY(p, q) GC_ptr_store_and_dirty(p, q)
#define GC_REGISTER_FINALIZER(p, f, d, of, od) \
	GC_register_finalizer(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_IGNORE_SELF(p, f, d, of, od) \
	GC_register_finalizer_ignore_self(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_NO_ORDER(p, f, d, of, od) \
	GC_register_finalizer_no_order(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_UNREACHABLE(p, f, d, of, od) \
	GC_register_finalizer_unreachable(p, f, d, of, od)
#define GC_GENERAL_REGISTER_DISAPPEARING_LINK(link, obj) \
	GC_general_register_disappearing_link(link, obj)
#define GC_REGISTER_LONG_LINK(link, obj) GC_register_long_link(link, obj)
#define GC_REGISTER_DISPLACEMENT(n) GC_register_displacement(n)
#define GC_NEW(t)		((t *)GC_MALLOC(sizeof(t)))
#define GC_NEW_ATOMIC(t)	((t *)GC_MALLOC_ATOMIC(sizeof(t)))
#define GC_NEW_UNCOLLECTABLE(t)	((t *)GC_MALLOC_UNCOLLECTABLE(sizeof(t)))
#define GC_NEW_STUBBORN(t)	GC_NEW(t)

#ifdef __cplusplus
}
#endif

#endif /* GC_H */
