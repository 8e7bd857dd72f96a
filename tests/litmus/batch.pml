/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A ring overflows by the batch (sched/runq.c: kr_ring_put_slow(), batch_put(),
 * batch_take_locked()) while a thief steals from it and another M takes from the
 * batches. Its holder makes goroutines, now and then runs one, and in the end
 * computes for ever; the others run all that it has left.
 *
 * The descriptor of a batch is filled before the ring's head is moved over what
 * is in it; if the thief has moved the head meanwhile the same one is filled
 * again. Once it is empty it is used for the next overflow. Which batch is
 * taken, and how much of it, is left open here; who is woken is in wakep.pml.
 *
 * What is done with gq_lock held is one step.
 *
 * Shown: each goroutine runs once, and the count of the global queue is never
 * less than what is there to be taken.
 *
 * Must fail: QUEUE_FIRST (the batch is there to be taken before the head has
 * moved), SPARE_KEPT (the holder fills a descriptor that it has given away),
 * READ_LATE (a taker looks into the batch after the unlock), STEAL_LATE (a thief
 * reads the entry after it has moved the head), COUNT_LATE (the count goes up
 * after the batch is there).
 */
#define SIZE	2		/* of the ring; half of it overflows */
#define BATCH	2		/* that half and the one that was to be put */
#define NR_GS	7		/* up to three overflows */
#define NR_BS	3
#define NONE	9

byte slot[SIZE];
byte head, tail;

byte nr_global;
byte nr_list;
byte list[NR_BS];		/* of batches, oldest first */
byte first[NR_BS];
byte gs[NR_BS * BATCH];
byte nr_free;
byte free[NR_BS];		/* descriptors */
byte nr_fresh;			/* made so far */
byte ran[NR_GS + 1];

inline run_one(g)
{
	assert(g >= 1 && g <= NR_GS);
	ran[g]++;
	assert(ran[g] == 1)
}

/* Move the head from @h over one entry. */
inline move_head(h, won)
{
	atomic {
		won = (head == h);
		if
		:: won -> head++
		:: else
		fi
	}
}

/* batch_alloc() */
inline alloc(b)
{
	atomic {
		if
		:: nr_free > 0 -> nr_free--; b = free[nr_free]
		:: else ->
			assert(nr_fresh < NR_BS);
			b = nr_fresh;
			nr_fresh++
		fi
	}
}

/* batch_put() */
inline queue(b)
{
#ifndef COUNT_LATE
	nr_global = nr_global + BATCH;
#endif
	atomic {
		first[b] = 0;
		list[nr_list] = b;
		nr_list++
	};
#ifdef COUNT_LATE
	nr_global = nr_global + BATCH;
#endif
}

active proctype holder()
{
	byte g = 1, h, x, spare = NONE;
	bool won;

	do
	:: g <= NR_GS ->
		/* kr_ring_put() */
		h = head;
		if
		:: tail - h < SIZE ->
			slot[tail % SIZE] = g;
			atomic { tail++; g++ }
		:: else ->
			if
			:: spare == NONE -> alloc(spare)
			:: else
			fi;
			gs[spare * BATCH] = slot[h % SIZE];
			gs[spare * BATCH + 1] = g;
#ifdef QUEUE_FIRST
			queue(spare);
#endif
			move_head(h, won);
			if
			:: won ->
#ifndef QUEUE_FIRST
				queue(spare);
#endif
#ifndef SPARE_KEPT
				spare = NONE;
#endif
				g++
			:: else
			fi
		fi
	:: g <= NR_GS && head != tail ->
		/* kr_runq_get() */
		h = head;
		if
		:: h != tail ->
			x = slot[h % SIZE];
			move_head(h, won);
			if
			:: won -> run_one(x)
			:: else
			fi
		:: else
		fi;
		x = 0
	:: g > NR_GS -> break
	od
	/* And computes for ever. */
}

/* kr_runq_steal() */
active proctype thief()
{
	byte h, x;
	bool won;

end_look:
	do
	:: atomic { head < tail -> h = head };
#ifdef STEAL_LATE
		move_head(h, won);
		x = slot[h % SIZE];
#else
		x = slot[h % SIZE];
		move_head(h, won);
#endif
		if
		:: won -> run_one(x)
		:: else
		fi;
		x = 0
	od
}

/* kr_globq_get(): the oldest or the newest, one goroutine or two. */
active proctype taker()
{
	byte h, b, at, x, y;

end_look:
	do
	:: atomic {
		nr_global > 0 && nr_list > 0 ->
		if
		:: h = 0
		:: h = nr_list - 1
		fi;
		b = list[h];
		at = first[b];
		x = gs[b * BATCH + at];
		y = 0;
		first[b]++;
		if
		:: first[b] < BATCH ->
			y = gs[b * BATCH + first[b]];
			first[b]++
		:: skip
		fi;
		if
		:: first[b] == BATCH ->
			/* batch_free_locked() */
			nr_list--;
			do
			:: h < nr_list -> list[h] = list[h + 1]; h++
			:: else -> break
			od;
			free[nr_free] = b;
			nr_free++
		:: else
		fi;
		assert(nr_global >= (y == 0 -> 1 : 2));
		nr_global = nr_global - (y == 0 -> 1 : 2)
	   };
#ifdef READ_LATE
		x = gs[b * BATCH + at];
#endif
		run_one(x);
		if
		:: y != 0 -> run_one(y)
		:: else
		fi;
		atomic { h = 0; b = 0; at = 0; x = 0; y = 0 }
	od
}

active proctype judge()
{
	byte i;

	(timeout);
	for (i : 1 .. NR_GS) {
		assert(ran[i] == 1)
	}
	assert(nr_global == 0 && nr_list == 0)
}
