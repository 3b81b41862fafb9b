/* SPDX-License-Identifier: BSD-3-Clause */
/* Containment of peers that cut their memory short, see sigbus.h. */
#include "base/sigbus.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

enum {
	FAULTS_MAX = 64, /* noted at a time; a fault that finds no place is patched all the same */
};

static _Atomic(void *) faults[FAULTS_MAX];

static void note(void *address)
{
	for (unsigned i = 0; i < FAULTS_MAX; i++) {
		void *empty = NULL;

		if (atomic_compare_exchange_strong(&faults[i], &empty, address))
			return;
	}
}

/* mmap() over a mapping of huge pages must cover whole ones: try the sizes there are. */
static int patch(void *address)
{
	static const uintptr_t page_sizes[] = {4096, 2 << 20, 1 << 30};

	for (unsigned i = 0; i < sizeof(page_sizes) / sizeof(page_sizes[0]); i++) {
		uintptr_t start = (uintptr_t)address & ~(page_sizes[i] - 1);
		void *page =
			mmap((void *)start,
			     page_sizes[i],
			     PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
			     -1,
			     0);

		if (page != MAP_FAILED)
			return 0;
	}
	return -1;
}

/* Only mmap() and atomics: both are safe in a handler. */
static void on_sigbus(int number, siginfo_t *info, void *)
{
	/* A page that its file no longer has; anything else is an error of our own. */
	if (info->si_code == BUS_ADRERR && patch(info->si_addr) == 0) {
		note(info->si_addr);
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

void *sigbus_next(void)
{
	for (unsigned i = 0; i < FAULTS_MAX; i++) {
		void *address = atomic_exchange(&faults[i], NULL);

		if (address != NULL)
			return address;
	}
	return NULL;
}
