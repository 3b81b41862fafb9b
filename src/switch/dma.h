/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A DMA engine (DPDK's rte_dmadev) that copies large pieces for one worker, while that copies small
 * ones itself. All is copied when a burst ends, so nothing is shown to a driver too early, and
 * frames keep their order. A piece that the engine has no room for, or fails to copy, the worker
 * copies.
 */
#pragma once

#include "base/error.h"
#include "virtlane/device.h"

struct dma;

/* Open a device by its name in DPDK; one that begins with "dma_" (dma_skeleton) is made first. It
 * has to take our addresses as they are (RTE_DMA_CAPA_SVA), for guests' memory is not known to
 * others. Pieces of at least `least` bytes are for it. Control thread. */
int dma_open(const char *name, uint32_t least, struct dma **out, struct error *error);
/* NULL is fine. */
void dma_close(struct dma *dma);

/* For vl_device_copy_in_by(), by one worker; NULL: none. */
struct vl_copier *dma_copier(struct dma *dma);
/* Pieces that it has copied so far. Any thread; NULL is fine. */
uint64_t dma_copies(const struct dma *dma);
