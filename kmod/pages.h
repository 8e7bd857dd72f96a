/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asking runtimes for pages when the kernel reclaims memory.
 */
#ifndef _KAUS_PAGES_H
#define _KAUS_PAGES_H

struct kaus_group;

int kaus_pages_init(void);
void kaus_pages_exit(void);
void kaus_pages_add(struct kaus_group *g);
void kaus_pages_del(struct kaus_group *g);

#endif /* _KAUS_PAGES_H */
