"""What is in a recorded file: the numbers of its pictures and the times of its flashes and beeps, decoded by FFmpeg."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy

from numbered_clip import TONE_LEVEL, is_flash, read_number

# A beep begins where the sound passes this level after so much silence.
BEEP_LEVEL = TONE_LEVEL / 5
SILENCE_SECONDS = 0.4
# Pieces of sound follow each other but for the rounding of their times and the correction of clocks.
HOLE_SECONDS = 0.005


@dataclass
class Shown:
    """A picture of the file."""

    time: float
    number: int | None
    flash: bool
    size: tuple[int, int]


@dataclass
class Recorded:
    pictures: list[Shown] = field(default_factory=list)
    # Start and length of each decoded piece of sound, in seconds.
    sound: list[tuple[float, float]] = field(default_factory=list)
    beeps: list[float] = field(default_factory=list)
    # Of the file, by kind: `{"audio": "aac", …}`.
    codecs: dict[str, str] = field(default_factory=dict)
    _silent: float = SILENCE_SECONDS

    @property
    def numbers(self) -> list[int | None]:
        return [picture.number for picture in self.pictures]

    @property
    def flashes(self) -> list[float]:
        """When each flash begins. One that the file begins with may have begun before."""
        pairs = zip(self.pictures, self.pictures[1:])
        return [after.time for before, after in pairs if after.flash and not before.flash]

    @property
    def skews(self) -> list[float]:
        """For each flash by how many seconds its beep comes later; beeps more than half a second away are others."""
        nearest = ((flash, min(self.beeps, key=lambda beep: abs(beep - flash))) for flash in self.flashes)
        return [beep - flash for flash, beep in nearest if abs(beep - flash) < 0.5]

    @property
    def sound_holes(self) -> list[float]:
        """Seconds between the pieces of sound where they do not follow each other; less than zero where they overlap.

        Between the first two: half a piece, since one of which most belongs after the file's zero is put there.
        """
        holes = [after[0] - before[0] - before[1] for before, after in zip(self.sound, self.sound[1:])]
        if holes and -self.sound[0][1] / 2 <= holes[0] < 0:
            holes = holes[1:]
        return [hole for hole in holes if abs(hole) > HOLE_SECONDS]

    @property
    def seconds(self) -> float:
        """From the first picture to the end of the last, which lasts as long as the others do."""
        times = [picture.time for picture in self.pictures]
        return times[-1] - times[0] + statistics.median(b - a for a, b in zip(times, times[1:]))


    def take(self, frame: av.VideoFrame | av.AudioFrame, time: float) -> None:
        """Adds a decoded frame; those of a kind come in the order of their times."""
        if isinstance(frame, av.VideoFrame):
            picture = frame.to_ndarray(format="gray")
            self.pictures.append(Shown(time, read_number(picture), is_flash(picture), (frame.width, frame.height)))
            return
        samples = frame.to_ndarray()
        scale = 32768 if samples.dtype == numpy.int16 else 1
        by_channel = samples if frame.format.is_planar else samples.reshape(frame.samples, -1).T
        loud = numpy.flatnonzero(numpy.abs(by_channel.astype(numpy.float32)).max(axis=0) > BEEP_LEVEL * scale)
        self.sound.append((time, frame.samples / frame.sample_rate))
        if not loud.size:
            self._silent += frame.samples / frame.sample_rate
            return
        if self._silent + loud[0] / frame.sample_rate >= SILENCE_SECONDS:
            self.beeps.append(time + int(loud[0]) / frame.sample_rate)
        self._silent = (frame.samples - 1 - int(loud[-1])) / frame.sample_rate


def read_back(path: Path) -> Recorded:
    """Decodes the file: pictures in the order and at the times in which they are shown, sound at its times."""
    out = Recorded()
    with av.open(str(path)) as container:
        out.codecs = {stream.type: stream.codec_context.name for stream in container.streams}
        for frame in container.decode():
            out.take(frame, frame.time)
    return out
