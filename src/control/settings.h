/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What can be set, in one table each for the switch and for a port: name, type, range, the kinds
 * of port it applies to, whether it may change on a running port, and a line of help. The
 * configuration file, the requests on the control socket, the command line's completion and the
 * manual pages all read this table; nothing else knows the name of a setting.
 *
 * Text is one canonical form a value ("none" where nothing is set), so two values are equal when
 * their texts are.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "port/settings.h"
#include "switch/switch.h"

enum setting_type {
	SETTING_NUMBER,
	SETTING_BOOL,
	SETTING_TEXT,
	SETTING_CHOICE,
	SETTING_OTHER, /* a type of its own: address list, VLAN set, user, CPU list */
};

struct setting;

/* How text becomes a field of a struct and back. `parse` returns 0 or -errno and leaves the field
 * alone on failure; `format` returns a malloc()ed string. */
struct setting_codec {
	enum setting_type type;
	int (*parse)(const struct setting *, const char *text, void *field, struct error *);
	char *(*format)(const struct setting *, const void *field);
};

struct setting {
	const char *name;
	const struct setting_codec *codec;
	const char *argument; /* what stands for the value in help: "PATH", "yes|no" */
	const char *help;
	const char *preset; /* canonical text of the default, for the documents; a test compares */
	size_t offset;	    /* of the field in struct port_settings or struct switch_settings */
	size_t size;	    /* bytes of the field */
	uint32_t min, max;
	const char *const *choices; /* SETTING_CHOICE: in order of value, ends with NULL */
	uint8_t kinds;		    /* of port that it applies to: bits by enum port_kind */
	bool live;		    /* may change on a running port ... */
	uint8_t fixed_kinds;	    /* ... but not of these kinds */
	bool can_be_none;	    /* 0 is written "none" */
};

static inline bool setting_is_live(const struct setting *setting, unsigned kind)
{
	return setting->live && !(setting->fixed_kinds >> kind & 1);
}

/* The tables; both end with a setting without a name. */
extern const struct setting port_setting_table[];
extern const struct setting switch_setting_table[];

/* Which settings of a table were said, by index. */
struct settings_given {
	uint64_t bits;
};
bool settings_given_have(const struct settings_given *given, const char *name);

/* NULL if there is none of this name. */
const struct setting *setting_find(const struct setting *table, const char *name);
/* malloc()ed canonical text of a setting in `settings`, a struct that the table describes. */
char *setting_format(const struct setting *setting, const void *settings);
/* Whether two structs say the same in this setting. */
bool setting_equal(const struct setting *setting, const void *a, const void *b);
/* "vhost", "tap", ... */
const char *port_kind_name(enum port_kind kind);
bool setting_applies(const struct setting *setting, enum port_kind kind);

/*
 * Set one value from text and note it in `given`. Fails for an unknown name, a name said twice
 * and a bad value; the sentence does not name the port.
 */
int settings_parse(
	const struct setting *table,
	const char *name,
	const char *text,
	void *settings,
	struct settings_given *given,
	struct error *error
);

/* 1..31 characters of [A-Za-z0-9._-]. */
int port_name_parse(const char *text, char name[PORT_NAME_SIZE], struct error *error);

/* Whether the settings make a port: what must be there is, and nothing that does not apply was
 * given (NULL: of a port that was fine, the policy has changed). Looks at the struct only. */
int port_settings_check(
	const struct port_settings *settings,
	const struct settings_given *given,
	struct error *error
);
/* Whether this machine can have them: the directory of a long socket path, the CPUs. */
int port_settings_check_host(const struct port_settings *settings, struct error *error);
int switch_settings_check_host(const struct switch_settings *settings, struct error *error);

/* Whether a running port may be changed to have all that was given. */
int port_settings_check_live(
	const struct port_settings *settings,
	const struct settings_given *given,
	struct error *error
);

/* Whether two ports want the same socket or the same interface; *what names the clash. */
bool port_settings_clash(
	const struct port_settings *a, const struct port_settings *b, const char **what
);
