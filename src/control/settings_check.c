/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether settings go together, with each other and with this machine. See settings.h. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/settings.h"

enum {
	/* A path that does not fit into sun_path is reached as /proc/self/fd/N/name: what is left
	 * of sun_path for the name, with room for the longest N. */
	LONG_PATH_NAME_MAX = 80,
	ETHERNET_HEADER_SIZE = 14,
};

static int check_kind(
	const struct port_settings *settings,
	const struct settings_given *given,
	struct error *error
)
{
	const struct setting *setting = port_setting_table;

	if (!settings_given_have(given, "kind"))
		return error_set(
			error, -EINVAL, "kind is missing; add kind=vhost, tap, ethdev or virtio"
		);
	for (; setting->name != NULL; setting++) {
		if (settings_given_have(given, setting->name)
		    && !setting_applies(setting, settings->kind))
			return error_set(
				error,
				-EINVAL,
				"%s does not apply to a port of kind %s; remove it",
				setting->name,
				port_kind_name(settings->kind)
			);
	}
	return 0;
}

static int check_vhost(
	const struct port_settings *settings,
	const struct settings_given *given,
	struct error *error
)
{
	static const char *const of_listen[] = {"owner", "group", "mode"};
	bool listen = settings->listen[0] != '\0';

	if (listen && settings->connect[0] != '\0')
		return error_set(
			error, -EINVAL, "both listen and connect are given; keep one of them"
		);
	if (!listen && settings->connect[0] == '\0')
		return error_set(
			error,
			-EINVAL,
			"listen or connect is missing; add listen=PATH (virtlaned makes the "
			"socket) or "
			"connect=PATH (the peer does)"
		);
	for (size_t i = 0; !listen && i < sizeof(of_listen) / sizeof(of_listen[0]); i++) {
		if (settings_given_have(given, of_listen[i]))
			return error_set(
				error,
				-EINVAL,
				"%s is about a socket that virtlaned makes; remove it, or use "
				"listen",
				of_listen[i]
			);
	}
	return 0;
}

static int check_tap(const struct port_settings *settings, struct error *error)
{
	if (settings->interface[0] == '\0' && strlen(settings->name) >= IFNAMSIZ)
		return error_set(
			error,
			-EINVAL,
			"the port's name is too long for an interface (%d characters); add "
			"interface=NAME",
			IFNAMSIZ - 1
		);
	return 0;
}

static int check_ethdev(const struct port_settings *settings, struct error *error)
{
	if (settings->device[0] == '\0')
		return error_set(
			error,
			-EINVAL,
			"device is missing; add device=ADDRESS of a NIC, or device=NAME,ARGUMENTS"
		);
	return 0;
}

static int check_of_kind(
	const struct port_settings *settings,
	const struct settings_given *given,
	struct error *error
)
{
	switch (settings->kind) {
	case PORT_VHOST:
	case PORT_VIRTIO:
		return check_vhost(settings, given, error);
	case PORT_TAP:
		return check_tap(settings, error);
	case PORT_ETHDEV:
		return check_ethdev(settings, error);
	}
	return 0;
}

static int check_policy(const struct port_settings *settings, struct error *error)
{
	const struct port_policy *policy = &settings->policy;

	if (policy->mac_lock && policy->mac_count == 0)
		return error_set(
			error, -EINVAL, "mac-lock=yes needs the port's addresses; add mac=ADDRESS"
		);
	if (strcmp(policy->cross_connect, settings->name) == 0)
		return error_set(
			error, -EINVAL, "cross-connect names the port itself; name the other one"
		);
	if (policy->max_frame < (uint32_t)settings->policy.mtu + ETHERNET_HEADER_SIZE)
		return error_set(
			error,
			-EINVAL,
			"max-frame=%u is too small for mtu=%u; make it %u or more",
			policy->max_frame,
			settings->policy.mtu,
			settings->policy.mtu + ETHERNET_HEADER_SIZE
		);
	return 0;
}

int port_settings_check(
	const struct port_settings *settings,
	const struct settings_given *given,
	struct error *error
)
{
	int status = 0;

	if (given != NULL)
		status = check_kind(settings, given, error);
	if (status == 0 && given != NULL)
		status = check_of_kind(settings, given, error);
	if (status == 0)
		status = check_policy(settings, error);
	return status;
}

int port_settings_check_live(
	const struct port_settings *settings,
	const struct settings_given *given,
	struct error *error
)
{
	const struct setting *setting = port_setting_table;

	for (; setting->name != NULL; setting++) {
		if (settings_given_have(given, setting->name)
		    && !setting_is_live(setting, settings->kind))
			return error_set(
				error,
				-EBUSY,
				"%s of port '%s' cannot be changed on a running port; delete it "
				"and "
				"add it again",
				setting->name,
				settings->name
			);
	}
	return 0;
}

/* Can the socket be reached through its directory, when its path does not fit? */
static int check_socket_path(const char *path, struct error *error)
{
	char directory[PATH_MAX];
	size_t size = strlen(path);
	const char *name = strrchr(path, '/');
	int fd;

	if (size < sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return 0;
	name++;
	if (strlen(name) > LONG_PATH_NAME_MAX)
		return error_set(
			error,
			-ENAMETOOLONG,
			"the path of the socket has %zu bytes, its last part %zu; shorten that to "
			"%d, "
			"or the path to %zu",
			size,
			strlen(name),
			LONG_PATH_NAME_MAX,
			sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1
		);
	memcpy(directory, path, (size_t)(name - path));
	directory[name - path] = '\0';
	fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(
			error,
			-errno,
			"the path of the socket has %zu bytes, which needs its directory to exist "
			"(%m); make %.200s, or use a path of at most %zu bytes",
			size,
			directory,
			sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1
		);
	(void)close(fd);
	return 0;
}

int port_settings_check_host(const struct port_settings *settings, struct error *error)
{
	if (settings->kind != PORT_VHOST && settings->kind != PORT_VIRTIO)
		return 0;
	return check_socket_path(
		settings->listen[0] != '\0' ? settings->listen : settings->connect, error
	);
}

int switch_settings_check_host(const struct switch_settings *settings, struct error *error)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0)
		return 0; /* more CPUs than cpu_set_t has: pinning will tell */
	for (unsigned i = 0; i < settings->worker_count; i++) {
		int cpu = settings->worker_cpus[i];

		if (cpu >= 0 && !CPU_ISSET(cpu, &cpus))
			return error_set(
				error,
				-EINVAL,
				"workers: CPU %d is not one that virtlaned may use; see "
				"`taskset -p $$` and choose from those, or use auto",
				cpu
			);
	}
	return 0;
}

static bool is_same_text(const char *a, const char *b)
{
	return a[0] != '\0' && strcmp(a, b) == 0;
}

static const char *tap_interface(const struct port_settings *settings)
{
	return settings->interface[0] != '\0' ? settings->interface : settings->name;
}

bool port_settings_clash(
	const struct port_settings *a, const struct port_settings *b, const char **what
)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == PORT_VHOST || a->kind == PORT_VIRTIO) {
		*what = a->listen[0] != '\0' ? a->listen : a->connect;
		return is_same_text(a->listen, b->listen) || is_same_text(a->listen, b->connect)
		       || is_same_text(a->connect, b->listen)
		       || is_same_text(a->connect, b->connect);
	}
	if (a->kind == PORT_ETHDEV) {
		size_t size = strcspn(a->device, ",");

		*what = a->device;
		return size == strcspn(b->device, ",") && memcmp(a->device, b->device, size) == 0;
	}
	*what = tap_interface(a);
	return strcmp(tap_interface(a), tap_interface(b)) == 0 && strcmp(a->netns, b->netns) == 0;
}
