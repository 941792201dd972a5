"""A camera: gst-rtsp-server, a program of its own, for the python3 of Debian (camera.py starts it).

Serves rtsp://127.0.0.1:PORT/live with H264 (key frame every second) and Opus, G.711 or AAC. Writes a JSON object to standard
output at every event: ready with its port, every client and every request. SIGTERM ends it.
"""

import argparse
import json
import os
import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

VIDEO = ("videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1 "
         "! x264enc tune=zerolatency speed-preset=ultrafast bitrate=400 key-int-max=15 "
         "! video/x-h264,profile=constrained-baseline ! rtph264pay name=pay0 pt=96 config-interval=1")
SOUNDS = {
    "opus": "audiotestsrc is-live=true freq=440 volume=0.3 ! audio/x-raw,rate=48000,channels=2 ! opusenc "
            "! rtpopuspay name=pay1 pt=97",
    "pcmu": "audiotestsrc is-live=true freq=440 volume=0.3 ! audio/x-raw,rate=8000,channels=1 ! mulawenc "
            "! rtppcmupay name=pay1",
    "aac": "audiotestsrc is-live=true freq=440 volume=0.3 ! audio/x-raw,rate=48000,channels=2 ! avenc_aac "
           "! rtpmp4gpay name=pay1 pt=97",
}
TRANSPORTS = {
    "tcp": GstRtsp.RTSPLowerTrans.TCP, "udp": GstRtsp.RTSPLowerTrans.UDP,
    "both": GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP,
}


def say(**facts) -> None:
    os.write(sys.stdout.fileno(), (json.dumps(facts) + "\n").encode())


def allow_viewers(factory) -> GstRtspServer.RTSPToken:
    """A server with any RTSPAuth asks for rights; the token of who has them."""
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", GstRtspServer.RTSP_PERM_MEDIA_FACTORY_ACCESS, True)
    permissions.add_permission_for_role("viewer", GstRtspServer.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, True)
    factory.set_permissions(permissions)
    return token


def log_in(server: GstRtspServer.RTSPServer, factory, user: str, password: str, method: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    token = allow_viewers(factory)
    if method == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--sound", choices=[*SOUNDS, "none"], default="opus")
    parser.add_argument("--transport", choices=TRANSPORTS, default="both")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--method", choices=["digest", "basic"], default="digest")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="PEM files: rtsps")
    options = parser.parse_args()
    Gst.init(None)
    loop = GLib.MainLoop()
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {VIDEO} {SOUNDS.get(options.sound, '')} )")
    factory.set_shared(True)
    factory.set_protocols(TRANSPORTS[options.transport])
    server.get_mount_points().add_factory("/live", factory)
    if options.user:
        log_in(server, factory, options.user, options.password, options.method)

    if options.tls:
        auth = GstRtspServer.RTSPAuth()
        auth.set_default_token(allow_viewers(factory))
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*options.tls))
        server.set_auth(auth)

    def on_client(_server, client) -> None:
        say(event="client")
        client.connect("play-request", lambda _c, _context: say(event="play"))
        client.connect("teardown-request", lambda _c, _context: say(event="teardown"))
        client.connect("closed", lambda _c: say(event="closed"))

    server.connect("client-connected", on_client)
    for number in (signal.SIGTERM, signal.SIGINT):
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, loop.quit)
    if server.attach(None) == 0:
        say(event="error", text=f"port {options.port} cannot be bound")
        sys.exit(1)
    say(event="ready", port=server.get_bound_port())
    loop.run()


if __name__ == "__main__":
    main()
