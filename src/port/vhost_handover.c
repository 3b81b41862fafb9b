/* SPDX-License-Identifier: BSD-3-Clause */
/* A vhost port on its way to the process that comes after this one, see port_ops.save. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "port/vhost.h"

static int
save(struct port_vhost *vhost,
     int (*save_device)(struct vl_device *, struct vl_device_state *),
     json_t *state,
     struct handover *handover,
     struct error *error)
{
	struct vl_device_state device;
	json_t *fds = json_array();
	int result = save_device(vhost->device, &device);

	json_object_set_new(state, "listen", handover_put_fd(handover, vhost->listen_fd));
	json_object_set_new(state, "peer", json_string(vhost->peer));
	json_object_set_new(state, "failed", json_boolean(vhost->failed));
	json_object_set_new(state, "last_error", json_string(vhost->last_error));
	for (unsigned i = 0; result == 0 && i < device.fd_count; i++)
		json_array_append_new(fds, handover_put_fd(handover, device.fds[i]));
	json_object_set_new(state, "fds", fds);
	if (result == 0)
		json_object_set_new(state, "device", handover_put_bytes(device.bytes, device.size));
	vl_device_state_free(&device);
	if (result == -EBUSY)
		return error_set(
			error, result, "a guest is being migrated here; try again when it has come"
		);
	if (result < 0 && result != -ENOTCONN)
		return error_set(error, result, "cannot save the device: %s", strerror(-result));
	return 0;
}

int vhost_save(struct port *port, json_t *state, struct handover *handover, struct error *error)
{
	return save(vhost_of(port), vl_device_save, state, handover, error);
}

int vhost_snapshot(struct port *port, json_t *state, struct handover *handover, struct error *error)
{
	return save(vhost_of(port), vl_device_snapshot, state, handover, error);
}

void vhost_go_on(struct port *port)
{
	static const struct timeval at_once = {0};
	struct port_vhost *vhost = vhost_of(port);

	(void)vl_device_go_on(vhost->device);
	/* There may be more commands than the other process got round to. */
	event_add(vhost->control_again, &at_once);
	if (vhost->session_event == NULL && vhost->listen_fd < 0)
		vhost_look_for_peer(vhost);
}

static void load_text(const json_t *state, const char *key, char *text, size_t size)
{
	const char *value = json_string_value(json_object_get(state, key));

	(void)snprintf(text, size, "%s", value == NULL ? "" : value);
}

/* One whose memory cannot be mapped any more, because its peer has cut or sealed the file, loses
 * its session, and stops no upgrade. */
static bool is_peers_fault(int error)
{
	return error == -ERANGE || error == -EPERM || error == -EACCES;
}

/* The device as it was, with its session. */
static int load_session(struct port_vhost *vhost, struct port_legacy *legacy, struct error *error)
{
	const json_t *fds = json_object_get(legacy->state, "fds");
	struct vl_device_state device = {0};

	device.bytes = handover_get_bytes(json_object_get(legacy->state, "device"), &device.size);
	device.fds = calloc(json_array_size(fds) + 1, sizeof(device.fds[0]));
	if (device.bytes == NULL || device.fds == NULL) {
		vl_device_state_free(&device);
		return error_set(error, -EINVAL, "its device is missing");
	}
	for (size_t i = 0; i < json_array_size(fds); i++)
		device.fds[device.fd_count++] =
			handover_take_fd(legacy->handover, json_array_get(fds, i));
	int result = vl_device_load(vhost->device, &device);
	for (unsigned i = 0; result < 0 && i < device.fd_count; i++)
		close(device.fds[i]);
	vl_device_state_free(&device);
	if (result < 0 && is_peers_fault(result)) {
		(void)snprintf(
			vhost->last_error,
			sizeof(vhost->last_error),
			"%s",
			vl_device_reason(vhost->device)
		);
		vhost->failed = true;
		vhost->peer[0] = '\0';
		return 0;
	}
	if (result < 0)
		return error_set(error, result, "%s", vl_device_reason(vhost->device));
	vhost->session_event = vhost_session_event(vhost, vl_device_socket(vhost->device));
	if (vhost->session_event == NULL || event_add(vhost->session_event, NULL) < 0)
		return error_set(error, -ENOMEM, "out of memory");
	vhost->expects = false;
	/* Nobody looks at its queues yet, but its peer may ask where they are. */
	if (legacy->orphaned) {
		result = vl_device_go_on(vhost->device);
		if (result < 0)
			return error_set(error, result, "%s", vl_device_reason(vhost->device));
	}
	return 0;
}

int vhost_load(struct port_vhost *vhost, struct port_legacy *legacy, struct error *error)
{
	const json_t *state = legacy->state;

	load_text(state, "peer", vhost->peer, sizeof(vhost->peer));
	load_text(state, "last_error", vhost->last_error, sizeof(vhost->last_error));
	vhost->failed = json_is_true(json_object_get(state, "failed"));
	/* Of a session that may have changed since only the listening socket is taken. */
	if (legacy->stale) {
		log_info(LOG_VHOST, "%s: its session begins afresh", vhost->port.settings.name);
		vhost->peer[0] = '\0';
	} else if (json_object_get(state, "device") != NULL)
		return load_session(vhost, legacy, error);
	return 0;
}
