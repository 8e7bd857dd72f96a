/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The heap profile: which call chains allocate, from samples. See profile.c. */
#ifndef KR_GC_PROFILE_H
#define KR_GC_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KR_PROFILE_RATE		(512UL << 10)	/* bytes to a sample */
#define KR_PROFILE_FRAMES	64U

/* What one call chain has allocated; estimates. */
struct kr_profile_site {
	uint64_t nr_allocs, alloc_bytes;
	uint64_t nr_inuse, inuse_bytes;
	uint32_t nr_frames;
	uintptr_t frames[KR_PROFILE_FRAMES];	/* return addresses */
};

/* The rate, unless it has been set before. */
void kr_profile_init(uint64_t rate);
/* A sample for so many bytes; 0: none. Any context. */
void kr_profile_set_rate(uint64_t bytes);
uint64_t kr_profile_rate(void);

struct kr_profile_bucket;

/* Of a sampled object that has died; its span's lock is held. */
void kr_profile_freed(struct kr_profile_bucket *bucket, uint64_t weight,
		      size_t bytes);

/**
 * kr_profile_next() - Read one call chain.
 * @bucket: The one before, NULL for the first.
 * @ret_site: The result.
 *
 * Context: preemption off, or a plain thread in kr_plain_enter().
 * Return: the call chain, or NULL if that was the last.
 */
struct kr_profile_bucket *kr_profile_next(struct kr_profile_bucket *bucket,
					  struct kr_profile_site *ret_site);

#endif /* KR_GC_PROFILE_H */
