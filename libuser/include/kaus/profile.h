/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The heap profile: which call chains have allocated how much, and how much of
 * it is in use. It is an estimate from samples, one for each 512 KiB that are
 * allocated, or what the environment says in KAUS_HEAP_PROFILE_RATE.
 */
#ifndef KAUS_PROFILE_H
#define KAUS_PROFILE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * kaus_heap_profile_write() - Write the heap profile in the format of pprof.
 * @fd: Where to.
 *
 * It has alloc_objects, alloc_space, inuse_objects and inuse_space since the
 * program began, addresses, and the files that are mapped there: let pprof or
 * "go tool pprof" read it on the same machine. Sizes are those that the heap
 * has, kaus_alloc_size(). An object is in use until its memory has been swept:
 * call kaus_gc() before for what is reachable.
 *
 * Context: any thread; not in signal handlers. May block in write(2).
 * Return: 0, -ENOMEM, or an error of write(2) or of reading /proc/self/maps.
 */
int kaus_heap_profile_write(int fd);

/**
 * kaus_heap_profile_set_rate() - How many bytes are allocated for a sample.
 * @bytes: On average. 1: each object is one. 0: none, from now on.
 *
 * What has been sampled before stays in the profile, with its own rate.
 *
 * Context: any thread.
 * Return: 0, or -EINVAL for 2^62 and more.
 */
int kaus_heap_profile_set_rate(uint64_t bytes);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_PROFILE_H */
