/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Two givers for one preempted goroutine (sched/preempt.c: kr_wait_locked(),
 * kr_offer(); kmod/park.c: choose_next()): an M that took it from the global
 * queue gives its P to the goroutine's M, and the module, by the hint in
 * next_worker, hands that M the P of a sleeper. The hint may be stale.
 *
 * Shown: the goroutine goes on once, with one P; of the Ps none is lost and
 * none has two holders; it never ends with the goroutine waiting.
 *
 * Must fail: ANY_P (a P that nobody announced is taken for the one that is on
 * its way), KEEP_ENTRY (the M leaves its goroutine in the queue when the module
 * was faster), NO_REQUEUE (a giver that is refused does not put the goroutine
 * back).
 */
#define P1	1		/* the taker's */
#define P2	2		/* the sleeper's */

bool queued = true;		/* the goroutine is in the global queue */
byte offer;			/* g.offer: the P that is announced */
byte grant;			/* the M's, not fetched yet; there is one place */
bool parked;
bool sleeping = true;		/* P2: its holder sleeps */
bool idle[3];			/* Ps that any M may take */
bool held[3];			/* by a taker */
byte runs_with;			/* the P of the goroutine's M */
byte nr_runs;

/* The thread that the goroutine stands on. */
active proctype locked_m()
{
	byte p;

	do
	:: parked = true;
		atomic { grant != 0 -> p = grant; grant = 0; parked = false };
		/* kr_globq_cancel() */
		atomic {
			if
			:: queued ->
#ifndef KEEP_ENTRY
				queued = false;
#endif
				break
			:: else
			fi
		};
#ifdef ANY_P
		break;
#endif
		atomic {
			if
			:: offer == p -> offer = 0; break
			:: else
			fi
		};
		/* Too late: another one is on its way. */
		idle[p] = true
	od;
	runs_with = p;
	nr_runs++
}

/* An M with P @p, from the start or once somebody has made it idle. */
proctype taker(byte p)
{
	bool refused;

end_look:
	do
	:: atomic { held[p] || idle[p] -> held[p] = true; idle[p] = false };
		/* kr_globq_get(); or nothing to do, for ever. */
end_idle:
		atomic { queued -> queued = false };
		offer = p;
		atomic {
			refused = grant != 0;
			if
			:: !refused -> grant = p; held[p] = false
			:: else
			fi
		};
		if
		:: refused ->
			atomic {
				if
				:: offer == p -> offer = 0
				:: else
				fi
			};
#ifndef NO_REQUEUE
			queued = true
#endif
		:: else
		fi
	od
}

/* The interrupt: the M is parked, whatever has become of its goroutine. */
active proctype module()
{
	if
	:: atomic { parked && grant == 0 -> grant = P2; sleeping = false }
	:: skip
	fi
}

init {
	held[P1] = true;
	run taker(P1);
	run taker(P2)
}

active proctype judge()
{
	(timeout);
	assert(nr_runs == 1);
	assert(!queued);
	/* Each of the two is in one place. */
	assert(grant == 0);
	assert(held[P1] + idle[P1] + (runs_with == P1) == 1);
	assert(held[P2] + idle[P2] + (runs_with == P2) + sleeping == 1)
}
