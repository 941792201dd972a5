/// Writes the answer of one offer along the plans for its m-lines, and gathers the facts for the engine on the way.
struct AnswerBuilder {
    let session: SessionDescription
    let plans: [SectionPlan]
    let options: AnswerOptions
    let isPublisher: Bool

    private var candidates: [Candidate] = []
    private var transports: [NegotiatedTransport] = []
    private var setups: [String] = []
    private var tracks: [NegotiatedTrack] = []
    /// Transport of each BUNDLE group of the offer, once an m-line of it is accepted.
    private var transportOfGroup: [Int: Int] = [:]
    private var usedSSRCs: Set<UInt32> = []

    init(session: SessionDescription, plans: [SectionPlan], options: AnswerOptions, isPublisher: Bool) {
        self.session = session
        self.plans = plans
        self.options = options
        self.isPublisher = isPublisher
    }

    mutating func build() throws(NegotiationError) -> Negotiation {
        candidates = options.preferTCP ? options.candidates.filter { $0.transport == .tcp } : options.candidates
        guard let address = candidates.first else { throw .noCandidates }
        for media in session.media { usedSSRCs.formUnion(media.offeredSources().all) }

        let groups = session.bundleGroups()
        let sessionID = options.sessionID & 0x7fff_ffff_ffff_ffff
        var answer = SessionDescription(origin: "- \(sessionID) 1 \(address.connection)")
        var bundled = groups.map { _ in [String]() }
        var isReducedSize = true
        for (i, media) in session.media.enumerated() {
            let group = media.mid.flatMap { mid in groups.firstIndex { $0.contains(mid) } }
            let plan = keep(plans[i], group: group, groups: groups)
            guard let (kind, codec) = plan.accepted else {
                answer.media.append(refusal(of: media))
                continue
            }
            let tag = group.flatMap { g in session.media.first { $0.mid != nil && $0.mid == groups[g].first } }
            let (transport, isNew) = try transport(for: media, tag: tag, group: group)
            if let group, let mid = media.mid { bundled[group].append(mid) }
            isReducedSize = isReducedSize && media.attributes.has("rtcp-rsize")

            var track = NegotiatedTrack(
                kind: kind, mLineIndex: i, mid: media.mid, codec: codec, transportIndex: transport)
            var section = MediaDescription(
                media: media.media, port: address.port == 0 ? 9 : address.port, transport: media.transport,
                formats: [])
            section.connection = address.connection
            section.attributes = transportAttributes(media, transport: transport)
            fill(&section, track: &track, plan: plan, offer: media)
            if isNew {
                for (index, candidate) in candidates.enumerated() {
                    section.attributes.append(candidate.attribute(index: index))
                }
                section.attributes.append(SDPAttribute("end-of-candidates"))
            }
            answer.media.append(section)
            if case .media = plan { tracks.append(track) }
        }
        answer.attributes = sessionAttributes(bundled: bundled)
        return Negotiation(
            answer: answer.serialise(), transports: transports, tracks: tracks, reducedSizeRTCP: isReducedSize)
    }

    /// An m-line without media is only kept where it costs no association of its own: otherwise the engine would
    /// wait for a handshake that may never come.
    private func keep(_ plan: SectionPlan, group: Int?, groups: [[String]]) -> SectionPlan {
        guard case .inactive = plan else { return plan }
        guard let group else { return .refused }
        let hasMedia = session.media.indices.contains { i in
            guard case .media = plans[i], let mid = session.media[i].mid else { return false }
            return groups[group].contains(mid)
        }
        return hasMedia ? plan : .refused
    }

    // MARK: Session and transports

    private func sessionAttributes(bundled: [[String]]) -> [SDPAttribute] {
        var out: [SDPAttribute] = []
        for mids in bundled where !mids.isEmpty {
            out.append(SDPAttribute("group", "BUNDLE " + mids.joined(separator: " ")))
        }
        out.append(SDPAttribute("ice-lite"))
        let options =
            session.attributes.values("ice-options")
            + session.media.flatMap {
                $0.attributes.values("ice-options")
            }
        // Blanks divide the list; libdatachannel writes commas.
        if options.contains(where: { $0.fields.contains { $0.split(byte: UInt8(ascii: ",")).contains("trickle") } }) {
            out.append(SDPAttribute("ice-options", "trickle"))
        }
        if session.attributes.has("extmap-allow-mixed") { out.append(SDPAttribute("extmap-allow-mixed")) }
        if !isPublisher { out.append(SDPAttribute("msid-semantic", " WMS \(self.options.streamID)")) }
        return out
    }

    private mutating func transport(
        for media: MediaDescription, tag: MediaDescription?, group: Int?
    ) throws(NegotiationError) -> (index: Int, isNew: Bool) {
        if let group, let index = transportOfGroup[group] {
            let more = media.attributes.values("candidate").lazy.compactMap { Candidate(offered: $0) }
            for candidate in more where !transports[index].remoteCandidates.contains(candidate) {
                guard transports[index].remoteCandidates.count < Candidate.maxOffered else { break }
                transports[index].remoteCandidates.append(candidate)
            }
            return (index, false)
        }
        let offered = try TransportOffer(media, tag: tag, session: session)
        let credentials = options.makeCredentials()
        transports.append(
            NegotiatedTransport(
                localUfrag: credentials.ufrag, localPassword: credentials.password, remoteUfrag: offered.ufrag,
                remotePassword: offered.password, fingerprints: offered.fingerprints, dtlsRole: offered.role,
                transportIsTCPOnly: options.preferTCP, remoteCandidates: offered.candidates))
        setups.append(offered.setup)
        let index = transports.count - 1
        if let group { transportOfGroup[group] = index }
        return (index, true)
    }

    private func transportAttributes(_ media: MediaDescription, transport: Int) -> [SDPAttribute] {
        var out: [SDPAttribute] = []
        if let mid = media.mid { out.append(SDPAttribute("mid", mid)) }
        out.append(SDPAttribute("ice-ufrag", transports[transport].localUfrag))
        out.append(SDPAttribute("ice-pwd", transports[transport].localPassword))
        out.append(SDPAttribute("fingerprint", "sha-256 " + options.fingerprint))
        out.append(SDPAttribute("setup", setups[transport]))
        return out
    }

    /// Port 0 with the mid and one format of the offer (RFC 3264 §6); data channels end here, too.
    private func refusal(of media: MediaDescription) -> MediaDescription {
        var out = MediaDescription(
            media: media.media, port: 0, transport: media.transport, formats: [media.formats.first ?? "0"])
        out.connection = "IN IP4 0.0.0.0"
        if let mid = media.mid { out.attributes.append(SDPAttribute("mid", mid)) }
        out.attributes.append(SDPAttribute("inactive"))
        return out
    }

    // MARK: Media

    private mutating func fill(
        _ section: inout MediaDescription, track: inout NegotiatedTrack, plan: SectionPlan, offer: MediaDescription
    ) {
        var direction = MediaDirection.inactive
        if case .media = plan { direction = isPublisher ? .recvonly : .sendonly }
        section.attributes.append(SDPAttribute(direction.rawValue))
        section.attributes.append(SDPAttribute("rtcp-mux"))
        if offer.attributes.has("rtcp-rsize") { section.attributes.append(SDPAttribute("rtcp-rsize")) }
        if !session.attributes.has("extmap-allow-mixed"), offer.attributes.has("extmap-allow-mixed") {
            section.attributes.append(SDPAttribute("extmap-allow-mixed"))
        }

        let features = FeatureChoice(
            plan: plan, codec: track.codec, offered: offer.offeredExtensions(), isPublisher: isPublisher,
            options: options)
        track.codec.feedback = features.feedback
        for (attribute, accepted) in features.extensions {
            section.attributes.append(attribute)
            track.extensions[accepted.uri] = accepted.id
        }
        let offeredParameters = FormatParameters(track.codec.fmtp)
        let answerParameters = answerParameters(for: track, offered: offeredParameters)
        writeFormat(&section, codec: track.codec, parameters: answerParameters)
        guard case .media = plan else { return }

        if isPublisher {
            let sources = offer.offeredSources()
            track.ssrc = sources.media
            track.rtxSSRC = track.codec.rtxPayloadType == nil ? nil : sources.rtx
            track.allSSRCs = sources.all
            let sets = ["sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps"]
            let given = sets.compactMap { offeredParameters[$0] }
            track.parameterSets = given.isEmpty ? nil : given.joined(separator: ",")
            if track.kind == .video {
                let bounds = options.bitrateBounds
                track.minBitrate = bounds.min > 0 ? bounds.min : nil
                track.maxBitrate = bounds.max > 0 ? bounds.max : nil
                if bounds.max > 0 { section.bandwidths = ["AS:\(bounds.max)", "TIAS:\(bounds.max * 1000)"] }
            }
        } else {
            track.sendSSRC = makeSSRC()
            if track.codec.rtxPayloadType != nil { track.sendRTXSSRC = makeSSRC() }
            section.attributes += sourceAttributes(track)
        }
    }

    /// The fmtp line follows its rtpmap at once: the Web SDK appends bitrates to the line behind an rtpmap.
    private func writeFormat(_ section: inout MediaDescription, codec: RTPCodec, parameters: FormatParameters) {
        let type = codec.payloadType
        section.formats = ["\(type)"]
        let channels = codec.channels > 1 ? "/\(codec.channels)" : ""
        section.attributes.append(SDPAttribute("rtpmap", "\(type) \(codec.name)/\(codec.clockRate)\(channels)"))
        if !parameters.entries.isEmpty { section.attributes.append(SDPAttribute("fmtp", "\(type) \(parameters.text)")) }
        for feedback in codec.feedback { section.attributes.append(SDPAttribute("rtcp-fb", "\(type) \(feedback)")) }
        if let rtx = codec.rtxPayloadType {
            section.formats.append("\(rtx)")
            section.attributes.append(SDPAttribute("rtpmap", "\(rtx) rtx/\(codec.clockRate)"))
            section.attributes.append(SDPAttribute("fmtp", "\(rtx) apt=\(type)"))
        }
    }

    /// The offer's parameters, without what describes the offerer's stream or limits what we would send it.
    private func answerParameters(for track: NegotiatedTrack, offered: FormatParameters) -> FormatParameters {
        var out = offered
        if track.kind == .video {
            out.remove { $0.hasPrefix("sprop-") || $0.hasPrefix("x-google-") || $0 == "max-fs" || $0 == "max-fr" }
            guard isPublisher else { return out }
            let bounds = options.bitrateBounds
            if bounds.min > 0 { out.set("x-google-min-bitrate", "\(bounds.min)") }
            if bounds.max > 0 { out.set("x-google-max-bitrate", "\(bounds.max)") }
            if bounds.start > 0 { out.set("x-google-start-bitrate", "\(bounds.start)") }
        } else if isPublisher, offered["sprop-stereo"] == "1" {
            // The publisher has two channels to send; it does so only if we ask for them (RFC 7587 §6.1).
            out.set("stereo", "1")
        }
        return out
    }

    /// Who sends what to a player (RFC 5576). Audio and video carry one stream id, or the Web SDK loses the audio.
    private func sourceAttributes(_ track: NegotiatedTrack) -> [SDPAttribute] {
        let msid = "\(options.streamID) \(options.streamID)-\(track.kind.rawValue)"
        var out = [SDPAttribute("msid", msid)]
        if track.sendRTXSSRC != 0 {
            out.append(SDPAttribute("ssrc-group", "FID \(track.sendSSRC) \(track.sendRTXSSRC)"))
        }
        for ssrc in [track.sendSSRC, track.sendRTXSSRC] where ssrc != 0 {
            out.append(SDPAttribute("ssrc", "\(ssrc) cname:\(options.cname)"))
            out.append(SDPAttribute("ssrc", "\(ssrc) msid:\(msid)"))
        }
        return out
    }

    /// A number that neither we nor the offer use. A generator that repeats itself must not hang us.
    private mutating func makeSSRC() -> UInt32 {
        var ssrc = options.makeSSRC()
        while ssrc == 0 || usedSSRCs.contains(ssrc) { ssrc &+= 0x9e37_79b9 }
        usedSSRCs.insert(ssrc)
        return ssrc
    }
}
