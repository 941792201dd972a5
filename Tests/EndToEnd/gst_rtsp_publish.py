"""Publishes a test picture and ticks by GStreamer's rtspclientsink until it is terminated; run by Debian's python3.

    gst_rtsp_publish.py URL tcp|udp VIDEO [savp]     VIDEO: H264 or VP8; savp: by SRTP
"""

import signal
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

ENCODERS = {
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=800 key-int-max=30",
    "VP8": "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30 target-bitrate=800000",
}


def main() -> None:
    url, transport, video, *profile = sys.argv[1:]
    Gst.init(None)
    pipeline = Gst.parse_launch(
        f"rtspclientsink name=sink location={url} protocols={transport} tls-validation-flags=0 "
        f"profiles={profile[0] if profile else 'avp'} "
        f"videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! {ENCODERS[video]} ! queue ! sink. "
        "audiotestsrc is-live=true wave=ticks ! audioconvert ! audio/x-raw,rate=48000,channels=2 ! opusenc ! queue ! sink.")
    loop = GLib.MainLoop()
    problems = []

    def on_message(_, message) -> None:
        if message.type == Gst.MessageType.ERROR:
            problems.append(message.parse_error())
            loop.quit()

    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect("message", on_message)
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGTERM, loop.quit)
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    pipeline.set_state(Gst.State.NULL)
    if problems:
        sys.exit(f"{problems[0][0]}: {problems[0][1]}")


if __name__ == "__main__":
    main()
