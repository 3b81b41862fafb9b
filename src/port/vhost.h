/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of a vhost port, shared by its files. */
#pragma once

#include <time.h>

#include "port/port.h"
#include "virtlane/device.h"

struct event;

struct port_vhost {
	struct port port;
	struct vl_device *device;
	int listen_fd; /* -1: the port connects */
	struct event *accept_event, *session_event, *control_event, *attention_event;
	bool expects; /* a process before us had a session */
	void *record; /* of the device, kept in a file named as the port; NULL: none */
	struct event *connect_again; /* timer of a port that connects */
	unsigned connect_pause_ms;   /* before the next try */
	time_t session_begin;	     /* second, of the monotonic clock */
	struct event *control_again; /* timer: there are more commands than one turn serves */
	char peer[64];
	bool failed; /* the last session ended because the peer broke the rules */
	char last_error[ERROR_SIZE];
	bool broken_logged;
};

static inline struct port_vhost *vhost_of(struct port *port)
{
	return (struct port_vhost *)port;
}

static inline const struct port_vhost *vhost_of_const(const struct port *port)
{
	return (const struct port_vhost *)port;
}

/* ---- vhost.c ---- */

/* The event of a session that has begun: not watched yet. NULL: no memory. */
struct event *vhost_session_event(struct port_vhost *vhost, int socket);
/* Of a port that connects and has no session: try again soon. */
void vhost_look_for_peer(struct port_vhost *vhost);

/* ---- vhost_status.c ---- */

/* The first queue that the data path has stopped; false if there is none. */
bool vhost_broken_queue(const struct port_vhost *vhost, unsigned *index, const char **why);
/* See port_ops. */
void vhost_status(const struct port *port, struct port_status *out);

/* ---- vhost_handover.c: see port_ops ---- */

int vhost_save(struct port *port, json_t *state, struct handover *handover, struct error *error);
void vhost_go_on(struct port *port);
int vhost_snapshot(
	struct port *port, json_t *state, struct handover *handover, struct error *error
);
/* Make of a port whose device was created, and was never attached, what was saved. */
int vhost_load(struct port_vhost *vhost, struct port_legacy *legacy, struct error *error);
