"""GStreamer as a player of HLS: a program of its own, for the python3 of Debian. Counts what is decoded, in JSON.

    gst_hls.py uridecodebin|uridecodebin3 URL SECONDS LIMIT

uridecodebin plays HLS by hlsdemux, uridecodebin3 by hlsdemux2.
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

FRAME_RATE = 30


class Player:
    def __init__(self, element: str, url: str, seconds: float, limit: float):
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline.new(None)
        self.source = Gst.ElementFactory.make(element)
        self.source.set_property("uri", url)
        self.pipeline.add(self.source)
        self.source.connect("pad-added", self.on_pad)
        self.source.connect("deep-element-added", self.on_element)
        self.facts = {"pictures": 0, "sound": 0.0, "demuxers": [], "problem": None}
        self.seconds = seconds
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)
        bus.connect("message::eos", lambda *_: self.loop.quit())
        GLib.timeout_add(round(limit * 1000), self.on_limit)

    def on_element(self, _bin, _child, element) -> None:
        if "hlsdemux" in element.get_factory().get_name():
            self.facts["demuxers"].append(element.get_factory().get_name())

    def on_pad(self, _source, pad) -> None:
        kind = (pad.get_current_caps() or pad.query_caps(None)).get_structure(0).get_name()
        sink = Gst.ElementFactory.make("fakesink")
        sink.set_property("sync", False)
        sink.set_property("async", False)
        sink.set_property("signal-handoffs", True)
        sink.connect("handoff", self.on_picture if kind.startswith("video") else self.on_sound)
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    def on_picture(self, *_) -> None:
        self.facts["pictures"] += 1
        self.look()

    def on_sound(self, _sink, buffer, _pad) -> None:
        self.facts["sound"] += buffer.duration / Gst.SECOND if buffer.duration != Gst.CLOCK_TIME_NONE else 0
        self.look()

    def look(self) -> None:
        if self.facts["pictures"] >= self.seconds * FRAME_RATE and self.facts["sound"] >= self.seconds:
            self.loop.quit()

    def on_error(self, _bus, message) -> None:
        error, _ = message.parse_error()
        self.facts["problem"] = error.message
        self.loop.quit()

    def on_limit(self) -> bool:
        self.facts["problem"] = "time is over"
        self.loop.quit()
        return False

    def run(self) -> None:
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)
        print(json.dumps(self.facts), flush=True)


Gst.init(None)
Player(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])).run()
