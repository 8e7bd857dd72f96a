/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * KAUS: goroutines for C. Everything a program needs; link with -lkaus.
 *
 * "G context" in the function descriptions means: called by a goroutine, that
 * is by code running below kaus_run() or kaus_go(), and not from inside a
 * signal handler. Functions that return int return 0 or a negative errno
 * value and leave their outputs alone on failure. Durations and points in
 * time are nanoseconds; deadlines are absolute CLOCK_MONOTONIC. One in the past, 0
 * included, lets a call do what it can without waiting; what was a negative number
 * never comes.
 */
#ifndef KAUS_H
#define KAUS_H

#include <kaus/alloc.h>
#include <kaus/block.h>
#include <kaus/chan.h>
#include <kaus/context.h>
#include <kaus/final.h>
#include <kaus/gc.h>
#include <kaus/go.h>
#include <kaus/local.h>
#include <kaus/net.h>
#include <kaus/preemptible.h>
#include <kaus/profile.h>
#include <kaus/select.h>
#include <kaus/stat.h>
#include <kaus/sync.h>
#include <kaus/time.h>
#include <kaus/types.h>
#include <kaus/weak.h>

#endif /* KAUS_H */
