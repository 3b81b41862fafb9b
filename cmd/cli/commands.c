/* SPDX-License-Identifier: BSD-3-Clause */
/* Every command of virtlane, once. See cli.h. */
#include "cli/cli.h"

const struct cli_command cli_commands[] = {
	{
		.noun = "port",
		.verb = "add",
		.help = "Add a port.",
		.more = "A port of kind vhost needs listen=PATH or connect=PATH: what virtlaned "
			"does. "
			"A port of kind tap needs nothing more, one of kind ethdev needs device=.",
		.arguments = {{WORD_NAME, "NAME", 1, 1}, {WORD_SETTING, "SETTING=VALUE", 1, 64}},
		.flags = {{"--may-exist", NULL, "fine if the port is there with these settings"}},
		.run = cli_port_add,
	},
	{
		.noun = "port",
		.verb = "del",
		.help = "Delete a port.",
		.arguments = {{WORD_PORT, "PORT", 1, 1}},
		.flags = {{"--if-exists", NULL, "fine if there is no such port"}},
		.run = cli_port_del,
	},
	{
		.noun = "port",
		.verb = "set",
		.help = "Change settings of a running port.",
		.more = "Frames keep flowing. SETTING=none takes a setting away.",
		.arguments = {{WORD_PORT, "PORT", 1, 1}, {WORD_SETTING, "SETTING=VALUE", 1, 64}},
		.run = cli_port_set,
	},
	{
		.noun = "port",
		.verb = "list",
		.help = "List all ports and their state.",
		.run = cli_port_list,
	},
	{
		.noun = "port",
		.verb = "show",
		.help = "Show all about a port: state and why, features, rings, drops by reason.",
		.more = "With an option: what attaches a virtual machine to this port, ready to "
			"use.",
		.arguments = {{WORD_PORT, "PORT", 1, 1}},
		.flags =
			{
				{"--qemu", NULL, "print the arguments for QEMU"},
				{"--libvirt", NULL, "print the XML for libvirt"},
				{"--cloud-hypervisor",
				 NULL,
				 "print the arguments for Cloud Hypervisor"},
			},
		.run = cli_port_show,
	},
	{
		.noun = "mac",
		.verb = "list",
		.help = "List known addresses and the ports they are on.",
		.arguments = {{WORD_FILTER, "port=PORT|vlan=VLAN", 0, 2}},
		.run = cli_mac_list,
	},
	{
		.noun = "mac",
		.verb = "flush",
		.help = "Forget learned addresses.",
		.arguments = {{WORD_FILTER, "port=PORT|vlan=VLAN", 0, 2}},
		.run = cli_mac_flush,
	},
	{
		.noun = "stats",
		.help = "Show counters of all ports, or of one with its drops by reason.",
		.more = "rx is what the switch took from a port, tx what it delivered to it.",
		.arguments = {{WORD_PORT, "PORT", 0, 1}},
		.flags =
			{{"--watch",
			  "SECONDS",
			  "print rates again and again, every second if not "
			  "said otherwise"}},
		.run = cli_stats,
	},
	{
		.noun = "top",
		.help = "Show live rates of all ports, the busiest first; q ends it.",
		.run = cli_top,
	},
	{
		.noun = "worker",
		.verb = "list",
		.help = "List the threads that forward frames, their load and their queues.",
		.run = cli_worker_list,
	},
	{
		.noun = "log",
		.verb = "level",
		.help = "Change what is logged.",
		.more = "Levels: error, warning, info, debug. Subjects: all, switch, port, vhost, "
			"control; without one, all.",
		.arguments = {{WORD_LOG, "SUBJECT", 0, 1}, {WORD_LOG, "LEVEL", 1, 1}},
		.run = cli_log_level,
	},
	{
		.noun = "config",
		.verb = "check",
		.help = "Say whether a configuration file is right; changes nothing.",
		.arguments = {{WORD_FILE, "FILE", 1, 1}},
		.run = cli_config_check,
	},
	{
		.noun = "config",
		.verb = "apply",
		.help = "Make the running switch as the file says, all or nothing.",
		.more = "Ports that are as wanted are not touched.",
		.arguments = {{WORD_FILE, "FILE", 1, 1}},
		.run = cli_config_apply,
	},
	{
		.noun = "config",
		.verb = "save",
		.help = "Write the running configuration to a file, or print it.",
		.arguments = {{WORD_FILE, "FILE", 0, 1}},
		.run = cli_config_save,
	},
	{
		.noun = "config",
		.verb = "diff",
		.help = "Show what config apply would do.",
		.arguments = {{WORD_FILE, "FILE", 1, 1}},
		.run = cli_config_diff,
	},
	{
		.noun = "upgrade",
		.help = "Replace the running virtlaned by a new process; no peer notices.",
		.more = "Without PROGRAM it is the file that the running one was started from, "
			"which may have been replaced. If the new one does not come up, the old "
			"one goes on.",
		.arguments = {{WORD_FILE, "PROGRAM", 0, 1}},
		.run = cli_upgrade,
	},
	{
		.noun = "version",
		.help = "Show the versions of this program and of the daemon.",
		.run = cli_version,
	},
	{
		.noun = "completion",
		.help = "Print a script that lets the shell complete commands and port names.",
		.more = "For example: virtlane completion bash > "
			"/etc/bash_completion.d/virtlane",
		.arguments = {{WORD_SHELL, "bash|zsh|fish", 1, 1}},
		.run = cli_completion,
	},
	{
		.noun = "help",
		.help = "Explain a command; without one, list them all.",
		.arguments = {{WORD_TOPIC, "COMMAND", 0, 2}},
		.flags =
			{{"--man",
			  NULL,
			  "print what the manual page says of commands or settings"}},
		.run = cli_help,
	},
	{},
};
