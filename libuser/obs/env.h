/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Options and environment, checked. */
#ifndef KR_OBS_ENV_H
#define KR_OBS_ENV_H

#include <kaus/go.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kr_settings {
	uint32_t nr_procs;
	bool follow;		/* nobody has fixed that */
	enum kaus_assist assist;
	int bind;		/* 1, -1, 0: the assist decides */
	uint64_t slice_ns;	/* 0: the assist decides */
	size_t stack_size;
	int64_t gc_percent;	/* -1: off */
	uint64_t gc_limit_bytes;	/* UINT64_MAX: none */
	bool gc_limit_follow;		/* ... but that of the control group */
	bool gc_no_data, gc_trace;
	uint32_t gc_concurrent;
	const char *gc_pages;
	uint32_t gc_check;
	bool gc_poison;
	int gc_huge_pages;	/* -1: not set */
	uint64_t heap_profile_rate;
	uint64_t sched_random;	/* 0: not by lot */
	bool virtual_time;
	bool no_uring;
};

/**
 * kr_env_settings() - Merge options, environment and defaults.
 * @opts: From the caller or NULL; a value set here wins over the environment.
 * @ret_set: The result.
 *
 * Return: 0 or -EINVAL, with the reason on stderr.
 */
int kr_env_settings(const struct kaus_options *opts,
		    struct kr_settings *ret_set);

/* "kaus: " a b to stderr. */
void kr_env_complain(const char *a, const char *b);

#endif /* KR_OBS_ENV_H */
