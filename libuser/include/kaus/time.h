/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Time and sleeping. */
#ifndef KAUS_TIME_H
#define KAUS_TIME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * kaus_now_ns() - CLOCK_MONOTONIC in nanoseconds.
 *
 * Context: any, signal handlers included.
 * Return: The time.
 */
uint64_t kaus_now_ns(void);

/**
 * kaus_sleep() - Park for at least @ns nanoseconds.
 * @ns: How long; 0 is kaus_yield().
 *
 * Context: G.
 * Return: 0, or -EPERM outside a goroutine.
 */
int kaus_sleep(uint64_t ns);

/**
 * kaus_sleep_until() - Park until a point in time.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time; the past is kaus_yield(),
 *	UINT64_MAX is for ever.
 *
 * Context: G.
 * Return: 0, or -EPERM outside a goroutine.
 */
int kaus_sleep_until(uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_TIME_H */
