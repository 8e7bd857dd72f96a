/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * All goroutines are asleep.
 *
 * DOC: If every P is idle, every M is parked in the pool, no timer is armed, no
 * call on a file is on its way and no goroutine is runnable, then only something
 * outside the runtime can wake a goroutine: a descriptor that is open
 * (kaus/net.h), a thread of the program's own, or a handler of a signal. If there
 * is none of these, nothing ever will. The last M to park pokes the service
 * thread, which looks again.
 *
 * A thread of the program's own may come and go meanwhile: what it made ready
 * may have run, started another one and gone to sleep between two looks. So the
 * service looks at all of it, then whether there is such a thread, and then
 * again. If no P has changed hands from the first look to the last, no
 * goroutine has run; and what a thread put before it ended the last look sees.
 *
 * A thread of the program that has ever called the library says so when it
 * ends, by a destructor of a thread-local value. It is still there at that
 * moment: the spawner has the service look again a little later, and a few times
 * more as long as it finds a thread too many. One that never called the library
 * ends unnoticed: an idle process makes no wake-ups, so nobody looks for it.
 *
 * The program ends with status 2, as Go's do. exit() and not _exit(): what the
 * program has printed so far shall be seen.
 */
#include "sched/deadlock.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "mem/scavenge.h"
#include "sched/assist_signal.h"
#include "sched/filecall.h"
#include "sched/netpoll.h"
#include "sched/sched.h"
#include "sched/timer.h"
#include "sched/traceback.h"
#include "sched/virtual.h"

#define EXIT_DEADLOCK	2
#define AGAIN_NS	10000000ULL	/* and twice as long each time */
#define NR_AGAIN	8

/* Ours, and the two that the C library keeps for its threads. */
#define BIT_OF(sig)	(1ULL << ((sig) - 1))
#define OWN_SIGNALS	(BIT_OF(KR_PREEMPT_SIGNAL) | BIT_OF(SIGSEGV) | \
			 BIT_OF(KR_SUSPEND_SIGNAL) | BIT_OF(32) | BIT_OF(33))

/* Set while something outside may wake goroutines. */
static bool helped;

static bool has_work(const struct p *pp)
{
	return kr_p_has_work(pp) || READ_ONCE(pp->slot->timer_ns) ||
	       KAUS_OWNER_STATE(kr_owner(pp)) != KAUS_P_IDLE;
}

static bool nobody_runs(void)
{
	/* First: who is no longer pending is runnable. */
	if (kr_filecall_nr_pending())
		return false;
	smp_mb();
	if (READ_ONCE(sched.stopping) || !READ_ONCE(sched.running) ||
	    READ_ONCE(sched.nr_idle) != kr_nr_procs() ||
	    READ_ONCE(sched.nr_pooled) + READ_ONCE(sched.nr_lockedg_waits) +
			    kr_netpoll_nr_ms() !=
		    READ_ONCE(sched.nr_live_ms) ||
	    READ_ONCE(sched.hdr->nr_global))
		return false;
	for (uint32_t i = 0; i < kr_nr_procs(); i++)
		if (has_work(sched.allp[i]))
			return false;
	return true;
}

/*
 * A timer that is not due by virtual time is not published. Time may not have
 * passed to it yet: the last M may have gone to sleep just after
 * kr_deadlock_pass_time() had looked, and its hint is still to come.
 */
static bool has_hidden_timer(void)
{
	return kr_time_is_virtual() && kr_timers_first() != UINT64_MAX;
}

static bool all_asleep(void)
{
	return nobody_runs() && !kr_netpoll_is_on() && !has_hidden_timer();
}

/* Nobody runs, and all that is waited for is of this process. */
static bool time_may_pass(void)
{
	return nobody_runs() && !READ_ONCE(sched.nr_outside_waits);
}

void kr_deadlock_hint(void)
{
	if (READ_ONCE(sched.nr_idle) != kr_nr_procs())
		return;
	if (kr_time_is_virtual() ? time_may_pass() :
				   !READ_ONCE(helped) && all_asleep())
		sched.assist->service_poke();
}

/* Grows whenever a P comes to an M. */
static uint64_t nr_acquired(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < kr_nr_ps(); i++)
		sum += KAUS_OWNER_GEN(kr_owner(sched.allp[i]));
	return sum;
}

/* After the end of a thread: so often it is looked whether it is gone. */
static uint32_t nr_again;

static void look_again(void)
{
	uint32_t nr = READ_ONCE(nr_again);

	if (!nr || !kr_cas(&nr_again, nr, nr - 1))
		return;
	kr_spawner_poke_later(AGAIN_NS << (NR_AGAIN - nr));
}

static pthread_key_t plain_key;
static bool has_plain_key;
__thread bool kr_tls_called __attribute__((tls_model("initial-exec")));

static void plain_end(void *arg)
{
	(void)arg;
	kr_tls_called = false;
	if (!READ_ONCE(sched.running))
		return;
	kr_xchg(&nr_again, NR_AGAIN);
	kr_spawner_poke_later(AGAIN_NS);
}

void kr_plain_begin(void)
{
	/* If that fails the end of the thread is not noticed. */
	if (has_plain_key && !pthread_setspecific(plain_key, &plain_key))
		kr_tls_called = true;
}

void kr_deadlock_init(void)
{
	has_plain_key = has_plain_key ||
			!pthread_key_create(&plain_key, plain_end);
}

/* How many threads of ours are counted and may not be there yet, and changes. */
static uint32_t thread_changes;
#define COMING		1U
#define COMING_MASK	0xffU
#define CHANGE		(COMING_MASK + 1)

void kr_deadlock_thread_comes(void)
{
	kr_add(&thread_changes, COMING);
}

void kr_deadlock_thread_came(void)
{
	kr_add(&thread_changes, CHANGE - COMING);
}

void kr_deadlock_thread_goes(void)
{
	kr_add(&thread_changes, CHANGE);
}

enum help {
	NOBODY,
	UNKNOWN,		/* threads of ours come or go */
	THREADS,
	SIGNALS,		/* handlers, which stay */
};

/* Threads and signal handlers that are not the runtime's. */
static enum help who_helps(void)
{
	uint32_t changes = smp_load_acquire(&thread_changes), nr_ours;
	uint64_t caught;
	unsigned int nr;

	if (kr_proc_status(&nr, &caught) || (caught & ~OWN_SIGNALS))
		return SIGNALS;
	/* Ms, the service thread, the spawner, and those that have one task. */
	nr_ours = READ_ONCE(sched.nr_live_ms) + 2 + sched.assist->nr_threads +
		  READ_ONCE(kr_scavenge_nr_threads) + kr_netpoll_nr_threads() +
		  kr_filecall_nr_threads() + READ_ONCE(sched.nr_helpers);
	/* Else one that is counted too early hides one of the program's. */
	smp_mb();
	if ((changes & COMING_MASK) || READ_ONCE(thread_changes) != changes)
		return UNKNOWN;
	return nr != nr_ours ? THREADS : NOBODY;
}

static int report_one(struct g *gp, void *arg)
{
	if (READ_ONCE(gp->state) == G_WAITING)
		kr_traceback_parked(*(int *)arg, gp);
	return 0;
}

bool kr_deadlock_pass_time(void)
{
	uint64_t acquired = nr_acquired();

	return kr_time_is_virtual() && time_may_pass() &&
	       nr_acquired() == acquired && kr_virtual_jump();
}

void kr_deadlock_check(void)
{
	static const char head[] =
		"kaus: all goroutines are asleep - deadlock!\n";
	uint64_t acquired = nr_acquired();
	enum help help;
	int fd = 2;

	WRITE_ONCE(helped, false);
	if (!all_asleep())
		return;
	help = who_helps();
	if (help == UNKNOWN) {
		kr_spawner_poke_later(AGAIN_NS);
		return;
	}
	if (help != NOBODY) {
		/* An M that is just going: the spawner pokes when it is gone. */
		if (!READ_ONCE(sched.reaping))
			WRITE_ONCE(helped, true);
		if (help == THREADS)
			look_again();
		return;
	}
	if (!all_asleep() || nr_acquired() != acquired)
		return;
	kr_file_write_all(fd, head, sizeof(head) - 1);
	kr_registry_for_each(report_one, &fd);
	exit(EXIT_DEADLOCK);
}
