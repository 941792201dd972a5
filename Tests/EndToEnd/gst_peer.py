"""A GStreamer webrtcbin as WHIP publisher or WHEP player: a program of its own, for the python3 of Debian.

It needs Debian's python3-gi, so it cannot live in the virtual environment of the tests; gstreamer.py starts it.
Writes a JSON object to standard output at every event and twice a second; SIGTERM ends it with a DELETE.
"""

import argparse
import array
import collections
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

from sdp_shapes import SHAPES, shaped, with_mids_of  # noqa: E402

HTTP_LIMIT_SECONDS = 5
REPORT_MILLISECONDS = 200
FRAME_RATE = 15
THUMBNAIL_STEP = 97  # every so many pixels are compared with those of an earlier picture
SIZE = "width=320,height=240"

VIDEO_PUBLISHERS = {
    "VP8": "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=3000 target-bitrate=400000 error-resilient=1 "
           "! rtpvp8pay pt=96 picture-id-mode=2 mtu=1200 "
           "! application/x-rtp,media=video,encoding-name=VP8,payload=96",
    "VP9": "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=3000 target-bitrate=400000 error-resilient=1 "
           "! rtpvp9pay pt=96 picture-id-mode=2 mtu=1200 "
           "! application/x-rtp,media=video,encoding-name=VP9,payload=96",
    "H264": "openh264enc complexity=low bitrate=400000 gop-size=3000 ! h264parse config-interval=-1 "
            "! rtph264pay pt=96 aggregate-mode=zero-latency mtu=1200 "
            "! application/x-rtp,media=video,encoding-name=H264,payload=96",
    "H265": "x265enc tune=zerolatency speed-preset=ultrafast bitrate=400 key-int-max=3000 log-level=error "
            "! video/x-h265,profile=main ! h265parse config-interval=-1 "
            "! rtph265pay pt=96 config-interval=-1 aggregate-mode=zero-latency mtu=1200 "
            "! application/x-rtp,media=video,encoding-name=H265,payload=96",
    # As OBS does with x264: key frames at a fixed interval (here 10 s), and requests for one are not heard.
    "H264-fixed": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=400 key-int-max=150 "
                  "! video/x-h264,profile=constrained-baseline ! h264parse config-interval=-1 "
                  "! identity name=deaf ! rtph264pay pt=96 aggregate-mode=zero-latency mtu=1200 "
                  "! application/x-rtp,media=video,encoding-name=H264,payload=96",
}
AUDIO_PUBLISHER = (
    "audiotestsrc is-live=true freq=440 volume=0.3 ! audio/x-raw,rate=48000,channels=2 ! opusenc "
    "! rtpopuspay pt=111 ! application/x-rtp,media=audio,encoding-name=OPUS,payload=111,encoding-params=(string)2")
# No decodebin: in a parsed bin its late link leaves the converter's sink open, which would become the sink of the bin.
DECODERS = {
    "VP8": "rtpvp8depay ! vp8dec", "VP9": "rtpvp9depay ! vp9dec", "H264": "rtph264depay ! h264parse ! openh264dec",
    # The probe is on what the depayloader makes, before anything can be thrown away: see Player.on_unit.
    "H265": "rtph265depay ! video/x-h265,stream-format=byte-stream,alignment=au ! identity name=units silent=true "
            "! h265parse ! libde265dec",
    "OPUS": "rtpopusdepay ! opusdec",
}
VIDEO_RECEIVED = {
    "VP8": "encoding-name=VP8,payload=96", "VP9": "encoding-name=VP9,payload=98",
    "H264": "encoding-name=H264,payload=102,packetization-mode=(string)1,profile-level-id=(string)42e01f",
    "H265": "encoding-name=H265,payload=104",
}


def say(**facts) -> None:
    # One write: callbacks of GStreamer's threads tell facts, too, and print writes the line's end by itself.
    os.write(sys.stdout.fileno(), (json.dumps(facts) + "\n").encode())


class Peer:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.loop = GLib.MainLoop()
        self.resource = None
        self.facts = {"frames": 0, "mean": 0.0, "variance": 0.0, "moved": 0, "peak": 0, "sent": 0, "keyUnits": 0}
        self.thumbnail = None
        self.build()

    def build(self) -> None:
        raise NotImplementedError

    # Signalling

    def run(self) -> None:
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)
        self.webrtc.connect("notify::connection-state", self.on_connection_state)
        self.webrtc.connect("notify::ice-gathering-state", self.on_gathering)
        self.webrtc.connect("on-negotiation-needed", self.on_negotiation_needed)
        for number in (signal.SIGTERM, signal.SIGINT):
            GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, self.end)
        GLib.timeout_add(REPORT_MILLISECONDS, self.report)
        self.begin = time.monotonic()
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)
        if self.resource:
            with urllib.request.urlopen(
                    urllib.request.Request(self.resource, method="DELETE"), timeout=HTTP_LIMIT_SECONDS) as response:
                say(event="deleted", status=response.status)

    def end(self) -> bool:
        self.loop.quit()
        return False

    def report(self) -> bool:
        say(event="facts", **self.facts, at=time.monotonic() - self.begin)
        return True

    def on_error(self, _bus, message) -> None:
        error, detail = message.parse_error()
        self.fail(f"{error.message}: {detail}")

    def fail(self, text: str) -> bool:
        say(event="error", text=text)
        self.loop.quit()
        return False

    def on_connection_state(self, webrtc, _property) -> None:
        say(event="connection", state=webrtc.props.connection_state.value_nick)

    def on_negotiation_needed(self, webrtc) -> None:
        if self.resource is None and not getattr(self, "negotiating", False):
            self.negotiating = True
            self.before_offer()
            webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.on_offer))

    def before_offer(self) -> None:
        pass

    def on_offer(self, promise) -> None:
        reply = promise.get_reply()  # The description lives in it: it must stay until the call is over.
        self.webrtc.emit("set-local-description", reply.get_value("offer"), None)

    def on_gathering(self, webrtc, _property) -> None:
        if webrtc.props.ice_gathering_state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.post)

    def post(self) -> bool:
        local = offer = self.webrtc.props.local_description.sdp.as_text()
        if self.options.shape:
            offer = shaped(local, self.options.shape)
        say(event="offer", sdp=offer)
        request = urllib.request.Request(
            self.options.url, data=offer.encode(), method="POST", headers={"Content-Type": "application/sdp"})
        try:
            with urllib.request.urlopen(request, timeout=HTTP_LIMIT_SECONDS) as response:
                answer = response.read().decode()
                self.resource = urllib.parse.urljoin(self.options.url, response.headers["Location"])
                say(event="answer", status=response.status, sdp=answer)
        except urllib.error.HTTPError as error:
            return self.fail(f"{error.code}: {error.read().decode()}")
        except OSError as error:
            return self.fail(f"{self.options.url}: {error}")
        if self.options.shape:
            answer = with_mids_of(answer, local)
        _, message = GstSdp.SDPMessage.new_from_text(answer)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.webrtc.emit(
            "set-remote-description", description, Gst.Promise.new_with_change_func(self.on_answer_applied))
        return False

    def on_answer_applied(self, promise) -> None:
        reply = promise.get_reply()
        if reply is not None and reply.has_field("error"):
            self.fail(f"answer refused: {reply.get_value('error').message}")


class Publisher(Peer):
    last_time = None

    def build(self) -> None:
        codec = self.options.codec
        bundle = "none" if self.options.shape == "bare" else "max-bundle"
        self.pipeline = Gst.parse_launch(
            f"webrtcbin name=webrtc bundle-policy={bundle} "
            f"{AUDIO_PUBLISHER} ! webrtc. "
            f"videotestsrc is-live=true pattern=ball background-color=0xff406080 ! video/x-raw,{SIZE},"
            f"framerate={FRAME_RATE}/1 ! videoconvert ! video/x-raw,format=I420 ! queue "
            f"! {VIDEO_PUBLISHERS[codec]} ! identity name=counter silent=true ! webrtc.")
        self.webrtc = self.pipeline.get_by_name("webrtc")
        counter = self.pipeline.get_by_name("counter").get_static_pad("src")
        counter.add_probe(Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST, self.count)
        counter.add_probe(Gst.PadProbeType.EVENT_UPSTREAM, self.upstream)
        if deaf := self.pipeline.get_by_name("deaf"):
            deaf.get_static_pad("src").add_probe(Gst.PadProbeType.EVENT_UPSTREAM, self.drop_key_requests)

    def before_offer(self) -> None:
        index = 0
        while transceiver := self.webrtc.emit("get-transceiver", index):
            transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
            transceiver.set_property("do-nack", not self.options.no_nack)
            index += 1

    def count(self, _pad, info):
        """Counts pictures: all packets of one have the same time."""
        buffer = info.get_buffer() or info.get_buffer_list().get(0)
        if buffer.pts != self.last_time:
            self.last_time = buffer.pts
            self.facts["sent"] += 1
        return Gst.PadProbeReturn.OK

    def upstream(self, _pad, info):
        structure = info.get_event().get_structure()
        if structure and structure.get_name() == "GstForceKeyUnit":
            self.facts["keyUnits"] += 1
        return Gst.PadProbeReturn.OK

    def drop_key_requests(self, _pad, info):
        structure = info.get_event().get_structure()
        if structure and structure.get_name() == "GstForceKeyUnit":
            return Gst.PadProbeReturn.DROP
        return Gst.PadProbeReturn.OK


class Player(Peer):
    def build(self) -> None:
        self.pipeline = Gst.Pipeline()
        self.webrtc = Gst.parse_launch("webrtcbin bundle-policy=max-bundle")
        self.pipeline.add(self.webrtc)
        self.webrtc.connect("pad-added", self.on_pad)
        receive = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        wanted = [
            "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,encoding-params=(string)2",
            f"application/x-rtp,media=video,{VIDEO_RECEIVED[self.options.codec]},clock-rate=90000",
        ]
        for caps in wanted:
            transceiver = self.webrtc.emit("add-transceiver", receive, Gst.Caps.from_string(caps))
            transceiver.set_property("do-nack", not self.options.no_nack)

    def on_pad(self, _webrtc, pad) -> None:
        if pad.direction != Gst.PadDirection.SRC:
            return
        caps = pad.get_current_caps().get_structure(0)
        video = caps.get_string("media") == "video"
        decoder = DECODERS[caps.get_string("encoding-name")]
        tail = "videoconvert ! video/x-raw,format=GRAY8" if video else "audioconvert ! audio/x-raw,format=S16LE"
        chain = Gst.parse_bin_from_description(
            f"queue ! {decoder} ! {tail} "
            "! appsink name=sink emit-signals=true sync=false max-buffers=8 drop=true", True)
        if units := chain.get_by_name("units"):
            units.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, self.on_unit)
        chain.get_by_name("sink").connect("new-sample", self.on_video if video else self.on_audio)
        self.pipeline.add(chain)
        chain.sync_state_with_parent()
        pad.link(chain.get_static_pad("sink"))

    def on_unit(self, _pad, info):
        """Counts access units and the key frames among them; the depayloader marks all others as dependent."""
        is_key = not info.get_buffer().has_flags(Gst.BufferFlags.DELTA_UNIT)
        self.facts.setdefault("keyFirst", is_key)
        self.facts["units"] = self.facts.get("units", 0) + 1
        self.facts["keys"] = self.facts.get("keys", 0) + is_key
        return Gst.PadProbeReturn.OK

    def on_video(self, sink):
        sample = sink.emit("pull-sample")
        self.facts["frames"] += 1
        if self.facts["frames"] % 5 == 0:
            data = sample.get_buffer().extract_dup(0, sample.get_buffer().get_size())
            histogram = collections.Counter(data)
            mean = sum(value * count for value, count in histogram.items()) / len(data)
            self.facts["mean"] = mean
            self.facts["variance"] = sum(
                (value - mean) ** 2 * count for value, count in histogram.items()) / len(data)
            thumbnail = data[::THUMBNAIL_STEP]
            if self.thumbnail:
                self.facts["moved"] = max(
                    self.facts["moved"], sum(abs(a - b) > 8 for a, b in zip(thumbnail, self.thumbnail)))
            self.thumbnail = thumbnail
        return Gst.FlowReturn.OK

    def on_audio(self, sink):
        buffer = sink.emit("pull-sample").get_buffer()
        samples = array.array("h", buffer.extract_dup(0, buffer.get_size()))
        self.facts["peak"] = max(self.facts["peak"], max(map(abs, samples), default=0))
        return Gst.FlowReturn.OK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["publish", "play"])
    parser.add_argument("url")
    parser.add_argument("--codec", default="VP8")
    parser.add_argument("--no-nack", action="store_true", help="offers no retransmission")
    parser.add_argument("--shape", choices=SHAPES, help="posts an offer as another program writes it")
    options = parser.parse_args()
    Gst.init(None)
    (Publisher if options.role == "publish" else Player)(options).run()


if __name__ == "__main__":
    sys.exit(main())
