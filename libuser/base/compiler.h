/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Attributes and small helpers. No system calls, no state. */
#ifndef KR_BASE_COMPILER_H
#define KR_BASE_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

#define KR_API		__attribute__((visibility("default")))
#define KR_NOINLINE	__attribute__((noinline))
#define KR_INLINE	static inline __attribute__((always_inline))
#define KR_NORETURN	__attribute__((noreturn))
#define KR_PRINTF(f, a)	__attribute__((format(printf, f, a)))

/* Two lines: the adjacent-line prefetcher pairs them. */
#define KR_CACHE_PAIR	128
#define KR_PAIR_ALIGNED	__attribute__((aligned(KR_CACHE_PAIR)))

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#if defined(__SANITIZE_ADDRESS__)
#define KR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KR_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define KR_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KR_TSAN 1
#endif
#endif
#ifndef KR_ASAN
#define KR_ASAN 0
#endif
#ifndef KR_TSAN
#define KR_TSAN 0
#endif

/*
 * The length of a buffer, or how much is done at once. A build for tests (make
 * TINY=1) has it small, so that what happens at the end of it is not rare.
 */
#ifdef KAUS_TINY
#define KR_SIZE(usual, tiny)	(tiny)
#else
#define KR_SIZE(usual, tiny)	(usual)
#endif

#endif /* KR_BASE_COMPILER_H */
