/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Statistics. */
#include <kaus/gc.h>
#include <stdio.h>
#include <string.h>

#include "compat/gc/kgc.h"

static struct kr_gc_usage usage(void)
{
	struct kr_gc_usage u;

	GC_init();
	kg.ops->read_usage(&u);
	return u;
}

static struct kaus_gc_stats stats(void)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };

	kaus_gc_stats_read(&st);
	return st;
}

static GC_word non_gc_bytes;

KG_API void GC_set_non_gc_bytes(GC_word bytes)
{
	WRITE_ONCE(non_gc_bytes, bytes);
}

KG_API GC_word GC_get_non_gc_bytes(void)
{
	return READ_ONCE(non_gc_bytes);
}

KG_API GC_word GC_get_gc_no(void)
{
	return READ_ONCE(GC_gc_no);
}

KG_API size_t GC_get_heap_size(void)
{
	struct kr_gc_usage u = usage();

	return u.heap_bytes - u.returned_bytes;
}

KG_API size_t GC_get_free_bytes(void)
{
	struct kr_gc_usage u = usage();

	return u.free_bytes - u.returned_bytes;
}

KG_API size_t GC_get_unmapped_bytes(void)
{
	return usage().returned_bytes;
}

KG_API size_t GC_get_bytes_since_gc(void)
{
	return usage().since_bytes;
}

KG_API size_t GC_get_expl_freed_bytes_since_gc(void)
{
	return usage().freed_bytes;
}

KG_API size_t GC_get_total_bytes(void)
{
	return usage().total_bytes;
}

KG_API size_t GC_get_obtained_from_os_bytes(void)
{
	return usage().heap_bytes;
}

KG_API size_t GC_get_memory_use(void)
{
	GC_init();
	return stats().heap_live_bytes;
}

KG_API void GC_get_heap_usage_safe(GC_word *ret_heap, GC_word *ret_free,
				   GC_word *ret_unmapped, GC_word *ret_since,
				   GC_word *ret_total)
{
	struct kr_gc_usage u = usage();

	if (ret_heap)
		*ret_heap = u.heap_bytes - u.returned_bytes;
	if (ret_free)
		*ret_free = u.free_bytes - u.returned_bytes;
	if (ret_unmapped)
		*ret_unmapped = u.returned_bytes;
	if (ret_since)
		*ret_since = u.since_bytes;
	if (ret_total)
		*ret_total = u.total_bytes;
}

KG_API size_t GC_get_prof_stats(struct GC_prof_stats_s *ret, size_t size)
{
	struct kr_gc_usage u = usage();
	struct GC_prof_stats_s all = {
		.heapsize_full = u.heap_bytes,
		.free_bytes_full = u.free_bytes,
		.unmapped_bytes = u.returned_bytes,
		.bytes_allocd_since_gc = u.since_bytes,
		.allocd_bytes_before_gc = u.total_bytes - u.since_bytes,
		.non_gc_bytes = GC_get_non_gc_bytes(),
		.gc_no = GC_get_gc_no(),
		.expl_freed_bytes_since_gc = u.freed_bytes,
		.obtained_from_os_bytes = u.heap_bytes,
	};
	size_t known = size < sizeof(all) ? size : sizeof(all);

	/* What the caller knows and we do not is all ones. */
	memset(ret, 0xff, size);
	memcpy(ret, &all, known);
	return known;
}

KG_API size_t GC_get_prof_stats_unsafe(struct GC_prof_stats_s *ret,
				       size_t size)
{
	return GC_get_prof_stats(ret, size);
}

static uint64_t measured_from_ns;

KG_API void GC_start_performance_measurement(void)
{
	measured_from_ns = stats().total_pause_ns;
}

KG_API unsigned long GC_get_full_gc_total_time(void)
{
	return (stats().total_pause_ns - measured_from_ns) / 1000000;
}

KG_API void GC_dump(void)
{
	struct kaus_gc_stats st = stats();
	struct kr_gc_usage u = usage();

	printf("kausgc: %llu cycles, live %llu KiB, heap %llu KiB, free %llu KiB, allocated %llu KiB\n",
	       (unsigned long long)st.nr_cycles,
	       (unsigned long long)st.heap_live_bytes >> 10,
	       (unsigned long long)u.heap_bytes >> 10,
	       (unsigned long long)u.free_bytes >> 10,
	       (unsigned long long)u.total_bytes >> 10);
}
