/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters for the administrator.
 */
#ifndef _KAUS_DEBUGFS_H
#define _KAUS_DEBUGFS_H

struct kaus_group;

void kaus_debugfs_init(void);
void kaus_debugfs_exit(void);
void kaus_debugfs_add(struct kaus_group *g);
void kaus_debugfs_del(struct kaus_group *g);

#endif /* _KAUS_DEBUGFS_H */
