import MediaFormats
import SDP
import Wire

/// A presentation as an RTSP peer describes it: in the body of ANNOUNCE, or of the answer to DESCRIBE.
package struct RTSPDescription: Sendable, Equatable {
    package struct Track: Sendable, Equatable {
        package var description: TrackDescription
        /// `a=control` as written; `nil` where a camera says none.
        package var control: String?
        /// Place of the m-line, from 0.
        package var mLineIndex: Int
        /// Of SRTP, as far as they can be used; nil: there are none.
        package var keys: Keys?

        package init(description: TrackDescription, control: String?, mLineIndex: Int, keys: Keys? = nil) {
            self.description = description
            self.control = control
            self.mLineIndex = mLineIndex
            self.keys = keys
        }
    }

    /// Keys that a peer has written into its description.
    package struct Keys: Sendable, Equatable {
        /// Key of what the peer sends.
        package var master: Result<SRTPMaster, SRTPKeyError>
        /// In `a=crypto`, else as MIKEY.
        package var isSDES: Bool

        package init(master: Result<SRTPMaster, SRTPKeyError>, isSDES: Bool) {
            self.master = master
            self.isSDES = isSDES
        }
    }

    /// What we can receive.
    package var tracks: [Track]
    /// What we cannot: kind and encoding names of the other m-lines, such as `video JPEG`, for people.
    package var unsupported: [String]
    /// `a=control` of the session.
    package var control: String?
    package var range: RTSPRange?

    package init(tracks: [Track], unsupported: [String] = [], control: String? = nil, range: RTSPRange? = nil) {
        self.tracks = tracks
        self.unsupported = unsupported
        self.control = control
        self.range = range
    }
}

// MARK: - Reading

extension RTSPDescription {
    /// m-lines that one presentation may have.
    static let maxMedia = 16
    /// Base64 or hexadecimal text of parameters that is looked at.
    private static let maxParameterText = 16 << 10

    /// Reads a description as cameras and encoders write it: lines that are none are left out, and so are zero bytes at
    /// its end.
    package init(parsing body: [UInt8]) throws(SDPError) {
        var limits = SDPLimits()
        limits.media = Self.maxMedia
        let session = try SessionDescription.parse(Self.cleaned(body), limits: limits)
        control = session.attributes.value("control")
        range = session.attributes.value("range").flatMap { RTSPRange($0) }
        tracks = []
        unsupported = []
        for (index, media) in session.media.enumerated() {
            if let description = Self.track(media) {
                tracks.append(
                    Track(
                        description: description, control: media.attributes.value("control"), mLineIndex: index,
                        keys: Keys(media.attributes) ?? Keys(session.attributes)))
            } else {
                let names = media.offeredFormats().map(\.name)
                let what = names.isEmpty ? media.formats.joined(separator: " ") : names.joined(separator: " ")
                unsupported.append("\(media.media) \(what)")
            }
        }
    }

    private static func cleaned(_ body: [UInt8]) -> String {
        var out: [UInt8] = []
        out.reserveCapacity(body.count + 8)
        var sawLine = false
        for line in body.split(whereSeparator: { $0 == 0x0a || $0 == 0x0d || $0 == 0 }) {
            let line = line.drop { $0 == 0x20 || $0 == 0x09 || $0 == 0xef || $0 == 0xbb || $0 == 0xbf }
            guard line.dropFirst().first == UInt8(ascii: "=") else { continue }
            if !sawLine, line.first != UInt8(ascii: "v") { out += "v=0\n".utf8 }
            sawLine = true
            out += line.map { $0 < 0x20 || $0 == 0x7f ? 0x20 : $0 }
            out.append(0x0a)
        }
        return String(decoding: out, as: UTF8.self)
    }

    private static func track(_ media: MediaDescription) -> TrackDescription? {
        guard let kind = MediaKind(rawValue: media.media.asciiLowercased),
            RTSPTransport.Profile.allCases.contains(where: {
                media.transport.asciiLowercased.utf8.starts(with: $0.rawValue.asciiLowercased.utf8)
            })
        else { return nil }
        for format in media.offeredFormats() {
            if let track = track(format), track.isVideo == (kind == .video) { return track }
        }
        return nil
    }

    private static func track(_ format: RTPCodec) -> TrackDescription? {
        let parameters = FormatParameters(format.fmtp)
        var track: TrackDescription
        switch format.name.asciiLowercased {
        case "h264":
            // 2 sends NAL units in another order than they are decoded in (RFC 6184 §6.4).
            guard parameters.number("packetization-mode", default: 0) != 2 else { return nil }
            track = TrackDescription(codec: .h264)
            track.parameterSets = sets(parameters["sprop-parameter-sets"], .h264)
        case "h265", "hevc":
            guard parameters.number("sprop-max-don-diff", default: 0) == 0 else { return nil }
            track = TrackDescription(codec: .h265)
            track.parameterSets = ["sprop-vps", "sprop-sps", "sprop-pps"].flatMap { sets(parameters[$0], .h265) }
        case "vp8": track = TrackDescription(codec: .vp8)
        case "vp9": track = TrackDescription(codec: .vp9)
        case "av1": track = TrackDescription(codec: .av1)
        case "opus": track = TrackDescription(codec: .opus, channels: 2)
        case "pcmu": track = TrackDescription(codec: .pcmu, channels: format.channels)
        case "pcma": track = TrackDescription(codec: .pcma, channels: format.channels)
        case "g722": track = TrackDescription(codec: .g722, channels: format.channels)
        case "mpeg4-generic":
            guard let aac = aac(format, parameters) else { return nil }
            track = aac
        default: return nil
        }
        // Opus and G.722 count by one clock only, whatever a camera writes; video of another clock is not heard of.
        if track.isVideo || track.codec == .pcmu || track.codec == .pcma { track.clockRate = format.clockRate }
        guard !track.isVideo || track.clockRate == 90_000, (0...8).contains(track.channels) else { return nil }
        track.payloadType = format.payloadType
        track.formatParameters = format.fmtp
        return track
    }

    /// Parameter sets in Base64, of which some encoders write the start codes too.
    private static func sets(_ text: String?, _ codec: Codec) -> [[UInt8]] {
        guard let text, text.utf8.count <= maxParameterText else { return [] }
        var collector = ParameterSetCollector(codec: codec)
        for unit in H264.parameterSets(sprop: text) {
            let plain = unit.drop { $0 == 0 }
            collector.add(plain.count < unit.count && plain.first == 1 ? Array(plain.dropFirst()) : unit)
        }
        return collector.sets
    }

    /// AAC in `AAC-hbr` or `AAC-lbr` (RFC 3640 §3.3.5, §3.3.6).
    private static func aac(_ format: RTPCodec, _ parameters: FormatParameters) -> TrackDescription? {
        let mode = parameters["mode"]?.asciiLowercased ?? "aac-hbr"
        guard mode == "aac-hbr" || mode == "aac-lbr", format.channels <= 8 else { return nil }
        var configuration: [UInt8]?
        if let text = parameters["config"]?.trimmed, text.utf8.count <= maxParameterText {
            configuration = hexadecimal(text)
        }
        // Cameras that leave it out mean AAC-LC of the rate and channels of the rtpmap.
        let plain = AudioSpecificConfig(sampleRate: format.clockRate, channels: max(1, format.channels))
        guard let bytes = configuration ?? plain.bytes,
            let facts = unsafe AudioSpecificConfig(parsing: bytes.span.bytes)
        else { return nil }
        return TrackDescription(
            codec: .aac, clockRate: format.clockRate, channels: facts.channels, parameterSets: [bytes])
    }

    private static func hexadecimal(_ text: Substring) -> [UInt8]? {
        let digits = text.utf8.map(\.hexValue)
        guard !digits.isEmpty, digits.count % 2 == 0 else { return nil }
        var out: [UInt8] = []
        for i in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digits[i], let low = digits[i + 1] else { return nil }
            out.append(high << 4 | low)
        }
        return out
    }
}

extension ParameterSetCollector {
    fileprivate mutating func add(_ unit: [UInt8]) { unsafe add(unit.span.bytes) }
}
