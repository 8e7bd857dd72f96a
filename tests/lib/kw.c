// SPDX-License-Identifier: GPL-2.0-only
/*
 * kw: region, registration and trampoline body for tests of the module. See
 * kw.h. Nothing here retries, hides an error or prints.
 *
 * kw_entered() and the ioctl wrappers run on interrupted stacks with live
 * vector registers: no libc call, no errno, general registers only.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kw.h"
#include "slow.h"

#define GENERAL_REGS	__attribute__((target("general-regs-only")))

_Static_assert(offsetof(struct kw_self, slot) == 0, "ktramp.S: SELF_SLOT");
_Static_assert(offsetof(struct kaus_worker, defer) == 4, "ktramp.S");
_Static_assert(offsetof(struct kaus_worker, saved_ip) == 24, "ktramp.S");
_Static_assert(offsetof(struct kaus_worker, busy) == 32, "ktramp.S");
_Static_assert(offsetof(struct kw_regs, ip) == 16 * 8, "ktramp.S");

__thread struct kw_self kw_self;
uint64_t kw_xstate_mask;
uint64_t kw_xstate_size;
uint64_t kw_slow = 1;

__attribute__((constructor)) static void read_slow(void)
{
	kw_slow = slow_factor();
}

/* --- in the trampoline ---------------------------------------------------- */

/* Called by ktramp.S with .defer raised. */
GENERAL_REGS void kw_entered(struct kw_regs *regs)
{
	struct kw_stat *stat = kw_self.stat;
	struct kaus_worker *slot = kw_self.slot;
	uint64_t sp = kw_regs_sp(regs);
	unsigned int events;

	events = __atomic_exchange_n(&slot->events, 0, __ATOMIC_ACQ_REL);
	KW_STORE(stat->nr_entries, stat->nr_entries + 1);
	if (events & KAUS_EV_PREEMPT)
		KW_STORE(stat->nr_preempt, stat->nr_preempt + 1);
	if (events & KAUS_EV_LOST)
		KW_STORE(stat->nr_lost, stat->nr_lost + 1);
	if (events & KAUS_EV_KICK)
		KW_STORE(stat->nr_kick, stat->nr_kick + 1);
	if (!events)
		KW_STORE(stat->nr_empty, stat->nr_empty + 1);
	if (sp < slot->stack_lo || sp >= slot->stack_hi)
		KW_STORE(stat->nr_foreign, stat->nr_foreign + 1);
	KW_STORE(stat->last_ip, regs->ip);
	if (kw_self.hook)
		kw_self.hook(regs, events);
}

GENERAL_REGS long kw_syscall(long nr, long a, long b, long c, long d, long e,
			     long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a" (ret)
			 : "a" (nr), "D" (a), "S" (b), "d" (c), "r" (r10),
			   "r" (r8), "r" (r9)
			 : "rcx", "r11", "memory");
	return ret;
}

GENERAL_REGS int kw_ioctl(int fd, unsigned long cmd, void *arg)
{
	return kw_syscall(SYS_ioctl, fd, cmd, (long)arg, 0, 0, 0);
}

GENERAL_REGS int kw_info(int fd, struct kaus_info *info)
{
	info->size = sizeof(*info);
	info->flags = 0;
	return kw_ioctl(fd, KAUS_IOC_INFO, info);
}

GENERAL_REGS int kw_park(struct kw *k, uint32_t flags, uint32_t home,
			 uint64_t deadline_ns, uint32_t *proc)
{
	struct kaus_park arg;
	int ret;

	arg.size = sizeof(arg);
	arg.flags = flags;
	arg.worker = kw_self.worker;
	arg.home = home;
	arg.deadline_ns = deadline_ns;
	arg.proc = KAUS_NONE;
	arg.pad = 0;
	ret = kw_ioctl(k->fd, KAUS_IOC_PARK, &arg);
	if (!ret && proc)
		*proc = arg.proc;
	return ret;
}

GENERAL_REGS int kw_wake(struct kw *k, uint32_t worker, uint32_t proc,
			 uint64_t owner)
{
	struct kaus_wake arg;

	arg.size = sizeof(arg);
	arg.flags = 0;
	arg.worker = worker;
	arg.proc = proc;
	arg.owner = owner;
	return kw_ioctl(k->fd, KAUS_IOC_WAKE, &arg);
}

GENERAL_REGS int kw_handoff(struct kw *k, struct kaus_handoff *arg)
{
	arg->size = sizeof(*arg);
	return kw_ioctl(k->fd, KAUS_IOC_HANDOFF, arg);
}

GENERAL_REGS int kw_kick(struct kw *k, uint32_t worker, uint32_t *kicked)
{
	struct kaus_kick arg;
	int ret;

	arg.size = sizeof(arg);
	arg.flags = 0;
	arg.worker = worker;
	arg.kicked = 0;
	ret = kw_ioctl(k->fd, KAUS_IOC_KICK, &arg);
	if (!ret && kicked)
		*kicked = arg.kicked;
	return ret;
}

/* --- the group ------------------------------------------------------------ */

static void probe_xstate(void)
{
	unsigned int a, b, c, d, lo, hi;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return;
	__asm__ volatile("xgetbv" : "=a" (lo), "=d" (hi) : "c" (0));
	if (!__get_cpuid_count(0xd, 0, &a, &b, &c, &d) || !b)
		return;
	kw_xstate_mask = ((uint64_t)hi << 32) | lo;
	kw_xstate_size = (b + 63) & ~63u;
}

/* Map a zeroed region and the statistics beside it. */
int kw_map(struct kw *k, uint32_t nr_procs, uint32_t nr_workers)
{
	void *region, *stat;

	memset(k, 0, sizeof(*k));
	k->fd = -1;
	k->nr_procs = nr_procs;
	k->nr_workers = nr_workers;
	k->len = KAUS_REGION_SIZE(nr_procs, nr_workers);
	k->tramp_lo = (uint64_t)kw_tramp;
	k->tramp_hi = (uint64_t)kw_tramp_end;
	region = mmap(NULL, k->len, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (region == MAP_FAILED)
		return -errno;
	stat = mmap(NULL, nr_workers * sizeof(*k->stat), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stat == MAP_FAILED)
		return -errno;
	k->hdr = region;
	k->procs = region + KAUS_PROCS_OFFSET;
	k->workers = region + KAUS_WORKERS_OFFSET(nr_procs);
	k->stat = stat;
	k->hdr->slice_ns = KW_SLICE_NS;
	for (uint32_t i = 0; i < nr_procs; i++)
		k->procs[i].cpu = KAUS_NONE;
	for (uint32_t i = 0; i < nr_workers; i++)
		k->workers[i].proc = KAUS_NONE;
	return 0;
}

int kw_open(struct kw *k, uint32_t nr_procs, uint32_t nr_workers)
{
	int ret = kw_map(k, nr_procs, nr_workers);

	if (ret)
		return ret;
	if (!kw_xstate_size)
		probe_xstate();
	k->fd = open(KW_DEV, O_RDWR | O_CLOEXEC);
	return k->fd < 0 ? -errno : 0;
}

void kw_setup_args(const struct kw *k, struct kaus_setup *arg)
{
	memset(arg, 0, sizeof(*arg));
	arg->size = sizeof(*arg);
	arg->addr = (uint64_t)k->hdr;
	arg->len = k->len;
	arg->nr_procs = k->nr_procs;
	arg->nr_workers = k->nr_workers;
	arg->tramp_lo = k->tramp_lo;
	arg->tramp_hi = k->tramp_hi;
}

int kw_setup(struct kw *k)
{
	struct kaus_setup arg;

	kw_setup_args(k, &arg);
	return kw_ioctl(k->fd, KAUS_IOC_SETUP, &arg);
}

int kw_group(struct kw *k, uint32_t nr_procs, uint32_t nr_workers)
{
	int ret = kw_open(k, nr_procs, nr_workers);

	return ret ? ret : kw_setup(k);
}

/* Close the descriptor; the region stays, other threads may look at it. */
void kw_close(struct kw *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
}

/* --- the calling thread --------------------------------------------------- */

void kw_stack_here(struct kaus_worker *slot)
{
	/* Of the main thread it is looked up in /proc/self/maps, which is slow. */
	static __thread uint64_t lo, hi;
	pthread_attr_t attr;
	size_t size;
	void *addr;

	if (!hi) {
		if (pthread_getattr_np(pthread_self(), &attr))
			return;
		pthread_attr_getstack(&attr, &addr, &size);
		pthread_attr_destroy(&attr);
		lo = (uint64_t)addr + KW_HEADROOM;
		hi = (uint64_t)addr + size;
	}
	KW_STORE(slot->stack_lo, lo);
	KW_STORE(slot->stack_hi, hi);
}

void kw_stack_none(struct kaus_worker *slot)
{
	KW_STORE(slot->stack_hi, 0);
	KW_STORE(slot->stack_lo, 0);
}

int kw_register(struct kw *k, uint32_t worker)
{
	struct kaus_register arg = {
		.size = sizeof(arg),
		.worker = worker,
	};
	struct kaus_worker *slot = &k->workers[worker];
	struct kw_self old = kw_self;
	int ret;

	slot->defer = 0;
	slot->busy = 0;
	slot->proc = KAUS_NONE;
	/* The first redirect may come before the call has returned. */
	kw_self.slot = slot;
	kw_self.stat = &k->stat[worker];
	kw_self.kw = k;
	kw_self.worker = worker;
	kw_stack_here(slot);
	ret = kw_ioctl(k->fd, KAUS_IOC_REGISTER, &arg);
	if (ret)
		kw_self = old;
	return ret;
}

int kw_unregister(struct kw *k)
{
	struct kaus_register arg = {
		.size = sizeof(arg),
		.worker = kw_self.worker,
	};

	return kw_ioctl(k->fd, KAUS_IOC_UNREGISTER, &arg);
}

void kw_carry(struct kw *k, uint32_t proc)
{
	uint64_t old = kw_owner(k, proc);

	KW_STORE(k->procs[proc].owner,
		 KAUS_OWNER(KAUS_P_RUNNING, kw_self.worker,
			    KAUS_OWNER_GEN(old) + 1));
	KW_STORE(kw_self.slot->proc, proc);
}

void kw_drop(struct kw *k)
{
	uint32_t proc = kw_self.slot->proc;
	uint64_t old = kw_owner(k, proc);

	KW_STORE(kw_self.slot->proc, KAUS_NONE);
	KW_STORE(k->procs[proc].owner,
		 KAUS_OWNER(KAUS_P_IDLE, 0, KAUS_OWNER_GEN(old) + 1));
}

/* --- time, work ----------------------------------------------------------- */

uint64_t kw_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

void kw_nap(void)
{
	struct timespec ts = { .tv_nsec = 300000 };

	nanosleep(&ts, NULL);
}

/* xorshift: no state survives a wrong bit. */
uint64_t kw_sum(uint64_t rounds)
{
	uint64_t x = 88172645463325252ULL;

	while (rounds--) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return x;
}
