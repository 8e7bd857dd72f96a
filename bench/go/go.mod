// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
module gobench

go 1.19
