/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Parking, waking and the pools.
 */
#ifndef _KAUS_PARK_H
#define _KAUS_PARK_H

#include <linux/types.h>

struct kaus_group;
struct kaus_handoff;
struct kaus_m;
struct kaus_p;
struct kaus_park;
struct kaus_wake;
struct task_struct;

void kaus_park_group_init(struct kaus_group *g);
void kaus_park_group_fini(struct kaus_group *g);
void kaus_park_init(struct kaus_m *m);
void kaus_park_forget_locked(struct kaus_m *m);
void kaus_park_end(struct kaus_m *m);
int kaus_park_sleep(struct kaus_group *g, struct kaus_park *park);
int kaus_park_wake(struct kaus_group *g, const struct kaus_wake *wake);
int kaus_park_handoff(struct kaus_group *g, struct kaus_handoff *handoff);
struct task_struct *kaus_park_serve_locked(struct kaus_group *g);
void kaus_park_give(struct kaus_p *p, u64 word);
void kaus_park_unfetch(struct kaus_group *g, u32 worker, u32 proc);

#endif /* _KAUS_PARK_H */
