/* SPDX-License-Identifier: BSD-3-Clause */
/* What is left with the service manager, see fd_store.h. */
#include "control/fd_store.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/document.h"
#include "control/notify.h"
#include "control/text.h"
#include "port/port.h"
#include "switch/switch.h"

enum {
	/* All names are one string of the environment, of 128 KiB at most (MAX_ARG_STRLEN). */
	LEFT_MAX = 3500,
	LEFT_OTHERS = 3,       /* beside those of ports: header, and two documents */
	FIRST_FD = 3,	       /* sd_listen_fds(3) */
	NAME_SIZE = 64,	       /* systemd takes 255 */
	PAUSE_MIN_MS = 50,     /* between two documents; more, if they take long to write */
	PAUSE_COST = 10,       /* times what the last one took */
	FIRST_PAUSE_MS = 1000, /* also for the service manager to know who the main process is */
	REFRESH_MIN_MS = 1000, /* addresses and counters */
	REFRESH_COST = 100,    /* as PAUSE_COST */
	RETRY_MS = 5000,       /* if the service manager does not read */
};
#define HEADER_MAGIC UINT64_C(0x31726f7473667664)

struct header {
	uint64_t magic;
	_Atomic uint64_t current;	     /* serial of the document that counts; 0: none does */
	atomic_bool changing[PORTS_MAX + 1]; /* [PORT_NONE]: which ports there are */
};

/* A descriptor's name is its port, a number for all that were left together, and its place. */
struct left_port {
	uint32_t generation; /* 0: nothing is left of it */
	uint32_t count;	     /* descriptors */
};

struct fd_store {
	struct event_base *base;
	struct switch_state **sw;
	struct event *timer;
	bool begun;
	uint32_t room; /* descriptors that may be left of ports */
	uint32_t used;
	int header_fd;
	struct header *header; /* NULL: none was left yet */
	uint64_t serial;       /* of the last document */
	char *text;	       /* that it is; NULL: none was left yet */
	int64_t began_ns, took_ns;
	uint32_t generation; /* the last one given */
	struct left_port ports[PORTS_MAX];
	/* What another process has left. */
	char *inherited_names; /* with colons; NULL: none */
	int inherited_count;
};

struct fd_store *fd_store_new(struct event_base *base, struct switch_state **sw)
{
	struct fd_store *store = calloc(1, sizeof(*store));

	if (store == NULL)
		abort();
	store->base = base;
	store->sw = sw;
	store->header_fd = -1;
	return store;
}

void fd_store_free(struct fd_store *store)
{
	if (store == NULL)
		return;
	if (store->begun && *store->sw != NULL)
		switch_watch_changes(*store->sw, NULL, NULL, NULL);
	if (store->timer != NULL)
		event_free(store->timer);
	if (store->header != NULL)
		munmap(store->header, sizeof(*store->header));
	if (store->header_fd >= 0)
		close(store->header_fd);
	free(store->inherited_names);
	free(store->text);
	free(store);
}

/* ---- names ---- */

/* Of this process, or of one before it. */
static void header_name(char name[NAME_SIZE], int pid)
{
	(void)snprintf(name, NAME_SIZE, "vl-%d-header", pid);
}

static void document_name(char name[NAME_SIZE], int pid, uint64_t serial)
{
	(void)snprintf(name, NAME_SIZE, "vl-%d-document-%llu", pid, (unsigned long long)serial);
}

static void
port_name(char name[NAME_SIZE], int pid, unsigned id, uint32_t generation, uint32_t place)
{
	(void)snprintf(name, NAME_SIZE, "vl-%d-%u-%u-%u", pid, id, generation, place);
}

static bool leave(const char *name, int fd)
{
	char state[NAME_SIZE + 32];

	/* Whoever polls what comes from tenants does as they like. */
	(void)snprintf(state, sizeof(state), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	return notify_send_fd(state, fd);
}

/* False: it is still there, and is to be taken back another time. */
static bool take_back(const char *name)
{
	char state[NAME_SIZE + 32];

	(void)snprintf(state, sizeof(state), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	return notify_send_fd(state, -1);
}

/* ---- leaving ---- */

static bool leave_header(struct fd_store *store)
{
	char name[NAME_SIZE];

	if (store->header != NULL)
		return true;
	if (store->header_fd < 0)
		store->header_fd = memfd_create("virtlane-header", MFD_CLOEXEC);
	if (store->header_fd < 0 || ftruncate(store->header_fd, sizeof(*store->header)) < 0)
		return false;
	header_name(name, getpid());
	if (!leave(name, store->header_fd))
		return false;
	struct header *header =
		mmap(NULL, sizeof(*header), PROT_READ | PROT_WRITE, MAP_SHARED, store->header_fd, 0
		);
	if (header == MAP_FAILED)
		return false;
	header->magic = HEADER_MAGIC;
	store->header = header;
	return true;
}

static bool take_port_back(struct fd_store *store, unsigned id)
{
	struct left_port *left = &store->ports[id];
	char name[NAME_SIZE];

	for (; left->count > 0; left->count--, store->used--) {
		port_name(name, getpid(), id, left->generation, left->count - 1);
		if (!take_back(name))
			return false;
	}
	left->generation = 0;
	return true;
}

/*
 * The service manager keeps an open file once, under the name it came with first. Memory that
 * several ports share is opened anew for each; what else is shared is missed by the second of them
 * later, which begins afresh then.
 */
static int open_anew(int fd)
{
	struct stat status;
	char path[32];

	/* Not with more rights than it came with; and nobody's lease is waited for. */
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)
	    || (fcntl(fd, F_GETFL) & (O_ACCMODE | O_PATH)) != O_RDWR)
		return -1;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
}

static bool leave_port_fd(const char *name, int fd)
{
	int anew = open_anew(fd);
	bool left = leave(name, anew >= 0 ? anew : fd);

	if (anew >= 0)
		close(anew);
	return left;
}

/* The descriptors of a port that was changing; those of others are there already. */
static bool leave_port(struct fd_store *store, const struct handover *document, json_t *saved)
{
	unsigned id = (unsigned)json_integer_value(json_object_get(saved, "id"));
	size_t first = (size_t)json_integer_value(json_object_get(saved, "first_fd"));
	size_t count = (size_t)json_integer_value(json_object_get(saved, "fd_count"));
	struct left_port *left = &store->ports[id];
	char name[NAME_SIZE];

	if (json_object_get(saved, "state") == NULL)
		return take_port_back(store, id);
	if (left->generation == 0 || atomic_load(&store->header->changing[id])) {
		if (!take_port_back(store, id))
			return false;
		/* Without room for all of them it begins afresh one day. */
		if (count > store->room - store->used) {
			json_object_del(saved, "state");
			return true;
		}
		left->generation = ++store->generation;
		for (size_t i = 0; i < count; i++) {
			port_name(name, getpid(), id, left->generation, (uint32_t)i);
			if (!leave_port_fd(name, document->fds[first + i])) {
				atomic_store(&store->header->changing[id], true);
				return false;
			}
			left->count++;
			store->used++;
		}
	}
	json_object_set_new(saved, "generation", json_integer(left->generation));
	return true;
}

static bool leave_document(struct fd_store *store, struct handover *document)
{
	uint64_t before = store->serial;
	char name[NAME_SIZE];
	char *text = handover_text(document);

	if (text != NULL && store->text != NULL && strcmp(text, store->text) == 0) {
		free(text);
		return true;
	}
	int file = handover_write_text(text);
	document_name(name, getpid(), before + 1);
	bool left = file >= 0 && leave(name, file);
	if (file >= 0)
		close(file);
	if (!left) {
		free(text);
		return false;
	}
	free(store->text);
	store->text = text;
	store->serial = before + 1;
	atomic_store(&store->header->current, store->serial);
	document_name(name, getpid(), before);
	if (before != 0)
		(void)take_back(name);
	return true;
}

/* Of ports that are no more, when they could not be taken back as they went. */
static bool take_others_back(struct fd_store *store, const json_t *ports)
{
	bool there[PORTS_MAX] = {0};
	json_t *saved;
	size_t i;

	json_array_foreach(ports, i, saved)
		there[json_integer_value(json_object_get(saved, "id"))] = true;
	for (unsigned id = 0; id < PORTS_MAX; id++) {
		if (store->ports[id].generation != 0 && !there[id] && !take_port_back(store, id))
			return false;
	}
	return true;
}

/* In this order: until the new document counts, the old one does, but for ports that are changing.
 */
static bool leave_state(struct fd_store *store)
{
	struct handover document;
	json_t *saved;
	size_t i;
	bool left = leave_header(store);

	if (!left)
		return false;
	document_begin(&document);
	document_put_settings(&document, *store->sw);
	switch_save_macs(*store->sw, &document);
	switch_snapshot(*store->sw, &document);
	json_t *ports = json_object_get(document.root, "ports");
	/* First: the number of a port that is no more may be another's by now. */
	left = take_others_back(store, ports);
	json_array_foreach(ports, i, saved) left = left && leave_port(store, &document, saved);
	left = left && leave_document(store, &document);
	if (left) {
		for (unsigned id = 0; id <= PORTS_MAX; id++)
			atomic_store(&store->header->changing[id], false);
	}
	handover_fini(&document);
	return left;
}

static void look_after(struct fd_store *store, int64_t ms)
{
	struct timeval pause = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	event_add(store->timer, &pause);
}

static void on_timer(evutil_socket_t, short, void *context)
{
	struct fd_store *store = context;

	store->began_ns = clock_now_ns();
	bool left = leave_state(store);
	store->took_ns = clock_now_ns() - store->began_ns;
	int64_t pause = REFRESH_COST * store->took_ns / 1000000;
	if (pause < REFRESH_MIN_MS)
		pause = REFRESH_MIN_MS;
	look_after(store, left ? pause : RETRY_MS);
}

/* At once, if it is not too soon after the last time. */
static void on_changing(void *context, unsigned port_id)
{
	struct fd_store *store = context;

	if (store->header == NULL || atomic_exchange(&store->header->changing[port_id], true))
		return;
	int64_t pause = PAUSE_COST * store->took_ns;
	if (pause < (int64_t)PAUSE_MIN_MS * 1000000)
		pause = (int64_t)PAUSE_MIN_MS * 1000000;
	int64_t left = store->began_ns + pause - clock_now_ns();
	look_after(store, left > 0 ? left / 1000000 + 1 : 0);
}

/* Nobody else may hold what is its own when it is gone: an interface would stay, and a socket
 * listen. */
static void on_leaving(void *context, unsigned port_id)
{
	struct fd_store *store = context;

	if (store->ports[port_id].generation != 0 && take_port_back(store, port_id))
		notify_barrier();
}

void fd_store_begin(struct fd_store *store)
{
	const char *room = getenv("FDSTORE");

	/* Set by systemd since version 254; one that keeps nothing complains of each. */
	if (getenv("NOTIFY_SOCKET") == NULL || room == NULL || atoi(room) <= LEFT_OTHERS)
		return;
	store->room = (uint32_t)atoi(room) - LEFT_OTHERS;
	if (store->room > LEFT_MAX)
		store->room = LEFT_MAX;
	if (store->timer == NULL)
		store->timer = evtimer_new(store->base, on_timer, store);
	if (store->timer == NULL)
		abort();
	store->begun = true;
	switch_watch_changes(*store->sw, on_changing, on_leaving, store);
	look_after(store, FIRST_PAUSE_MS);
}

void fd_store_clear(struct fd_store *store)
{
	char name[NAME_SIZE];
	bool gone = true;

	if (!store->begun)
		return;
	store->begun = false;
	event_del(store->timer);
	switch_watch_changes(*store->sw, NULL, NULL, NULL);
	if (store->header == NULL)
		return;
	/* Before anything else: it does not count, whatever becomes of us now. */
	atomic_store(&store->header->current, 0);
	free(store->text);
	store->text = NULL;
	for (unsigned id = 0; gone && id < PORTS_MAX; id++)
		gone = take_port_back(store, id);
	document_name(name, getpid(), store->serial);
	if (gone && store->serial != 0)
		gone = take_back(name);
	header_name(name, getpid());
	/* Of what is left in part nothing counts, should it go on after all. */
	for (unsigned id = 0; id <= PORTS_MAX; id++)
		atomic_store(&store->header->changing[id], true);
	if (gone && take_back(name)) {
		munmap(store->header, sizeof(*store->header));
		store->header = NULL;
	}
	notify_barrier();
}

/* ---- recovering ---- */

static int find_fd(const struct fd_store *store, const char *name)
{
	size_t size = strlen(name);
	int fd = FIRST_FD;

	for (const char *at = store->inherited_names; at != NULL; fd++) {
		const char *end = strchrnul(at, ':');

		if ((size_t)(end - at) == size && memcmp(at, name, size) == 0)
			return fd - FIRST_FD < store->inherited_count ? fd : -1;
		at = *end == '\0' ? NULL : end + 1;
	}
	return -1;
}

/* What came by sd_listen_fds(3). */
static void find_inherited(struct fd_store *store)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");

	if (pid != NULL && count != NULL && names != NULL && atoi(pid) == getpid()) {
		store->inherited_names = text_format("%s", names);
		store->inherited_count = 1;
		for (const char *at = names; (at = strchr(at, ':')) != NULL; at++)
			store->inherited_count++;
		if (atoi(count) < store->inherited_count)
			store->inherited_count = atoi(count);
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	for (int i = 0; i < store->inherited_count; i++)
		(void)fcntl(FIRST_FD + i, F_SETFD, FD_CLOEXEC);
}

/* Those of one port, in their places; if one is missing, what it says may not be so. */
static void recover_port(
	const struct fd_store *store,
	struct handover *document,
	json_t *saved,
	int pid,
	const struct header *header
)
{
	json_int_t id = json_integer_value(json_object_get(saved, "id"));
	uint32_t generation = (uint32_t)json_integer_value(json_object_get(saved, "generation"));
	json_int_t count = json_integer_value(json_object_get(saved, "fd_count"));
	bool whole = id >= 0 && id < PORTS_MAX && !atomic_load(&header->changing[id]);
	char name[NAME_SIZE];

	for (json_int_t i = 0; i < count; i++) {
		port_name(name, pid, (unsigned)id, generation, (uint32_t)i);
		int fd = find_fd(store, name);

		whole = whole && fd >= 0;
		handover_add_fd(document, fd);
	}
	json_object_set_new(saved, "stale", json_boolean(!whole));
}

static bool
recover_from(struct fd_store *store, struct handover *document, int pid, struct header *header)
{
	/* It counts once. */
	uint64_t serial = atomic_exchange(&header->current, 0);
	struct error error;
	char name[NAME_SIZE];
	json_t *saved;
	size_t i;

	document_name(name, pid, serial);
	int file = find_fd(store, name);
	if (header->magic != HEADER_MAGIC || serial == 0 || file < 0
	    || atomic_load(&header->changing[PORT_NONE]) || !handover_read(document, file))
		return false;
	if (document_check(document, &error) < 0) {
		log_warning(LOG_CONTROL, "what virtlaned %d has left: %s", pid, error.text);
		return false;
	}
	json_array_foreach(json_object_get(document->root, "ports"), i, saved)
		recover_port(store, document, saved, pid, header);
	return true;
}

/* What came is in our hands, and counts once. Among what is not used may be sockets that listen
 * where we are about to; and what we leave would be taken for what is there already. */
static void take_inherited_back(struct fd_store *store)
{
	char *rest = store->inherited_names, *name;

	if (rest == NULL)
		return;
	while ((name = strsep(&rest, ":")) != NULL && take_back(name))
		continue;
	free(store->inherited_names);
	store->inherited_names = NULL;
	notify_barrier();
}

/* NULL: it is none. */
static struct header *map_header(int fd)
{
	struct stat status;
	struct header *header = MAP_FAILED;

	if (fstat(fd, &status) == 0 && (size_t)status.st_size == sizeof(*header))
		header = mmap(NULL, sizeof(*header), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return header == MAP_FAILED ? NULL : header;
}

/* The process before us, or some of those before it that could not take all back: of one a document
 * counts. */
static bool recover_any(struct fd_store *store, struct handover *document)
{
	bool recovered = false;
	char name[NAME_SIZE];
	int pid;

	for (const char *at = store->inherited_names; at != NULL && !recovered;) {
		const char *end = strchrnul(at, ':');

		if (sscanf(at, "vl-%d-", &pid) == 1) {
			header_name(name, pid);
			/* Its own name, and not another one's of the same process. */
			bool is_header = strncmp(at, name, strlen(name)) == 0;
			int fd = is_header ? find_fd(store, name) : -1;
			struct header *header = fd < 0 ? NULL : map_header(fd);

			recovered = header != NULL && recover_from(store, document, pid, header);
			if (header != NULL)
				munmap(header, sizeof(*header));
		}
		at = *end == '\0' ? NULL : end + 1;
	}
	return recovered;
}

bool fd_store_recover(struct fd_store *store, struct handover *document)
{
	find_inherited(store);
	bool recovered = recover_any(store, document);
	/* Those that are in the document are its own from now on. */
	for (int i = 0; i < store->inherited_count; i++) {
		bool used = false;

		for (size_t at = 0; at < document->fd_count; at++)
			used = used || document->fds[at] == FIRST_FD + i;
		if (!used)
			close(FIRST_FD + i);
	}
	document->owned = true;
	take_inherited_back(store);
	return recovered;
}
