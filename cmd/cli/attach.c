/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What attaches a virtual machine to a port: arguments of QEMU and Cloud Hypervisor, XML for
 * libvirt. Who makes the socket is the other way round there: where the port listens, the
 * hypervisor is the client.
 *
 * Standard output holds the arguments and nothing else, so that a shell can put them into a
 * command line; what a person has to know besides goes to standard error.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "control/text.h"

/* What every hypervisor wants to know. */
struct attachment {
	const char *name;
	const char *path; /* of the socket */
	bool listen;	  /* virtlaned makes it */
	json_int_t queues, mtu;
	char mac[MAC_TEXT_SIZE]; /* empty: the hypervisor chooses */
};

static enum cli_exit
describe(const struct cli *cli, const json_t *port, struct attachment *attachment)
{
	const json_t *settings = json_object_get(port, "settings");

	*attachment = (struct attachment){
		.name = json_text(port, "name"),
		.path = json_text(settings, "listen"),
		.listen = true,
		.queues = json_number(settings, "queues"),
		.mtu = json_number(settings, "mtu"),
	};
	if (strcmp(json_text(port, "kind"), "vhost") != 0)
		return cli_fail(
			cli,
			CLI_USAGE,
			"port '%s' is of kind %s; a virtual machine attaches to a port of kind "
			"vhost",
			attachment->name,
			json_text(port, "kind")
		);
	if (*attachment->path == '\0') {
		attachment->path = json_text(settings, "connect");
		attachment->listen = false;
	}
	/* the first of the list is the one offered to the driver */
	(void)snprintf(attachment->mac, sizeof(attachment->mac), "%s", json_text(settings, "mac"));
	return CLI_OK;
}

static void print_note(const char *text)
{
	(void)fflush(stdout);
	(void)fprintf(stderr, "# %s\n", text);
}

/* ---- arguments ---- */

static void add_argument(json_t *list, const char *option, char *value)
{
	json_array_append_new(list, json_string(option));
	json_array_append_new(list, json_string(value));
	free(value);
}

/* An option with its value a line, or all as a list; takes `list`. */
static void print_arguments(const struct cli *cli, json_t *list)
{
	if (cli->json) {
		cli_print_json(list);
	} else {
		for (size_t i = 0; i + 1 < json_array_size(list); i += 2)
			(void
			)printf("%s %s\n",
				json_string_value(json_array_get(list, i)),
				json_string_value(json_array_get(list, i + 1)));
	}
	json_decref(list);
}

/* QEMU separates with commas and takes a doubled one as part of the value. */
static char *double_commas(const char *text)
{
	char *doubled = calloc(2, strlen(text) + 1);
	char *to = doubled;

	if (doubled == NULL)
		abort();
	for (; *text != '\0'; text++) {
		if (*text == ',')
			*to++ = ',';
		*to++ = *text;
	}
	return doubled;
}

/* Add to a malloc()ed text. */
static void __attribute__((format(printf, 2, 3))) append(char **text, const char *format, ...)
{
	va_list arguments;
	char *more;
	char *longer;

	va_start(arguments, format);
	if (vasprintf(&more, format, arguments) < 0)
		abort();
	va_end(arguments);
	longer = text_format("%s%s", *text, more);
	free(*text);
	free(more);
	*text = longer;
}

static char *qemu_device(const struct attachment *a)
{
	char *text = text_format("virtio-net-pci,netdev=net-%s", a->name);

	if (*a->mac != '\0')
		append(&text, ",mac=%s", a->mac);
	if (a->mtu > 0)
		append(&text, ",host_mtu=%" JSON_INTEGER_FORMAT, a->mtu);
	/* one interrupt a queue, one for configuration, one for the control queue */
	if (a->queues > 1)
		append(&text, ",mq=on,vectors=%" JSON_INTEGER_FORMAT, 2 * a->queues + 2);
	return text;
}

enum cli_exit cli_attach_qemu(struct cli *cli, const json_t *port)
{
	struct attachment a;
	enum cli_exit status = describe(cli, port, &a);
	json_t *list;
	char *path;

	if (status != CLI_OK)
		return status;
	list = json_array();
	path = double_commas(a.path);
	add_argument(list, "-m", text_format("1G"));
	add_argument(
		list,
		"-object",
		text_format("memory-backend-memfd,id=mem-%s,size=1G,share=on", a.name)
	);
	add_argument(list, "-machine", text_format("memory-backend=mem-%s", a.name));
	add_argument(
		list,
		"-chardev",
		text_format(
			"socket,id=chr-%s,path=%s%s",
			a.name,
			path,
			a.listen ? ",reconnect-ms=1000" : ",server=on,wait=off"
		)
	);
	add_argument(
		list,
		"-netdev",
		text_format(
			"vhost-user,id=net-%s,chardev=chr-%s,queues=%" JSON_INTEGER_FORMAT,
			a.name,
			a.name,
			a.queues
		)
	);
	add_argument(list, "-device", qemu_device(&a));
	free(path);
	print_arguments(cli, list);
	print_note("1G is an example: -m and size= must be the same");
	if (a.listen)
		print_note("QEMU before 9.2 says reconnect=1 in place of reconnect-ms=1000");
	return CLI_OK;
}

enum cli_exit cli_attach_cloud_hypervisor(struct cli *cli, const json_t *port)
{
	struct attachment a;
	enum cli_exit status = describe(cli, port, &a);
	json_t *list;
	char *net;

	if (status != CLI_OK)
		return status;
	net = text_format(
		"vhost_user=true,socket=%s,num_queues=%" JSON_INTEGER_FORMAT
		",queue_size=256,vhost_mode=%s",
		a.path,
		2 * a.queues,
		a.listen ? "client" : "server"
	);
	if (*a.mac != '\0')
		append(&net, ",mac=%s", a.mac);
	if (a.mtu > 0)
		append(&net, ",mtu=%" JSON_INTEGER_FORMAT, a.mtu);
	list = json_array();
	add_argument(list, "--memory", text_format("size=1G,shared=on"));
	add_argument(list, "--net", net);
	print_arguments(cli, list);
	print_note("1G is an example; num_queues counts both directions");
	return CLI_OK;
}

/* ---- XML ---- */

/* Text of an attribute in single quotes. */
static void print_xml(const char *text)
{
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '&':
			(void)fputs("&amp;", stdout);
			break;
		case '<':
			(void)fputs("&lt;", stdout);
			break;
		case '\'':
			(void)fputs("&apos;", stdout);
			break;
		default:
			(void)putchar(*text);
		}
	}
}

/* `mode` is libvirt's side. Only a client can reconnect. */
static void print_libvirt_source(const struct attachment *a)
{
	(void)fputs("  <source type='unix' path='", stdout);
	print_xml(a->path);
	if (a->listen)
		(void
		)fputs("' mode='client'>\n"
		       "    <reconnect enabled='yes' timeout='1'/>\n"
		       "  </source>\n",
		       stdout);
	else
		(void)fputs("' mode='server'/>\n", stdout);
}

enum cli_exit cli_attach_libvirt(struct cli *cli, const json_t *port)
{
	struct attachment a;
	enum cli_exit status = describe(cli, port, &a);

	if (status != CLI_OK)
		return status;
	(void)puts("<interface type='vhostuser'>");
	if (*a.mac != '\0')
		(void)printf("  <mac address='%s'/>\n", a.mac);
	print_libvirt_source(&a);
	(void)puts("  <model type='virtio'/>");
	if (a.mtu > 0)
		(void)printf("  <mtu size='%" JSON_INTEGER_FORMAT "'/>\n", a.mtu);
	(void
	)printf("  <driver queues='%" JSON_INTEGER_FORMAT "'/>\n"
		"</interface>\n",
		a.queues);
	print_note("the domain's memory must be shared; directly below <domain>:");
	print_note("<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>");
	return CLI_OK;
}
