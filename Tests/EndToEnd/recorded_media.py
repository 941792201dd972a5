"""What is in a recorded file: the numbers of its pictures and the times of its flashes and beeps, decoded by FFmpeg."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy

from numbered_clip import AUDIO_RATE, TONE_LEVEL, is_flash, read_number

# A beep begins where the sound passes this level after so much silence.
BEEP_LEVEL = TONE_LEVEL / 5
SILENCE_SECONDS = 0.4


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
        """Seconds between the pieces of sound where they do not follow each other."""
        pairs = zip(self.sound, self.sound[1:])
        return [after[0] - before[0] - before[1] for before, after in pairs if abs(after[0] - before[0] - before[1]) > 0.005]

    @property
    def seconds(self) -> float:
        """From the first picture to the end of the last, which lasts as long as the others do."""
        times = [picture.time for picture in self.pictures]
        return times[-1] - times[0] + statistics.median(b - a for a, b in zip(times, times[1:]))


def read_back(path: Path) -> Recorded:
    """Decodes the file: pictures in the order and at the times in which they are shown, sound at its times."""
    out = Recorded()
    silent = SILENCE_SECONDS
    with av.open(str(path)) as container:
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                picture = frame.to_ndarray(format="gray")
                out.pictures.append(
                    Shown(frame.time, read_number(picture), is_flash(picture), (frame.width, frame.height)))
                continue
            samples = numpy.abs(frame.to_ndarray().reshape(-1, frame.samples if frame.format.is_planar else 1))
            loud = (samples.max(axis=0) if frame.format.is_planar else
                    numpy.abs(frame.to_ndarray().reshape(frame.samples, -1)).max(axis=1)) > BEEP_LEVEL
            out.sound.append((frame.time, frame.samples / frame.sample_rate))
            where = numpy.flatnonzero(loud)
            if where.size:
                if silent + where[0] / AUDIO_RATE >= SILENCE_SECONDS:
                    out.beeps.append(frame.time + int(where[0]) / frame.sample_rate)
                silent = (frame.samples - 1 - int(where[-1])) / AUDIO_RATE
            else:
                silent += frame.samples / AUDIO_RATE
    return out
