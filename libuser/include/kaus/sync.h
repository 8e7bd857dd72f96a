/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Synchronisation between goroutines, and between them and plain threads.
 *
 * Whoever waits parks if it is a goroutine and sleeps if it is a plain thread,
 * which may wait only while the runtime runs. What need not wait may be done at
 * any time, by anybody but a signal handler.
 *
 * Functions with a deadline do what can be done at once even if it has passed.
 */
#ifndef KAUS_SYNC_H
#define KAUS_SYNC_H

#include <kaus/types.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kaus_waitgroup - Counts work in flight; zeroed memory is ready to use.
 * @lock: Internal.
 * @count: Internal.
 * @waiters: Internal.
 */
struct kaus_waitgroup {
	uint32_t lock;
	int32_t count;
	struct kaus_waitlist waiters;
};

#define KAUS_WAITGROUP_INIT { 0, 0, { 0, 0 } }

/**
 * kaus_waitgroup_add() - Add @n, which may be negative, to the count.
 * @wg: The wait group.
 * @n: How many.
 *
 * At zero all waiters are made ready.
 *
 * Context: G or any other thread while the runtime runs; never parks.
 * Return: 0, -EINVAL if the count would become negative (it is not changed),
 * -EOVERFLOW if it would not fit, -EPERM if the runtime is not running.
 */
int kaus_waitgroup_add(struct kaus_waitgroup *wg, int n);

/**
 * kaus_waitgroup_done() - Take one off the count.
 * @wg: The wait group.
 *
 * Context: as kaus_waitgroup_add().
 * Return: As kaus_waitgroup_add() with -1.
 */
int kaus_waitgroup_done(struct kaus_waitgroup *wg);

/**
 * kaus_waitgroup_wait() - Wait until the count is zero.
 * @wg: The wait group; may be reused as soon as every waiter has returned.
 *
 * Context: G, which parks, or any other thread while the runtime runs, which
 * blocks.
 * Return: 0, or -EPERM if the runtime is not running.
 */
int kaus_waitgroup_wait(struct kaus_waitgroup *wg);

/**
 * kaus_waitgroup_wait_until() - The same with a deadline.
 * @wg: The wait group.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE.
 *
 * Context: as kaus_waitgroup_wait().
 * Return: 0, -ETIMEDOUT, -EPERM.
 */
int kaus_waitgroup_wait_until(struct kaus_waitgroup *wg, uint64_t deadline_ns);

/**
 * struct kaus_mutex - Mutual exclusion; zeroed memory is ready to use.
 * @state: Internal.
 * @lock: Internal.
 * @owner: Internal.
 * @waiters: Internal.
 *
 * As a rule whoever comes first gets it when it is unlocked, which may be the
 * one that has unlocked it: that costs no switch. When somebody has waited for
 * more than a millisecond it is handed to the waiters, oldest first, until they
 * wait no longer than that. It is not recursive, and knows no owner: another
 * goroutine or thread may unlock it.
 */
struct kaus_mutex {
	uint32_t state;
	uint32_t lock;
	uint64_t owner;
	struct kaus_waitlist waiters;
};

#define KAUS_MUTEX_INIT { 0, 0, 0, { 0, 0 } }

/**
 * kaus_mutex_lock() - Lock a mutex.
 * @mu: The mutex.
 *
 * Context: G or any other thread; waits.
 * Return: 0, or -EPERM if it would have to wait while the runtime is not
 * running.
 */
int kaus_mutex_lock(struct kaus_mutex *mu);

/**
 * kaus_mutex_lock_until() - The same with a deadline.
 * @mu: The mutex.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE.
 *
 * Context: as kaus_mutex_lock().
 * Return: As kaus_mutex_lock(), or -ETIMEDOUT.
 */
int kaus_mutex_lock_until(struct kaus_mutex *mu, uint64_t deadline_ns);

/**
 * kaus_mutex_trylock() - Lock a mutex if it is not locked.
 * @mu: The mutex.
 *
 * Context: G or any other thread; never parks.
 * Return: 0 or -EAGAIN.
 */
int kaus_mutex_trylock(struct kaus_mutex *mu);

/**
 * kaus_mutex_unlock() - Unlock a mutex.
 * @mu: The mutex. It may be gone as soon as another one has locked it.
 *
 * A goroutine that hands the mutex to one that has waited long lets it run at
 * once, as kaus_yield() does.
 *
 * Context: G or any other thread; never parks.
 * Return: 0, or -EPERM if it is not locked; nothing is changed then.
 */
int kaus_mutex_unlock(struct kaus_mutex *mu);

/**
 * struct kaus_rwmutex - One writer or many readers; zeroed is ready to use.
 * @writers: Internal.
 * @state: Internal.
 * @lock: Internal.
 * @readers: Internal.
 * @draining: Internal.
 *
 * A writer that waits keeps new readers out, and when it unlocks, all readers
 * that wait are let in before the next writer. Locking for reading twice in one
 * goroutine can therefore deadlock.
 */
struct kaus_rwmutex {
	struct kaus_mutex writers;
	uint32_t state;
	uint32_t lock;
	struct kaus_waitlist readers;
	struct kaus_waitlist draining;
};

#define KAUS_RWMUTEX_INIT { KAUS_MUTEX_INIT, 0, 0, { 0, 0 }, { 0, 0 } }

/**
 * kaus_rwmutex_rdlock() - Lock for reading.
 * @rw: The mutex.
 *
 * Context: G or any other thread; waits while a writer has it or waits for it.
 * Return: 0, -EPERM if it would have to wait while the runtime is not running,
 * -EOVERFLOW beyond 2^29 - 1 readers.
 */
int kaus_rwmutex_rdlock(struct kaus_rwmutex *rw);

/**
 * kaus_rwmutex_rdlock_until() - The same with a deadline.
 * @rw: The mutex.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE.
 *
 * Context: as kaus_rwmutex_rdlock().
 * Return: As kaus_rwmutex_rdlock(), or -ETIMEDOUT.
 */
int kaus_rwmutex_rdlock_until(struct kaus_rwmutex *rw, uint64_t deadline_ns);

/**
 * kaus_rwmutex_tryrdlock() - Lock for reading if there is no writer.
 * @rw: The mutex.
 *
 * Context: G or any other thread; never parks.
 * Return: 0, -EAGAIN, -EOVERFLOW.
 */
int kaus_rwmutex_tryrdlock(struct kaus_rwmutex *rw);

/**
 * kaus_rwmutex_rdunlock() - A reader unlocks.
 * @rw: The mutex.
 *
 * Context: G or any other thread; never parks.
 * Return: 0, or -EPERM if no reader has it; nothing is changed then.
 */
int kaus_rwmutex_rdunlock(struct kaus_rwmutex *rw);

/**
 * kaus_rwmutex_wrlock() - Lock for writing.
 * @rw: The mutex.
 *
 * Context: G or any other thread; waits.
 * Return: 0, or -EPERM if it would have to wait while the runtime is not
 * running.
 */
int kaus_rwmutex_wrlock(struct kaus_rwmutex *rw);

/**
 * kaus_rwmutex_wrlock_until() - The same with a deadline.
 * @rw: The mutex.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE.
 *
 * Context: as kaus_rwmutex_wrlock().
 * Return: As kaus_rwmutex_wrlock(), or -ETIMEDOUT; readers that it kept out are
 * let in then.
 */
int kaus_rwmutex_wrlock_until(struct kaus_rwmutex *rw, uint64_t deadline_ns);

/**
 * kaus_rwmutex_trywrlock() - Lock for writing if nobody has it.
 * @rw: The mutex.
 *
 * Context: G or any other thread; never parks.
 * Return: 0 or -EAGAIN.
 */
int kaus_rwmutex_trywrlock(struct kaus_rwmutex *rw);

/**
 * kaus_rwmutex_wrunlock() - The writer unlocks.
 * @rw: The mutex.
 *
 * Context: as kaus_mutex_unlock().
 * Return: 0, or -EPERM if no writer has it; nothing is changed then.
 */
int kaus_rwmutex_wrunlock(struct kaus_rwmutex *rw);

/**
 * struct kaus_cond - A condition variable; zeroed memory is ready to use.
 * @lock: Internal.
 * @pad: Internal.
 * @waiters: Internal.
 */
struct kaus_cond {
	uint32_t lock;
	uint32_t pad;
	struct kaus_waitlist waiters;
};

#define KAUS_COND_INIT { 0, 0, { 0, 0 } }

/**
 * kaus_cond_wait() - Unlock a mutex, wait to be signalled, lock it again.
 * @cond: The condition variable.
 * @mu: The mutex, locked.
 *
 * The first two are one step for whoever locks @mu afterwards. There are no
 * spurious wake-ups, but others may have changed the condition before @mu was
 * locked again.
 *
 * Context: G or any other thread while the runtime runs; waits.
 * Return: 0, or -EPERM if @mu is not locked or the runtime is not running: the
 * caller has not waited.
 */
int kaus_cond_wait(struct kaus_cond *cond, struct kaus_mutex *mu);

/**
 * kaus_cond_wait_until() - The same with a deadline.
 * @cond: The condition variable.
 * @mu: The mutex, locked; it is so again on return, whatever was the result.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE. It is for
 *	the signal and does not cover the time it takes to lock @mu.
 *
 * Context: as kaus_cond_wait().
 * Return: As kaus_cond_wait(), or -ETIMEDOUT: no signal was consumed.
 */
int kaus_cond_wait_until(struct kaus_cond *cond, struct kaus_mutex *mu,
			 uint64_t deadline_ns);

/**
 * kaus_cond_signal() - Wake the one that has waited longest, if any.
 * @cond: The condition variable.
 *
 * Context: G or any other thread; never parks. The mutex may be locked.
 * Return: 0, or -EPERM if somebody waits and the runtime is not running.
 */
int kaus_cond_signal(struct kaus_cond *cond);

/**
 * kaus_cond_broadcast() - Wake all that wait.
 * @cond: The condition variable.
 *
 * Context: as kaus_cond_signal().
 * Return: As kaus_cond_signal().
 */
int kaus_cond_broadcast(struct kaus_cond *cond);

/**
 * struct kaus_sem - A counting semaphore; zeroed memory is one without permits.
 * @state: Internal.
 * @lock: Internal.
 * @pad: Internal.
 * @waiters: Internal.
 *
 * Strictly in order: nobody gets past one that waits, however few it wants.
 */
struct kaus_sem {
	uint64_t state;
	uint32_t lock;
	uint32_t pad;
	struct kaus_waitlist waiters;
};

#define KAUS_SEM_INIT(n) { (uint64_t)(uint32_t)(n) << 1, 0, 0, { 0, 0 } }

/**
 * kaus_sem_init() - Make a semaphore that nobody uses.
 * @sem: The semaphore.
 * @n: Permits it has to begin with.
 *
 * Context: any.
 */
void kaus_sem_init(struct kaus_sem *sem, uint32_t n);

/**
 * kaus_sem_acquire() - Take permits.
 * @sem: The semaphore.
 * @n: How many, at once; 0 never waits.
 *
 * Context: G or any other thread; waits while there are fewer than @n, or
 * others wait.
 * Return: 0, or -EPERM if it would have to wait while the runtime is not
 * running.
 */
int kaus_sem_acquire(struct kaus_sem *sem, uint32_t n);

/**
 * kaus_sem_acquire_until() - The same with a deadline.
 * @sem: The semaphore.
 * @n: How many.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE.
 *
 * Context: as kaus_sem_acquire().
 * Return: As kaus_sem_acquire(), or -ETIMEDOUT: none was taken.
 */
int kaus_sem_acquire_until(struct kaus_sem *sem, uint32_t n,
			   uint64_t deadline_ns);

/**
 * kaus_sem_try_acquire() - Take permits if that is possible at once.
 * @sem: The semaphore.
 * @n: How many.
 *
 * Context: G or any other thread; never parks.
 * Return: 0, or -EAGAIN: there are too few, or others wait.
 */
int kaus_sem_try_acquire(struct kaus_sem *sem, uint32_t n);

/**
 * kaus_sem_release() - Give permits.
 * @sem: The semaphore.
 * @n: How many; they need not have been taken before.
 *
 * Context: G or any other thread; never parks.
 * Return: 0, -EOVERFLOW if there would be more than UINT32_MAX, -EPERM if
 * somebody waits and the runtime is not running; nothing is changed then.
 */
int kaus_sem_release(struct kaus_sem *sem, uint32_t n);

/**
 * struct kaus_once - Something to be done once; zeroed memory is ready to use.
 * @state: Internal.
 * @lock: Internal.
 * @runner: Internal.
 * @waiters: Internal.
 */
struct kaus_once {
	uint32_t state;
	uint32_t lock;
	uint64_t runner;
	struct kaus_waitlist waiters;
};

#define KAUS_ONCE_INIT { 0, 0, 0, { 0, 0 } }

/**
 * kaus_once_do() - Call a function, the first time.
 * @once: Whose first time.
 * @fn: The function, which must return.
 * @arg: Passed to @fn.
 *
 * Only the first call calls @fn. All return after it has returned.
 *
 * Context: G or any other thread; waits while another one is in @fn.
 * Return: 0, -EDEADLK if the caller is in @fn itself, -EPERM if it would have
 * to wait while the runtime is not running.
 */
int kaus_once_do(struct kaus_once *once, void (*fn)(void *arg), void *arg);

/**
 * kaus_once_do_until() - The same with a deadline.
 * @once: Whose first time.
 * @fn: The function, which must return.
 * @arg: Passed to @fn.
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE; how long to
 *	wait for another one. It does not limit @fn.
 *
 * Context: as kaus_once_do().
 * Return: As kaus_once_do(), or -ETIMEDOUT: @fn has not returned yet.
 */
int kaus_once_do_until(struct kaus_once *once, void (*fn)(void *arg),
		       void *arg, uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_SYNC_H */
