import MediaFormats
import Synchronization
import Wire

/// A request that waits.
struct Waiter: Sendable {
    enum Need: Sendable, Hashable {
        /// A rendition's first playlist.
        case preparation(rendition: Int)
        case position(rendition: Int, segment: UInt64, part: UInt64?)
        case resource(HLSPath.Resource)
    }

    let need: Need
    let deadline: Instant
    let resume: @Sendable (HLSStream.WaitOutcome) -> Void
}

/// The requests' side.
extension HLSStream {
    /// What a request for a playlist gets.
    package enum PlaylistReply: Sendable {
        /// `isBlocking`: it was asked for by number, so the same request will get the same answer for long.
        case text(any StoredBytes, isBlocking: Bool, isEnded: Bool)
        /// 400: the number is too far ahead.
        case tooFar
        /// 503: it has not come in time, or too many wait.
        case unavailable
        /// 503: a lower rendition cannot be made now; the text says why.
        case refused(String)
        case notFound
    }

    package enum MediaReply: Sendable {
        case media(MediaBytes)
        case unavailable
        case notFound
    }

    /// What a request must wait for, and how long at most.
    package struct Wait: Sendable {
        let need: Waiter.Need
        let limit: Interval
    }

    package enum WaitOutcome: Sendable, Hashable {
        case go
        case timedOut
        case cancelled
    }

    /// What can be said to a request now.
    package enum Step<Reply: Sendable>: Sendable {
        case reply(Reply)
        /// Ask again when that is over, unless the outcome says that it is not.
        case wait(Wait)
    }

    /// The multivariant playlist, as soon as there is something to play.
    package func multivariant() async -> MultivariantPlaylist? {
        let need = Waiter.Need.preparation(rendition: 0)
        guard await wait(Wait(need: need, limit: Self.prepareLimit)) == .go else { return nil }
        return variantsNow
    }

    /// The same as far as it is known now. Lower renditions for which there is no place are left out.
    package var variantsNow: MultivariantPlaylist {
        let hasPlace = shop?.hasPlace ?? false
        return state.withLock { Self.multivariant($0, plan: plan, mayBegin: hasPlace) }
    }

    package func playlistNow(rendition name: String, _ directives: DeliveryDirectives) -> Step<PlaylistReply> {
        if let rung = plan.ladder.rungs.firstIndex(where: { $0.name == name }) {
            return lowerPlaylistNow(rung, rendition(ofRung: rung), directives)
        }
        guard let rendition = plan.renditions.firstIndex(where: { $0.name == name }) else { return .reply(.notFound) }
        return state.withLock { playlistNow(rendition, directives, &$0) }
    }

    /// A lower rendition begins when the original has something to play.
    private func lowerPlaylistNow(
        _ rung: Int, _ rendition: Int, _ directives: DeliveryDirectives
    ) -> Step<PlaylistReply> {
        let original = Waiter.Need.preparation(rendition: 0)
        let now = clock()
        guard state.withLock({ Self.isMet(original, $0, now: now) }) else {
            return .wait(Wait(need: original, limit: Self.prepareLimit))
        }
        if let reason = want(rung: rung) { return .reply(.refused(reason)) }
        return state.withLock { state in
            if let reason = failure(rung: rung, state) { return .reply(.refused(reason)) }
            return playlistNow(rendition, directives, &state)
        }
    }

    private func playlistNow(
        _ rendition: Int, _ directives: DeliveryDirectives, _ state: inout State
    ) -> Step<PlaylistReply> {
        let preparation = Waiter.Need.preparation(rendition: rendition)
        guard Self.isMet(preparation, state, now: clock()) else {
            return .wait(Wait(need: preparation, limit: Self.prepareLimit))
        }
        let number = settings.window.partTarget == nil ? nil : directives.sequenceNumber
        if let number {
            switch state.window.position(segment: number, part: directives.part, rendition: rendition) {
            case .here: break
            case .tooFar:
                state.counts.refusedTooFar += 1
                return .reply(.tooFar)
            case .ahead:
                let need = Waiter.Need.position(rendition: rendition, segment: number, part: directives.part)
                return .wait(Wait(need: need, limit: settings.window.target * ServerControl.blockTargets))
            }
        }
        let text = text(TextKey(rendition: rendition, isDelta: directives.skip != nil), &state)
        return .reply(.text(text, isBlocking: number != nil, isEnded: state.window.isEnded(rendition)))
    }

    package func playlist(rendition: String, _ directives: DeliveryDirectives) async -> PlaylistReply {
        while true {
            switch playlistNow(rendition: rendition, directives) {
            case .reply(let reply): return reply
            case .wait(let wait): guard await self.wait(wait) == .go else { return .unavailable }
            }
        }
    }

    /// An initialisation section, a segment or a part; one that was hinted at is waited for.
    package func mediaNow(_ resource: HLSPath.Resource) -> Step<MediaReply> {
        let now = clock()
        let found = state.withLock { state in
            if let rung = plan.ladder.rungs.firstIndex(where: { $0.name == resource.rendition }), shop != nil {
                Self.touch(rung, &state, now: now)
            }
            return state.window.find(resource)
        }
        switch found {
        case .media(let media): return .reply(.media(media))
        case .nothing: return .reply(.notFound)
        case .ahead:
            let limit = settings.window.target * ServerControl.blockTargets
            return .wait(Wait(need: .resource(resource), limit: limit))
        }
    }

    package func media(_ resource: HLSPath.Resource) async -> MediaReply {
        while true {
            switch mediaNow(resource) {
            case .reply(let reply): return reply
            case .wait(let wait): guard await self.wait(wait) == .go else { return .unavailable }
            }
        }
    }

    /// Rendered once per version, whoever asks.
    private func text(_ key: TextKey, _ state: inout State) -> any StoredBytes {
        if state.textVersion != state.window.version {
            state.texts = [:]
            state.textVersion = state.window.version
        }
        if let text = state.texts[key] { return text }
        let text = store(state.window.playlist(rendition: key.rendition).text(skipping: key.isDelta))
        state.texts[key] = text
        return text
    }

    /// It has ended, and only what is left of it can be played.
    package var isEnded: Bool { state.withLock { if case .ended = $0.phase { true } else { false } } }

    // MARK: Viewers

    /// A viewer's request. Beyond the limit it is served but not counted.
    package func touch(viewer: String?) {
        let now = clock()
        state.withLock { state in
            state.lastRequest = now
            guard let viewer else { return }
            guard state.viewers[viewer] != nil || state.viewers.count < settings.maxViewers else { return }
            state.viewers[viewer] = now
        }
    }

    /// What is shown of a stream.
    package struct Status: Sendable {
        package var phase: Phase
        package var viewers: Int
        package var waiting: Int
        /// Since the last request.
        package var idle: Interval
        package var segments: Int
        package var memory: Int
        package var disk: Int
        package var hasLongGroups: Bool
        /// Since output began.
        package var age: Interval
        package var counts: RequestCounts
        /// Where a later stream of this name must go on.
        package var numberAfter: UInt64
        package var lastDiscontinuity: UInt64
    }

    package var status: Status {
        let now = clock()
        return state.withLock { state in
            Status(
                phase: state.phase, viewers: state.viewers.count, waiting: state.waiters.count,
                idle: now - state.lastRequest, segments: state.window.segments.count, memory: state.window.memory,
                disk: state.window.disk, hasLongGroups: state.hasLongGroups, age: now - created, counts: state.counts,
                numberAfter: state.window.numberAfter, lastDiscontinuity: state.window.lastDiscontinuity)
        }
    }

    // MARK: Waiting

    /// Names a request that waits.
    package struct Ticket: Sendable, Hashable {
        fileprivate let number: UInt64
    }

    /// Waits without a task.
    ///
    /// - Parameter resume: called once, by whoever changes the stream, or by this call.
    package func wait(_ wait: Wait, resume: @escaping @Sendable (WaitOutcome) -> Void) -> Ticket {
        let now = clock()
        let (ticket, outcome) = state.withLock { state -> (Ticket, WaitOutcome?) in
            state.lastTicket += 1
            let ticket = Ticket(number: state.lastTicket)
            // It may have come in the meantime.
            if Self.isMet(wait.need, state, now: now) { return (ticket, .go) }
            guard state.waiters.count < settings.maxWaiting else {
                state.counts.refusedFull += 1
                return (ticket, .timedOut)
            }
            state.waiters[ticket.number] = Waiter(need: wait.need, deadline: now + wait.limit, resume: resume)
            return (ticket, nil)
        }
        if let outcome { resume(outcome) }
        return ticket
    }

    /// The request is gone; nothing if it waits no longer.
    package func cancel(_ ticket: Ticket) {
        let waiter = state.withLock { $0.waiters.removeValue(forKey: ticket.number) }
        waiter?.resume(.cancelled)
    }

    package func wait(_ wait: Wait) async -> WaitOutcome {
        // The ticket, or that nobody waits for it any more.
        let place = Mutex<(ticket: Ticket?, isCancelled: Bool)>((nil, false))
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ticket = self.wait(wait) { continuation.resume(returning: $0) }
                let isCancelled = place.withLock { place in
                    place.ticket = ticket
                    return place.isCancelled
                }
                if isCancelled { cancel(ticket) }
            }
        } onCancel: {
            let ticket = place.withLock { place in
                place.isCancelled = true
                return place.ticket
            }
            if let ticket { cancel(ticket) }
        }
    }

    static func takeDue(_ state: inout State, now: Instant) -> [(Waiter, WaitOutcome)] {
        guard !state.waiters.isEmpty else { return [] }
        // Thousands wait for the same: it is looked at once.
        var met: [Waiter.Need: Bool] = [:]
        var due: [(Waiter, WaitOutcome)] = []
        var tickets: [UInt64] = []
        for (ticket, waiter) in state.waiters {
            let isMet = met[waiter.need] ?? Self.isMet(waiter.need, state, now: now)
            met[waiter.need] = isMet
            guard isMet || waiter.deadline <= now else { continue }
            if !isMet { state.counts.timedOut += 1 }
            due.append((waiter, isMet ? .go : .timedOut))
            tickets.append(ticket)
        }
        if tickets.count == state.waiters.count {
            state.waiters.removeAll(keepingCapacity: true)
        } else {
            for ticket in tickets { state.waiters[ticket] = nil }
        }
        return due
    }

    private static func isMet(_ need: Waiter.Need, _ state: State, now: Instant) -> Bool {
        switch need {
        case .preparation(let rendition):
            // One that is no longer made will not come: nobody waits for it.
            guard let reach = state.window.reach(rendition) else { return true }
            let whole = state.window.segments(reach)
            if state.window.isEnded(rendition) || whole.count >= leastSegments { return true }
            guard let first = state.firstPart, state.window.settings.partTarget != nil,
                now - first >= preparePatience, state.window.segments.count < leastSegments
            else { return false }
            return whole.reduce(reach.parts) { $0 + $1.parts.count } >= leastParts
        case .position(let rendition, let segment, let part):
            return state.window.position(segment: segment, part: part, rendition: rendition) != .ahead
        case .resource(let resource):
            if case .ahead = state.window.find(resource) { return false }
            return true
        }
    }
}
