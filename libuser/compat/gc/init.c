/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Start, settings, callbacks, and what a cycle calls. */
#include <kaus/gc.h>
#include <kaus/go.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compat/gc/kgc.h"

#define DEFAULT_DIVISOR	3
#define PERCENT_OF_ONE	600	/* divided by the divisor */
#define BY_PAGES_IF_LONG 3	/* KAUS_GC_CONCURRENT */

struct kg kg = { .slow = KG_NOT_INIT };

KG_API GC_word GC_gc_no;
KG_API int GC_dont_gc;
KG_API int GC_all_interior_pointers = 1;
KG_API int GC_java_finalization = 1;
KG_API int GC_find_leak;
KG_API int GC_parallel;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static __thread bool locked;

static struct {
	GC_word divisor;
	bool no_auto;
	bool has_percent;
	int64_t percent, limit;		/* of the environment */
	GC_warn_proc warn;
	GC_abort_func abort;
} set = { .divisor = DEFAULT_DIVISOR };

/* ---- lock ---- */

void kg_lock(void)
{
	/* A goroutine that was stopped with it would stop the collector. */
	kaus_preempt_disable();
	if (kg.ops)
		kg.ops->hold(1);
	pthread_mutex_lock(&mutex);
	locked = true;
}

void kg_unlock(void)
{
	locked = false;
	pthread_mutex_unlock(&mutex);
	if (kg.ops)
		kg.ops->hold(-1);
	kaus_preempt_enable();
}

bool kg_is_locked(void)
{
	return locked;
}

/* ---- hooks ---- */

static void hook_lock(void)
{
	pthread_mutex_lock(&mutex);
}

static void hook_unlock(void)
{
	pthread_mutex_unlock(&mutex);
}

static void hook_roots(struct kr_marker *mk)
{
	kg_uncollectable_mark(mk);
	kg_final_mark_roots(mk);
	kg_threads_mark(mk);
}

static void hook_marked(struct kr_marker *mk)
{
	kg_links_clear(false);
	kg_final_process(mk);
	kg_links_forget_dead(false);
	kg_links_clear(true);
	kg_links_forget_dead(true);
	WRITE_ONCE(GC_gc_no, GC_gc_no + 1);
	if (kg_final_is_waiting())
		__atomic_fetch_or(&kg.slow, KG_FINALIZERS, __ATOMIC_RELAXED);
}

static void hook_done(void)
{
}

static const struct kr_gc_hooks hooks = {
	.lock = hook_lock,
	.unlock = hook_unlock,
	.roots = hook_roots,
	.marked = hook_marked,
	.segment = kg_segment,
	.done = hook_done,
};

/* ---- start ---- */

static void apply(void)
{
	bool off = set.no_auto || READ_ONCE(GC_dont_gc) > 0;
	size_t max = READ_ONCE(kg.max_heap_bytes);
	int64_t percent, limit;

	if (!kg.ops)
		return;
	percent = set.has_percent ? set.percent :
				    PERCENT_OF_ONE / (int64_t)set.divisor;
	limit = max && max < INT64_MAX ? (int64_t)max : set.limit;
	kaus_gc_set(KAUS_GC_PERCENT, off ? -1 : percent);
	kaus_gc_set(KAUS_GC_LIMIT, off ? -1 : limit);
}

static GC_word env_number(const char *name)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 0) : 0;
}

static void init_once(void)
{
	GC_word n;

	kg.ops = kaus_gc_compat(&hooks);
	if (!kg.ops)
		kg_abort("cannot start: no memory, or a setting is wrong");
	if (pthread_atfork(kg_lock, kg_unlock, kg_unlock))
		kg_abort("cannot start: no memory");
	kaus_gc_thread_register();
	set.has_percent = getenv("KAUS_GC_PERCENT");
	set.percent = kaus_gc_get(KAUS_GC_PERCENT);
	set.limit = kaus_gc_get(KAUS_GC_LIMIT);
	/* Its programs declare no store. Where the kernel cannot: as before. */
	if (!getenv("KAUS_GC_MODE"))
		kaus_gc_set(KAUS_GC_CONCURRENT, BY_PAGES_IF_LONG);
	n = env_number("GC_FREE_SPACE_DIVISOR");
	if (n)
		set.divisor = n;
	n = env_number("GC_MAXIMUM_HEAP_SIZE");
	if (n)
		GC_set_max_heap_size(n);
	if (getenv("GC_DONT_GC"))
		GC_dont_gc++;
	if (getenv("GC_PRINT_STATS"))
		kaus_gc_set(KAUS_GC_TRACE, 1);
	apply();
	__atomic_fetch_and(&kg.slow, ~(uint32_t)KG_NOT_INIT, __ATOMIC_RELEASE);
}

/* By the main thread, whose stack counts then, before any other can be. */
__attribute__((constructor)) static void init_early(void)
{
	pthread_once(&once, init_once);
}

KG_API void GC_init(void)
{
	pthread_once(&once, init_once);
	apply();
}

KG_API int GC_is_init_called(void)
{
	return !(READ_ONCE(kg.slow) & KG_NOT_INIT);
}

KG_API void GC_deinit(void)
{
}

KG_API unsigned int GC_get_version(void)
{
	return GC_VERSION_MAJOR << 16 | GC_VERSION_MINOR << 8 |
	       GC_VERSION_MICRO;
}

KG_API void GC_set_handle_fork(int on)
{
	(void)on;
}

KG_API void GC_atfork_prepare(void)
{
}

KG_API void GC_atfork_parent(void)
{
}

KG_API void GC_atfork_child(void)
{
}

/* ---- settings that matter ---- */

KG_API void GC_set_all_interior_pointers(int on)
{
	GC_all_interior_pointers = on;
}

KG_API int GC_get_all_interior_pointers(void)
{
	return GC_all_interior_pointers;
}

KG_API void GC_set_free_space_divisor(GC_word divisor)
{
	set.divisor = divisor ? divisor : 1;
	apply();
}

KG_API GC_word GC_get_free_space_divisor(void)
{
	return set.divisor;
}

KG_API void GC_set_max_heap_size(GC_word bytes)
{
	WRITE_ONCE(kg.max_heap_bytes, bytes);
	if (bytes)
		__atomic_fetch_or(&kg.slow, KG_MAX_HEAP, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&kg.slow, ~(uint32_t)KG_MAX_HEAP,
				   __ATOMIC_RELAXED);
	apply();
}

KG_API void GC_disable(void)
{
	__atomic_fetch_add(&GC_dont_gc, 1, __ATOMIC_RELAXED);
	apply();
}

KG_API void GC_enable(void)
{
	if (READ_ONCE(GC_dont_gc) > 0)
		__atomic_fetch_sub(&GC_dont_gc, 1, __ATOMIC_RELAXED);
	apply();
}

KG_API int GC_is_disabled(void)
{
	return READ_ONCE(GC_dont_gc) > 0;
}

KG_API void GC_set_disable_automatic_collection(int on)
{
	set.no_auto = on;
	apply();
}

KG_API int GC_get_disable_automatic_collection(void)
{
	return set.no_auto;
}

/* ---- callbacks ---- */

static void warn_default(char *fmt, GC_word arg)
{
	char msg[256];

	/* The interface says that fmt comes from the library alone. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
	snprintf(msg, sizeof(msg), fmt, arg);
#pragma GCC diagnostic pop
	fprintf(stderr, "kausgc: %s", msg);
}

static void abort_default(const char *msg)
{
	if (msg)
		fprintf(stderr, "kausgc: %s\n", msg);
}

KG_API void GC_set_warn_proc(GC_warn_proc fn)
{
	WRITE_ONCE(set.warn, fn);
}

KG_API GC_warn_proc GC_get_warn_proc(void)
{
	GC_warn_proc fn = READ_ONCE(set.warn);

	return fn ? fn : warn_default;
}

KG_API void GC_ignore_warn_proc(char *fmt, GC_word arg)
{
	(void)fmt;
	(void)arg;
}

void kg_warn(const char *fmt, GC_word arg)
{
	char copy[128];

	snprintf(copy, sizeof(copy), "%s", fmt);
	GC_get_warn_proc()(copy, arg);
}

KG_API void GC_set_abort_func(GC_abort_func fn)
{
	WRITE_ONCE(set.abort, fn);
}

KG_API GC_abort_func GC_get_abort_func(void)
{
	GC_abort_func fn = READ_ONCE(set.abort);

	return fn ? fn : abort_default;
}

void kg_abort(const char *msg)
{
	GC_get_abort_func()(msg);
	abort();
}

KG_API void GC_abort_on_oom(void)
{
	fputs("kausgc: out of memory\n", stderr);
	GC_get_abort_func()(NULL);
	exit(1);
}

KG_API void GC_alloc_lock(void)
{
	kg_lock();
}

KG_API void GC_alloc_unlock(void)
{
	kg_unlock();
}

KG_API void *GC_call_with_alloc_lock(GC_fn_type fn, void *arg)
{
	void *ret;

	kg_lock();
	ret = fn(arg);
	kg_unlock();
	return ret;
}
