"""PyAV as a player of RTSP: a program of its own, which has the time to read. Decodes what comes while it comes.

    pyav_rtsp.py URL FILE LIMIT

Ends with the stream; writes what it saw (a Recorded, pickled) to the file.
"""

import pickle
import sys
from pathlib import Path

import av

from recorded_media import Recorded


def main(url: str, path: str, limit: str) -> None:
    seen = Recorded()
    with av.open(url, options={"rtsp_transport": "tcp"}, timeout=float(limit)) as source:
        for frame in source.decode():
            seen.take(frame, frame.time)
    Path(path).write_bytes(pickle.dumps(seen))


main(*sys.argv[1:])
