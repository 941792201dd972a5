"""What ffprobe says about a file."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

PROBE_LIMIT_SECONDS = 60


def probe(path: Path, *more: str) -> dict:
    """The streams by kind, the format, and the packets of each kind in the file's order. Fails on what cannot be read."""
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-show_packets", "-of", "json", *more, str(path)]
    done = subprocess.run(command, capture_output=True, timeout=PROBE_LIMIT_SECONDS)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-800:]
    told = json.loads(done.stdout)
    streams = {stream["codec_type"]: stream for stream in told["streams"]}
    packets = {kind: [p for p in told["packets"] if p["codec_type"] == kind] for kind in streams}
    return {"streams": streams, "packets": packets, "duration": float(told["format"].get("duration", "nan")),
            "format": told["format"]["format_name"], "complaints": done.stderr.decode(errors="replace")}


def decodes(path: Path) -> None:
    """Every frame of the file is decoded without a word from the decoders."""
    # Frames keep their times: on the coarse clock of their mean rate two of a camera's can be the same.
    command = ["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-fps_mode", "passthrough",
               "-enc_time_base", "-1", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, timeout=PROBE_LIMIT_SECONDS)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode(errors="replace")[-800:]


def times(packets: list[dict]) -> list[float]:
    return [float(packet["pts_time"]) for packet in packets]
