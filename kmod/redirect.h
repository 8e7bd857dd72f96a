/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Moving a thread to the trampoline.
 */
#ifndef _KAUS_REDIRECT_H
#define _KAUS_REDIRECT_H

#include <linux/types.h>

struct kaus_m;
struct pt_regs;

/* Why a redirect was put off. */
enum kaus_refused {
	KAUS_REFUSED_NOT,
	KAUS_REFUSED_PROGRAM,	/* another one, or it exits */
	KAUS_REFUSED_MODE,	/* 32-bit code or a shadow stack */
	KAUS_REFUSED_STEP,	/* single-stepped */
	KAUS_REFUSED_TRAMP,	/* in the trampoline already */
	KAUS_REFUSED_STACK,	/* not on a goroutine's stack */
	KAUS_REFUSED_DEFER,	/* the runtime is not to be disturbed */
	KAUS_REFUSED_BUSY,	/* the previous one was not picked up */
	KAUS_REFUSED_RESTART,	/* about to restart a system call */
	KAUS_REFUSED_RSEQ,	/* the rseq area could not be read */
	KAUS_NR_REFUSED
};

bool kaus_redirect(struct kaus_m *m, struct pt_regs *regs);

#endif /* _KAUS_REDIRECT_H */
