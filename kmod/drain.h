/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All groups, and their end at the administrator's wish.
 */
#ifndef _KAUS_DRAIN_H
#define _KAUS_DRAIN_H

struct kaus_group;

int kaus_drain_init(void);
void kaus_drain_exit(void);
int kaus_drain_add(struct kaus_group *g);
void kaus_drain_remove(struct kaus_group *g);

#endif /* _KAUS_DRAIN_H */
