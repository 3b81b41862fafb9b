# SPDX-License-Identifier: BSD-3-Clause
"""What a loopback is made of: ring modes, sizes, and how long and how hard it runs."""

import dataclasses

TSO_BYTES = 65535  # testpmd counts a frame's bytes in 16 bits
TSO_SEGMENT = 1448
SIZES = [64, 128, 256, 512, 1024, 1518, "imix", "tso"]
IMIX = [(64, 7), (570, 4), (1518, 1)]  # bytes, parts; as virtlane-pktgen has it
_BUFFER_BYTES = 2048
_LARGE_BUFFER_BYTES = 8192  # eight for a frame of 64 KiB: testpmd's command line takes no more words


def frame_bytes(size):
    """Bytes of a frame, on average."""
    if size == "imix":
        return sum(part * count for part, count in IMIX) / sum(count for _, count in IMIX)
    return TSO_BYTES if size == "tso" else size


def pieces(size):
    """The pieces in which testpmd makes frames of a size that is not mixed."""
    whole, rest = divmod(frame_bytes(size), _LARGE_BUFFER_BYTES)
    return [_LARGE_BUFFER_BYTES] * whole + [rest] * (rest > 0)


def buffer_bytes(mergeable):
    """Room for frames in a buffer, on both sides; frames may take several if mergeable."""
    return _LARGE_BUFFER_BYTES if mergeable else _BUFFER_BYTES


@dataclasses.dataclass(frozen=True)
class Mode:
    """A way to lay out virtqueues that both DPDK's virtio-user and our driver can be told to use."""

    name: str
    rings: str  # "split" or "packed"
    in_order: bool
    vectorized: bool = False

    def device_options(self, mergeable):
        """For testpmd.virtio_user()."""
        return {
            "packed_vq": self.rings == "packed",
            "in_order": self.in_order,
            "vectorized": self.vectorized,
            "mrg_rxbuf": mergeable,
        }

    def pktgen_options(self):
        return ["--ring", self.rings + ("-in-order" if self.in_order else "")]


DPDK_MODES = [
    Mode("split", "split", False),
    Mode("split in-order", "split", True),
    Mode("split vectorised", "split", False, True),
    Mode("packed", "packed", False),
    Mode("packed in-order", "packed", True),
    Mode("packed in-order vectorised", "packed", True, True),
]
OUR_MODES = [mode for mode in DPDK_MODES if not mode.vectorized]


def our_counterpart(mode):
    """Our mode with the same features as one of DPDK's: vectorising is no feature."""
    return next(
        ours for ours in OUR_MODES if (ours.rings, ours.in_order) == (mode.rings, mode.in_order)
    )


@dataclasses.dataclass
class Settings:
    seconds: float = 0.5
    warm_up: float = 0.1
    in_flight: int = 256  # frames in the loop; half of what the smallest of the rings holds
    burst: int = 32  # frames a call of testpmd's
    queue_size: int = 1024
    huge: bool = False  # 2 MiB pages for DPDK, otherwise 4 KiB

    def in_flight_of(self, size):
        """Frames in the loop: of 64 KiB no more than fit into a ring in pieces of 2 KiB."""
        return 16 if size == "tso" else self.in_flight
