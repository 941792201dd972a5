"""GStreamer as a player of RTSP: a program of its own, for the python3 of Debian. Writes what it decodes into a file.

    gst_rtsp.py URL FILE.mkv LIMIT [udp]

Ends with the stream; says in JSON what went wrong, if anything did, and how many of its streams were decrypted (SRTP).
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402


class Player:
    def __init__(self, url: str, path: str, limit: float, by_udp: bool = False):
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline.new(None)
        self.source = Gst.ElementFactory.make("rtspsrc")
        self.source.set_property("location", url)
        # UDP, through HTTP, or in the connection.
        self.source.set_property("protocols", 1 if by_udp else 0x14 if url.startswith("rtsph") else 4)
        self.source.set_property("tls-validation-flags", 0)
        self.source.set_property("latency", 200)
        self.mux = Gst.ElementFactory.make("matroskamux")
        self.sink = Gst.ElementFactory.make("filesink")
        self.sink.set_property("location", path)
        self.sink.set_property("async", False)
        for element in (self.source, self.mux, self.sink):
            self.pipeline.add(element)
        self.mux.link(self.sink)
        # Both from the beginning: it writes its head when it knows what is in each.
        self.inputs = {kind: self.mux.request_pad_simple(f"{kind}_%u") for kind in ("video", "audio")}
        self.problem: str | None = None
        self.decrypted = 0
        self.source.connect("pad-added", self.on_stream)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)
        bus.connect("message::eos", lambda *_: self.loop.quit())
        GLib.timeout_add(round(limit * 1000), self.on_limit)

    def on_stream(self, _source, pad) -> None:
        decode = Gst.ElementFactory.make("decodebin")
        self.pipeline.add(decode)
        decode.connect("pad-added", self.on_frames)
        decode.sync_state_with_parent()
        pad.link(decode.get_static_pad("sink"))

    def on_frames(self, _decode, pad) -> None:
        kind = (pad.get_current_caps() or pad.query_caps(None)).get_structure(0).get_name().split("/")[0]
        form = "video/x-raw,format=I420" if kind == "video" else "audio/x-raw,format=S16LE"
        convert = Gst.parse_bin_from_description(f"queue ! {kind}convert ! capsfilter caps={form}", True)
        self.pipeline.add(convert)
        convert.sync_state_with_parent()
        pad.link(convert.get_static_pad("sink"))
        convert.get_static_pad("src").link(self.inputs[kind])

    def on_error(self, _bus, message) -> None:
        error, _ = message.parse_error()
        # The server closes the connection at the end of a live stream.
        if error.matches(Gst.ResourceError.quark(), Gst.ResourceError.READ) and self.problem is None:
            self.pipeline.send_event(Gst.Event.new_eos())
            return
        self.problem = f"{message.src.get_name()}: {error.message}"
        self.loop.quit()

    def on_limit(self) -> bool:
        self.problem = "time is over"
        self.loop.quit()
        return False

    def run(self) -> None:
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        # One for each of RTP and RTCP of a stream shares what both need.
        elements = self.source.iterate_all_by_element_factory_name("srtpdec")
        while elements.next()[0] == Gst.IteratorResult.OK:
            self.decrypted += 1
        self.pipeline.set_state(Gst.State.NULL)
        print(json.dumps({"problem": self.problem, "decrypted": self.decrypted}), flush=True)


Gst.init(None)
Player(sys.argv[1], sys.argv[2], float(sys.argv[3]), "udp" in sys.argv[4:]).run()
