/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports as JSON. Each returns a new reference. */
#pragma once

#include <jansson.h>

#include "port/status.h"

/* All that apply and are not "none": numbers and booleans as such, the rest as text. */
json_t *port_settings_json(const struct port_settings *settings);
/* One element of port.list. */
json_t *port_summary_json(const struct port_settings *settings, const struct port_status *status);
/* port.show */
json_t *port_status_json(const struct port_settings *settings, const struct port_status *status);
/* One element of stats; `name` NULL: none. */
json_t *port_counters_json(const char *name, const struct port_counters *counters);
