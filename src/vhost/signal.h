/* SPDX-License-Identifier: BSD-3-Clause */
/* Signalling the other side of a virtqueue. */
#pragma once

#include <stdbool.h>

/* Signal an eventfd that is shared with a peer, without waiting, whatever the peer does with it; or
 * a pipe that we have opened ourselves, non-blocking. */
void vhost_signal(int fd);
/* Make what was signalled quiet again, without waiting, of a socket as well; whether it was. An
 * eventfd's O_NONBLOCK is shared with the peer, who may clear it, so that this read alone is asked
 * not to wait. */
bool vhost_quiet(int fd);
/* Take now what the first call takes, and the process keeps: a descriptor. */
void vhost_signal_prepare(void);
