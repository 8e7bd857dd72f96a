/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Closing a channel against selects that wait on it (sync/chan.c:
 * kaus_chan_close(), sync/select.c, sched/wait.h). Two selects receive from the
 * same two channels, one of which is closed and one of which gets an element;
 * each first glances at them without a lock. The closer collects all whom it
 * has claimed under the lock, links them by their entries and wakes them after
 * it; the entries are on the stacks of those who wait.
 *
 * Shown: each select returns exactly once, an element is received once, and
 * nobody looks at an entry after its owner has returned.
 *
 * Must fail: NO_RELOOK (a select that has glanced waits without another look
 * under the locks), NEXT_LATE (the closer reads the link after it has woken the
 * entry's owner), SKIP_CLAIMED (an entry whose wait another channel has
 * claimed ends the closer's walk).
 */
#define NR	2

bool lock[2];			/* channel 0 is closed, 1 gets an element */
bool closed;
byte elems;			/* in the buffer of channel 1 */

bool listed0[NR], listed1[NR];	/* each select's entry on each channel */
bool claimed[NR];
byte ready[NR];			/* times it was woken */
bool gone[NR];			/* it has returned: its stack is reused */
byte got;			/* elements received */

inline acquire(l)	{ atomic { !l -> l = true } }

proctype selecter(byte me)
{
	/* try_each(): a glance, then the lock of what seemed ready. */
	if
	:: elems > 0 ->
		acquire(lock[1]);
		if
		:: elems > 0 -> elems--; got++; lock[1] = false; goto out
		:: else -> lock[1] = false
		fi
	:: closed -> goto out
	:: else
	fi;
	acquire(lock[0]);
	acquire(lock[1]);
#ifndef NO_RELOOK
	if
	:: closed -> lock[1] = false; lock[0] = false; goto out
	:: elems > 0 ->
		elems--;
		got++;
		lock[1] = false;
		lock[0] = false;
		goto out
	:: else
	fi;
#endif
	listed0[me] = true;
	listed1[me] = true;
	lock[1] = false;
	lock[0] = false;
	(ready[me] > 0);
	/* kr_waitlist_forget() */
	if
	:: listed0[me] ->
		acquire(lock[0]);
		listed0[me] = false;
		lock[0] = false
	:: else
	fi;
	if
	:: listed1[me] ->
		acquire(lock[1]);
		listed1[me] = false;
		lock[1] = false
	:: else
	fi;
out:
	gone[me] = true
}

active proctype closer()
{
	bool mine[NR];
	byte i;

	acquire(lock[0]);
	closed = true;
	/* kr_waitlist_claim_all() */
	for (i : 0 .. NR - 1) {
		if
		:: listed0[i] ->
			assert(!gone[i]);
			atomic {
				mine[i] = !claimed[i];
				claimed[i] = true
			};
#ifdef SKIP_CLAIMED
			if
			:: !mine[i] -> break
			:: else
			fi;
#endif
			listed0[i] = false
		:: else
		fi
	}
	lock[0] = false;
	for (i : 0 .. NR - 1) {
		if
		:: mine[i] ->
#ifdef NEXT_LATE
			ready[i]++;
			assert(!gone[i])
#else
			assert(!gone[i]);
			ready[i]++
#endif
		:: else
		fi
	}
}

active proctype sender()
{
	bool won = false;
	byte i;

	acquire(lock[1]);
	/* kr_waitlist_claim(): the oldest that can still be woken. */
	for (i : 0 .. NR - 1) {
		if
		:: listed1[i] ->
			assert(!gone[i]);
			atomic { won = !claimed[i]; claimed[i] = true };
			listed1[i] = false;
			if
			:: won -> break
			:: else
			fi
		:: else
		fi
	}
	if
	:: won -> got++
	:: else -> elems++
	fi;
	lock[1] = false;
	if
	:: won -> ready[i]++
	:: else
	fi
}

init {
	run selecter(0);
	run selecter(1)
}

active proctype judge()
{
	(timeout);
	assert(gone[0] && gone[1]);
	assert(ready[0] <= 1 && ready[1] <= 1);
	assert(got + elems == 1)
}
