/// One bug report as text for people: what the client says, and what the server knows of its session.
struct BugReport {
    /// What is known of one stream at the time of the report.
    struct Stream: Sendable {
        var title: String
        var peer: PeerID
        /// Of a player: whom it plays.
        var publisher: PeerID?
        var statistics: PeerStatistics?
        /// The client's own last figures, if it was asked for them.
        var clientMetrics: [String] = []
    }

    /// Packets of one peer, and how its counters went on while they were waited for.
    struct Packets: Sendable {
        var title: String
        var capture: MediaCapture?
        var before: PeerStatistics?
        var after: PeerStatistics?
    }

    /// Characters of the client's text.
    static let longestText = 16_384
    /// Bytes of the whole report.
    static let longest = 1 << 20

    var session: [(String, String)]
    var type: String
    var text: String
    var streams: [Stream]
    /// nil: not asked for.
    var packets: [Packets]?
    var journal: [SessionJournal.Entry]
    var forgotten: Int
    let now: Duration

    var rendered: String {
        var out = ""
        for (name, value) in session { out += "\(name): \(JournalText.clean(value))\n" }
        out += "type: \(JournalText.clean(type))\n"
        out += "text:\n"
        for line in Redaction.text(String(text.prefix(Self.longestText))).split(whereSeparator: \.isNewline) {
            out += "    \(line)\n"
        }
        out += "\n== Streams\n"
        if streams.isEmpty { out += "none\n" }
        for stream in streams {
            out += "\(stream.title)\n    \(Self.line(stream.statistics))\n"
            for line in stream.clientMetrics { out += "    client \(line)\n" }
        }
        for packets in packets ?? [] { out += Self.section(packets) }
        out += "\n== Signalling (seconds before the report)\n"
        if forgotten > 0 { out += "\(forgotten) older entries had no room\n" }
        for entry in journal { out += "\(Self.seconds(entry.at - now)) \(entry.lines)\n" }
        guard out.utf8.count > Self.longest else { return out }
        return String(decoding: out.utf8.prefix(Self.longest), as: UTF8.self) + "\ncut\n"
    }

    private static func section(_ packets: Packets) -> String {
        var out = "\n== Packets of \(packets.title)\n"
        out += "before: \(line(packets.before))\nafter:  \(line(packets.after))\n"
        guard let capture = packets.capture else { return out + "no media connection\n" }
        for transport in capture.transports {
            out += "transport: dtls=\(transport.isSecure ? "up" : "not up") path=\(transport.path ?? "none") "
            out += "last heard=\(transport.silence.map { "\(seconds($0)) s ago" } ?? "never")\n"
        }
        for track in capture.tracks {
            out += "track: \(track.title), \(track.packets.count) packets, headers only\n"
            for packet in track.packets {
                out += "    \(seconds(.zero - packet.age)) seq=\(packet.sequence) ts=\(packet.timestamp)"
                out += "\(packet.isMarked ? " M" : "")\(packet.isKeyFrameStart ? " K" : "") +\(packet.payloadBytes) "
                out += "\(hexadecimal(packet.header))\n"
            }
        }
        return out
    }

    private static func line(_ statistics: PeerStatistics?) -> String {
        guard let s = statistics else { return "no counters" }
        return "received \(s.packetsReceived) packets \(s.bytesReceived) bytes, sent \(s.packetsSent) packets "
            + "\(s.bytesSent) bytes, lost \(s.packetsLost), retransmitted \(s.packetsRetransmitted), nacks \(s.nacks), "
            + "plis \(s.plis), jitter \(milliseconds(s.jitterMs)) ms, round trip \(milliseconds(s.roundTripMs)) ms"
    }

    private static func milliseconds(_ value: Double) -> String {
        seconds(.microseconds(Int64(min(max(value, 0), 1e9) * 1_000)) * 1_000)
    }

    /// With three decimals.
    static func seconds(_ duration: Duration) -> String {
        let (whole, rest) = duration.components
        let sign = whole < 0 || rest < 0 ? "-" : ""
        let thousandths = String(rest.magnitude / 1_000_000_000_000_000)
        return "\(sign)\(whole.magnitude).\(String(repeating: "0", count: 3 - thousandths.count))\(thousandths)"
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
