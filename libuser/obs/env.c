/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Options and environment, checked. */
#include "obs/env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gc/gc.h"
#include "gc/profile.h"
#include "sched/follow.h"

#define SLICE_MAX_US	1000000
/* Of struct kaus_options as it was first. */
#define SIZE_FIRST	offsetof(struct kaus_options, sched_random)

void kr_env_complain(const char *a, const char *b)
{
	char line[256];
	size_t len = 0;
	const char *parts[] = { "kaus: ", a, b, "\n" };

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t part = strlen(parts[i]);

		if (part > sizeof(line) - len)
			part = sizeof(line) - len;
		memcpy(line + len, parts[i], part);
		len += part;
	}
	kr_file_write_all(2, line, len);
}

static int bad(const char *name)
{
	kr_env_complain(name, ": value out of range or not understood");
	return -EINVAL;
}

/* A whole number between min and max from the environment, if it is set. */
static int env_number(const char *name, uint64_t min, uint64_t max,
		      uint64_t *value)
{
	const char *s = getenv(name);
	unsigned long long n;
	char *end;

	if (!s)
		return 0;
	errno = 0;
	n = strtoull(s, &end, 10);
	if (errno || end == s || *end || *s == '-' || n < min || n > max)
		return bad(name);
	*value = n;
	return 0;
}

static int env_assist(enum kaus_assist *assist)
{
	const char *s = getenv("KAUS_ASSIST");

	if (!s || !strcmp(s, "auto"))
		return 0;
	if (!strcmp(s, "module"))
		*assist = KAUS_ASSIST_MODULE;
	else if (!strcmp(s, "signal"))
		*assist = KAUS_ASSIST_SIGNAL;
	else
		return bad("KAUS_ASSIST");
	return 0;
}

static int env_gc(struct kr_settings *set)
{
	uint64_t percent = 100, limit_mb = 0, data = 1, trace = 0, check = 0;
	uint64_t rate = KR_PROFILE_RATE, poison = 0, huge = UINT64_MAX;
	static const char *const modes[] = {
		[KR_GC_STOP] = "stop",
		[KR_GC_TOLD] = "concurrent",
		[KR_GC_PAGES] = "pages",
		[KR_GC_PAGES_IF_LONG] = "auto",
	};
	const char *mode = getenv("KAUS_GC_MODE");
	const char *pages = getenv("KAUS_GC_PAGES");
	const char *s = getenv("KAUS_GC_PERCENT");
	const char *limit = getenv("KAUS_GC_LIMIT_MB");
	bool off = s && !strcmp(s, "off");
	bool no_limit = limit && !strcmp(limit, "off");

	if ((!off && env_number("KAUS_GC_PERCENT", 0, INT32_MAX, &percent)) ||
	    (!no_limit && env_number("KAUS_GC_LIMIT_MB", 1, INT64_MAX >> 20,
				     &limit_mb)) ||
	    env_number("KAUS_GC_DATA", 0, 1, &data) ||
	    env_number("KAUS_GC_TRACE", 0, 1, &trace) ||
	    env_number("KAUS_GC_CHECK", 0, 2, &check) ||
	    env_number("KAUS_GC_POISON", 0, 1, &poison) ||
	    env_number("KAUS_GC_HUGE_PAGES", 0, 1, &huge) ||
	    env_number("KAUS_HEAP_PROFILE_RATE", 0, 1ULL << 61, &rate))
		return -EINVAL;
	set->gc_concurrent = 0;
	while (mode && set->gc_concurrent < KR_GC_NR_MODES &&
	       strcmp(mode, modes[set->gc_concurrent]))
		set->gc_concurrent++;
	if (set->gc_concurrent == KR_GC_NR_MODES)
		return bad("KAUS_GC_MODE");
	if (pages && strcmp(pages, "scan") && strcmp(pages, "soft") &&
	    strcmp(pages, "off"))
		return bad("KAUS_GC_PAGES");
	set->gc_percent = off ? -1 : (int64_t)percent;
	set->gc_limit_bytes = limit_mb ? limit_mb << 20 : UINT64_MAX;
	set->gc_limit_follow = !no_limit && !limit_mb;
	set->gc_no_data = !data;
	set->gc_trace = trace;
	set->gc_pages = pages;
	set->gc_check = (uint32_t)check;
	set->gc_poison = poison;
	set->gc_huge_pages = huge <= 1 ? (int)huge : -1;
	set->heap_profile_rate = rate;
	return 0;
}

static int from_env(struct kr_settings *set)
{
	uint64_t procs = 0, slice_us = 0, bind = 2, stack_kb = 0, seed = 0;
	uint64_t virtual_time = 0, uring = 1;

	if (env_number("KAUS_PROCS", 1, KAUS_MAX_PROCS, &procs) ||
	    env_number("KAUS_SLICE_US", 1, SLICE_MAX_US, &slice_us) ||
	    env_number("KAUS_BIND", 0, 1, &bind) ||
	    env_number("KAUS_STACK_KB", KR_STACK_MIN_BYTES >> 10,
		       KR_STACK_MAX_BYTES >> 10, &stack_kb) ||
	    env_number("KAUS_SCHED_RANDOM", 0, UINT64_MAX, &seed) ||
	    env_number("KAUS_VIRTUAL_TIME", 0, 1, &virtual_time) ||
	    env_number("KAUS_IO_URING", 0, 1, &uring) ||
	    env_gc(set) || env_assist(&set->assist))
		return -EINVAL;
	set->nr_procs = procs;
	set->slice_ns = slice_us * 1000;
	set->bind = bind == 2 ? 0 : bind ? 1 : -1;
	set->stack_size = stack_kb << 10;
	set->sched_random = seed;
	set->virtual_time = virtual_time;
	set->no_uring = !uring;
	return 0;
}

static int from_options(const struct kaus_options *opts,
			struct kr_settings *set)
{
	if (opts->size != sizeof(*opts) && opts->size != SIZE_FIRST)
		return bad("kaus_options.size");
	if (opts->nr_procs > KAUS_MAX_PROCS)
		return bad("kaus_options.nr_procs");
	if (opts->assist < KAUS_ASSIST_AUTO ||
	    opts->assist > KAUS_ASSIST_SIGNAL)
		return bad("kaus_options.assist");
	if (opts->bind < -1 || opts->bind > 1)
		return bad("kaus_options.bind");
	if (opts->virtual_time < -1 || opts->virtual_time > 1)
		return bad("kaus_options.virtual_time");
	if (opts->slice_ns > SLICE_MAX_US * 1000ULL)
		return bad("kaus_options.slice_ns");
	if (opts->stack_size && (opts->stack_size < KR_STACK_MIN_BYTES ||
				 opts->stack_size > KR_STACK_MAX_BYTES))
		return bad("kaus_options.stack_size");
	if (opts->nr_procs)
		set->nr_procs = opts->nr_procs;
	if (opts->assist != KAUS_ASSIST_AUTO)
		set->assist = (enum kaus_assist)opts->assist;
	if (opts->bind)
		set->bind = opts->bind;
	if (opts->virtual_time)
		set->virtual_time = opts->virtual_time > 0;
	if (opts->slice_ns)
		set->slice_ns = opts->slice_ns;
	if (opts->stack_size)
		set->stack_size = opts->stack_size;
	if (opts->size == sizeof(*opts) && opts->sched_random)
		set->sched_random = opts->sched_random;
	return 0;
}

int kr_env_settings(const struct kaus_options *opts,
		    struct kr_settings *ret_set)
{
	struct kr_settings set = { .assist = KAUS_ASSIST_AUTO };

	if (from_env(&set) || (opts && from_options(opts, &set)))
		return -EINVAL;
	if (!set.nr_procs) {
		set.nr_procs = kr_follow_count(0);
		set.follow = true;
	}
	if (!set.stack_size)
		set.stack_size = KR_STACK_DEFAULT_BYTES;
	*ret_set = set;
	return 0;
}
