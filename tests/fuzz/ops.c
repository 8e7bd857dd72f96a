// SPDX-License-Identifier: GPL-2.0-only
/*
 * One life: a process with a few groups and threads that does to the module
 * whatever a program can do, well and badly, and ends in some way. It does not
 * check results; the kernel must merely stay whole. Words that the trampoline
 * believes (saved_ip) are changed seldom, else most lives would end at once.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "kw.h"

#define MAX_GROUPS	3
#define MAX_THREADS	12
#define STACK_SIZE	(128 * 1024)
/*
 * Of each thread. Most lives have but a few, as to begin and to end costs more
 * than what is between; `make fuzz` wants a hundred ioctls for each life on the
 * average, and gets some more.
 */
#define MAX_OPS		300

struct fuzz_counts *fuzz_counts;

static struct kw groups[MAX_GROUPS];
static unsigned int nr_groups;
static unsigned int nr_threads, max_threads;
/* Not mapped and unmapped by each life. */
static char stacks[MAX_THREADS][STACK_SIZE] __attribute__((aligned(4096)));
static int pipe_fd[2] = { -1, -1 };
static char *odd_page;		/* the second half of two is not there */

/* A thread's own. */
struct self {
	uint64_t x;
	struct kw *k;		/* of the group it is registered in, or NULL */
	bool deaf;		/* it has made itself the target of failslab */
};

static long count(long ret)
{
	KW_ADD(fuzz_counts->ioctls, 1);
	if (ret >= 0)
		KW_ADD(fuzz_counts->ok, 1);
	return ret;
}

static struct kw *a_group(struct self *s)
{
	if (s->k && !fuzz_once(&s->x, 4))
		return s->k;
	return &groups[fuzz_of(&s->x, nr_groups)];
}

static uint32_t an_index(struct self *s, uint32_t nr)
{
	static const uint32_t odd[] = {
		KAUS_NONE, KAUS_ANY, KAUS_ALL, 0x7fffffff, 0x80000000, 65536,
	};

	switch (fuzz_of(&s->x, 16)) {
	case 0:
		return odd[fuzz_of(&s->x, 6)];
	case 1:
		return nr + fuzz_of(&s->x, 2);
	case 2:
		return fuzz_rnd(&s->x);
	default:
		return fuzz_of(&s->x, nr);
	}
}

static uint64_t a_word(struct self *s)
{
	switch (fuzz_of(&s->x, 6)) {
	case 0:
		return 0;
	case 1:
		return fuzz_rnd(&s->x);
	case 2:
		return ~0ULL >> fuzz_of(&s->x, 64);
	case 3:
		return kw_now() + fuzz_of(&s->x, 1000000);
	default:
		return KAUS_OWNER(fuzz_of(&s->x, 5), fuzz_of(&s->x, 18),
				  fuzz_of(&s->x, 4));
	}
}

/* Seldom for ever: then a kill, a wake-up or the end of the life ends it. */
static uint64_t a_deadline(struct self *s)
{
	switch (fuzz_of(&s->x, 256)) {
	case 0:
		return KAUS_FOREVER;
	case 1 ... 8:
		return 0;
	case 9 ... 10:
		return kw_now() + fuzz_of(&s->x, 20000000);
	default:
		return kw_now() + fuzz_of(&s->x, 300000);
	}
}

/* --- ioctls --------------------------------------------------------------- */

static const struct {
	uint32_t nr;
	uint32_t size;
} calls[] = {
	{ 0, sizeof(struct kaus_info) },
	{ 1, sizeof(struct kaus_setup) },
	{ 2, sizeof(struct kaus_register) },
	{ 3, sizeof(struct kaus_register) },
	{ 4, sizeof(struct kaus_park) },
	{ 5, sizeof(struct kaus_wake) },
	{ 6, sizeof(struct kaus_handoff) },
	{ 7, sizeof(struct kaus_kick) },
	{ 8, sizeof(struct kaus_regs) },
};

#define NR_CALLS	(sizeof(calls) / sizeof(calls[0]))

union arg {
	uint32_t size;
	struct kaus_setup setup;
	struct kaus_register reg;
	struct kaus_park park;
	struct kaus_wake wake;
	struct kaus_handoff handoff;
	struct kaus_kick kick;
	struct kaus_regs regs;
	uint32_t words[64];
};

/* A struct as a program would fill it, by and large. */
static void fill(struct self *s, struct kw *k, uint32_t nr, union arg *a)
{
	uint32_t me = s->k && !fuzz_once(&s->x, 8) ? kw_self.worker :
		      an_index(s, k->nr_workers);

	switch (nr) {
	case 1:
		kw_setup_args(k, &a->setup);
		break;
	case 2:
	case 3:
		a->reg.worker = me;
		break;
	case 4:
		a->park.worker = me;
		a->park.flags = fuzz_of(&s->x, 4);
		a->park.home = an_index(s, k->nr_procs);
		a->park.deadline_ns = a_deadline(s);
		break;
	case 5:
		a->wake.worker = fuzz_once(&s->x, 3) ? KAUS_ANY :
				 an_index(s, k->nr_workers);
		a->wake.proc = an_index(s, k->nr_procs);
		a->wake.owner = a->wake.proc < k->nr_procs ?
				kw_owner(k, a->wake.proc) : a_word(s);
		break;
	case 6:
		a->handoff.worker = me;
		a->handoff.flags = fuzz_of(&s->x, 4);
		a->handoff.home = an_index(s, k->nr_procs);
		a->handoff.deadline_ns = a_deadline(s);
		a->handoff.target = fuzz_once(&s->x, 2) ? KAUS_ANY :
				    an_index(s, k->nr_workers);
		a->handoff.target_proc = an_index(s, k->nr_procs);
		a->handoff.owner = a->handoff.target_proc < k->nr_procs ?
				   kw_owner(k, a->handoff.target_proc) :
				   a_word(s);
		break;
	case 7:
		a->kick.worker = fuzz_once(&s->x, 4) ? KAUS_ALL :
				 an_index(s, k->nr_workers);
		break;
	case 8:
		a->regs.worker = an_index(s, k->nr_workers);
		break;
	}
}

/* Where the argument lies: mostly where it should. */
static void *place(struct self *s, union arg *a, uint32_t len)
{
	char *p;

	switch (fuzz_of(&s->x, 24)) {
	case 0:
		return NULL;
	case 1:
		return (void *)(0xffff888000000000ULL + fuzz_of(&s->x, 1 << 20));
	case 2:
		return (void *)(0x7ffffffff000ULL - fuzz_of(&s->x, 64));
	case 3:	/* all, or not quite all of it is there */
		p = odd_page + 4096 - len + fuzz_of(&s->x, 3);
		memcpy(p, a, odd_page + 4096 - p);
		return p;
	case 4:	/* in the region itself */
		p = (char *)groups[0].hdr +
		    fuzz_of(&s->x, groups[0].len - sizeof(*a));
		return p;
	default:
		return a;
	}
}

static void set_self(struct self *s, struct kw *k, uint32_t worker)
{
	s->k = k;
	kw_self.slot = &k->workers[worker];
	kw_self.stat = &k->stat[worker];
	kw_self.kw = k;
	kw_self.worker = worker;
}

static void op_ioctl(struct self *s)
{
	uint32_t i = fuzz_of(&s->x, NR_CALLS), cmd;
	struct kw *k = a_group(s);
	int fd = k->fd;
	union arg a;

	/* These two change what the trampoline needs to know; see below. */
	if (calls[i].nr == 2 || calls[i].nr == 3)
		i += 3;
	memset(&a, 0, sizeof(a));
	fill(s, k, calls[i].nr, &a);
	a.size = calls[i].size;
	if (fuzz_once(&s->x, 4))
		a.size = fuzz_once(&s->x, 2) ? fuzz_of(&s->x, sizeof(a) + 8) :
			 fuzz_rnd(&s->x);
	if (fuzz_once(&s->x, 8))
		a.words[1 + fuzz_of(&s->x, 15)] = fuzz_rnd(&s->x);
	cmd = _IO(KAUS_IOC_TYPE, calls[i].nr);
	if (fuzz_once(&s->x, 32))
		cmd = fuzz_once(&s->x, 2) ? _IO(KAUS_IOC_TYPE, fuzz_of(&s->x, 64)) :
		      fuzz_rnd(&s->x);
	if (fuzz_once(&s->x, 32))
		fd = fuzz_of(&s->x, 12);
	/* A number of REGISTER's by accident is as above. */
	if ((cmd & 0xffff) == (KAUS_IOC_REGISTER & 0xffff) ||
	    (cmd & 0xffff) == (KAUS_IOC_UNREGISTER & 0xffff))
		return;
	count(kw_ioctl(fd, cmd, place(s, &a, calls[i].size)));
}

static void op_register(struct self *s)
{
	struct kw *k = &groups[fuzz_of(&s->x, nr_groups)];
	uint32_t worker = fuzz_of(&s->x, k->nr_workers);
	struct kaus_register arg = { .size = sizeof(arg) };

	if (!s->k) {
		if (!count(kw_register(k, worker)))
			set_self(s, k, worker);
		return;
	}
	if (!fuzz_once(&s->x, 4)) {
		/* Twice: must fail, and must not move us. */
		arg.worker = worker;
		count(kw_ioctl(k->fd, KAUS_IOC_REGISTER, &arg));
	} else {
		count(kw_unregister(s->k));
		/* kw_self stays: a redirect may be on its way. */
		s->k = NULL;
	}
}

/* --- the shared pages ----------------------------------------------------- */

static void op_scribble(struct self *s)
{
	struct kw *k = a_group(s);
	struct kaus_proc *p = &k->procs[fuzz_of(&s->x, k->nr_procs)];
	struct kaus_worker *w = &k->workers[fuzz_of(&s->x, k->nr_workers)];
	uint64_t v = a_word(s);

	switch (fuzz_of(&s->x, 22)) {
	case 0:
		KW_STORE(k->hdr->stop, fuzz_of(&s->x, 2));
		break;
	case 1:
		KW_STORE(k->hdr->nr_global, (uint32_t)v);
		break;
	case 2:
		KW_STORE(k->hdr->slice_ns, fuzz_once(&s->x, 2) ? v : 50000);
		break;
	case 3:
		KW_STORE(k->hdr->handoff_delay_ns,
			 fuzz_once(&s->x, 2) ? v : fuzz_of(&s->x, 50000));
		break;
	case 4:
		KW_STORE(k->hdr->next_worker, an_index(s, k->nr_workers));
		break;
	case 5:
		KW_STORE(k->hdr->sleeping[fuzz_of(&s->x, 16)], v);
		break;
	case 6:
		KW_STORE(p->timer_ns, v);
		break;
	case 7:
	case 8:
		KW_STORE(p->owner, v);
		break;
	case 9:
	case 10:
		KW_STORE(p->runq_tail, KW_LOAD(p->runq_head) + fuzz_of(&s->x, 3));
		break;
	case 11:
		KW_STORE(p->sched_tick, (uint32_t)v);
		break;
	case 12:
		KW_STORE(w->proc, an_index(s, k->nr_procs));
		break;
	case 13:
		KW_STORE(w->events, (uint32_t)v);
		break;
	case 14:
		KW_STORE(w->busy, fuzz_of(&s->x, 2));
		break;
	case 15:
		KW_STORE(w->defer, fuzz_of(&s->x, 2));
		break;
	case 16:
		KW_STORE(w->stack_lo, fuzz_once(&s->x, 2) ? v : w->stack_lo);
		break;
	case 17:
		if (fuzz_once(&s->x, 16))
			KW_STORE(w->saved_ip, v);
		break;
	case 18:
		KW_STORE(w->nr_handoffs, v);
		break;
	case 19:
		KW_STORE(k->hdr->returnable,
			 fuzz_once(&s->x, 2) ? v : fuzz_of(&s->x, 1000));
		break;
	case 20:
		KW_STORE(k->hdr->wanted, fuzz_once(&s->x, 2) ? v : 0);
		break;
	default:
		((uint64_t *)k->hdr)[fuzz_of(&s->x, k->len / 8)] =
			fuzz_once(&s->x, 16) ? v : 0;
		break;
	}
}

/* Take a P as the contract has it, with somebody waiting on it. */
static void op_carry(struct self *s)
{
	uint32_t proc;

	if (!s->k)
		return;
	KW_STORE(kw_self.slot->defer, 0);
	KW_STORE(kw_self.slot->busy, 0);
	kw_stack_here(kw_self.slot);
	proc = fuzz_of(&s->x, s->k->nr_procs);
	kw_carry(s->k, proc);
	kw_waiters(s->k, proc, fuzz_of(&s->x, 3));
}

/* The pages go away, or become others, under the module's mapping. */
static void op_memory(struct self *s)
{
	struct kw *k = a_group(s);
	int prot = fuzz_once(&s->x, 2) ? PROT_READ : PROT_READ | PROT_WRITE;

	switch (fuzz_of(&s->x, 5)) {
	case 0:
		madvise(k->hdr, k->len, MADV_DONTNEED);
		break;
	case 1:
		madvise(k->hdr, k->len, MADV_REMOVE);
		break;
	case 2:
		mprotect(k->hdr, k->len, prot);
		mprotect(k->hdr, k->len, PROT_READ | PROT_WRITE);
		break;
	case 3:
		if (fuzz_once(&s->x, 8))
			munmap(k->hdr, k->len);
		break;
	case 4:
		if (mmap(k->hdr, k->len, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
			 0) == MAP_FAILED)
			_exit(1);
		break;
	}
}

static void op_group(struct self *s)
{
	struct kw *k = &groups[fuzz_of(&s->x, nr_groups)];
	int fd = k->fd;

	switch (fuzz_of(&s->x, 4)) {
	case 0:		/* the group ends, under whoever uses it */
		close(fd);
		break;
	case 1:		/* a descriptor that survives exec */
		fd = dup(fd);
		if (fd > 32)
			close(fd);
		break;
	case 2:
		fd = open(KW_DEV, O_RDWR);
		if (fd > 32)
			close(fd);
		break;
	case 3:		/* a second one on the same memory */
		fd = open(KW_DEV, O_RDWR | O_CLOEXEC);
		if (fd >= 0) {
			struct kaus_setup arg;

			kw_setup_args(k, &arg);
			count(kw_ioctl(fd, KAUS_IOC_SETUP, &arg));
			close(fd);
		}
		break;
	}
}

/* --- what threads do besides ---------------------------------------------- */

static void op_sleep(struct self *s)
{
	struct timespec ts = { .tv_nsec = fuzz_of(&s->x, 200000) };
	struct pollfd pfd = { .fd = pipe_fd[0], .events = POLLIN };
	uint32_t word = 0;
	char byte;

	switch (fuzz_of(&s->x, 5)) {
	case 0:
		nanosleep(&ts, NULL);
		break;
	case 1:
		if (poll(&pfd, 1, fuzz_of(&s->x, 3)) == 1)
			(void)!read(pipe_fd[0], &byte, 1);
		break;
	case 2:
		(void)!write(pipe_fd[1], "x", 1);
		break;
	case 3:
		syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 0, &ts);
		break;
	case 4:
		sched_yield();
		break;
	}
}

static void op_place(struct self *s)
{
	cpu_set_t set;

	if (fuzz_once(&s->x, 4)) {
		setpriority(PRIO_PROCESS, 0, fuzz_of(&s->x, 20));
		return;
	}
	CPU_ZERO(&set);
	CPU_SET(fuzz_of(&s->x, 8), &set);
	if (fuzz_once(&s->x, 2))
		memset(&set, 0xff, sizeof(set));
	sched_setaffinity(0, sizeof(set), &set);
}

static char *const after_exec[] = { "test_fuzz", FUZZ_AFTER_EXEC, NULL };

__attribute__((noreturn)) static void become_another(void)
{
	KW_ADD(fuzz_counts->execs, 1);
	execv("/proc/self/exe", after_exec);
	_exit(1);
}

static void op_fork(struct self *s)
{
	pid_t pid;

	KW_ADD(fuzz_counts->forks, 1);
	if (fuzz_once(&s->x, 4)) {
		/* For a moment two processes share the memory. */
		pid = vfork();
		if (!pid)
			_exit(0);
	} else {
		pid = fork();
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		s->x ^= 0x6368696c64;
		for (int i = 0; i < 8; i++)
			op_ioctl(s);
		if (fuzz_once(&s->x, 3))
			become_another();
		_exit(0);
	}
	/* The child may be stuck in a call of ours with no deadline. */
	if (pid > 0 && fuzz_once(&s->x, 2))
		kill(pid, SIGKILL);
	if (pid > 0)
		waitpid(pid, NULL, WNOHANG);
}

static void on_signal(int sig)
{
	(void)sig;
}

static void op_signal(struct self *s)
{
	(void)s;
	kill(getpid(), SIGUSR1);
}

/* With CONFIG_FAULT_INJECTION: allocations of this thread fail now and then. */
static void op_fail(struct self *s)
{
	int fd;

	if (s->deaf)
		return;
	s->deaf = true;
	fd = open("/proc/thread-self/make-it-fail", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, "1", 1);
	close(fd);
}

static void start_thread(uint64_t seed);

static void op_thread(struct self *s)
{
	start_thread(fuzz_rnd(&s->x));
}

static void op_compute(struct self *s)
{
	kw_sum(fuzz_of(&s->x, 20000));
}

static const struct {
	void (*fn)(struct self *s);
	uint32_t weight;
} ops[] = {
	{ op_ioctl, 600 },
	{ op_scribble, 200 },
	{ op_register, 60 },
	{ op_carry, 80 },
	{ op_compute, 80 },
	{ op_sleep, 80 },
	{ op_place, 20 },
	{ op_signal, 20 },
	{ op_thread, 8 },
	{ op_fork, 2 },
	{ op_group, 4 },
	{ op_memory, 4 },
	{ op_fail, 4 },
};

static void some_ops(struct self *s)
{
	uint32_t sum = 0, n = 1 + fuzz_of(&s->x, MAX_OPS), at;
	size_t i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		sum += ops[i].weight;
	while (n--) {
		at = fuzz_of(&s->x, sum);
		for (i = 0; at >= ops[i].weight; i++)
			at -= ops[i].weight;
		ops[i].fn(s);
	}
}

static void *thread_main(void *arg)
{
	struct self s = { .x = (uint64_t)arg };

	if (!fuzz_once(&s.x, 4))
		op_register(&s);
	some_ops(&s);
	/* Some leave as workers, as a thread that is killed would. */
	if (s.k && fuzz_once(&s.x, 2))
		kw_unregister(s.k);
	return NULL;
}

static void start_thread(uint64_t seed)
{
	pthread_attr_t attr;
	pthread_t thread;

	uint32_t nr = KW_ADD(nr_threads, 1);

	if (nr > max_threads)
		return;
	KW_ADD(fuzz_counts->threads, 1);
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, stacks[nr - 1], STACK_SIZE);
	if (!pthread_create(&thread, &attr, thread_main, (void *)seed))
		pthread_detach(thread);
	pthread_attr_destroy(&attr);
}

/**
 * fuzz_prepare() - What all lives have from the process that makes them.
 *
 * Return: false if it could not be made.
 */
bool fuzz_prepare(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &sa, NULL);
	if (pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK))
		return false;
	odd_page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return odd_page != MAP_FAILED && !munmap(odd_page + 4096, 4096);
}

/**
 * fuzz_life() - Live as told by @seed, and end.
 */
void fuzz_life(uint64_t seed)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct self s = { .x = seed };
	bool small = !fuzz_once(&s.x, 5);
	uint32_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fuzz_once(&s.x, 2)) {
		sa.sa_flags = SA_RESTART;
		sigaction(SIGUSR1, &sa, NULL);
	}
	nr_groups = small ? 1 : 1 + fuzz_of(&s.x, MAX_GROUPS);
	max_threads = small ? 1 : MAX_THREADS;
	for (uint32_t i = 0; i < nr_groups; i++) {
		uint32_t procs = 1 + fuzz_of(&s.x, 4);

		/* A full-size one costs a lot and shows little more. */
		if (fuzz_once(&s.x, 64))
			procs = 64;
		count(kw_group(&groups[i], procs, 1 + fuzz_of(&s.x, 16)));
		if (!groups[i].hdr || !groups[i].stat)
			_exit(1);
		/* The shortest ones leave a debug kernel no time for more. */
		groups[i].hdr->slice_ns =
			fuzz_of(&s.x, fuzz_once(&s.x, 4) ? 200000 : 4000000);
	}
	for (n = fuzz_of(&s.x, small ? 2 : 5); n; n--)
		start_thread(fuzz_rnd(&s.x));
	if (fuzz_once(&s.x, 2))
		op_register(&s);
	some_ops(&s);
	switch (fuzz_of(&s.x, 8)) {
	case 0:
		become_another();
	case 1:
		kill(getpid(), SIGKILL);
		break;
	case 2:		/* the others go on for as long as they like */
		pthread_exit(NULL);
	case 3:
		abort();
	}
	_exit(0);
}

/**
 * fuzz_after_exec() - What a life's descriptors are good for in a new program.
 *
 * Return: exit status
 */
int fuzz_after_exec(void)
{
	union arg args;

	/* A redirect from here on would go to the old image's address. */
	kw_sum(50000);
	for (int fd = 3; fd < 16; fd++) {
		for (uint32_t nr = 0; nr < NR_CALLS; nr++) {
			memset(&args, 0, sizeof(args));
			args.size = calls[nr].size;
			if (nr == 4 || nr == 6)
				args.park.deadline_ns = 1;	/* long past */
			kw_ioctl(fd, _IO(KAUS_IOC_TYPE, nr), &args);
		}
	}
	return 0;
}
