/* SPDX-License-Identifier: BSD-3-Clause */
/* Containment of peers that cut their memory short, see sigbus.h. */
#include "base/sigbus.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/log.h"

enum {
	MAPPINGS_MAX = 16384,
};

/* `start` is stored last and cleared first: the handler believes an entry that has one. */
struct mapping {
	_Atomic uintptr_t start;
	_Atomic size_t size;
	void *owner; /* control's */
	atomic_bool lost;
};

static struct mapping mappings[MAPPINGS_MAX];
static atomic_uint used; /* entries from here on were never used */
static atomic_bool any_lost;

static struct mapping *find(uintptr_t address)
{
	unsigned count = atomic_load(&used);

	for (unsigned i = 0; i < count; i++) {
		uintptr_t start = atomic_load(&mappings[i].start);

		if (start != 0 && address - start < atomic_load(&mappings[i].size))
			return &mappings[i];
	}
	return NULL;
}

static bool replace(struct mapping *mapping)
{
	return mmap((void *)atomic_load(&mapping->start),
		    atomic_load(&mapping->size),
		    PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
		    -1,
		    0)
	       != MAP_FAILED;
}

/* Only mmap() and atomics: both are safe in a handler. */
static void on_sigbus(int number, siginfo_t *info, void *)
{
	struct mapping *mapping = find((uintptr_t)info->si_addr);

	if (mapping != NULL && replace(mapping)) {
		atomic_store(&mapping->lost, true);
		atomic_store(&any_lost, true);
		return;
	}
	signal(number, SIG_DFL);
	raise(number);
}

void sigbus_install(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}

void sigbus_watch(void *start, size_t size, void *owner)
{
	unsigned i = 0;

	while (i < MAPPINGS_MAX && atomic_load(&mappings[i].start) != 0)
		i++;
	if (i == MAPPINGS_MAX) {
		log_warning(LOG_PORT, "too many memory regions to guard all of them");
		return;
	}
	mappings[i].owner = owner;
	atomic_store(&mappings[i].lost, false);
	atomic_store(&mappings[i].size, size);
	atomic_store(&mappings[i].start, (uintptr_t)start);
	if (i >= atomic_load(&used))
		atomic_store(&used, i + 1);
}

void sigbus_unwatch(void *start)
{
	struct mapping *mapping = find((uintptr_t)start);

	if (mapping == NULL)
		return;
	atomic_store(&mapping->start, 0);
	atomic_store(&mapping->lost, false);
}

void *sigbus_next(void)
{
	if (!atomic_exchange(&any_lost, false))
		return NULL;
	for (unsigned i = 0; i < atomic_load(&used); i++) {
		if (!atomic_exchange(&mappings[i].lost, false))
			continue;
		atomic_store(&any_lost, true); /* there may be another */
		return mappings[i].owner;
	}
	return NULL;
}
