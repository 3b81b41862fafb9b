/* SPDX-License-Identifier: BSD-3-Clause */
/* DPDK's environment, started from inside with defaults that work on any machine. */
#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "port/eal.h"

enum {
	HEAP_MEGABYTES = 1024, /* address space, which becomes memory as it is used */
};

static atomic_bool started;
/* The control thread's. EAL keeps what it has begun, so that another try says nothing. */
static int failed;
static struct error failure;

bool eal_runs(void)
{
	/* acquire: all of it */
	return atomic_load_explicit(&started, memory_order_acquire);
}

int eal_start(struct error *error)
{
	char lcores[64], heap[32];
	/* One "lcore", on no CPU in particular: EAL would otherwise pin the control thread. */
	const long cpus = sysconf(_SC_NPROCESSORS_CONF);

	if (eal_runs())
		return 0;
	if (failed != 0) {
		*error = failure;
		return failed;
	}
	(void)snprintf(lcores, sizeof(lcores), "0@(0-%ld)", cpus - 1);
	if (cpus == 1)
		(void)snprintf(lcores, sizeof(lcores), "0@0");
	(void)snprintf(heap, sizeof(heap), "%d", HEAP_MEGABYTES);
	const char *arguments[] = {
		"virtlaned",
		"--no-huge",
		"--no-shconf",
		"--no-telemetry",
		/* NICs are probed when ports name them: of those on the bus now only one that is
		 * none of them. */
		"--allow=0000:00:00.0",
		/* Memory without huge pages has no other addresses to give to a device (an IOMMU
		 * translates); by itself EAL would look at the bus, and cut pools up by page. */
		"--iova-mode=va",
		"--log-level=error",
		"--lcores",
		lcores,
		"-m",
		heap,
		NULL,
	};
	/* EAL writes to its arguments and keeps pointers to them. */
	static char kept[sizeof(arguments) / sizeof(arguments[0])][64];
	static char *argv[sizeof(arguments) / sizeof(arguments[0])];
	int argc = 0;

	for (; arguments[argc] != NULL; argc++) {
		(void)snprintf(kept[argc], sizeof(kept[argc]), "%s", arguments[argc]);
		argv[argc] = kept[argc];
	}
	/* It would give this thread, and what that starts, all CPUs. */
	cpu_set_t before;
	bool known = sched_getaffinity(0, sizeof(before), &before) == 0;
	rte_errno = 0;
	int result = rte_eal_init(argc, argv);
	int why = rte_errno != 0 ? rte_errno : EIO;
	if (known)
		(void)sched_setaffinity(0, sizeof(before), &before);
	if (result < 0) {
		failed = error_set(
			&failure,
			-why,
			"cannot start DPDK, which can be tried once: %s",
			rte_strerror(why)
		);
		*error = failure;
		return failed;
	}
	atomic_store_explicit(&started, true, memory_order_release);
	return 0;
}
