/// Answers offers (RFC 3264, RFC 9429) for a server with one port, ICE-lite and a fixed codec per track.
package enum OfferAnswer {
    /// Answers a client that sends. Takes the first audio and the first video m-line that it sends on, with exactly
    /// one codec each: a browser with a choice may change its codec in mid-stream.
    ///
    /// Throws `noMedia` if nothing is sent and `noCommonCodecs` if audio or video is sent in no codec of ours.
    package static func answerPublisher(
        offer: String, options: AnswerOptions
    ) throws(NegotiationError) -> Negotiation {
        let session = try parse(offer)
        var plans = session.media.map { _ in SectionPlan.refused }
        var asked: Set<MediaKind> = []
        var matched: Set<MediaKind> = []
        for (i, media) in session.media.enumerated() {
            guard let kind = MediaKind(rawValue: media.media), !media.isRefused else { continue }
            let choice = media.isSecureRTP ? chooseForPublisher(media, kind: kind, options: options) : nil
            guard media.direction(session: session).sends else {
                if let choice { plans[i] = .inactive(kind, choice) }
                continue
            }
            asked.insert(kind)
            if let choice, matched.insert(kind).inserted { plans[i] = .media(kind, choice, nil) }
        }
        guard !asked.isEmpty else { throw .noMedia }
        guard asked == matched else { throw .noCommonCodecs }
        var builder = AnswerBuilder(session: session, plans: plans, options: options, isPublisher: true)
        return try builder.build()
    }

    /// Answers a client that plays `published`. Tracks that the client does not ask for are left out; m-lines for
    /// which there is no track are refused.
    ///
    /// Throws `noMedia` if the client receives nothing and `noCommonCodecs` if it asks for a kind that the stream has
    /// and cannot take its codec, or if the stream has nothing of what it asks for.
    package static func answerPlayer(
        offer: String, published: [PublishedTrack], options: AnswerOptions
    ) throws(NegotiationError) -> Negotiation {
        let session = try parse(offer)
        var plans = session.media.map { _ in SectionPlan.refused }
        var asked: Set<MediaKind> = []
        var matched: Set<MediaKind> = []
        var remaining = published
        for (i, media) in session.media.enumerated() {
            guard let kind = MediaKind(rawValue: media.media), !media.isRefused else { continue }
            let direction = media.direction(session: session)
            if direction.receives { asked.insert(kind) }
            guard let place = remaining.firstIndex(where: { $0.kind == kind }), media.isSecureRTP,
                let choice = chooseForPlayer(media, track: remaining[place], options: options)
            else { continue }
            guard direction.receives else {
                plans[i] = .inactive(kind, choice)
                continue
            }
            plans[i] = .media(kind, choice, remaining[place])
            matched.insert(kind)
            remaining.remove(at: place)
        }
        guard !asked.isEmpty else { throw .noMedia }
        let common = asked.intersection(published.map(\.kind))
        guard !common.isEmpty, matched.isSuperset(of: common) else { throw .noCommonCodecs }
        var builder = AnswerBuilder(session: session, plans: plans, options: options, isPublisher: false)
        return try builder.build()
    }

    private static func parse(_ offer: String) throws(NegotiationError) -> SessionDescription {
        do {
            return try SessionDescription.parse(offer)
        } catch {
            throw .malformed(error.description)
        }
    }

    // MARK: Codec choice

    /// The best format that we forward: by preferred name, else by the offer's order of names; of one name the
    /// variant that most players take.
    private static func chooseForPublisher(
        _ media: MediaDescription, kind: MediaKind, options: AnswerOptions
    ) -> RTPCodec? {
        let preferred = (kind == .video ? options.preferredVideoCodecs : options.preferredAudioCodecs)
            .map { $0.lowercased() }
        var names: [KnownCodec] = []
        var best: (codec: RTPCodec, name: Int, variant: Int)?
        for codec in media.offeredFormats() {
            guard let known = KnownCodec(codec), known.kind == kind, options.allows(known),
                let variant = known.publisherRank(FormatParameters(codec.fmtp))
            else { continue }
            if !names.contains(known) { names.append(known) }
            let order = names.firstIndex(of: known) ?? names.count
            let name = preferred.firstIndex(of: known.rawValue.lowercased()) ?? preferred.count + order
            if let best, (best.name, best.variant) <= (name, variant) { continue }
            best = (codec, name, variant)
        }
        return best?.codec.withName()
    }

    /// The format that takes the published codec best; of equal ones the first.
    private static func chooseForPlayer(
        _ media: MediaDescription, track: PublishedTrack, options: AnswerOptions
    ) -> RTPCodec? {
        guard let known = KnownCodec(track.codec), options.allows(known) else { return nil }
        let published = FormatParameters(track.codec.fmtp)
        var best: (codec: RTPCodec, rank: Int)?
        for codec in media.offeredFormats() where KnownCodec(codec) == known {
            let offered = FormatParameters(codec.fmtp)
            guard let rank = known.playerRank(published: published, offered: offered) else { continue }
            if let best, best.rank <= rank { continue }
            best = (codec, rank)
        }
        return best?.codec.withName()
    }
}

/// What becomes of one m-line.
enum SectionPlan {
    /// Port 0, outside BUNDLE.
    case refused
    /// Kept without media, since its direction does not suit.
    case inactive(MediaKind, RTPCodec)
    /// Carries media; for players the track that it carries.
    case media(MediaKind, RTPCodec, PublishedTrack?)
}

extension AnswerOptions {
    func allows(_ codec: KnownCodec) -> Bool {
        let name = codec.rawValue.lowercased()
        return allowedCodecs.isEmpty || allowedCodecs.contains { $0.lowercased() == name }
    }
}

extension RTPCodec {
    /// With the usual spelling of the name: the Web SDK looks for `opus` in lower case.
    func withName() -> RTPCodec {
        var copy = self
        if let known = KnownCodec(self) { copy.name = known.rawValue }
        return copy
    }
}
