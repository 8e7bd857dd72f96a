/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/kaus.
 */
#ifndef _KAUS_DEV_H
#define _KAUS_DEV_H

int kaus_dev_init(void);
void kaus_dev_exit(void);

#endif /* _KAUS_DEV_H */
