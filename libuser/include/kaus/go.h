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
 * @nr_procs: Number of Ps; 0: KAUS_PROCS or the number of allowed CPUs.
 * @assist: enum kaus_assist; AUTO follows KAUS_ASSIST=auto|module|signal.
 * @bind: 1 bind each P to a CPU, -1 do not, 0: KAUS_BIND=1|0 or the default,
 *	which is to bind with the module when there is a CPU for each P.
 * @pad: Must be 0.
 * @slice_ns: Time slice; 0: KAUS_SLICE_US or the assist's default (100 us
 *	with the module, 10 ms with signals).
 * @stack_size: Bytes of stack of each goroutine, rounded up to whole pages;
 *	0: KAUS_STACK_KB or 256 KiB. Address space is reserved, memory is
 *	used as it is touched.
 */
struct kaus_options {
	size_t size;
	unsigned int nr_procs;
	int assist;
	int bind;
	int pad;
	uint64_t slice_ns;
	size_t stack_size;
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
 * Context: G; parks.
 * Return: 0, -EPERM outside a goroutine, -EINVAL for NULL or a goroutine that
 * another one is joining, -EDEADLK for the caller itself.
 */
int kaus_join(struct kaus_g *g, void **ret_value);

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
 * kaus_set_slice() - Change the time slice while running.
 * @slice_ns: New slice in ns; 0 is the assist's default. Values out of the
 *	assist's range are clamped.
 *
 * Context: any.
 * Return: 0, or -EPERM if the runtime is not running.
 */
int kaus_set_slice(uint64_t slice_ns);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_GO_H */
