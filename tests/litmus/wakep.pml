/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Spinning and waking (sched/p.c: kr_wakep_slow(), sched/idle.c: kr_m_go_idle(),
 * stop_spinning()):
 * two Ms with a P each look for work, find none, and park; two other threads
 * make one goroutine runnable each, in a queue that all can see.
 *
 * Loads may overtake older stores of the same thread, so each step that the
 * protocol orders by a locked operation is one step here, and what is a plain
 * load is a step of its own.
 *
 * Shown: it never ends with work queued while an M is parked and no M spins or
 * runs; the number of spinning Ms is right.
 *
 * Must fail: NO_RECHECK (an M that goes idle does not look again), NO_CHAIN
 * (the last spinner that finds work wakes nobody), NO_RETRY (who has claimed to
 * spin and found no idle P does not look again after it has taken that back),
 * EARLY_TRUST (an M that does not spin leaves the work to one that does, as seen
 * before its own P was idle).
 */
#define NR_MS	2

byte queued;			/* goroutines in the queue */
byte nr_idle;			/* Ps on the idle list */
byte nr_spinning;
byte wakes;			/* Ps given to a parked M, with its wake-up */
byte running;			/* goroutines that run, for ever */
byte parked;
byte nr_done;			/* submitters */
bool stale_hint = true;		/* a look that found nr_idle, or a sleeper */

/* kr_wakep(): at most one M is woken, if a P is idle and nobody spins. */
inline wakep()
{
	do
	:: nr_idle == 0 && !stale_hint -> break
	:: else ->
		stale_hint = false;
		if
		:: nr_spinning != 0 -> break
		:: else
		fi;
		atomic {
			if
			:: nr_spinning == 0 -> nr_spinning++; won = true
			:: else -> won = false
			fi
		};
		if
		:: !won -> break
		:: else
		fi;
		/* kr_idle_get(), under sched.lock */
		atomic {
			if
			:: nr_idle > 0 -> nr_idle--; wakes++; won = true
			:: else -> won = false
			fi
		};
		if
		:: won -> break
		:: else
		fi;
		nr_spinning--;
#ifdef NO_RETRY
		break
#endif
	od;
	won = false
}

active [NR_MS] proctype m()
{
	bool spinning = false, was_spinning = false;
	bool won = false;

look:
	/* It may spin, if not too many do already. */
	if
	:: !spinning && nr_spinning == 0 ->
		atomic { nr_spinning++; spinning = true }
	:: else
	fi;
	if
	:: atomic { queued > 0 -> queued-- } ->
		/* Found one: stop_spinning(), then run it for ever. */
		if
		:: spinning ->
			atomic { nr_spinning--; spinning = false };
#ifndef NO_CHAIN
			if
			:: nr_spinning == 0 -> wakep()
			:: else
			fi
#endif
		:: else
		fi;
		running++;
		goto done
	:: else
	fi;
	/* kr_m_go_idle() */
	was_spinning = spinning;
#ifdef EARLY_TRUST
	if
	:: !was_spinning && nr_spinning > 0 -> nr_idle++; goto park
	:: else
	fi;
#endif
	nr_idle++;					/* (C) */
	if
	:: spinning -> atomic { nr_spinning--; spinning = false } /* (C) */
	:: else
	fi;
#ifndef NO_RECHECK
	if
	:: !was_spinning && nr_spinning > 0 -> goto park
	:: else
	fi;
	if
	:: queued > 0 ->				/* (D) */
		atomic {
			if
			:: nr_idle > 0 -> nr_idle--; goto look
			:: else
			fi
		}
	:: else
	fi;
#endif
park:
	was_spinning = false;
	parked++;
end_park:
	atomic { wakes > 0 -> wakes--; parked--; spinning = true };
	goto look;
done:
end_run:
	false
}

active [2] proctype submitter()
{
	bool won = false;

	queued++;					/* (A) */
	wakep();					/* (B) */
	nr_done++
}

active proctype judge()
{
	/* When nothing moves any more, nothing may be left. */
	(timeout);
	assert(nr_done == 2);
	assert(!(queued > 0 && parked > 0));
	assert(nr_spinning == 0)
}
