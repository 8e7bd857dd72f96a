/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* For programs that begin as a goroutine: -lkausmain -lkaus. */
#ifndef KAUS_MAIN_H
#define KAUS_MAIN_H

#ifdef __cplusplus
extern "C" {
#endif

/**
 * kaus_main() - What the program has instead of main().
 * @argc: As main() has it.
 * @argv: As main() has it.
 * @envp: As main() may have it.
 *
 * libkausmain's main() calls it as goroutine 1, with the settings of the
 * environment (kaus(7)). If the runtime cannot start the exit status is 1.
 *
 * Context: G.
 * Return: The exit status of the program.
 */
int kaus_main(int argc, char **argv, char **envp);

#ifdef __cplusplus
}
#endif

#endif /* KAUS_MAIN_H */
