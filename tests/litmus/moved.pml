/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Work on its way from one queue to another (sched/runq.c: kr_globq_get(),
 * sched/preempt.c: preempt_park()) while the last spinner looks for some before
 * it parks (sched/idle.c: kr_m_go_idle()). One M takes a batch from the global queue
 * into its ring; or one preempts its goroutine, which goes to the global queue,
 * for one that it has taken from its own ring; or both happen. Then they run
 * something that never ends.
 *
 * Shown: it never ends with a goroutine queued while a P is idle, its M is
 * parked and no M spins.
 *
 * Must fail: COUNT_FIRST (the count of the global queue goes down before the
 * goroutines are in the ring), NO_WAKE (nobody is woken for the goroutine that
 * was preempted).
 */
byte nr_global;			/* the count that others look at */
byte in_globq;			/* what is there, under gq_lock */
byte ring[2];			/* the batch taker's, the preempted one's */
byte nr_idle;
byte nr_spinning = 1;
byte wakes;
byte running;
bool parked;

inline wakep()
{
	atomic {
		if
		:: nr_idle > 0 && nr_spinning == 0 ->
			nr_spinning++;
			nr_idle--;
			wakes++
		:: else
		fi
	}
}

/* kr_globq_get(pp): one to run and one more. */
active proctype batch_taker()
{
	byte nr;

	if
	:: skip -> goto out
	:: atomic { nr_global = nr_global + 2; in_globq = in_globq + 2 }
	fi;
	wakep();
	atomic { nr = (in_globq < 2 -> in_globq : 2); in_globq = in_globq - nr };
#ifdef COUNT_FIRST
	nr_global = nr_global - nr;
#endif
	if
	:: nr == 2 -> ring[0]++
	:: else
	fi;
#ifndef COUNT_FIRST
	nr_global = nr_global - nr;
#endif
	running++;
out:
	skip
}

/* Its ring has one, for which somebody has been woken: the spinner. */
active proctype preempted()
{
	if
	:: skip -> goto out
	:: ring[1]++
	fi;
	wakep();
	/* kr_find_quick() */
	if
	:: atomic { ring[1] > 0 -> ring[1]-- };
		atomic { nr_global++; in_globq++ };
#ifndef NO_WAKE
		wakep();
#endif
		running++
	:: atomic { ring[1] == 0 -> skip };
		running++
	fi;
out:
	skip
}

active proctype spinner()
{
	bool seen;

look:
	if
	:: atomic { in_globq > 0 -> in_globq--; nr_global-- }; goto found
	:: atomic { ring[0] > 0 -> ring[0]-- }; goto found
	:: atomic { ring[1] > 0 -> ring[1]-- }; goto found
	:: else
	fi;
	/* kr_m_go_idle(); the first look is with the lock of the idle list. */
	atomic {
		if
		:: nr_global > 0 -> goto look
		:: else -> nr_idle++
		fi
	};
	nr_spinning--;
	seen = nr_global > 0;
	if
	:: !seen -> seen = ring[0] > 0
	:: else
	fi;
	if
	:: !seen -> seen = ring[1] > 0
	:: else
	fi;
	if
	:: seen ->
		atomic {
			if
			:: nr_idle > 0 -> nr_idle--; nr_spinning++; goto look
			:: else
			fi
		}
	:: else
	fi;
	parked = true;
end_park:
	atomic { wakes > 0 -> wakes--; parked = false };
	goto look;
found:
	/* stop_spinning(): there is one idle P at most, and it is this one. */
	nr_spinning--;
	running++
}

active proctype judge()
{
	(timeout);
	assert(!(parked && nr_idle > 0 &&
		 in_globq + ring[0] + ring[1] > 0))
}
