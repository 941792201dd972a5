import SDP
import Wire

/// The time that a `Range` header names (RFC 2326 §3.5–3.7, §12.29).
package enum RTSPRange: Sendable, Hashable {
    /// A moment of normal play time.
    package enum Moment: Sendable, Hashable {
        case now
        case time(Interval)
    }

    /// Normal play time. Without a start, the end counts from the end of the presentation.
    case npt(from: Moment?, to: Moment?)
    /// Absolute time, as written: `19961108T143720.25Z`.
    case clock(from: String, to: String?)
    /// Time codes, as written.
    case smpte(String)

    /// From what is live now, without end.
    package static let live = RTSPRange.npt(from: .now, to: nil)

    /// `nil` for a range that cannot be read, or of another unit.
    package init?(_ value: String) {
        // `;time=` tells when the range is to begin; what is live has no other time than now.
        let (range, _) = Substring(value).halves(at: UInt8(ascii: ";"))
        let (unit, what) = range.trimmed.halves(at: UInt8(ascii: "="))
        guard let what = what?.trimmed, !what.isEmpty else { return nil }
        switch unit.trimmed.asciiLowercased {
        case "npt":
            let (first, last) = what.halves(at: UInt8(ascii: "-"))
            guard let last = last?.trimmed else { return nil }
            var from: Moment?
            var to: Moment?
            if !first.trimmed.isEmpty {
                guard let moment = Self.moment(first.trimmed) else { return nil }
                from = moment
            }
            if !last.isEmpty {
                guard let moment = Self.moment(last) else { return nil }
                to = moment
            }
            guard from != nil || to != nil else { return nil }
            self = .npt(from: from, to: to)
        case "clock":
            let (first, last) = what.halves(at: UInt8(ascii: "-"))
            guard let last, Self.isUTC(first) else { return nil }
            guard last.isEmpty || Self.isUTC(last) else { return nil }
            self = .clock(from: String(first), to: last.isEmpty ? nil : String(last))
        case let name where name == "smpte" || name.utf8.starts(with: "smpte-".utf8):
            self = .smpte(String(what))
        default: return nil
        }
    }

    /// Seconds and minutes below 60 in `h:m:s`; more hours than any presentation has are refused.
    private static func moment(_ text: Substring) -> Moment? {
        if text.equalsIgnoringCase("now") { return .now }
        let parts = text.split(separator: ":", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 1 || parts.count == 3, let last = parts.last else { return nil }
        guard let seconds = nanoseconds(last) else { return nil }
        guard parts.count == 3 else { return .time(Interval(nanoseconds: seconds)) }
        guard let hours: Int64 = parts[0].decimal(), hours < 100_000, let minutes: Int64 = parts[1].decimal(),
            minutes < 60, seconds < 60_000_000_000
        else { return nil }
        return .time(.seconds(hours * 3600 + minutes * 60) + Interval(nanoseconds: seconds))
    }

    /// Decimal seconds; digits behind the ninth are left out.
    private static func nanoseconds(_ text: Substring) -> Int64? {
        let (whole, fraction) = text.halves(at: UInt8(ascii: "."))
        guard let seconds: Int64 = whole.decimal(), seconds < 1_000_000_000 else { return nil }
        var nanoseconds: Int64 = 0
        if let fraction, !fraction.isEmpty {
            guard fraction.utf8.allSatisfy(\.isDigit) else { return nil }
            var unit: Int64 = 100_000_000
            for digit in fraction.utf8.prefix(9) {
                nanoseconds += Int64(digit - 0x30) * unit
                unit /= 10
            }
        }
        return seconds * 1_000_000_000 + nanoseconds
    }

    /// `19961108T143720.25Z`
    private static func isUTC(_ text: Substring) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.count >= 16, bytes.count <= 32, bytes[8] == UInt8(ascii: "T"), bytes.last == UInt8(ascii: "Z")
        else { return false }
        return bytes[..<8].allSatisfy(\.isDigit) && bytes[9..<15].allSatisfy(\.isDigit)
            && (bytes.count == 16
                || bytes[15] == UInt8(ascii: ".") && bytes[16..<(bytes.count - 1)].allSatisfy(\.isDigit))
    }

    package var text: String {
        switch self {
        case .npt(let from, let to):
            "npt=\(from.map(Self.text) ?? "")-\(to.map(Self.text) ?? "")"
        case .clock(let from, let to): "clock=\(from)-\(to ?? "")"
        case .smpte(let what): "smpte=\(what)"
        }
    }

    private static func text(_ moment: Moment) -> String {
        guard case .time(let time) = moment else { return "now" }
        let milliseconds = max(0, time.milliseconds)
        let fraction = String(milliseconds % 1000)
        return "\(milliseconds / 1000)." + String(repeating: "0", count: 3 - fraction.utf8.count) + fraction
    }
}

/// One stream of an `RTP-Info` header (RFC 2326 §12.33, RFC 7826 §18.45): its first packet, and the RTP time that
/// belongs to the start of the `Range`.
package struct RTPInfo: Sendable, Hashable {
    package var url: String
    package var sequence: UInt16?
    package var rtpTime: UInt32?
    package var ssrc: UInt32?

    package init(url: String, sequence: UInt16? = nil, rtpTime: UInt32? = nil, ssrc: UInt32? = nil) {
        self.url = url
        self.sequence = sequence
        self.rtpTime = rtpTime
        self.ssrc = ssrc
    }

    /// Streams that one header may name.
    static let maxStreams = 16

    /// The streams of a header; what cannot be read is left out.
    package static func parse(_ value: String) -> [RTPInfo] {
        var out: [RTPInfo] = []
        for part in Substring(value).listed(by: UInt8(ascii: ","), limit: maxStreams) {
            // RFC 7826 puts several sources behind one URL: `url="…" ssrc=0A13:seq=1;rtptime=2`.
            var info: RTPInfo?
            for field in part.listed(by: UInt8(ascii: ";"), limit: 8).flatMap(\.fields) {
                let (name, value) = field.halves(at: UInt8(ascii: "="))
                guard let value else { continue }
                switch name.asciiLowercased {
                case "url": info = RTPInfo(url: value.trimmed.unquoted)
                case "seq": info?.sequence = value.trimmed.decimal()
                case "rtptime": info?.rtpTime = value.trimmed.decimal()
                case "ssrc":
                    let (ssrc, rest) = value.halves(at: UInt8(ascii: ":"))
                    info?.ssrc = UInt32(ssrc, radix: 16)
                    if let rest, case let (name, value?) = rest.halves(at: UInt8(ascii: "=")), name == "seq" {
                        info?.sequence = value.trimmed.decimal()
                    }
                default: break
                }
            }
            if let info { out.append(info) }
        }
        return out
    }

    package func text(_ version: RTSPVersion) -> String {
        var parameters: [String] = []
        if let sequence { parameters.append("seq=\(sequence)") }
        if let rtpTime { parameters.append("rtptime=\(rtpTime)") }
        switch version {
        case .v1: return (["url=\(url)"] + parameters).joined(separator: ";")
        case .v2:
            let head = "url=\(url.quoted) ssrc=\(Hex.string(ssrc ?? 0))"
            return parameters.isEmpty ? head : head + ":" + parameters.joined(separator: ";")
        }
    }
}

/// A `Session` header (RFC 2326 §12.37): an opaque identifier, and after how long without a sign of life the server
/// forgets it.
package struct RTSPSessionHeader: Sendable, Hashable {
    /// What a server takes where nothing is said.
    package static let standardTimeout = 60
    private static let maxLength = 256

    package var id: String
    /// Seconds; `nil` where nothing is said.
    package var timeout: Int?

    package init(id: String, timeout: Int? = nil) {
        self.id = id
        self.timeout = timeout
    }

    package init?(_ value: String) {
        let parts = Substring(value).listed(by: UInt8(ascii: ";"), limit: 8)
        guard let id = parts.first, id.utf8.count <= Self.maxLength else { return nil }
        self.id = String(id)
        for part in parts.dropFirst() {
            let (name, value) = part.halves(at: UInt8(ascii: "="))
            guard name.trimmed.equalsIgnoringCase("timeout"), let seconds: Int = value?.trimmed.decimal(), seconds > 0
            else { continue }
            timeout = min(seconds, 86_400)
        }
    }

    package var text: String { timeout.map { "\(id);timeout=\($0)" } ?? id }
}
