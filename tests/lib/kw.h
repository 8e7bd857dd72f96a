/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kw: the smallest user of <linux/kaus.h> that honours its contract. Tests and
 * benchmarks of the module stand on it; it shares no code with libuser, so
 * that a bug there cannot hide a bug in the module.
 *
 * kw owns the region, the trampoline (ktramp.S) and what a thread must publish
 * about itself. It never decides anything: what a redirected worker does is
 * the hook of the test, and no wrapper retries.
 */
#ifndef KW_H
#define KW_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/kaus.h>

#define KW_DEV			"/dev/kaus"
#define KW_MAX_WORKERS		1024
#define KW_SLICE_NS		200000ULL
/* Room under a stack for the trampoline, its hook and a signal frame. */
#define KW_HEADROOM		(32 * 1024)
/*
 * How long a condition may take that is sure to come; far beyond any need.
 * Longer with KAUS_SLOW; see slow.h.
 */
extern uint64_t kw_slow;
#define KW_PATIENCE_NS		(40 * 1000000000ULL * kw_slow)

/*
 * What the trampoline left on the stack of the interrupted code, lowest
 * address first. ktramp.S pushes it, kw.c asserts the offsets it relies on.
 */
struct kw_regs {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t flags;
	uint64_t ip;
};

/* The interrupted stack pointer: above the frame and its red zone. */
static inline uint64_t kw_regs_sp(const struct kw_regs *regs)
{
	return (uint64_t)(regs + 1) + 128;
}

/* Counted by the worker in its trampoline, read by anybody. */
struct kw_stat {
	uint64_t nr_entries;
	uint64_t nr_preempt;
	uint64_t nr_lost;
	uint64_t nr_kick;
	uint64_t nr_empty;	/* entries without a reason in .events */
	uint64_t nr_foreign;	/* entries with sp outside the stack */
	uint64_t last_ip;
};

struct kw;
typedef void (*kw_hook_t)(struct kw_regs *regs, unsigned int events);

/* One per thread; ktramp.S knows the offset of slot. */
struct kw_self {
	struct kaus_worker *slot;
	kw_hook_t hook;
	struct kw_stat *stat;
	struct kw *kw;
	uint32_t worker;
};

extern __thread struct kw_self kw_self;

/* A group. Fill it with kw_open() and kw_setup(), or kw_group() for both. */
struct kw {
	int fd;
	uint32_t nr_procs;
	uint32_t nr_workers;
	size_t len;
	struct kaus_header *hdr;
	struct kaus_proc *procs;
	struct kaus_worker *workers;
	struct kw_stat *stat;
	uint64_t tramp_lo;
	uint64_t tramp_hi;
};

/* ktramp.S */
extern const char kw_tramp[], kw_tramp_end[];
extern const char kw_tramp_x[], kw_tramp_x_end[];
/* Spins inside kw_tramp's range until *flag is nonzero. */
void kw_tramp_spin(const volatile unsigned int *flag);
/* What kw_tramp_x saves: XCR0 and its size, 0 for FXSAVE. kw_open() sets it. */
extern uint64_t kw_xstate_mask;
extern uint64_t kw_xstate_size;

/* The region and the descriptor; all return 0 or -errno. */
int kw_map(struct kw *k, uint32_t nr_procs, uint32_t nr_workers);
int kw_open(struct kw *k, uint32_t nr_procs, uint32_t nr_workers);
int kw_setup(struct kw *k);
int kw_group(struct kw *k, uint32_t nr_procs, uint32_t nr_workers);
void kw_close(struct kw *k);
void kw_setup_args(const struct kw *k, struct kaus_setup *arg);

/* The calling thread. */
int kw_register(struct kw *k, uint32_t worker);
int kw_unregister(struct kw *k);
void kw_stack_here(struct kaus_worker *slot);
void kw_stack_none(struct kaus_worker *slot);
/* The caller, a registered worker, carries @proc from now on. */
void kw_carry(struct kw *k, uint32_t proc);
/* Release it again: IDLE, next generation. */
void kw_drop(struct kw *k);
void kw_entered(struct kw_regs *regs);

/*
 * One system call each, -errno out. They touch neither errno nor a vector
 * register, so that a hook may use them.
 */
long kw_syscall(long nr, long a, long b, long c, long d, long e, long f);
int kw_ioctl(int fd, unsigned long cmd, void *arg);
int kw_info(int fd, struct kaus_info *info);
int kw_park(struct kw *k, uint32_t flags, uint32_t home, uint64_t deadline_ns,
	    uint32_t *proc);
int kw_wake(struct kw *k, uint32_t worker, uint32_t proc, uint64_t owner);
int kw_handoff(struct kw *k, struct kaus_handoff *arg);
int kw_kick(struct kw *k, uint32_t worker, uint32_t *kicked);

/* Ownership words and queues. */
static inline uint64_t kw_owner(const struct kw *k, uint32_t proc)
{
	return __atomic_load_n(&k->procs[proc].owner, __ATOMIC_ACQUIRE);
}

static inline bool kw_owner_is(const struct kw *k, uint32_t proc,
			       uint32_t state, uint32_t worker)
{
	uint64_t word = kw_owner(k, proc);

	return KAUS_OWNER_STATE(word) == state &&
	       KAUS_OWNER_WORKER(word) == worker;
}

static inline bool kw_owner_cas(struct kw *k, uint32_t proc, __u64 old,
				uint64_t new)
{
	return __atomic_compare_exchange_n(&k->procs[proc].owner, &old, new,
					   false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

/* Say that @nr goroutines wait in the queue of @proc. */
static inline void kw_waiters(struct kw *k, uint32_t proc, uint32_t nr)
{
	struct kaus_proc *pp = &k->procs[proc];

	__atomic_store_n(&pp->runq_tail,
			 __atomic_load_n(&pp->runq_head, __ATOMIC_RELAXED) + nr,
			 __ATOMIC_RELEASE);
}

static inline bool kw_sleeping_bit(const struct kw *k, uint32_t proc)
{
	return __atomic_load_n(&k->hdr->sleeping[proc / 64],
			       __ATOMIC_ACQUIRE) >> (proc % 64) & 1;
}

/* Take a P that is SLEEPING, or whatever @old says, for @worker. */
static inline bool kw_take(struct kw *k, uint32_t proc, uint64_t old,
			   uint32_t worker)
{
	return kw_owner_cas(k, proc, old,
			    KAUS_OWNER(KAUS_P_RUNNING, worker,
				       KAUS_OWNER_GEN(old) + 1));
}

#define KW_LOAD(x)	__atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define KW_STORE(x, v)	__atomic_store_n(&(x), (v), __ATOMIC_RELEASE)
#define KW_ADD(x, v)	__atomic_add_fetch(&(x), (v), __ATOMIC_ACQ_REL)

uint64_t kw_now(void);
void kw_nap(void);

/* Wait for @cond, sleeping between looks; false if it never came. */
#define KW_WAIT(cond) ({						\
	uint64_t end_ns__ = kw_now() + KW_PATIENCE_NS;			\
	bool ok__;							\
									\
	while (!(ok__ = (cond)) && kw_now() < end_ns__)			\
		kw_nap();						\
	ok__;								\
})

/* The same without a system call, for a worker that must stay in user mode. */
#define KW_SPIN(cond) ({						\
	uint64_t end_ns__ = kw_now() + KW_PATIENCE_NS;			\
	bool ok__;							\
									\
	while (!(ok__ = (cond)) && kw_now() < end_ns__)			\
		__builtin_ia32_pause();					\
	ok__;								\
})

/* A thread that is a worker for as long as fn runs. */
struct kw_thread {
	struct kw *kw;
	uint32_t worker;
	void (*fn)(struct kw_thread *self);
	void *arg;
	kw_hook_t hook;
	bool keep;		/* exit without KAUS_IOC_UNREGISTER */
	pthread_t thread;
	pid_t tid;
	int ret;		/* of KAUS_IOC_REGISTER */
	unsigned int ready;
	unsigned int done;
	/* For fn: whatever it wants to tell. */
	uint64_t count;
	uint64_t value;
};

int kw_thread_start(struct kw_thread *t, struct kw *k, uint32_t worker,
		    void (*fn)(struct kw_thread *self), void *arg);
int kw_thread_join(struct kw_thread *t);
/* 'S' sleeping, 'D', 'R', 'T' stopped, ... or 0 when it is gone */
char kw_thread_state(pid_t tid);
/* True once @tid sleeps in a system call or in the page-fault handler. */
bool kw_asleep(pid_t tid);
/* True while @tid sleeps in system call @nr, or in an ioctl. */
bool kw_in_syscall(pid_t tid, long nr);
bool kw_parked(pid_t tid);
int kw_pin(int cpu);
int kw_nr_cpus(void);
/* The sum of a column of /sys/kernel/debug/kaus/cpus, -1: cannot be read. */
long kw_on_cpus(const char *column);
/* VmPin of this process, -1: cannot be read. */
long kw_pinned_bytes(void);

/*
 * A pool worker: parks with KAUS_PARK_POOL until kw_pool_stop(), and calls
 * given() for each P it gets; given() must leave the P to nobody or to
 * another. arg is the struct kw_pool.
 */
struct kw_pool {
	void (*given)(struct kw_thread *t, uint32_t proc);
	uint32_t home;
	unsigned int stop;
	void *arg;
};

void kw_pool_loop(struct kw_thread *t);
int kw_pool_start(struct kw_pool *pool, struct kw *k, struct kw_thread *t,
		  uint32_t first, uint32_t nr);
void kw_pool_stop(struct kw_pool *pool, struct kw_thread *t, uint32_t nr);

/* Work whose result tells whether a single step of it went wrong. */
uint64_t kw_sum(uint64_t rounds);

#endif /* KW_H */
