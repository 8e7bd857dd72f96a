/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A select on two channels with a deadline (sched/wait.h, sync/select.c)
 * against a sender on one, a close of the other, and the timer.
 *
 * Shown: exactly one of them wakes the goroutine, an element that was sent is
 * received and one that was not is still the sender's, nobody touches the wait
 * or an entry after the goroutine has gone on, and the goroutine goes on only
 * after its registers are saved.
 *
 * Must fail: NO_CLAIM (whoever finds an entry wakes), DEL_FIRST (the entry is
 * taken off its list before the wait is claimed), UNLOCK_EARLY (the channels
 * are unlocked before the goroutine is saved), NO_FORGET (one that was woken
 * leaves its other entry behind).
 */
bool lock[2];			/* of the channels */
bool listed[2];			/* the select's entry on each */
bool closed;			/* channel 1 */
bool saved;			/* the goroutine's registers */
bool gone;			/* the select has returned: its stack is reused */
bool claimed;
bool armed;			/* the deadline */
bool timer_lock;
byte ready;			/* times it was made ready */
byte received;
byte sent;
bool send_waits;		/* no receiver: the sender would wait */

#define SENT	1
#define CLOSED	2
#define LATE	3
byte result;

inline acquire(l)	{ atomic { !l -> l = true } }
inline touch()		{ assert(!gone) }

/* kr_wait_claim(): a compare-and-swap. */
inline claim(won)
{
	touch();
#ifdef NO_CLAIM
	won = true
#else
	atomic {
		won = !claimed;
		claimed = true
	}
#endif
}

/* kr_waitlist_claim(): the entry on channel @c, lock held. */
inline take(c, won)
{
	won = false;
	if
	:: listed[c] ->
#ifdef DEL_FIRST
		listed[c] = false;
		claim(won)
#else
		claim(won);
		touch();
		listed[c] = false
#endif
	:: else
	fi
}

inline wake()
{
	assert(saved);
	ready++
}

active proctype selecter()
{
	acquire(lock[0]);
	acquire(lock[1]);
	if
	:: closed ->
		lock[1] = false;
		lock[0] = false;
		result = CLOSED;
		goto out
	:: else
	fi;
	listed[0] = true;
	listed[1] = true;
#ifdef UNLOCK_EARLY
	lock[1] = false;
	lock[0] = false;
#endif
	/* kr_switch_out(), then post_block() on the next context. */
	saved = true;
	acquire(timer_lock);
	armed = true;
	timer_lock = false;
#ifndef UNLOCK_EARLY
	lock[1] = false;
	lock[0] = false;
#endif
	/* Made ready. */
	(ready > 0);
	acquire(timer_lock);		/* kr_timer_stop() */
	armed = false;
	timer_lock = false;
#ifndef NO_FORGET
	/* kr_waitlist_forget() */
	if
	:: listed[0] -> acquire(lock[0]); listed[0] = false; lock[0] = false
	:: else
	fi;
	if
	:: listed[1] -> acquire(lock[1]); listed[1] = false; lock[1] = false
	:: else
	fi;
#endif
out:
	gone = true
}

active proctype sender()
{
	bool won;

	acquire(lock[0]);
	take(0, won);
	if
	:: won ->
		touch();
		received++;
		sent++;
		result = SENT
	:: else -> send_waits = true
	fi;
	lock[0] = false;
	if
	:: won -> wake()
	:: else
	fi
}

active proctype closer()
{
	bool won;

	acquire(lock[1]);
	closed = true;
	take(1, won);
	lock[1] = false;
	if
	:: won -> touch(); result = CLOSED; wake()
	:: else
	fi
}

/* kr_timers_run(): fires under the timer's lock. */
active proctype timer()
{
	bool won = false;

	if
	:: acquire(timer_lock);
	   if
	   :: armed ->
		claim(won);
		if
		:: won -> touch(); result = LATE
		:: else
		fi;
		armed = false
	   :: else
	   fi;
	   timer_lock = false;
	   if
	   :: won -> wake()
	   :: else
	   fi
	:: skip			/* too early to be due */
	fi
}

active proctype judge()
{
	(timeout);
	assert(gone);
	assert(ready <= 1);
	assert(sent == received);
	assert(sent + send_waits == 1);
	assert(result != SENT || sent == 1)
}
