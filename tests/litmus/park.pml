/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A goroutine that is preempted in mid code (sched/preempt.c: preempt_park()):
 * it is put into the global queue, locked to its M, *before* the M gives its P
 * away and parks; another M may take it from there at any moment and give the
 * P that it has to the M of the goroutine, which keeps it until it parks.
 *
 * Shown: the goroutine goes on exactly once for each time it was preempted,
 * with one P, and no P is lost.
 *
 * Must fail: NO_KEEP (a P given before the park is forgotten), PARK_FIRST
 * (queued only after the park: nobody finds it).
 */
byte queued;			/* the goroutine is in the global queue */
byte grant;			/* Ps given to the M and not taken yet */
bool parked;
byte free_ps = 0;		/* Ps that look for an M */
byte resumed;
byte held;			/* Ps in hands */

active proctype m()
{
	held++;			/* its P */
#ifdef PARK_FIRST
	held--;
	free_ps++;
	parked = true;
	atomic { grant > 0 -> grant--; parked = false };
	queued++;
	held++;
#else
	queued++;
	/* HANDOFF: gives the P away ... */
	held--;
	free_ps++;
	/* ... and parks, unless it was given one already. */
#ifdef NO_KEEP
	grant = 0;
#endif
	parked = true;
	atomic { grant > 0 -> grant--; parked = false };
	held++;
#endif
	resumed++;
	assert(resumed == 1);
	/* Ends; the P goes on to others. */
	held--;
	free_ps++
}

/* Another M, with a P of its own or the one given away. */
active proctype taker()
{
	byte ps = 1;

	do
	:: atomic { free_ps > 0 && ps == 0 -> free_ps--; ps++ }
	:: atomic { ps > 0 && queued > 0 -> queued--; ps--; grant++ }
	:: resumed == 1 && queued == 0 -> break
	od;
	(timeout);
	assert(ps + free_ps + grant + held == 2)
}
