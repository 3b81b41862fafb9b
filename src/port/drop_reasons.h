/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every way a frame can end other than by arriving, one line each:
 * DROP_REASON(identifier, name shown to people, explanation). Included where a list is needed.
 */

/* counted on the port the frame came from */
DROP_REASON(RUNT, "runt", "shorter than an Ethernet header, or than the virtio-net header")
DROP_REASON(OVERSIZE, "oversize", "longer than the port's max-frame")
DROP_REASON(BAD_HEADER, "bad_header", "its virtio-net header contradicts the frame")
DROP_REASON(SEGMENTS, "segments", "it would be cut into more than 1024 segments")
DROP_REASON(BAD_SOURCE, "bad_source", "its source address is a group address or zero")
DROP_REASON(MAC_LOCK, "mac_lock", "its source address is not one of the port's (mac-lock)")
DROP_REASON(VLAN, "vlan", "its VLAN is not one of the port's")
DROP_REASON(STORM, "storm", "more flooded frames than the port's storm-limit")
DROP_REASON(SAME_PORT, "same_port", "its destination is on the port it came from")
DROP_REASON(
	RESERVED,
	"reserved",
	"sent to an address that a bridge must not forward (01:80:c2:00:00:0x)"
)
DROP_REASON(NO_DESTINATION, "no_destination", "nobody to deliver it to")
DROP_REASON(QUEUE_DISABLED, "queue_disabled", "sent on a queue the driver has disabled")

/* counted on the port it should have gone to */
DROP_REASON(ISOLATED, "isolated", "both ports are in one isolation group")
DROP_REASON(PORT_DOWN, "port_down", "the port has no started and enabled receive queue")
DROP_REASON(NO_BUFFER, "no_buffer", "the receiver had no free buffers")
DROP_REASON(TOO_LARGE, "too_large", "longer than the receiver's max-frame or its buffers")
DROP_REASON(OFFLOAD, "offload", "the receiver takes no such large frames, and it cannot be cut")
DROP_REASON(FILTERED, "filtered", "not wanted by the receiver's address or VLAN filter")
DROP_REASON(DEVICE, "device", "the device refused it")
DROP_REASON(TAP_WRITE, "tap_write", "the kernel refused it")
