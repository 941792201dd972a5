import MediaFormats
import SDP
import Wire

extension RTSPServerSession {
    mutating func play(_ current: Current) {
        guard case .play(let name, let query, _)? = role, !tracks.isEmpty else {
            return respond(.methodNotValidInState)
        }
        // One track of several cannot be played alone (RFC 2326 §11.3.5).
        guard trackIndex(of: current) == nil || tracks.count == 1 else { return respond(.onlyAggregateAllowed) }
        if let value = current.request.headers["Range"] {
            guard let range = RTSPRange(value), Self.isLive(range) else { return respond(.invalidRange) }
        }
        // Playing already: a sign of life, or a wish to seek in what is live.
        guard !isStreaming else { return respond(.ok, ["Range": RTSPRange.live.text]) }
        ask(.play(name: name, query: query, tracks: tracks), stage: .play)
    }

    /// What is live can be had from now on, without an end: clients that know no `now` say where they think they are.
    private static func isLive(_ range: RTSPRange) -> Bool {
        guard case .npt(_?, nil) = range else { return false }
        return true
    }

    mutating func respondPlaying(_ current: Current, _ first: [RTSPAnswer.FirstPacket]) {
        let version = current.request.version ?? .v1
        let infos = zip(tracks, first).map { track, first in
            RTPInfo(
                url: ControlURL.join(base: base, control: RTSPDescription.control(track: track.index)),
                sequence: first.sequence, rtpTime: first.rtpTime, ssrc: track.ssrc)
        }
        var headers: RTSPHeaders = ["Range": RTSPRange.live.text]
        if !infos.isEmpty { headers.add("RTP-Info", infos.map { $0.text(version) }.joined(separator: ",")) }
        respond(.ok, headers)
    }
}
