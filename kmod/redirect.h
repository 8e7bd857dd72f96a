/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Moving a thread to the trampoline.
 */
#ifndef _KAUS_REDIRECT_H
#define _KAUS_REDIRECT_H

#include <linux/types.h>

struct kaus_m;
struct pt_regs;

bool kaus_redirect(struct kaus_m *m, struct pt_regs *regs);

#endif /* _KAUS_REDIRECT_H */
