/* SPDX-License-Identifier: BSD-3-Clause */
/* All public headers, as an application in C++ sees them. */
#include <virtlane/device.h>
#include <virtlane/driver.h>
#include <virtlane/features.h>
#include <virtlane/frame.h>
#include <virtlane/mbuf.h>
