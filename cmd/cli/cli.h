/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtlane, the command line. One table of commands (commands.c) yields parsing, help, the manual
 * page and completion. A command asks the daemon through cli_call() and prints; it keeps nothing.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cli_exit {
	CLI_OK = 0,
	CLI_REFUSED = 1,     /* by the daemon */
	CLI_USAGE = 2,	     /* wrong usage or configuration */
	CLI_UNREACHABLE = 3, /* no daemon */
};

struct cli {
	const char *socket; /* path */
	bool json;	    /* print results as JSON */
	bool quiet;	    /* print no errors: for completion */
	const char *where;  /* "FILE:LINE" of a batch, put in front of errors; or NULL */
	int fd;		    /* connection to the daemon; -1: none yet */
	json_int_t last_id;
};

/* ---- the table ---- */

/* What a word stands for: says what it completes to and how it is checked. */
enum cli_word {
	WORD_END, /* no more arguments */
	WORD_PORT,
	WORD_NAME,
	WORD_SETTING, /* SETTING=VALUE */
	WORD_FILTER,  /* port=NAME, vlan=N */
	WORD_FILE,
	WORD_LOG,   /* subject or level */
	WORD_SHELL, /* bash, zsh, fish */
	WORD_TOPIC, /* of help */
};

struct cli_argument {
	enum cli_word word;
	const char *name; /* "PORT" */
	unsigned min, max;
};

struct cli_flag {
	const char *name;  /* "--may-exist" */
	const char *value; /* of an optional number behind it; NULL: it has none */
	const char *help;
};

enum {
	CLI_ARGUMENTS_MAX = 2,
	CLI_FLAGS_MAX = 4,
	CLI_WORDS_MAX = 128,
};

struct cli_input;

struct cli_command {
	const char *noun;
	const char *verb; /* NULL: the noun is all */
	const char *help; /* one line */
	const char *more; /* further lines of help; NULL: none */
	struct cli_argument arguments[CLI_ARGUMENTS_MAX + 1];
	struct cli_flag flags[CLI_FLAGS_MAX + 1];
	enum cli_exit (*run)(struct cli *cli, const struct cli_input *input);
};

/* Ends with a command without a noun. */
extern const struct cli_command cli_commands[];

/* A command line taken apart. Strings are the caller's. */
struct cli_input {
	const struct cli_command *command;
	unsigned word_count;
	const char *words[CLI_WORDS_MAX];
	bool flags[CLI_FLAGS_MAX];	   /* by index in the command's */
	const char *values[CLI_FLAGS_MAX]; /* of the flags; NULL: none */
};

/* Whether the flag was given; *value (NULL is fine) is what stood behind it. */
bool cli_input_flag(const struct cli_input *input, const char *name, const char **value);
/* The word at `index`; NULL if there are less. */
const char *cli_input_word(const struct cli_input *input, unsigned index);

/* ---- running ---- */

/* Parse and run one command, `count` words; prints what is wrong. */
enum cli_exit cli_run(struct cli *cli, unsigned count, char **words);
/* Match words to a command; prints what is wrong. */
enum cli_exit cli_parse(struct cli *cli, unsigned count, char **words, struct cli_input *input);
/* Run each line of a file ("-": standard input), up to the first that fails. */
enum cli_exit cli_run_batch(struct cli *cli, const char *path);
/* Split a line at blanks; '...' and "..." hold them together, # begins a comment. Changes `line`.
 * Returns the number of words or -1 if there are too many or a quote is open. */
int cli_split(char *line, char **words, unsigned max);

/* Print "virtlane: SENTENCE" and return `code`. */
enum cli_exit cli_fail(const struct cli *cli, enum cli_exit code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Call a method of the daemon. `params` is taken over. On success *result is a new reference;
 * otherwise the reason was printed.
 */
enum cli_exit cli_call(struct cli *cli, const char *method, json_t *params, json_t **result);
/* cli_call(), then print the result if JSON is wanted: *result is NULL in that case. */
enum cli_exit cli_read(struct cli *cli, const char *method, json_t *params, json_t **result);
/* cli_call() for a change: its result is printed if JSON is wanted, and dropped. */
enum cli_exit cli_change(struct cli *cli, const char *method, json_t *params);
void cli_print_json(const json_t *json);
void cli_disconnect(struct cli *cli);

/* Put KEY=VALUE words, from `first` on, into params; prints what is wrong. */
enum cli_exit
cli_add_pairs(struct cli *cli, const struct cli_input *input, unsigned first, json_t *params);

/* ---- commands ---- */

enum cli_exit cli_port_add(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_port_del(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_port_set(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_port_list(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_port_show(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_mac_list(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_mac_flush(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_worker_list(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_log_level(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_upgrade(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_version(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_stats(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_top(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_config_check(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_config_apply(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_config_diff(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_config_save(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_completion(struct cli *cli, const struct cli_input *input);
enum cli_exit cli_help(struct cli *cli, const struct cli_input *input);

/* Print candidates for the last word of `line`: what the completion scripts call. */
enum cli_exit cli_complete(struct cli *cli, const char *line);
/* Print the parts of the manual pages that come from tables. */
enum cli_exit cli_man(struct cli *cli, const char *topic);
/* "port add NAME SETTING=VALUE... [--may-exist]"; malloc()ed. */
char *cli_usage(const struct cli_command *command);
/* Usage, options and settings of one command. */
void cli_print_command_help(const struct cli_command *command);

/* The counters of a port, an object of stats or port.show, and its drops by reason. */
void cli_print_counters(const json_t *port);
void cli_print_drops(const json_t *drops);

/* How to attach a guest to the port that port.show described. */
enum cli_exit cli_attach_qemu(struct cli *cli, const json_t *port);
enum cli_exit cli_attach_libvirt(struct cli *cli, const json_t *port);
enum cli_exit cli_attach_cloud_hypervisor(struct cli *cli, const json_t *port);

/* ---- JSON shorthand ---- */

static inline const char *json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static inline json_int_t json_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}
