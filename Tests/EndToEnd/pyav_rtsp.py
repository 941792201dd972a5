"""PyAV as a player of RTSP: a program of its own, which has the time to read. Decodes what comes while it comes.

    pyav_rtsp.py URL FILE LIMIT [udp]

By UDP it takes pictures only: FFmpeg 8 gathers the fragments of an AV1 picture in the packet that it gives out next, and a
packet of sound between them, which comes from another socket, takes their place ("Unexpected fragment continuation"). In
connections Weir sends no sound between them.
Ends with the stream; writes what it saw (a Recorded, pickled) to the file.
"""

import pickle
import sys
from pathlib import Path

import av

from recorded_media import Recorded


def main(url: str, path: str, limit: str, transport: str = "tcp") -> None:
    seen = Recorded()
    options = {"rtsp_transport": transport}
    if transport == "udp":
        options["allowed_media_types"] = "video"
    with av.open(url, options=options, timeout=float(limit)) as source:
        # First all of it, so that decoding does not keep datagrams waiting.
        packets = source.demux() if transport == "tcp" else list(source.demux())
        for packet in packets:
            for frame in packet.decode():
                seen.take(frame, frame.time)
    Path(path).write_bytes(pickle.dumps(seen))


main(*sys.argv[1:])
