/// Feedback and header extensions that an m-line's answer accepts. The two belong together: transport-cc is of no use
/// without its sequence numbers, and goog-remb to us needs abs-send-time on what we send.
struct FeatureChoice {
    private(set) var feedback: [String] = []
    private(set) var extensions: [(attribute: SDPAttribute, accepted: OfferedExtension)] = []

    init(
        plan: SectionPlan, codec: RTPCodec, offered: [OfferedExtension], isPublisher: Bool, options: AnswerOptions
    ) {
        guard case .media(let kind, _, let published) = plan else { return }
        func usable(_ uri: String) -> Bool { offered.contains { $0.uri == uri && $0.suits(publisher: isPublisher) } }

        var wantsTransportCC = codec.feedback.contains("transport-cc") && usable(ExtensionURI.transportCC)
        var wantsREMB = codec.feedback.contains("goog-remb")
        if !isPublisher {
            wantsTransportCC = wantsTransportCC && options.playerFeedback == .transportCC
            wantsREMB = wantsREMB && options.playerFeedback == .remb
        }
        for name in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
            guard codec.feedback.contains(name) else { continue }
            if name == "goog-remb", !wantsREMB { continue }
            if name == "transport-cc", !wantsTransportCC { continue }
            if kind == .audio, name == "ccm fir" || name == "nack pli" { continue }
            feedback.append(name)
        }

        var wanted: Set<String> = []
        if wantsTransportCC { wanted.insert(ExtensionURI.transportCC) }
        if wantsREMB, !(isPublisher && wantsTransportCC) { wanted.insert(ExtensionURI.absSendTime) }
        if isPublisher { wanted.insert(ExtensionURI.mid) }
        let hasOrientation = isPublisher ? options.videoOrientation : published?.hasVideoOrientation ?? false
        if kind == .video, hasOrientation { wanted.insert(ExtensionURI.videoOrientation) }
        for each in offered where wanted.contains(each.uri) && each.suits(publisher: isPublisher) {
            let suffix = each.direction == nil ? "" : isPublisher ? "/recvonly" : "/sendonly"
            extensions.append((SDPAttribute("extmap", "\(each.id)\(suffix) \(each.uri)"), each))
        }
    }
}

extension OfferedExtension {
    /// The extension may go in the direction of the media. Players get ids of the one-byte form only.
    func suits(publisher: Bool) -> Bool {
        let direction = direction ?? .sendrecv
        return publisher ? direction.sends : direction.receives && id < 15
    }
}

extension SectionPlan {
    /// Kind and codec of an m-line that is not refused.
    var accepted: (MediaKind, RTPCodec)? {
        switch self {
        case .refused: nil
        case .inactive(let kind, let codec): (kind, codec)
        case .media(let kind, let codec, _): (kind, codec)
        }
    }
}

extension SessionDescription {
    /// Mids of the offer's `a=group:BUNDLE` lines (RFC 8843). A mid counts in its first group only.
    func bundleGroups() -> [[String]] {
        var out: [[String]] = []
        var seen: Set<String> = []
        let known = Set(media.compactMap(\.mid))
        for value in attributes.values("group") {
            let fields = value.fields
            guard fields.first == "BUNDLE" else { continue }
            let mids = fields.dropFirst().map { String($0) }.filter { known.contains($0) && seen.insert($0).inserted }
            if !mids.isEmpty { out.append(mids) }
        }
        return out
    }
}

extension AnswerOptions {
    /// Bitrates in kbit/s, 0 for none, brought into order and into a range that fits every field.
    var bitrateBounds: (min: Int, max: Int, start: Int) {
        let limit = 1_000_000
        func clamp(_ value: Int) -> Int { Swift.min(Swift.max(value, 0), limit) }
        let highest = clamp(maxBitrate)
        let lowest = highest > 0 ? Swift.min(clamp(minBitrate), highest) : clamp(minBitrate)
        var start = clamp(startBitrate)
        if start > 0 {
            start = Swift.max(start, lowest)
            if highest > 0 { start = Swift.min(start, highest) }
        }
        return (lowest, highest, start)
    }
}
