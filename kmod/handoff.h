/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The P of a worker that falls asleep.
 */
#ifndef _KAUS_HANDOFF_H
#define _KAUS_HANDOFF_H

struct kaus_m;
struct kaus_p;

void kaus_handoff_init(struct kaus_p *p);
void kaus_handoff_fini(struct kaus_p *p);
void kaus_handoff_sleep(struct kaus_m *m);
void kaus_handoff_wake(struct kaus_m *m);
void kaus_handoff_look(struct kaus_p *p);
void kaus_handoff_orphan(struct kaus_p *p, u64 word);
bool kaus_handoff_is_due(struct kaus_p *p, u64 *word, u64 *again_ns);

#endif /* _KAUS_HANDOFF_H */
