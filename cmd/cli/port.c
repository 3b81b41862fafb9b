/* SPDX-License-Identifier: BSD-3-Clause */
/* port add, del, set, list. What port show prints is in show.c. */
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"

static enum cli_exit
change_port(struct cli *cli, const struct cli_input *input, const char *method, json_t *params)
{
	enum cli_exit status;

	json_object_set_new(params, "name", json_string(input->words[0]));
	status = cli_add_pairs(cli, input, 1, params);
	if (status != CLI_OK) {
		json_decref(params);
		return status;
	}
	return cli_change(cli, method, params);
}

enum cli_exit cli_port_add(struct cli *cli, const struct cli_input *input)
{
	json_t *params = json_object();

	if (cli_input_flag(input, "--may-exist", NULL))
		json_object_set_new(params, "may_exist", json_true());
	return change_port(cli, input, "port.add", params);
}

enum cli_exit cli_port_set(struct cli *cli, const struct cli_input *input)
{
	return change_port(cli, input, "port.set", json_object());
}

enum cli_exit cli_port_del(struct cli *cli, const struct cli_input *input)
{
	return cli_change(
		cli,
		"port.del",
		json_pack(
			"{s:s, s:b}",
			"name",
			input->words[0],
			"if_exists",
			(int)cli_input_flag(input, "--if-exists", NULL)
		)
	);
}

/* Where the port's other side is: the socket or the interface. */
static void add_place(struct cli_table *table, const json_t *port, const json_t *settings)
{
	const char *name = json_text(settings, "interface");
	const char *netns = json_text(settings, "netns");
	const char *path = json_text(settings, "listen");

	if (strcmp(json_text(port, "kind"), "tap") == 0)
		cli_table_add(
			table,
			"interface %s%s%s",
			*name != '\0' ? name : json_text(port, "name"),
			*netns != '\0' ? " in netns " : "",
			netns
		);
	else if (strcmp(json_text(port, "kind"), "ethdev") == 0)
		cli_table_add(table, "device %s", json_text(settings, "device"));
	else if (*path != '\0')
		cli_table_add(table, "listen %s", path);
	else
		cli_table_add(table, "connect %s", json_text(settings, "connect"));
}

/* "10", "trunk 20-30", "10 + trunk 20-30" */
static void add_vlans(struct cli_table *table, const json_t *settings)
{
	json_int_t vlan = json_number(settings, "vlan");
	const char *trunk = json_text(settings, "trunk");

	if (vlan > 0)
		cli_table_add(
			table,
			"%" JSON_INTEGER_FORMAT "%s%s",
			vlan,
			*trunk != '\0' ? " + trunk " : "",
			trunk
		);
	else
		cli_table_add(table, "%s%s", *trunk != '\0' ? "trunk " : "any", trunk);
}

enum cli_exit cli_port_list(struct cli *cli, const struct cli_input *)
{
	struct cli_table *table;
	const json_t *port;
	json_t *ports;
	size_t i;
	enum cli_exit status = cli_read(cli, "port.list", NULL, &ports);

	if (ports == NULL)
		return status;
	table = cli_table_new("NAME KIND STATE >QUEUES VLAN WHERE WHY");
	json_array_foreach(ports, i, port)
	{
		const json_t *settings = json_object_get(port, "settings");

		cli_table_add(table, "%s", json_text(port, "name"));
		cli_table_add(table, "%s", json_text(port, "kind"));
		cli_table_add(table, "%s", json_text(port, "state"));
		cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(settings, "queues"));
		add_vlans(table, settings);
		add_place(table, port, settings);
		cli_table_add(table, "%s", json_text(port, "reason"));
	}
	cli_table_print(table, "");
	json_decref(ports);
	return CLI_OK;
}
