"""Media files that tell where they are: their brightness rises in steps of half a second, beside a tone."""

from __future__ import annotations

import subprocess
from pathlib import Path

STEP_SECONDS = 0.5
FIRST_LUMA, LUMA_STEP = 24, 16
MAKE_LIMIT_SECONDS = 60
# Fast encoders that begin with a key frame and have one a second.
VIDEO = {
    "H264": ["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "30"],
    "H264 with B frames": ["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "30"],
    "H265": ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=0", "-g", "30"],
    "VP8": ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "500k", "-g", "30"],
    "VP9": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "500k", "-g", "30"],
    "AV1": ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-b:v", "500k", "-g", "30"],
}


def make_clip(path: Path, video: str | None = "H264", audio: str | None = "aac", seconds: float = 6.0) -> Path:
    """320 x 240, 30 pictures a second. The container is that of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["ffmpeg", "-v", "error", "-y"]
    if video:
        luma = f"{FIRST_LUMA}+{LUMA_STEP}*floor(T/{STEP_SECONDS})"
        picture = f"nullsrc=s=320x240:r=30:d={seconds},format=yuv420p,geq=lum='{luma}':cb=128:cr=128"
        command += ["-f", "lavfi", "-i", picture]
    if audio:
        command += ["-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=48000:duration={seconds}"]
    command += (VIDEO[video] if video else []) + (["-c:a", audio, "-ac", "2"] if audio else [])
    done = subprocess.run([*command, str(path)], capture_output=True, timeout=MAKE_LIMIT_SECONDS)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-800:]
    return path


def step_of(mean: float) -> int:
    """Which step of half a second a picture of that brightness (0 to 255, full range) is of."""
    return round((mean * 219 / 255 + 16 - FIRST_LUMA) / LUMA_STEP)
