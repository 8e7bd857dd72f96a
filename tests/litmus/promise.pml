/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A P that was to look for work gets something better to do (sched/p.c:
 * kr_p_no_spinner(), sched/service.c: feed(), sched/proc.c: kr_reacquire()).
 *
 * kr_wakep() takes an idle P, counts it as a spinner and finds no M for it: the
 * P is pending. Until it has one, whoever makes a goroutine ready sees a spinner
 * and wakes nobody. Then a goroutine that comes back from a sleep takes the
 * pending P and goes on with it: nobody spins any more.
 *
 * Shown: it never ends with a goroutine queued, a P idle and an M parked.
 *
 * Must fail: NO_RENEW (whoever takes the P wakes nobody in its place).
 */
byte queued;
byte nr_idle = 2;
byte nr_spinning;
byte pending;			/* Ps with the promise, without an M */
byte pool;			/* Ms; one comes after a while */
byte wakes;
byte nr_done;

/* kr_wakep(), with the retry left out: wakep.pml has that. */
inline wakep()
{
	atomic {
		won = nr_idle > 0 && nr_spinning == 0;
		if
		:: won -> nr_spinning++; nr_idle--
		:: else
		fi
	};
	if
	:: won ->
		atomic {
			if
			:: pool > 0 -> pool--; wakes++
			:: else -> pending++
			fi
		}
	:: else
	fi;
	won = false
}

active [2] proctype submitter()
{
	bool won;

	queued++;
	wakep();
	nr_done++
}

/* A goroutine back from the kernel, without a P. */
active proctype sleeper()
{
	bool won, last;

	if
	:: atomic { pending > 0 -> pending--; nr_spinning--;
		    last = nr_spinning == 0 };
#ifndef NO_RENEW
		if
		:: last -> wakep()
		:: else
		fi
#endif
		/* And computes for ever. */
	:: skip
	fi
}

/* The service makes an M for what is pending; then one for each other P. */
active proctype service()
{
	byte i;

	for (i : 1 .. 3) {
		atomic {
			if
			:: pending > 0 -> pending--; wakes++
			:: else -> pool++
			fi
		}
	}
}

/* Begins as a spinner, runs what it finds for ever. */
active [2] proctype m()
{
	bool won;

	end_park:
	atomic { wakes > 0 -> wakes-- };
	do
	:: atomic { queued > 0 -> queued-- };
		atomic { nr_spinning--; won = nr_spinning == 0 };
		if
		:: won -> won = false; wakep()
		:: else
		fi;
		goto out
	:: atomic { queued == 0 -> nr_idle++; nr_spinning--; pool++ };
		goto end_park
	od;
out:
	skip
}

active proctype judge()
{
	(timeout);
	assert(nr_done == 2);
	assert(!(queued > 0 && nr_idle > 0 && pool > 0));
	assert(nr_spinning == 0 || wakes > 0 || pending > 0)
}
