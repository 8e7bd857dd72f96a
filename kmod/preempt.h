/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Slices and kicks for workers that run.
 */
#ifndef _KAUS_PREEMPT_H
#define _KAUS_PREEMPT_H

struct kaus_group;
struct kaus_kick;
struct kaus_regs;
struct kaus_m;

int kaus_preempt_init(void);
void kaus_preempt_exit(void);
void kaus_preempt_sched_in(struct kaus_m *m, int cpu);
void kaus_preempt_clear(struct kaus_m *m);
void kaus_preempt_poke(struct kaus_m *m);
int kaus_preempt_kick(struct kaus_group *g, struct kaus_kick *kick);
int kaus_preempt_regs(struct kaus_group *g, struct kaus_regs *regs);

#endif /* _KAUS_PREEMPT_H */
