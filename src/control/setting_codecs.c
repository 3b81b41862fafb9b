/* SPDX-License-Identifier: BSD-3-Clause */
/* Settings of simple types: numbers, yes or no, choices, names, owners. See setting_codecs.h. */
#include "control/setting_codecs.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "control/text.h"

static bool is_none(const struct setting *setting, const char *text)
{
	return setting->can_be_none && strcmp(text, "none") == 0;
}

/* ---- numbers ---- */

static void store_number(void *field, size_t size, uint32_t value)
{
	switch (size) {
	case sizeof(uint16_t):
		*(uint16_t *)field = (uint16_t)value;
		break;
	default:
		*(uint32_t *)field = value;
		break;
	}
}

static uint32_t load_number(const void *field, size_t size)
{
	return size == sizeof(uint16_t) ? *(const uint16_t *)field : *(const uint32_t *)field;
}

static int
parse_number(const struct setting *setting, const char *text, void *field, struct error *error)
{
	uint32_t value = 0;

	if (!is_none(setting, text)
	    && !text_parse_number(text, setting->min, setting->max, &value)) {
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: give a number from %u to %u%s",
			setting->name,
			text,
			setting->min,
			setting->max,
			setting->can_be_none ? ", or none" : ""
		);
	}
	store_number(field, setting->size, value);
	return 0;
}

static char *format_number(const struct setting *setting, const void *field)
{
	uint32_t value = load_number(field, setting->size);

	if (value == 0 && setting->can_be_none)
		return text_format("none");
	return text_format("%u", value);
}

const struct setting_codec codec_number = {SETTING_NUMBER, parse_number, format_number};

/* ---- yes or no ---- */

static int
parse_bool(const struct setting *setting, const char *text, void *field, struct error *error)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i]) == 0) {
			*(bool *)field = i % 2 == 1;
			return 0;
		}
	}
	return error_set(error, -EINVAL, "%s=%.64s: give yes or no", setting->name, text);
}

static char *format_bool(const struct setting *, const void *field)
{
	return text_format("%s", *(const bool *)field ? "yes" : "no");
}

const struct setting_codec codec_bool = {SETTING_BOOL, parse_bool, format_bool};

/* ---- one of several words ---- */

static int find_choice(const struct setting *setting, const char *text, struct error *error)
{
	int i;

	for (i = 0; setting->choices[i] != NULL; i++) {
		if (strcmp(text, setting->choices[i]) == 0)
			return i;
	}
	return error_set(
		error, -EINVAL, "%s=%.64s: give one of %s", setting->name, text, setting->argument
	);
}

static int
parse_choice(const struct setting *setting, const char *text, void *field, struct error *error)
{
	int index = find_choice(setting, text, error);

	if (index < 0)
		return index;
	store_number(field, setting->size, (uint32_t)index);
	return 0;
}

static char *format_choice(const struct setting *setting, const void *field)
{
	return text_format("%s", setting->choices[load_number(field, setting->size)]);
}

const struct setting_codec codec_choice = {SETTING_CHOICE, parse_choice, format_choice};

static int
parse_bool_choice(const struct setting *setting, const char *text, void *field, struct error *error)
{
	int index = find_choice(setting, text, error);

	if (index < 0)
		return index;
	*(bool *)field = index == 1;
	return 0;
}

static char *format_bool_choice(const struct setting *setting, const void *field)
{
	return text_format("%s", setting->choices[*(const bool *)field]);
}

const struct setting_codec codec_bool_choice = {
	SETTING_CHOICE,
	parse_bool_choice,
	format_bool_choice,
};

/* ---- text ---- */

/* What the configuration file, JSON, XML and a terminal all carry unchanged; ';' would begin a
 * comment. */
static bool is_printable(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text < ' ' || *text > '~' || *text == ';')
			return false;
	}
	return true;
}

/* An empty field is written "none", as in format_text(). */
static int
store_text(const struct setting *setting, const char *text, void *field, struct error *error)
{
	size_t size = strlen(text);

	if (is_none(setting, text)) {
		*(char *)field = '\0';
		return 0;
	}
	if (!is_printable(text))
		return error_set(
			error,
			-EINVAL,
			"%s: use printable ASCII characters, and no ';'",
			setting->name
		);
	if (size >= setting->size)
		return error_set(
			error,
			-ENAMETOOLONG,
			"%s is %zu bytes long; at most %zu are possible",
			setting->name,
			size,
			setting->size - 1
		);
	memcpy(field, text, size + 1);
	return 0;
}

static char *format_text(const struct setting *, const void *field)
{
	const char *text = field;

	return text_format("%s", *text == '\0' ? "none" : text);
}

static int
parse_path(const struct setting *setting, const char *text, void *field, struct error *error)
{
	size_t size = strlen(text);

	if (text[0] != '/' && !is_none(setting, text))
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: give an absolute path, for example /run/virtlane/vm1.sock",
			setting->name,
			text
		);
	if (size > 0 && (text[size - 1] == '/' || text[size - 1] == ' '))
		return error_set(
			error, -EINVAL, "%s=%.64s: give the path of a socket", setting->name, text
		);
	return store_text(setting, text, field, error);
}

const struct setting_codec codec_path = {SETTING_TEXT, parse_path, format_text};

static int
parse_file_name(const struct setting *setting, const char *text, void *field, struct error *error)
{
	if (strchr(text, '/') != NULL || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return error_set(
			error, -EINVAL, "%s=%.64s: give a name, not a path", setting->name, text
		);
	return store_text(setting, text, field, error);
}

const struct setting_codec codec_file_name = {SETTING_TEXT, parse_file_name, format_text};

/* What DPDK makes of it, it says itself. */
static int
parse_device(const struct setting *setting, const char *text, void *field, struct error *error)
{
	for (const char *c = text; *c != '\0'; c++) {
		if (*c <= ' ' || *c > '~')
			return error_set(
				error,
				-EINVAL,
				"%s=%.64s: a device's name and arguments have no blanks",
				setting->name,
				text
			);
	}
	return store_text(setting, text, field, error);
}

const struct setting_codec codec_device = {SETTING_TEXT, parse_device, format_text};

static int
parse_port_name(const struct setting *setting, const char *text, void *field, struct error *error)
{
	if (is_none(setting, text)) {
		*(char *)field = '\0';
		return 0;
	}
	if (port_name_parse(text, field, error) != 0)
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: give the name of another port",
			setting->name,
			text
		);
	return 0;
}

const struct setting_codec codec_port_name = {SETTING_TEXT, parse_port_name, format_text};

/* What the kernel takes as an interface's name; '%' would make it a pattern. */
static int
parse_interface(const struct setting *setting, const char *text, void *field, struct error *error)
{
	if (strpbrk(text, " \t:%") != NULL)
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: an interface's name has no blank, ':' or '%%'",
			setting->name,
			text
		);
	return parse_file_name(setting, text, field, error);
}

const struct setting_codec codec_interface = {SETTING_TEXT, parse_interface, format_text};

/* ---- users, groups, modes ---- */

/* (uid_t)-1 means "leave it as it is". */
static const uint32_t id_none = UINT32_MAX;

/* `known` and `id` are what the name service said. */
static int store_id(
	const struct setting *setting,
	const char *text,
	bool known,
	uint32_t id,
	void *field,
	struct error *error
)
{
	if (is_none(setting, text))
		id = id_none;
	else if (!known && !text_parse_number(text, 0, id_none - 1, &id))
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: there is no such %s on this machine",
			setting->name,
			text,
			setting->argument
		);
	store_number(field, setting->size, id);
	return 0;
}

static char *format_id(const char *name, uint32_t id)
{
	if (id == id_none)
		return text_format("none");
	return name != NULL ? text_format("%s", name) : text_format("%u", id);
}

static int
parse_user(const struct setting *setting, const char *text, void *field, struct error *error)
{
	const struct passwd *user = getpwnam(text);

	return store_id(setting, text, user != NULL, user ? user->pw_uid : 0, field, error);
}

static char *format_user(const struct setting *setting, const void *field)
{
	uint32_t id = load_number(field, setting->size);
	const struct passwd *user = id == id_none ? NULL : getpwuid(id);

	return format_id(user != NULL ? user->pw_name : NULL, id);
}

const struct setting_codec codec_user = {SETTING_TEXT, parse_user, format_user};

static int
parse_group(const struct setting *setting, const char *text, void *field, struct error *error)
{
	const struct group *group = getgrnam(text);

	return store_id(setting, text, group != NULL, group ? group->gr_gid : 0, field, error);
}

static char *format_group(const struct setting *setting, const void *field)
{
	uint32_t id = load_number(field, setting->size);
	const struct group *group = id == id_none ? NULL : getgrgid(id);

	return format_id(group != NULL ? group->gr_name : NULL, id);
}

const struct setting_codec codec_group = {SETTING_TEXT, parse_group, format_group};

static int
parse_mode(const struct setting *setting, const char *text, void *field, struct error *error)
{
	char *end;
	unsigned long mode = strtoul(text, &end, 8);

	if (!isdigit((unsigned char)text[0]) || *end != '\0' || mode > 0777)
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: give permissions in octal, for example 0660",
			setting->name,
			text
		);
	store_number(field, setting->size, (uint32_t)mode);
	return 0;
}

static char *format_mode(const struct setting *setting, const void *field)
{
	return text_format("%04o", load_number(field, setting->size));
}

const struct setting_codec codec_mode = {SETTING_TEXT, parse_mode, format_mode};
