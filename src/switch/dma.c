/* SPDX-License-Identifier: BSD-3-Clause */
/* See dma.h. */

/* DPDK 22.11 calls rte_dmadev experimental; it has stayed as it was, and is stable in newer ones.
 */
#define ALLOW_EXPERIMENTAL_API
#include "switch/dma.h"

#include <errno.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_dmadev.h>
#include <rte_pause.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "port/eal.h"
#include "switch/tsc.h"

enum {
	JOBS_MAX = 256, /* of a burst */
	PATIENCE_MILLISECONDS = 100,
	DESPAIR_SECONDS = 10,
};

/* What was begun and is not known to be done. */
struct job {
	void *to;
	const void *from;
	uint32_t size;
};

struct dma {
	struct vl_copier copier;
	int16_t device;
	bool failed; /* the device was silent for long: it gets nothing more */
	unsigned count;
	struct job jobs[JOBS_MAX];
	_Atomic uint64_t copies;
};

static bool start_copy(struct vl_copier *copier, void *to, const void *from, uint32_t size)
{
	struct dma *dma = (struct dma *)copier;

	if (dma->failed || dma->count == JOBS_MAX
	    || rte_dma_copy(
		       dma->device,
		       0,
		       (rte_iova_t)(uintptr_t)from,
		       (rte_iova_t)(uintptr_t)to,
		       size,
		       RTE_DMA_OP_FLAG_SUBMIT
	       ) < 0)
		return false;
	dma->jobs[dma->count++] = (struct job){to, from, size};
	return true;
}

static void copy_jobs(const struct dma *dma, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		memcpy(dma->jobs[i].to, dma->jobs[i].from, dma->jobs[i].size);
}

/* The job that an error was reported of, and perhaps more: how many. */
static unsigned settle_failed(const struct dma *dma, unsigned done)
{
	enum rte_dma_status_code status = RTE_DMA_STATUS_SUCCESSFUL;
	unsigned n = rte_dma_completed_status(dma->device, 0, 1, NULL, &status);

	if (n > 0 && status != RTE_DMA_STATUS_SUCCESSFUL)
		copy_jobs(dma, done, done + n);
	return n;
}

/*
 * The device has not answered for so many cycles. What it was told to copy it may still copy, at
 * any time, and not every driver can make it stop: so buffers must not go back before it has
 * answered. If it never does there is no safe way on, and a new process (which gets new memory) is
 * better than one that stands still.
 */
static void bear_silence(struct dma *dma, uint64_t cycles)
{
	if (!dma->failed && cycles > tsc_hz() / 1000 * PATIENCE_MILLISECONDS) {
		dma->failed = true;
		log_error(
			LOG_SWITCH,
			"a DMA device does not answer; it gets nothing more, and frames wait for it"
		);
	}
	if (cycles > tsc_hz() * DESPAIR_SECONDS) {
		log_error(
			LOG_SWITCH,
			"a DMA device has not answered for %d seconds and may still write into "
			"memory of others: giving up",
			DESPAIR_SECONDS
		);
		abort();
	}
}

static void finish_copies(struct vl_copier *copier)
{
	struct dma *dma = (struct dma *)copier;
	uint64_t since = rte_rdtsc();
	unsigned done = 0;

	while (done < dma->count) {
		bool error = false;
		unsigned n = rte_dma_completed(
			dma->device, 0, (uint16_t)(dma->count - done), NULL, &error
		);

		if (error)
			n += settle_failed(dma, done + n);
		done += n;
		if (n > 0)
			since = rte_rdtsc();
		else
			bear_silence(dma, rte_rdtsc() - since);
		rte_pause();
	}
	uint64_t copies = atomic_load_explicit(&dma->copies, memory_order_relaxed);
	atomic_store_explicit(&dma->copies, copies + dma->count, memory_order_relaxed);
	dma->count = 0;
}

/* The device of that name; made if it is software. */
static int find_device(const char *name, struct error *error)
{
	int device = rte_dma_get_dev_id_by_name(name);

	if (device >= 0)
		return device;
	if (strncmp(name, "dma_", 4) == 0 && rte_eal_hotplug_add("vdev", name, "") == 0)
		device = rte_dma_get_dev_id_by_name(name);
	if (device < 0)
		return error_set(error, -ENODEV, "dma: there is no DMA device %s", name);
	return device;
}

static int start_device(int16_t device, const char *name, struct error *error)
{
	const struct rte_dma_conf conf = {.nb_vchans = 1};
	struct rte_dma_vchan_conf channel = {.direction = RTE_DMA_DIR_MEM_TO_MEM};
	const uint64_t needed = RTE_DMA_CAPA_MEM_TO_MEM | RTE_DMA_CAPA_OPS_COPY | RTE_DMA_CAPA_SVA;
	struct rte_dma_info info;

	if (rte_dma_info_get(device, &info) < 0 || (info.dev_capa & needed) != needed)
		return error_set(
			error,
			-ENOTSUP,
			"dma: device %s cannot copy from memory to memory by the addresses of a "
			"process",
			name
		);
	channel.nb_desc = JOBS_MAX < info.min_desc ? info.min_desc : JOBS_MAX;
	if (channel.nb_desc > info.max_desc)
		channel.nb_desc = info.max_desc;
	int result = rte_dma_configure(device, &conf);
	if (result == 0)
		result = rte_dma_vchan_setup(device, 0, &channel);
	if (result == 0)
		result = rte_dma_start(device);
	if (result < 0)
		return error_set(
			error, result, "dma: device %s does not start: %s", name, strerror(-result)
		);
	return 0;
}

int dma_open(const char *name, uint32_t least, struct dma **out, struct error *error)
{
	int device = eal_start(error);

	if (device == 0)
		device = find_device(name, error);
	if (device < 0)
		return device;
	int result = start_device((int16_t)device, name, error);
	if (result < 0)
		return result;
	struct dma *dma = calloc(1, sizeof(*dma));
	if (dma == NULL) {
		(void)rte_dma_stop((int16_t)device);
		return error_set(error, -ENOMEM, "out of memory");
	}
	dma->copier = (struct vl_copier){least, start_copy, finish_copies};
	dma->device = (int16_t)device;
	*out = dma;
	return 0;
}

void dma_close(struct dma *dma)
{
	if (dma == NULL)
		return;
	(void)rte_dma_stop(dma->device);
	(void)rte_dma_close(dma->device);
	free(dma);
}

struct vl_copier *dma_copier(struct dma *dma)
{
	return dma == NULL ? NULL : &dma->copier;
}

uint64_t dma_copies(const struct dma *dma)
{
	if (dma == NULL)
		return 0;
	return atomic_load_explicit(&((struct dma *)dma)->copies, memory_order_relaxed);
}
