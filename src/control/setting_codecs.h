/* SPDX-License-Identifier: BSD-3-Clause */
/* The types a setting can have, see setting_codec in settings.h. */
#pragma once

#include "control/settings.h"

extern const struct setting_codec codec_number;	     /* min..max, 1 to 8 bytes wide */
extern const struct setting_codec codec_bool;	     /* yes, no */
extern const struct setting_codec codec_choice;	     /* one of setting->choices, an int */
extern const struct setting_codec codec_bool_choice; /* the same in a bool */
extern const struct setting_codec codec_path;	     /* absolute path of a socket */
extern const struct setting_codec codec_interface;   /* name of a network interface */
extern const struct setting_codec codec_file_name;   /* name without a slash */
extern const struct setting_codec codec_device;	     /* of DPDK's, with arguments */
extern const struct setting_codec codec_port_name;   /* of another port */
extern const struct setting_codec codec_vlan;	     /* own VLAN: vlan of port_policy */
extern const struct setting_codec codec_vlan_set;    /* 10,20-30 | all: trunk of port_policy */
extern const struct setting_codec codec_macs;	     /* address[,...]: macs of port_policy */
extern const struct setting_codec codec_offloads;    /* csum,tso4 | all | none: VL_OFFLOAD_* */
extern const struct setting_codec codec_user;	     /* name or number */
extern const struct setting_codec codec_group;	     /* name or number */
extern const struct setting_codec codec_mode;	     /* 0660 */
extern const struct setting_codec codec_cpus;	     /* 2-3,5 | auto: workers of the switch */
