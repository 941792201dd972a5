import MediaFormats
import SDP

/// What we tell players of a stream: the publisher's own codecs, under payload types of ours.
extension RTSPDescription {
    private static let firstDynamicType: UInt8 = 96

    /// Payload types of a player's tracks, in order: the fixed ones where RFC 3551 has some, else from 96 on.
    package static func payloadTypes(_ tracks: [TrackDescription]) -> [UInt8] {
        var next = firstDynamicType
        var taken: Set<UInt8> = []
        return tracks.map { track in
            if let fixed = fixedType(track), taken.insert(fixed).inserted { return fixed }
            defer { next += 1 }
            return next
        }
    }

    private static func fixedType(_ track: TrackDescription) -> UInt8? {
        guard track.clockRate == 8_000, track.channels == 1 else { return nil }
        return switch track.codec {
        case .pcmu: 0
        case .pcma: 8
        case .g722: 9
        default: nil
        }
    }

    /// `a=control` of the track at that place, relative to the presentation's URL with a slash.
    package static func control(track: Int) -> String { "trackID=\(track)" }

    /// The description of a live stream.
    ///
    /// - Parameters:
    ///   - name: Title, for people.
    ///   - tracks: At most 31, so that dynamic payload types suffice.
    ///   - sessionID: Distinguishes descriptions of one origin; changes when the description does.
    ///   - keys: Of each track, under which it is sent by SRTP; none: it goes as it is.
    package static func text(
        name: String, tracks: [TrackDescription], sessionID: UInt64, keys: [KeyOffer] = []
    ) -> String {
        // Bit 63 would be a sign to some readers.
        let id = sessionID & .max >> 1
        var session = SessionDescription(origin: "- \(id) \(id) IN IP4 0.0.0.0")
        let title = String(decoding: name.utf8.map { $0 < 0x20 || $0 == 0x7f ? 0x20 : $0 }, as: UTF8.self)
        session.name = title.isEmpty ? "-" : title
        session.connection = "IN IP4 0.0.0.0"
        session.attributes = [
            SDPAttribute("control", "*"), SDPAttribute("range", RTSPRange.live.text),
        ]
        for (index, (track, type)) in zip(tracks, payloadTypes(tracks)).enumerated() {
            var media = MediaDescription(
                media: (track.isVideo ? MediaKind.video : .audio).rawValue, port: 0,
                transport: (keys.indices.contains(index) ? RTSPTransport.Profile.savp : .avp).rawValue,
                formats: ["\(type)"])
            media.attributes = [SDPAttribute("rtpmap", "\(type) \(rtpmap(track))")]
            let parameters = parameters(track)
            if !parameters.isEmpty { media.attributes.append(SDPAttribute("fmtp", "\(type) \(parameters)")) }
            media.attributes.append(SDPAttribute("control", control(track: index)))
            if keys.indices.contains(index) { media.attributes.append(keys[index].attribute) }
            session.media.append(media)
        }
        return session.serialise()
    }

    private static func rtpmap(_ track: TrackDescription) -> String {
        switch track.codec {
        case .opus: "opus/48000/2"
        case .aac: "mpeg4-generic/\(track.clockRate)/\(track.channels)"
        case .pcmu, .pcma, .g722:
            "\(track.codec.name)/\(track.clockRate)" + (track.channels > 1 ? "/\(track.channels)" : "")
        case .h264, .h265, .vp8, .vp9, .av1: "\(track.codec.name)/\(track.clockRate)"
        }
    }

    private static func parameters(_ track: TrackDescription) -> String {
        let given = FormatParameters(track.formatParameters)
        func kept(_ names: [String]) -> String {
            names.compactMap { name in given[name].map { "\(name)=\(clean($0))" } }.joined(separator: ";")
        }
        switch track.codec {
        case .h264:
            let sets = track.parameterSets
            var out = "packetization-mode=1"
            if let sps = sets.first(where: { NALUnits.kind(.h264, $0.first ?? 0) == .sequenceParameterSet }),
                sps.count > 3
            {
                out += ";profile-level-id=" + Hex.string(sps[1...3]).uppercased()
            } else if let level = given["profile-level-id"] {
                out += ";profile-level-id=" + clean(level)
            }
            if !sets.isEmpty {
                out += ";sprop-parameter-sets=" + sets.map { Base64Text.encode($0) }.joined(separator: ",")
            }
            return out
        case .h265:
            let kinds: [(String, NALUnits.Kind)] = [
                ("sprop-vps", .videoParameterSet), ("sprop-sps", .sequenceParameterSet),
                ("sprop-pps", .pictureParameterSet),
            ]
            return kinds.compactMap { name, kind in
                let sets = track.parameterSets.filter { NALUnits.kind(.h265, $0.first ?? 0) == kind }
                return sets.isEmpty ? nil : "\(name)=" + sets.map { Base64Text.encode($0) }.joined(separator: ",")
            }.joined(separator: ";")
        case .vp9: return kept(["profile-id"])
        case .av1: return kept(["profile", "level-idx", "tier"])
        case .opus:
            // What a browser says it can receive in stereo it also sends.
            let isStereo = given["sprop-stereo"] == "1" || given["stereo"] == "1"
            return isStereo ? "sprop-stereo=1" : ""
        case .aac:
            let configuration =
                track.parameterSets.first
                ?? AudioSpecificConfig(sampleRate: track.clockRate, channels: track.channels).bytes ?? []
            // Packets go to players as they came, so their headers are as the publisher said.
            let lengths = MPEG4Generic(track.formatParameters)
            return
                "profile-level-id=1;mode=AAC-hbr;sizelength=\(lengths.sizeLength);indexlength=\(lengths.indexLength);"
                + "indexdeltalength=\(lengths.indexDeltaLength);config=\(Hex.string(configuration))"
        case .vp8, .pcmu, .pcma, .g722: return ""
        }
    }

    /// A publisher's value that goes into a line of ours.
    private static func clean(_ value: String) -> String {
        String(decoding: value.utf8.filter { $0.isToken }, as: UTF8.self)
    }
}

extension MPEG4Generic {
    /// Field lengths of a publisher's `a=fmtp`; those of its mode where it leaves them out (RFC 3640 §3.3).
    package init(_ formatParameters: String) {
        let parameters = FormatParameters(formatParameters)
        let isLow = parameters["mode"]?.asciiLowercased == "aac-lbr"
        func length(_ name: String, _ high: Int, _ low: Int) -> Int {
            min(max(0, parameters.number(name, default: isLow ? low : high)), 32)
        }
        self.init(
            sizeLength: length("sizelength", 13, 6), indexLength: length("indexlength", 3, 2),
            indexDeltaLength: length("indexdeltalength", 3, 2))
    }
}
