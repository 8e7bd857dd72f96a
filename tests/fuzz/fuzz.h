/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fuzzer: what its two files share. test_fuzz.c makes and ends processes
 * and torments them from outside; ops.c is what such a process does.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stdint.h>

/* In memory shared by all processes. */
struct fuzz_counts {
	uint64_t ioctls;
	uint64_t ok;		/* of these */
	uint64_t threads;
	uint64_t forks;
	uint64_t execs;
};

extern struct fuzz_counts *fuzz_counts;

/* The argument of a program that a life becomes by exec. */
#define FUZZ_AFTER_EXEC	"--after-exec"

/* splitmix64: any seed will do, and neighbours have nothing in common. */
static inline uint64_t fuzz_rnd(uint64_t *x)
{
	uint64_t z = *x += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* One of @n. */
static inline uint32_t fuzz_of(uint64_t *x, uint32_t n)
{
	return fuzz_rnd(x) % n;
}

/* True once in @n times. */
static inline bool fuzz_once(uint64_t *x, uint32_t n)
{
	return !fuzz_of(x, n);
}

bool fuzz_prepare(void);
void fuzz_life(uint64_t seed) __attribute__((noreturn));
int fuzz_after_exec(void);

#endif /* FUZZ_H */
