/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Starting the runtime and goroutines. */
#ifndef KAUS_GO_H
#define KAUS_GO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KAUS_VERSION_MAJOR 0
#define KAUS_VERSION_MINOR 1
#define KAUS_VERSION_PATCH 0

struct kaus_g;

/* Who helps the scheduler, see struct kaus_options.assist. */
enum kaus_assist {
	KAUS_ASSIST_AUTO = 0,	/* the module if it is there, else signals */
	KAUS_ASSIST_MODULE = 1,	/* the module or fail */
	KAUS_ASSIST_SIGNAL = 2,	/* signals and the sysmon thread */
};

/**
 * struct kaus_options - Settings of the runtime, fixed at kaus_run_with().
 * @size: sizeof(struct kaus_options), so that it can grow.
 * @nr_procs: Number of Ps; 0: KAUS_PROCS or the number of allowed CPUs, as it
 *	changes.
 * @assist: enum kaus_assist; AUTO follows KAUS_ASSIST=auto|module|signal.
 * @bind: 1 bind each P to a CPU, -1 do not, 0: KAUS_BIND=1|0 or the default,
 *	which is to bind with the module when there is a CPU for each P.
 * @virtual_time: For tests; 1: time stands still while a goroutine can run,
 *	and jumps to the next timer when all sleep, see kaus(7); -1: it does
 *	not; 0: KAUS_VIRTUAL_TIME=1|0 or not.
 * @slice_ns: Time slice; 0: KAUS_SLICE_US or the assist's default (100 us
 *	with the module, 10 ms with signals).
 * @stack_size: Bytes of stack of each goroutine, rounded up to a power of
 *	two; 0: KAUS_STACK_KB or 256 KiB. Address space is reserved, memory is
 *	used as it is touched.
 * @sched_random: Not 0: schedule by lot from this seed, to find orders of
 *	events that are rare otherwise; 0: KAUS_SCHED_RANDOM or not.
 */
struct kaus_options {
	size_t size;
	unsigned int nr_procs;
	int assist;
	int bind;
	int virtual_time;
	uint64_t slice_ns;
	size_t stack_size;
	uint64_t sched_random;
};

/**
 * kaus_run() - Start the runtime and run @fn as the first goroutine.
 * @fn: What to run; its result, which should not be negative, is returned.
 * @arg: Passed to @fn.
 *
 * Context: plain thread, which is lent to the runtime meanwhile.
 * Return: As kaus_run_with(), with default options.
 */
int kaus_run(int (*fn)(void *arg), void *arg);

/**
 * kaus_run_with() - Start the runtime with options.
 * @opts: Options, or NULL for the defaults.
 * @fn: What to run as the first goroutine.
 * @arg: Passed to @fn.
 *
 * Returns when @fn returns, as a Go program ends with main: other goroutines
 * are then no longer scheduled. The runtime runs once per process.
 *
 * Context: plain thread, which is lent to the runtime meanwhile.
 * Return: What @fn returned, or -EINVAL for bad options or environment
 * (the reason is printed to stderr), -EBUSY if the runtime runs or ran in
 * this process already, -ENODEV if the module was demanded and is not there, -ENOMEM,
 * -EAGAIN if no thread could be started.
 */
int kaus_run_with(const struct kaus_options *opts, int (*fn)(void *arg),
		  void *arg);

/**
 * kaus_go() - Run @fn in a new goroutine.
 * @fn: What to run.
 * @arg: Passed to @fn.
 *
 * Context: G, or any thread while the runtime runs. Never parks.
 * Return: 0, -ENOMEM, or -EPERM if the runtime is not running.
 */
int kaus_go(void (*fn)(void *arg), void *arg);

/**
 * kaus_go_sized() - kaus_go() with a stack of another size than the others'.
 * @fn: What to run.
 * @arg: Passed to @fn.
 * @stack_size: Bytes, 16 KiB to 1 GiB; rounded up to a power of two.
 *
 * Context: as kaus_go().
 * Return: 0, -EINVAL for such a size, -ENOMEM or -EPERM.
 */
int kaus_go_sized(void (*fn)(void *arg), void *arg, size_t stack_size);

/**
 * kaus_spawn() - Run @fn in a new goroutine that must be joined.
 * @fn: What to run; its result is given to kaus_join().
 * @arg: Passed to @fn.
 * @ret_g: The goroutine. It stays valid until it has been joined.
 *
 * Context: as kaus_go().
 * Return: 0, -ENOMEM or -EPERM.
 */
int kaus_spawn(void *(*fn)(void *arg), void *arg, struct kaus_g **ret_g);

/**
 * kaus_join() - Wait for a goroutine of kaus_spawn() to end.
 * @g: The goroutine; invalid afterwards.
 * @ret_value: Where to store what it returned, or NULL.
 *
 * Context: G, which parks, or any other thread while the runtime runs, which
 * blocks.
 * Return: 0, -EINVAL for NULL or a goroutine that somebody else is joining,
 * -EDEADLK for the caller itself, -EPERM if the runtime is not running.
 */
int kaus_join(struct kaus_g *g, void **ret_value);

/**
 * kaus_join_until() - The same with a deadline.
 * @g: The goroutine; after a failure as joinable as before.
 * @ret_value: As for kaus_join().
 * @deadline_ns: Absolute CLOCK_MONOTONIC time, or KAUS_NO_DEADLINE.
 *
 * One that has ended is joined even when the deadline has passed.
 *
 * Context: As kaus_join().
 * Return: As kaus_join(), or -ETIMEDOUT.
 */
int kaus_join_until(struct kaus_g *g, void **ret_value, uint64_t deadline_ns);

/**
 * kaus_yield() - Let other goroutines run.
 *
 * Context: G; elsewhere it does nothing. The caller goes to the end of its P's
 * queue.
 */
void kaus_yield(void);

/**
 * kaus_exit() - End the calling goroutine.
 *
 * A goroutine of kaus_spawn() yields NULL to kaus_join(). In the first
 * goroutine it ends the program's run with status 0. Outside a goroutine it
 * prints an error and aborts.
 */
void kaus_exit(void) __attribute__((noreturn));

/**
 * kaus_goid() - Number of the calling goroutine.
 *
 * Return: 1 for the first, counting up; 0 outside a goroutine.
 */
uint64_t kaus_goid(void);

/**
 * kaus_lock_thread() - Stay on this thread, and let no other goroutine on it.
 *
 * For what belongs to threads: namespaces, priorities, libraries that want the
 * same thread each time. Parking and going on cost a switch of threads then.
 * Calls nest; when the goroutine ends all are undone, and the thread is used
 * for others, so leave it as it was.
 *
 * Context: G.
 * Return: 0, -EPERM outside a goroutine, -EOVERFLOW.
 */
int kaus_lock_thread(void);

/**
 * kaus_unlock_thread() - Undo one kaus_lock_thread().
 *
 * Context: G.
 * Return: 0, -EPERM outside a goroutine, -EINVAL if there is none to undo.
 */
int kaus_unlock_thread(void);

/**
 * kaus_preempt_disable() - Do not preempt the calling goroutine.
 *
 * For sections too short to be worth a lock, and for those that hold something
 * that many want. It may still park, and loses its P when it sleeps in the
 * kernel; it is not preempted when it goes on. Calls nest.
 *
 * Context: G.
 * Return: 0, -EPERM outside a goroutine, -EOVERFLOW after 65535 of them.
 */
int kaus_preempt_disable(void);

/**
 * kaus_preempt_enable() - Undo one kaus_preempt_disable().
 *
 * If somebody has waited for longer than the slice it runs now.
 *
 * Context: G.
 * Return: 0, -EPERM outside a goroutine, -EINVAL if there is none to undo.
 */
int kaus_preempt_enable(void);

/**
 * kaus_set_name() - Name the calling goroutine, for reports about it.
 * @name: Copied; cut after 23 bytes. NULL takes the name away.
 *
 * Context: G.
 * Return: 0, or -EPERM outside a goroutine.
 */
int kaus_set_name(const char *name);

/**
 * kaus_set_slice() - Change the time slice while running.
 * @slice_ns: New slice in ns; 0 is the assist's default. Values out of the
 *	assist's range are clamped.
 *
 * Context: any.
 * Return: 0, or -EPERM if the runtime is not running.
 */
int kaus_set_slice(uint64_t slice_ns);

/**
 * kaus_set_procs() - Change the number of Ps while running.
 * @nr_procs: 1 to 1024; so many goroutines run at the same moment. The number
 *	does not follow the allowed CPUs any more.
 *
 * Stops the scheduler for a moment; no system call is interrupted. A goroutine
 * with preemption disabled delays that.
 *
 * Context: G, or any thread while the runtime runs.
 * Return: 0; -EINVAL out of range: the number is as it was; -ENOMEM likewise;
 * -EPERM if the runtime is not running.
 */
int kaus_set_procs(unsigned int nr_procs);

/**
 * kaus_procs() - Number of Ps.
 *
 * Context: any.
 * Return: The number, 0 if the runtime is not running.
 */
unsigned int kaus_procs(void);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_GO_H */
