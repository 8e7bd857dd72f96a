/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* kr_throw(): here and not in base/ because it writes. */
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "os/os.h"

void kr_throw(const char *msg)
{
	static const char head[] = "kaus: fatal: ";

	kr_file_write_all(2, head, sizeof(head) - 1);
	kr_file_write_all(2, msg, strlen(msg));
	kr_file_write_all(2, "\n", 1);
	abort();
}
