/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The owner word of a P without the module: its holder, which enters and
 * leaves the runtime and sleeps in the kernel; sysmon, which takes the P from
 * it (sched/sysmon.c: retake()); and another M that takes a P that is SLEEPING
 * (sched/p.c: kr_p_take_needy()).
 *
 * x86 lets a load overtake an older store of the same CPU, here the load of
 * the owner word that of defer. The store is therefore modelled with a buffer,
 * which is emptied at some time, by locked operations and by the membarrier.
 *
 * Shown: no two threads are inside the runtime with the same P, and nobody
 * touches the P's state while somebody else has it; and a holder gives its P
 * up only if somebody else has it, or nobody would ever run what it holds.
 *
 * Must fail: NO_MEMBARRIER, NO_STOPPED (sysmon makes it SLEEPING at once and
 * looks at defer afterwards), ONE_LOOK (kr_owner_cas() does not look again
 * after its second compare-and-swap).
 */
#define RUNNING		0
#define STOPPED		1
#define SLEEPING	2

#define HOLDER		0
#define OTHER		1

/* The owner word: state, worker, generation. */
typedef word {
	byte state;
	byte worker;
	byte gen;
};

word owner;
byte defer;		/* in memory */
byte buf_defer;		/* what the holder has stored */
bool buffered;
byte inside;		/* threads in the runtime with this P */

#define MINE	(owner.worker == HOLDER && owner.gen == mine_gen)

inline flush()
{
	if
	:: buffered -> defer = buf_defer; buffered = false
	:: else
	fi
}

/* Stores may leave the buffer at any time. */
active proctype store_buffer()
{
end:	do
	:: atomic { buffered -> flush() }
	od
}

active proctype holder()
{
	byte mine_gen = 0;
	byte rounds = 0;
	bool has = true;	/* the P */

	do
	:: rounds < 2 ->
		rounds++;
		/* kr_enter() */
		atomic { buf_defer = 1; buffered = true };
		if
		:: atomic { MINE && owner.state == RUNNING -> skip }
		:: else ->
			/* kr_reacquire(): locked operations */
			atomic { flush() };
again:			if
			:: atomic { MINE && owner.state == RUNNING -> skip }
			:: else ->
				if
				:: atomic { MINE && owner.state == STOPPED ->
					    owner.state = RUNNING };
					goto again
				:: else
				fi;
#ifndef ONE_LOOK
				if
				:: MINE && owner.state != SLEEPING -> goto again
				:: else
				fi;
#endif
				atomic {
					if
					:: MINE && owner.state == SLEEPING ->
						owner.state = RUNNING
					:: MINE && owner.state != SLEEPING ->
						assert(false)
					:: else -> has = false
					fi
				}
			fi;
			if
			:: !has ->
				/* Gives up: it parks until given another P. */
				atomic { buf_defer = 0; buffered = true };
				break
			:: else
			fi
		fi;
		/* In the runtime. */
		inside++;
		assert(inside == 1);
		inside--;
		/* kr_exit() */
		atomic { buf_defer = 0; buffered = true }
		/* User code, system calls: nothing happens here. */
	:: rounds == 2 -> break
	od
}

active proctype sysmon()
{
	byte gen;
	byte looks = 0;

	do
	:: looks < 2 ->
		looks++;
		atomic {
			if
			:: owner.state == RUNNING && owner.worker == HOLDER &&
			   defer == 0 ->
				gen = owner.gen;
#ifdef NO_STOPPED
				owner.state = SLEEPING
#else
				owner.state = STOPPED		/* (A) */
#endif
			:: else -> goto next
			fi
		};
#ifndef NO_MEMBARRIER
		atomic { flush() };
#endif
		if
		:: defer == 1 ->				/* (B) */
			atomic {
				if
				:: owner.worker == HOLDER &&
				   owner.gen == gen &&
				   owner.state == STOPPED ->
					owner.state = RUNNING
				:: else
				fi
			}
		:: else ->
			atomic {
				if
				:: owner.worker == HOLDER &&
				   owner.gen == gen &&
				   owner.state == STOPPED ->
					owner.state = SLEEPING
				:: else
				fi
			}
		fi;
next:		skip
	:: looks == 2 -> break
	od
}

active proctype other()
{
	byte turns = 0;

	do
	:: turns < 2 ->
		turns++;
		/* A compare-and-swap of a word that was seen SLEEPING. */
		atomic {
			if
			:: owner.state == SLEEPING ->
				owner.state = RUNNING;
				owner.worker = OTHER;
				owner.gen++
			:: else -> goto next
			fi
		};
		inside++;
		assert(inside == 1);
		inside--;
		/* It has nothing to do, and the P goes back to the holder. */
		atomic {
			owner.worker = HOLDER;
			owner.gen++
		};
next:		skip
	:: turns == 2 -> break
	od
}
