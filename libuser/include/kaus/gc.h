/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The collector. It frees what kaus_alloc() and the like have returned once
 * nothing refers to it: no goroutine, by a register or its stack, no variable of
 * the program and its libraries, no registered memory, no registered thread, and
 * no other object that something refers to. A pointer into the midst of an
 * object counts, one just behind it does not.
 *
 * Memory from malloc(), memory that was mapped, and thread-local variables are
 * not looked at: register what holds the only pointer to an object.
 */
#ifndef KAUS_GC_H
#define KAUS_GC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * kaus_gc() - Collect now.
 *
 * What nothing referred to before the call is free when it returns. The world
 * is stopped while marking; where the runtime does without the module, a system
 * call in which a goroutine sleeps may fail with EINTR.
 *
 * Context: G, or a registered thread before the runtime is started, or where it
 * never is, and while it runs.
 * Return: 0, or -EPERM elsewhere, and in a child of fork() whose parent had a
 * runtime or other registered threads.
 */
int kaus_gc(void);

/**
 * enum kaus_gc_setting - What can be set, also while the program runs.
 * @KAUS_GC_PERCENT: So much may be allocated until the next cycle, in percent
 *	of what was found live and of roots; -1: no cycle by itself. 100 at first,
 *	or what the environment says in KAUS_GC_PERCENT.
 * @KAUS_GC_LIMIT: Bytes of heap to be kept to by collecting more often, as long
 *	as that takes less than half of the CPU time; -1: none. KAUS_GC_LIMIT_MB.
 *	Unless set it follows the control group's limit.
 * @KAUS_GC_DATA: 1: all variables of the program and its libraries count, as
 *	they do at first; 0: only registered memory. KAUS_GC_DATA.
 * @KAUS_GC_TRACE: 1: a line on stderr for each cycle. KAUS_GC_TRACE.
 * @KAUS_GC_CONCURRENT: 1: the program declares its stores, see kaus_gc_store(),
 *	and goes on while it is marked what is live; 0, as it is at first: any C
 *	program, which is stopped meanwhile. 2: any C program, which goes on; the
 *	kernel tells which pages it writes to, and what is on them is looked at
 *	again. 3: the same, if the last cycle had more than 8 MiB to look at,
 *	which is a stop of some ten milliseconds, else 0. For the last two the kernel must be able to: Linux 6.7,
 *	or one with CONFIG_MEM_SOFT_DIRTY. KAUS_GC_MODE.
 * @KAUS_GC_CHECK: 1: where the program goes on, look for stores that were not
 *	declared, and report them on stderr; 2: abort it then; 0: do not look.
 *	Slow, and needs twice the memory. KAUS_GC_CHECK.
 * @KAUS_GC_GOAL: The next cycle is to end when the heap has so many bytes,
 *	whatever the percentage and the limit say, but never before it has grown
 *	by a tenth and a MiB; -1: not set. For experiments.
 * @KAUS_GC_PERIOD: A cycle is made if there was none for so many nanoseconds,
 *	while goroutines run; two minutes at first. -1: none is. Nor is one where
 *	%KAUS_GC_PERCENT is -1. Looked at about once a second.
 * @KAUS_GC_POISON: 1: memory that becomes free, by kaus_free() or since nothing
 *	refers to it, is filled with 0xdb, so that who still uses it finds no old
 *	value there and no address; 0: it is not. Slow. KAUS_GC_POISON.
 * @KAUS_GC_HUGE_PAGES: 1: ask the kernel to make the heap of huge pages, where it
 *	does so on request (transparent_hugepage/enabled is "madvise"); 0: of small
 *	ones, where it makes them for everybody. From then on. Reads as -1 until it
 *	is set. -EOPNOTSUPP: it has none. KAUS_GC_HUGE_PAGES.
 */
enum kaus_gc_setting {
	KAUS_GC_PERCENT,
	KAUS_GC_LIMIT,
	KAUS_GC_DATA,
	KAUS_GC_TRACE,
	KAUS_GC_CONCURRENT,
	KAUS_GC_CHECK,
	KAUS_GC_GOAL,
	KAUS_GC_PERIOD,
	KAUS_GC_POISON,
	KAUS_GC_HUGE_PAGES,
};

/**
 * kaus_gc_set() - Change a setting.
 * @what: Which.
 * @value: Its value.
 *
 * Context: any.
 * Return: 0, -EINVAL, -EOPNOTSUPP if this kernel, or a filter, has not what the
 * value needs, or -ENOMEM if the kernel has no memory for that.
 */
int kaus_gc_set(enum kaus_gc_setting what, int64_t value);

/**
 * kaus_gc_get() - Read a setting.
 * @what: Which.
 *
 * Context: any.
 * Return: its value, or -EINVAL, which is none.
 */
int64_t kaus_gc_get(enum kaus_gc_setting what);

/**
 * struct kaus_gc_root - Registered memory: kaus_gc_root_add().
 * @priv: The library's.
 */
struct kaus_gc_root {
	void *priv[4];
};

/**
 * kaus_gc_root_add() - Each word of some memory may be a pointer to an object.
 * @root: Must stay, and not be changed, until kaus_gc_root_del().
 * @addr: The memory, which must stay readable as long.
 * @len: Bytes.
 *
 * Context: any thread; not in signal handlers.
 * Return: 0, or -EINVAL if @root is NULL or the memory would
 * be beyond the end of the address space.
 */
int kaus_gc_root_add(struct kaus_gc_root *root, const void *addr, size_t len);

/**
 * kaus_gc_root_del() - Undo kaus_gc_root_add().
 * @root: As there.
 *
 * Context: as kaus_gc_root_add().
 */
void kaus_gc_root_del(struct kaus_gc_root *root);

/**
 * kaus_gc_thread_register() - The calling thread's stack counts from now on.
 *
 * For threads of the program's own that use objects. While the world is
 * stopped the thread is stopped too, by SIGPWR. The thread that is in
 * kaus_run() need not do it. A registered thread allocates without a lock, and
 * collects when that is due. The collector works without a runtime as well.
 *
 * Context: plain thread.
 * Return: 0; -EEXIST if it is registered; -EPERM in a goroutine; -ENOMEM;
 * -EINVAL if the environment has a setting that is out of range.
 */
int kaus_gc_thread_register(void);

/**
 * kaus_gc_thread_unregister() - Undo it, before the thread ends.
 *
 * Context: plain thread.
 * Return: 0, or -ENOENT if it is not registered.
 */
int kaus_gc_thread_unregister(void);

/**
 * struct kaus_gc_stats - What the collector has done.
 * @size: Set by the caller to sizeof(struct kaus_gc_stats).
 * @nr_cycles: Cycles so far.
 * @nr_forced: Of these, by kaus_gc().
 * @heap_live_bytes: Objects: found live, and allocated since.
 * @heap_goal_bytes: At that size the next cycle is due.
 * @heap_marked_bytes: Found live by the last cycle.
 * @nr_marked: Objects found live by it.
 * @root_bytes: Looked at by it, besides objects: stacks, variables.
 * @pause_ns: The last stop of the world, from the request to the start.
 * @stop_ns: Of this, until the world stood still.
 * @max_pause_ns: The longest so far.
 * @total_pause_ns: Sum of all.
 * @mark_cpu_ns: Time spent on marking, sum over threads and cycles.
 * @nr_limited: Times that the limit was ignored for the sake of progress.
 * @nr_concurrent: Cycles during which the program ran.
 * @nr_pauses: Times that the world was stopped for all this.
 * @nr_missed: Stores without a barrier, and objects nearly lost by them, that
 *	%KAUS_GC_CHECK has found.
 * @nr_finalizers: Finalizers and cleanups called so far.
 * @nr_finalizers_waiting: Of objects that have died, not called yet.
 * @nr_heap_lock_waits: Times that the lock of the heap's pages was found taken.
 * @heap_lock_wait_ns: Time spent waiting for it, sum over threads.
 * @nr_span_list_retries: Times that another one was faster at a list of spans.
 * @returned_bytes: Unused memory of the heap that went back to the kernel so far.
 * @scavenge_cpu_ns: CPU time of the thread that returns it by itself; stale by
 *	as much as a second.
 * @nr_by_pages: Of @nr_concurrent, without declared stores.
 * @rescan_bytes: Pages that the last stop of the last such cycle looked at again.
 */
struct kaus_gc_stats {
	size_t size;
	uint64_t nr_cycles;
	uint64_t nr_forced;
	uint64_t heap_live_bytes;
	uint64_t heap_goal_bytes;
	uint64_t heap_marked_bytes;
	uint64_t nr_marked;
	uint64_t root_bytes;
	uint64_t pause_ns;
	uint64_t stop_ns;
	uint64_t max_pause_ns;
	uint64_t total_pause_ns;
	uint64_t mark_cpu_ns;
	uint64_t nr_limited;
	uint64_t nr_concurrent;
	uint64_t nr_pauses;
	uint64_t nr_missed;
	uint64_t nr_finalizers;
	uint64_t nr_finalizers_waiting;
	uint64_t nr_heap_lock_waits;
	uint64_t heap_lock_wait_ns;
	uint64_t nr_span_list_retries;
	uint64_t returned_bytes;
	uint64_t scavenge_cpu_ns;
	uint64_t nr_by_pages;
	uint64_t rescan_bytes;
};

/**
 * kaus_gc_stats_read() - Read them.
 * @st: Result; @st->size set by the caller.
 *
 * Context: any.
 * Return: 0, or -EINVAL for an unknown size.
 */
int kaus_gc_stats_read(struct kaus_gc_stats *st);

/**
 * kaus_gc_limit_handler_set() - What to call when the limit cannot be kept to.
 * @fn: After a cycle that has found more live than %KAUS_GC_LIMIT has room for,
 *	or one for which the limit is ignored for the sake of progress: a program
 *	may drop its caches then. NULL: nothing is called.
 * @arg: Its argument; counts as no reference.
 *
 * It is called in a goroutine of its own, once at a time; after it has returned
 * it is called for the next such cycle. It must return. Only while the runtime
 * runs.
 *
 * Context: any; not in signal handlers.
 */
void kaus_gc_limit_handler_set(void (*fn)(void *arg), void *arg);

/**
 * struct kaus_gc_pacer - The state of what decides when a cycle begins.
 * @size: Set by the caller to sizeof(struct kaus_gc_pacer).
 * @goal_bytes: Size of the heap at which the next cycle should end.
 * @trigger_bytes: At which it begins: earlier if the program goes on meanwhile.
 * @live_bytes: The heap now.
 * @marked_bytes: Found live by the last cycle.
 * @root_bytes: Stacks and variables, as it has found them.
 * @scan_bytes: What the next one is expected to look at.
 * @limit_bytes: Limit for the heap, UINT64_MAX: none.
 * @cons_mark: Bytes that the program allocates while one is scanned, where it
 *	goes on: the largest of the last cycles. 0: not known.
 * @cpu_debt_ns: CPU time that cycles have taken beyond a half of all,
 * @cpu_debt_max_ns: and so much is too much.
 * @goal_is_limit: The goal is lower than the percentage says, for the limit.
 * @goal_is_set: The goal is %KAUS_GC_GOAL.
 * @limiting: The limit is ignored, as the debt was too high.
 * @reserved: 0.
 */
struct kaus_gc_pacer {
	size_t size;
	uint64_t goal_bytes;
	uint64_t trigger_bytes;
	uint64_t live_bytes;
	uint64_t marked_bytes;
	uint64_t root_bytes;
	uint64_t scan_bytes;
	uint64_t limit_bytes;
	double cons_mark;
	uint64_t cpu_debt_ns;
	uint64_t cpu_debt_max_ns;
	uint32_t goal_is_limit;
	uint32_t goal_is_set;
	uint32_t limiting;
	uint32_t reserved;
};

/**
 * kaus_gc_pacer_read() - Read it.
 * @p: Result; @p->size set by the caller.
 *
 * Context: any.
 * Return: 0, or -EINVAL for an unknown size.
 */
int kaus_gc_pacer_read(struct kaus_gc_pacer *p);

/* ---- stores, for programs that go on while it is marked what is live ---- */

/* Not for use: set while stores must be told. */
extern uint32_t kaus_gc_barrier_on;

/**
 * kaus_gc_barrier() - Tell what a store has overwritten. Not for use as such.
 * @slot: Where.
 * @old: What was there.
 *
 * Context: goroutines and registered threads; not in signal handlers. Other
 * threads use kaus_gc_copy().
 */
void kaus_gc_barrier(const void *slot, const void *old);

/* Not for use: asm/barrier.S, reached by a jump. */
void kaus_gc_tell(void);

typedef void *kaus_gc_word __attribute__((may_alias));

/*
 * Not for use: what a store has overwritten stays in sight until it has been told.
 * No call: the compiler may keep what it has in registers, and the red zone.
 */
static inline void kaus_gc_overwritten(void *slot, void *old)
{
	__asm__ __volatile__("" : : "r"(old) : "memory");
	if (__builtin_expect(!!__atomic_load_n(&kaus_gc_barrier_on,
					       __ATOMIC_RELAXED), 0))
		__asm__ __volatile__("leaq 1f(%%rip), %%rax\n\t"
				     "jmp *kaus_gc_tell@GOTPCREL(%%rip)\n"
				     "1:\tendbr64"
				     : "+D"(slot), "+S"(old)
				     :
				     : "rax", "rcx", "rdx", "cc", "memory");
}

/**
 * kaus_gc_store() - Store a pointer into an object: KAUS_STORE().
 * @slot: The word, aligned to 8 bytes. Any memory will do.
 * @value: Any pointer.
 *
 * A program that sets %KAUS_GC_CONCURRENT uses this, or another function of this
 * group, for each store that overwrites a pointer to an object, or may, in an
 * object, or on the stack of another goroutine; and nothing else is asked of it.
 * Not needed are stores to variables, to one's own stack, to registered memory and
 * other memory that is no object, and stores over null, as in an object that is
 * new: nothing is lost by them. The library sees to its own, such as
 * kaus_chan_recv() into an object.
 *
 * While nothing is marked it costs a load and a test. As of a plain store, there
 * may be one at a time to the same word; for others see kaus_gc_exchange().
 *
 * Context: goroutines and registered threads; not in signal handlers. Other
 * threads use kaus_gc_copy().
 */
static inline void kaus_gc_store(void *slot, const void *value)
{
	kaus_gc_word *at = (kaus_gc_word *)slot;
	void *old = __atomic_load_n(at, __ATOMIC_RELAXED);

	__atomic_store_n(at, (void *)(uintptr_t)value, __ATOMIC_RELEASE);
	kaus_gc_overwritten(slot, old);
}

/**
 * kaus_gc_exchange() - Store a pointer into an object and get the one before.
 * @slot: As for kaus_gc_store(); there may be many at a time.
 * @value: Any pointer.
 *
 * A full barrier of memory. Context: as kaus_gc_store().
 * Return: what was there.
 */
static inline void *kaus_gc_exchange(void *slot, const void *value)
{
	kaus_gc_word *at = (kaus_gc_word *)slot;
	void *old = __atomic_exchange_n(at, (void *)(uintptr_t)value,
					__ATOMIC_SEQ_CST);

	kaus_gc_overwritten(slot, old);
	return old;
}

/**
 * kaus_gc_compare_exchange() - Store a pointer if another one is there.
 * @slot: As for kaus_gc_exchange().
 * @old: What must be there.
 * @value: Any pointer.
 *
 * A full barrier of memory. Context: as kaus_gc_store().
 * Return: 1 if it was there and @value is now, else 0.
 */
static inline int kaus_gc_compare_exchange(void *slot, const void *old,
					   const void *value)
{
	kaus_gc_word *at = (kaus_gc_word *)slot;
	void *expected = (void *)(uintptr_t)old;

	if (!__atomic_compare_exchange_n(at, &expected,
					 (void *)(uintptr_t)value, 0,
					 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return 0;
	kaus_gc_overwritten(slot, (void *)(uintptr_t)old);
	return 1;
}

/* The same, and the compiler sees that the type of the value is right. */
#define KAUS_STORE(slot, value)						\
	((void)sizeof(*(slot) = (value)), kaus_gc_store((slot), (value)))

/**
 * kaus_gc_copy() - memmove() into an object with pointers.
 * @to: Where to.
 * @from: Where from; may overlap.
 * @bytes: So many.
 *
 * Context: any thread; not in signal handlers.
 * Return: @to.
 */
void *kaus_gc_copy(void *to, const void *from, size_t bytes);

/**
 * kaus_gc_clear() - Overwrite with zeroes in an object with pointers.
 * @to: Where.
 * @bytes: So many.
 *
 * Context: any thread; not in signal handlers.
 */
void kaus_gc_clear(void *to, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_GC_H */
