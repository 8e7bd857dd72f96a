/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restartable sequences of a thread that is about to be redirected.
 */
#ifndef _KAUS_RSEQ_H
#define _KAUS_RSEQ_H

#include <linux/types.h>

unsigned long kaus_rseq_leave(unsigned long ip);

#endif /* _KAUS_RSEQ_H */
