"""Clips whose pictures carry their number and whose sound beeps with a flash once a second, made by ffmpeg.

A picture is WIDTH x HEIGHT at FRAME_RATE: above 24 black or white blocks (16 bits of the number, 8 of a checksum),
below a bar that is white for BEEP_SECONDS from each full second on, and noise so that pictures need several packets. The
sound is silence with a tone of TONE_HZ over the same time. The pages that draw such pictures (pages/counter.js) have the
same geometry in parts of the picture, so any size may be read.
"""

from __future__ import annotations

import subprocess
import wave
from dataclasses import dataclass
from pathlib import Path

import av
import numpy

WIDTH, HEIGHT = 320, 240
FRAME_RATE = 30
AUDIO_RATE = 48_000
BEEP_SECONDS = 0.1
TONE_HZ = 1_000
TONE_LEVEL = 0.5
KEY_INTERVAL = FRAME_RATE
BIT_RATE = "600k"
COLUMNS, ROWS = 8, 3
NUMBER_BITS = 16
# Parts of the height: the blocks end, then the bar ends, then there is noise.
BLOCKS_END, BAR_END = 0.6, 0.8
OPUS_SECONDS = 0.02
# libopus gives its sound out so much later than it takes it (the pre-skip of RFC 7845).
OPUS_DELAY = 312 / AUDIO_RATE
ENCODE_LIMIT_SECONDS = 900
VIDEO_ENCODERS = {
    "VP8": "libvpx -deadline realtime -cpu-used 8 -lag-in-frames 0 -auto-alt-ref 0 -error-resilient 1",
    "VP9": "libvpx-vp9 -deadline realtime -cpu-used 8 -lag-in-frames 0 -auto-alt-ref 0 -error-resilient 1",
    "H264": "libx264 -preset ultrafast -tune zerolatency -profile:v baseline -x264-params repeat-headers=1:bframes=0",
    "H265": "libx265 -preset ultrafast -tune zerolatency "
            "-x265-params log-level=error:repeat-headers=1:bframes=0:scenecut=0:open-gop=0",
    "AV1": "libaom-av1 -usage realtime -cpu-used 8 -lag-in-frames 0",
}


@dataclass
class Unit:
    """An encoded frame: time in seconds on the clip's clock, and its bytes."""

    time: float
    data: bytes
    is_key: bool


@dataclass
class Clip:
    codec: str
    path: Path
    video: list[Unit]
    audio: list[Unit]

    @property
    def seconds(self) -> float:
        return len(self.video) / FRAME_RATE


def checksum(number: int) -> int:
    """So made that an all-black and an all-white picture are both wrong."""
    return ((number & 255) * 3 + (number >> 8) * 5 + 91) & 255


def luma(number: int, width: int, height: int, noise: numpy.random.Generator) -> numpy.ndarray:
    """The picture of that number."""
    picture = numpy.empty((height, width), dtype=numpy.uint8)
    word = number | checksum(number) << NUMBER_BITS
    blocks_end, bar_end = int(height * BLOCKS_END), int(height * BAR_END)
    for block in range(COLUMNS * ROWS):
        row, column = divmod(block, COLUMNS)
        rows = slice(blocks_end * row // ROWS, blocks_end * (row + 1) // ROWS)
        columns = slice(width * column // COLUMNS, width * (column + 1) // COLUMNS)
        picture[rows, columns] = 235 if word >> block & 1 else 16
    picture[blocks_end:bar_end] = 235 if number % FRAME_RATE < FRAME_RATE * BEEP_SECONDS else 16
    picture[bar_end:] = noise.integers(60, 120, (height - bar_end, width), dtype=numpy.uint8)
    return picture


def read_number(picture: numpy.ndarray) -> int | None:
    """The number in a picture's luma; None where the checksum does not fit."""
    height, width = picture.shape
    word = 0
    for block in range(COLUMNS * ROWS):
        row, column = divmod(block, COLUMNS)
        y = int(height * BLOCKS_END * (row + 0.5) / ROWS)
        x = int(width * (column + 0.5) / COLUMNS)
        word |= int(picture[y - 2:y + 3, x - 2:x + 3].mean() > 128) << block
    number = word & (1 << NUMBER_BITS) - 1
    return number if word >> NUMBER_BITS == checksum(number) else None


def is_flash(picture: numpy.ndarray) -> bool:
    height = picture.shape[0]
    return float(picture[int(height * (BLOCKS_END + 0.05)):int(height * (BAR_END - 0.05))].mean()) > 128


def _write_sound(path: Path, seconds: int) -> None:
    time = numpy.arange(AUDIO_RATE) / AUDIO_RATE
    one = numpy.where(time < BEEP_SECONDS, numpy.sin(2 * numpy.pi * TONE_HZ * time) * TONE_LEVEL, 0)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(AUDIO_RATE)
        out.writeframes((numpy.tile(one, seconds) * 32767).astype("<i2").tobytes())


def make_clip(directory: Path, codec: str, seconds: int, width: int = WIDTH, height: int = HEIGHT,
              first: int = 0, key_interval: int = KEY_INTERVAL, bit_rate: str = BIT_RATE) -> Clip:
    """Encodes a clip of whole seconds, its first picture having the number `first`."""
    stem = f"{codec}-{seconds}-{width}x{height}-{first}-{key_interval}-{bit_rate}"
    sound, path = directory / f"{stem}.wav", directory / f"{stem}.mkv"
    _write_sound(sound, seconds)
    command = (
        f"ffmpeg -v error -y -f rawvideo -pix_fmt gray -s {width}x{height} -r {FRAME_RATE} -i - -i {sound} "
        f"-pix_fmt yuv420p -g {key_interval} -c:v {VIDEO_ENCODERS[codec]} -b:v {bit_rate} "
        f"-c:a libopus -b:a 48k -frame_duration 20 {path}").split()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as encoder:
        noise = numpy.random.default_rng(1)
        for number in range(first, first + seconds * FRAME_RATE):
            encoder.stdin.write(luma(number, width, height, noise).tobytes())
        _, errors = encoder.communicate(timeout=ENCODE_LIMIT_SECONDS)
    assert encoder.returncode == 0, errors.decode(errors="replace")[-800:]
    units: dict[str, list[Unit]] = {"video": [], "audio": []}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is not None and packet.size:
                of_kind = units[packet.stream.type]
                # Not the container's times: Matroska rounds them and FFmpeg 5.1 shifts one kind against the other.
                is_video, count = packet.stream.type == "video", len(of_kind)
                at = count / FRAME_RATE if is_video else count * OPUS_SECONDS - OPUS_DELAY
                of_kind.append(Unit(at, bytes(packet), packet.is_keyframe))
    assert len(units["video"]) == seconds * FRAME_RATE, len(units["video"])
    return Clip(codec, path, units["video"], units["audio"])
