/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* What every file here needs: giving up, the clock, random numbers. */
#ifndef QS_UTIL_H
#define QS_UTIL_H

#include <stdint.h>
#include <time.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define NS_PER_MS	1000000ULL
#define NS_PER_S	1000000000ULL

/* Print "qserver: ..." and exit with status 2: nothing was measured. */
void die(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

/* As printf to stderr, prefixed; for what does not end the program. */
void warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* malloc() of zeroed memory that may be shared with forked children. */
void *shared_alloc(uint64_t bytes);

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* splitmix64 (S. Vigna): the same numbers on every machine for one seed. */
static inline uint64_t mix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static inline uint64_t rand_next(uint64_t *state)
{
	return mix64((*state)++);
}

/* Uniform in [0, 1). */
static inline double rand_unit(uint64_t *state)
{
	return (double)(rand_next(state) >> 11) * 0x1p-53;
}

#endif /* QS_UTIL_H */
