/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Time, sleeping, timers. */
#ifndef KAUS_TIME_H
#define KAUS_TIME_H

#include <kaus/types.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * kaus_now_ns() - CLOCK_MONOTONIC in nanoseconds.
 *
 * Or the virtual time of kaus_options.virtual_time, by which all deadlines go.
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

/**
 * struct kaus_timer - Starts a goroutine at some time, or many.
 * @opaque: Internal.
 * @period_ns: Internal.
 * @fn: Internal.
 * @arg: Internal.
 * @lock: Internal.
 * @pad: Internal.
 *
 * Its memory may be used for something else after kaus_timer_stop(), and after
 * it has fired if it does so once.
 */
struct kaus_timer {
	uint64_t opaque[3];
	uint64_t period_ns;
	void (*fn)(void *arg);
	void *arg;
	uint32_t lock;
	uint32_t pad;
};

#define KAUS_TIMER_INIT(fn, arg) { { 0, 0, 0 }, 0, (fn), (arg), 0, 0 }

/**
 * kaus_timer_init() - Make a timer that is not running.
 * @timer: The timer; KAUS_TIMER_INIT() does the same.
 * @fn: What to run in a goroutine of its own each time.
 * @arg: Passed to @fn.
 *
 * Context: any.
 */
void kaus_timer_init(struct kaus_timer *timer, void (*fn)(void *arg),
		     void *arg);

/**
 * kaus_timer_start() - Start a timer, or start it anew.
 * @timer: The timer; if it is running it forgets what it was to do.
 * @deadline_ns: When to fire first, absolute CLOCK_MONOTONIC time.
 *	KAUS_NO_DEADLINE is never, as after kaus_timer_stop().
 * @period_ns: Fire each time that this has passed since; 0: once. When nobody
 *	was there to look, what was missed is left out.
 *
 * A call of @fn does not wait for the one before it to return. A point in time
 * that has passed is now. If there is no memory for the goroutine the timer tries
 * again after a millisecond, until there is.
 *
 * Context: G or any other thread while the runtime runs; never parks.
 * Return: 0, or -EPERM if the runtime is not running.
 */
int kaus_timer_start(struct kaus_timer *timer, uint64_t deadline_ns,
		     uint64_t period_ns);

/**
 * kaus_timer_stop() - Stop a timer.
 * @timer: The timer.
 *
 * It does not wait for goroutines that the timer has started.
 *
 * Context: as kaus_timer_start().
 * Return: 1 if it was running, 0 if not (it has fired, or was not started),
 * -EPERM.
 */
int kaus_timer_stop(struct kaus_timer *timer);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_TIME_H */
