/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/kaus.
 */
#ifndef _KAUS_DEV_H
#define _KAUS_DEV_H

int kaus_dev_add(void);
void kaus_dev_remove(void);

#endif /* _KAUS_DEV_H */
