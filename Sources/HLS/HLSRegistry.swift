import MediaFormats
import Synchronization
import Wire

/// Where the registry gets publishers' frames from.
package protocol HLSSource: Sendable {
    /// Begins to read the stream of that name, if somebody publishes it: `make` is called with its tracks before this
    /// returns, frames then go to the pump that it gives until they end or are cancelled. Where it gives none, nothing is
    /// read, and `notPublished` is returned.
    func open(
        _ name: String,
        make: (_ tracks: [TrackDescription], _ requestKeyFrame: @escaping @Sendable () -> Void) -> HLSPump?
    ) -> HLSOpening

    /// Whether `open` would find a publisher.
    func isPublished(_ name: String) -> Bool
}

/// What became of an attempt to read a stream.
package enum HLSOpening: Sendable {
    case reading(HLSReading)
    case notPublished
    /// It cannot be made into HLS, or not now: the text says why.
    case refused(String)
}

/// A stream that is being read.
package struct HLSReading: Sendable {
    /// Ends the reading; the pump is told. Idempotent.
    package var cancel: @Sendable () -> Void

    package init(cancel: @escaping @Sendable () -> Void) { self.cancel = cancel }
}

/// The streams that have HLS output, by name: begins them when they are asked for (or published), ends them when nobody
/// looks, and remembers their numbers, so that those never go back.
package final class HLSRegistry: Sendable {
    package struct Settings: Sendable, Hashable {
        package var stream = HLSStream.Settings()
        package var segmenter = Segmenter.Settings()
        /// Output begins when a stream is published, and does not end while it is; not where its name is a URL.
        package var autoStart = false
        /// Output without a request for so long ends.
        package var idleTimeout: Interval = .seconds(300)
        /// Outputs at a time.
        package var maxStreams = 200
        /// A stream that has ended can be played for so long without a request.
        package var endedHold: Interval = .seconds(60)

        package init() {}
    }

    package enum Lookup: Sendable {
        case stream(HLSStream)
        case notFound
        /// The text says why.
        case refused(String)
    }

    /// Names whose numbers are remembered: the oldest are forgotten first.
    private static let maxRemembered = 10_000

    private struct Entry: Sendable {
        var stream: HLSStream
        var pump: HLSPump
        var reading: HLSReading?
    }

    private struct Numbers: Sendable {
        var next: UInt64
        var discontinuity: UInt64
    }

    private struct State: Sendable {
        var entries: [String: Entry] = [:]
        var numbers: [String: Numbers] = [:]
        /// Names in the order in which their numbers were remembered.
        var order: [String] = []
        /// Of outputs that are gone.
        var counts = HLSStream.RequestCounts()

        mutating func remember(_ name: String, _ status: HLSStream.Status) {
            if numbers.updateValue(
                Numbers(next: status.numberAfter, discontinuity: status.lastDiscontinuity), forKey: name) == nil
            {
                order.append(name)
            }
            guard order.count > HLSRegistry.maxRemembered else { return }
            numbers[order.removeFirst()] = nil
        }
    }

    private let settings: Settings
    private let source: any HLSSource
    private let clock: @Sendable () -> Instant
    private let wallClock: @Sendable () -> Int64
    private let makeToken: @Sendable () -> String
    private let store: @Sendable ([UInt8]) -> any StoredBytes
    private let onLongGroups: @Sendable (_ name: String, Bool) -> Void
    private let isTransportStream: @Sendable (_ name: String) -> Bool
    private let ladder: @Sendable (_ name: String) -> (Ladder, any LadderShop)?
    private let shown: @Sendable (_ name: String) -> String
    private let state = Mutex(State())
    /// Openings one after the other: two requests for one name must not make two outputs.
    private let opening = Mutex(())

    /// - Parameter shown: a stream's name as identifiers of outputs have it.
    package init(
        settings: Settings = Settings(), source: any HLSSource, clock: @escaping @Sendable () -> Instant,
        wallClock: @escaping @Sendable () -> Int64, makeToken: @escaping @Sendable () -> String,
        store: @escaping @Sendable ([UInt8]) -> any StoredBytes = { PlainBytes($0) },
        onLongGroups: @escaping @Sendable (_ name: String, Bool) -> Void = { _, _ in },
        isTransportStream: @escaping @Sendable (_ name: String) -> Bool = { _ in false },
        ladder: @escaping @Sendable (_ name: String) -> (Ladder, any LadderShop)? = { _ in nil },
        shown: @escaping @Sendable (_ name: String) -> String = { $0 }
    ) {
        self.settings = settings
        self.source = source
        self.clock = clock
        self.wallClock = wallClock
        self.makeToken = makeToken
        self.store = store
        self.onLongGroups = onLongGroups
        self.isTransportStream = isTransportStream
        self.ladder = ladder
        self.shown = shown
    }

    /// The stream if it has output.
    package func running(_ name: String) -> HLSStream? { state.withLock { $0.entries[name]?.stream } }

    /// All that have output, by name.
    package var all: [HLSStream] {
        state.withLock { $0.entries.values.map(\.stream) }.sorted { $0.name < $1.name }
    }

    /// Requests of all outputs there have been.
    package var counts: HLSStream.RequestCounts {
        state.withLock { state in state.entries.values.reduce(into: state.counts) { $0.add($1.stream.status.counts) } }
    }

    /// The stream, whose output is begun if somebody publishes it.
    package func stream(_ name: String) -> Lookup {
        if let stream = running(name), !isEnded(stream) { return .stream(stream) }
        return opening.withLock { _ in
            if let stream = running(name) {
                // What has ended is played to its end, unless the publisher is back.
                guard isEnded(stream) else { return .stream(stream) }
                let lookup = open(name)
                if case .notFound = lookup { return .stream(stream) }
                return lookup
            }
            return open(name)
        }
    }

    /// Somebody publishes that name now: who waits for it goes on.
    package func published(_ name: String) {
        opening.withLock { _ in
            if let stream = running(name), !isEnded(stream) {
                resume(name, stream)
            } else if startsByItself(name) {
                _ = open(name)
            }
        }
    }

    /// Ends a stream's output; with viewers it begins anew at their next request.
    ///
    /// - Returns: false if there was none.
    @discardableResult
    package func terminate(_ name: String) -> Bool {
        guard let entry = state.withLock({ $0.entries[name] }) else { return false }
        let now = clock()
        entry.stream.end(now: now)
        entry.reading?.cancel()
        entry.pump.ended(now: now)
        drop(name, entry, entry.stream.status)
        return true
    }

    /// To be called every 100 ms or so.
    package func advance(now: Instant) {
        let entries = state.withLock { $0.entries }
        for (name, entry) in entries {
            entry.pump.advance(now: now)
            entry.stream.advance(now: now)
            let status = entry.stream.status
            switch status.phase {
            case .waiting where source.isPublished(name):
                // Told of while the old publisher's last frames were still on their way.
                published(name)
            case .ended(let at):
                // §6.2.1: what was in the playlist stays for at least as long as it lasted.
                let hold = max(settings.endedHold, entry.stream.playlistDuration)
                if now - at >= hold, status.idle >= settings.endedHold { forget(name, entry, status) }
            case .live, .waiting:
                if !startsByItself(name), status.viewers == 0, status.idle >= settings.idleTimeout { terminate(name) }
            }
        }
    }

    private func forget(_ name: String, _ entry: Entry, _ status: HLSStream.Status) {
        entry.reading?.cancel()
        drop(name, entry, status)
    }

    /// What a URL stands for goes on only while somebody plays it: else each that was played once would for ever.
    private func startsByItself(_ name: String) -> Bool { settings.autoStart && !HLSPath.isURL(name) }

    /// Unless another output has its place already.
    private func drop(_ name: String, _ entry: Entry, _ status: HLSStream.Status) {
        entry.stream.stopRungs(idleFor: .zero)
        state.withLock { state in
            state.remember(name, status)
            guard state.entries[name]?.stream === entry.stream else { return }
            state.entries[name] = nil
            state.counts.add(status.counts)
        }
    }

    private func isEnded(_ stream: HLSStream) -> Bool {
        stream.isEnded
    }

    // MARK: Opening, one at a time

    private func open(_ name: String) -> Lookup {
        let (count, numbers, old) = state.withLock { state -> (Int, Numbers?, Entry?) in
            if let old = state.entries[name] { state.remember(name, old.stream.status) }
            return (state.entries.count, state.numbers[name], state.entries[name])
        }
        guard count < settings.maxStreams || old != nil else {
            return .refused("There are \(settings.maxStreams) HLS streams already")
        }
        var refusal: String?
        var made: HLSPump?
        let outcome = source.open(name) { tracks, requestKeyFrame in
            if let reason = obstacle(tracks, name) {
                refusal = reason
                return nil
            }
            let stream = makeStream(name, tracks, numbers)
            let pump = makePump(
                stream, tracks, origin: .zero, isDiscontinuity: numbers != nil, requestKeyFrame)
            made = pump
            return pump
        }
        if let refusal { return .refused(refusal) }
        switch outcome {
        case .refused(let reason): return .refused(reason)
        case .notPublished: return .notFound
        case .reading(let reading):
            guard let made else { return .notFound }
            old?.stream.stopRungs(idleFor: .zero)
            state.withLock { state in
                let new = Entry(stream: made.stream, pump: made, reading: reading)
                if let old = state.entries.updateValue(new, forKey: name) { state.counts.add(old.stream.status.counts) }
            }
            return .stream(made.stream)
        }
    }

    /// The publisher is back while its players wait.
    private func resume(_ name: String, _ stream: HLSStream) {
        guard case .waiting = stream.status.phase else { return }
        var made: HLSPump?
        var isAnother = false
        let outcome = source.open(name) { tracks, requestKeyFrame in
            // Other renditions than before: that is another presentation.
            guard RenditionPlan(tracks, ladder: stream.plan.ladder) == stream.plan, obstacle(tracks, name) == nil,
                let origin = stream.publisherBack(now: clock())
            else {
                isAnother = true
                return nil
            }
            let pump = makePump(stream, tracks, origin: origin, isDiscontinuity: true, requestKeyFrame)
            made = pump
            return pump
        }
        switch outcome {
        case .reading(let reading):
            guard let made else { return }
            state.withLock { $0.entries[name] = Entry(stream: stream, pump: made, reading: reading) }
        // It has gone again already: who waits goes on waiting.
        case .notPublished where !isAnother: break
        case .notPublished, .refused: stream.end(now: clock())
        }
    }

    private func makeStream(_ name: String, _ tracks: [TrackDescription], _ numbers: Numbers?) -> HLSStream {
        let (rungs, shop) = ladder(name).map { ($0, $1) } ?? (Ladder(), nil)
        let plan = RenditionPlan(tracks, ladder: rungs)
        var stream = settings.stream
        stream.rungIdle = settings.idleTimeout
        stream.window.targetDuration = settings.segmenter.targetDuration
        stream.window.partTarget = stream.window.partTarget == nil ? nil : settings.segmenter.partTarget
        let window = StreamWindow(
            renditions: plan.renditions.map(\.name), late: plan.ladder.rungs.map(\.name), settings: stream.window,
            isTransportStream: isTransportStream(name), firstNumber: numbers?.next ?? 0,
            discontinuitySequence: numbers?.discontinuity ?? 0, makeToken: makeToken)
        return HLSStream(
            name: name, id: "\(makeToken())-\(shown(name))-HLS", plan: plan, settings: stream, window: window,
            clock: clock,
            store: store, shop: shop)
    }

    private func makePump(
        _ stream: HLSStream, _ tracks: [TrackDescription], origin: Interval, isDiscontinuity: Bool,
        _ requestKeyFrame: @escaping @Sendable () -> Void
    ) -> HLSPump {
        let name = stream.name
        return HLSPump(
            stream: stream, tracks: tracks, settings: settings.segmenter, origin: origin,
            isDiscontinuity: isDiscontinuity, wallClock: wallClock, requestKeyFrame: requestKeyFrame,
            onLongGroups: { [onLongGroups] in onLongGroups(name, $0) })
    }

    /// Why these tracks cannot be HLS; nil if they can.
    private func obstacle(_ tracks: [TrackDescription], _ name: String) -> String? {
        guard !tracks.isEmpty else { return "The stream has neither picture nor sound" }
        let isTransportStream = isTransportStream(name)
        let bad = tracks.first { track in
            switch track.codec {
            case .vp8, .pcmu, .pcma, .g722: true
            case .vp9, .av1, .opus: isTransportStream
            case .h264, .h265, .aac: false
            }
        }
        return bad.map {
            "\($0.codec.name) has no place in \(isTransportStream ? "MPEG-TS" : "HLS") and is not transcoded"
        }
    }
}
