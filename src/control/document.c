/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's state as a document, see document.h. */
#include "control/document.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "control/config_apply.h"
#include "control/methods.h"
#include "switch/switch.h"

enum {
	FORMAT = 1,
};

void document_begin(struct handover *document)
{
	handover_init(document);
	json_object_set_new(document->root, "format", json_integer(FORMAT));
	json_object_set_new(document->root, "version", json_string(VIRTLANE_VERSION));
}

void document_put_settings(struct handover *document, const struct switch_state *sw)
{
	struct config *config = config_of_switch(sw);
	char *text = config_format(config);

	json_object_set_new(document->root, "config", json_string(text));
	json_object_set_new(document->root, "log", log_levels_json());
	free(text);
	config_free(config);
}

int document_check(const struct handover *document, struct error *error)
{
	json_int_t format = json_integer_value(json_object_get(document->root, "format"));
	const char *version = json_string_value(json_object_get(document->root, "version"));

	if (format == FORMAT && version != NULL)
		return 0;
	return error_set(
		error,
		-EPROTO,
		"its state is of format %d (virtlaned %.40s); virtlaned " VIRTLANE_VERSION
		" knows format %d",
		(int)format,
		version == NULL ? "unknown" : version,
		FORMAT
	);
}

struct config *document_get_config(const struct handover *document, struct error *error)
{
	const char *text = json_string_value(json_object_get(document->root, "config"));
	struct config_errors *errors = calloc(1, sizeof(*errors));
	struct config *config = NULL;

	if (errors == NULL)
		abort();
	if (text != NULL)
		config = config_parse(text, errors);
	if (config == NULL)
		error_set(
			error,
			-EPROTO,
			"its configuration makes no sense here: %.400s",
			errors->count > 0 ? errors->list[0].error.text : "there is none"
		);
	free(errors);
	return config;
}

void document_get_log_levels(const struct handover *document)
{
	json_t *levels = json_object_get(document->root, "log");

	for (enum log_subject subject = 0; subject < LOG_SUBJECT_COUNT; subject++) {
		const json_t *name = json_object_get(levels, log_subject_name(subject));
		enum log_level level;

		if (json_is_string(name) && log_level_parse(json_string_value(name), &level))
			log_set_level(subject, level);
	}
}

/* Those of `config` that came along; the others are made later. What has changed since the settings
 * were said counts, too. */
int document_load_ports(
	struct switch_state *sw,
	const struct config *config,
	struct handover *document,
	bool orphaned,
	struct error *error
)
{
	int result = 0;

	switch_set_mac_age(sw, config->sw.mac_age);
	document_get_log_levels(document);
	for (size_t i = 0; result == 0 && i < config->port_count; i++) {
		const struct port_settings *settings = &config->ports[i].settings;

		result = switch_load_port(sw, settings, document, orphaned, error);
		/* There is nobody to go on in our place. */
		if (result < 0 && orphaned) {
			log_error(
				LOG_CONTROL,
				"%s: cannot be made again: %s",
				settings->name,
				error->text
			);
			result = 0;
		}
	}
	if (result == 0)
		switch_load_counters(sw, document);
	return result;
}

/* Ports that could not be handed over: nobody waits for them. */
void document_make_others(struct switch_state *sw, const struct config *config)
{
	struct error error;

	for (size_t i = 0; i < config->port_count; i++) {
		const struct port_settings *settings = &config->ports[i].settings;

		if (switch_port_find(sw, settings->name) == NULL
		    && switch_port_add(sw, settings, &error) < 0)
			log_error(
				LOG_CONTROL,
				"%s: cannot be made again: %s",
				settings->name,
				error.text
			);
	}
}
