/* SPDX-License-Identifier: BSD-3-Clause */
/* Signalling the other side of a virtqueue. */
#pragma once

/* Signal an eventfd that is shared with a peer, without waiting, whatever the peer does with it; or
 * a pipe that we have opened ourselves, non-blocking. */
void vhost_signal(int fd);
/* Take now what the first call takes, and the process keeps: a descriptor. */
void vhost_signal_prepare(void);
