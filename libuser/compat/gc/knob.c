/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Settings of the original that KAUS has no use for: they are kept, so that what
 * was set can be read, and change nothing. kaus_libgc(3) lists them.
 */
#include "compat/gc/kgc.h"

static struct {
	int no_dls, dont_expand, dont_precollect, full_freq, executable,
	    force_unmap, incremental;
	GC_word max_retries;
	unsigned long time_limit;
} knob = { .full_freq = 19, .time_limit = GC_TIME_UNLIMITED };

KG_API void GC_set_no_dls(int on)
{
	knob.no_dls = on;
}

KG_API int GC_get_no_dls(void)
{
	return knob.no_dls;
}

KG_API void GC_set_find_leak(int on)
{
	GC_find_leak = on;
}

KG_API int GC_get_find_leak(void)
{
	return GC_find_leak;
}

KG_API void GC_set_dont_expand(int on)
{
	knob.dont_expand = on;
}

KG_API int GC_get_dont_expand(void)
{
	return knob.dont_expand;
}

KG_API void GC_set_dont_precollect(int on)
{
	knob.dont_precollect = on;
}

KG_API int GC_get_dont_precollect(void)
{
	return knob.dont_precollect;
}

KG_API void GC_set_full_freq(int freq)
{
	knob.full_freq = freq;
}

KG_API int GC_get_full_freq(void)
{
	return knob.full_freq;
}

KG_API void GC_set_max_retries(GC_word nr)
{
	knob.max_retries = nr;
}

KG_API GC_word GC_get_max_retries(void)
{
	return knob.max_retries;
}

KG_API void GC_set_time_limit(unsigned long ms)
{
	knob.time_limit = ms;
}

KG_API unsigned long GC_get_time_limit(void)
{
	return knob.time_limit;
}

/* Memory of the heap is never executable. */
KG_API void GC_set_pages_executable(int on)
{
	(void)on;
}

KG_API int GC_get_pages_executable(void)
{
	return knob.executable;
}

KG_API void GC_set_force_unmap_on_gcollect(int on)
{
	knob.force_unmap = on;
}

KG_API int GC_get_force_unmap_on_gcollect(void)
{
	return knob.force_unmap;
}

KG_API int GC_get_parallel(void)
{
	return GC_parallel;
}

KG_API void GC_set_markers_count(unsigned int nr)
{
	(void)nr;
}

KG_API void GC_start_mark_threads(void)
{
}

KG_API void GC_enable_incremental(void)
{
	GC_init();
}

KG_API int GC_is_incremental_mode(void)
{
	return knob.incremental;
}

KG_API int GC_incremental_protection_needs(void)
{
	return GC_PROTECTS_NONE;
}

KG_API void GC_start_incremental_collection(void)
{
}

/* Interior pointers count in any case. */
KG_API void GC_register_displacement(size_t offset)
{
	(void)offset;
}

KG_API void GC_debug_register_displacement(size_t offset)
{
	(void)offset;
}

KG_API void GC_change_stubborn(const void *obj)
{
	(void)obj;
}

KG_API void GC_end_stubborn_change(const void *obj)
{
	(void)obj;
}

KG_API void GC_ptr_store_and_dirty(void *slot, const void *value)
{
	*(const void **)slot = value;
}

KG_API void GC_noop1(GC_word x)
{
	(void)x;
}
