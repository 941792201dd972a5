import ControlPlane
import Glibc
import HLS
import HTTPServer
import LinuxNet
import Logging
import MediaFiles
import MediaFormats
import MediaTaps
import Synchronization
import WeirMetrics
import Wire

/// HLS of the published streams: knows who publishes, reads their frames when somebody looks, keeps time for all
/// outputs, and moves what is old to disk.
package final class HLSOutput: StreamObserver {
    /// Outputs are looked at so often: waiting requests, gaps, parts that wait for a late track.
    private static let tickInterval = Duration.milliseconds(100)

    let registry: HLSRegistry
    private let source: HLSTapSource
    private let spiller: HLSSpiller?

    package init(_ configuration: Configuration.HLS, reader: FrameReader, metrics: MetricsRegistry, logger: Logger) {
        let source = HLSTapSource(configuration, reader: reader, logger: logger)
        self.source = source
        registry = HLSRegistry(
            settings: configuration.registrySettings, source: source, clock: { .now }, wallClock: WallClock.now,
            makeToken: HLSSegmentToken.make, store: { HLSBytes($0) },
            onLongGroups: { name, are in
                let metadata: Logger.Metadata = ["stream": .string(StreamName.shown(name))]
                if are {
                    logger.warning(
                        "A publisher sends key frames too rarely for HLS: viewers begin late; set a shorter interval there",
                        metadata: metadata)
                } else {
                    logger.info("A publisher's key frames are often enough for HLS again", metadata: metadata)
                }
            }, isTransportStream: { configuration.isTransportStream($0) },
            ladder: { name in
                let ladder = configuration.ladder(of: name)
                guard !ladder.isEmpty else { return nil }
                let shop = HLSLadderShop(
                    name: name, rungs: ladder.rungs, isTransportStream: configuration.isTransportStream(name),
                    places: source.places, logger: logger)
                return (ladder, shop)
            }, shown: { StreamName.shown($0) })
        spiller =
            configuration.dvrDirectory.isEmpty
            ? nil : HLSSpiller(directory: configuration.dvrDirectory, logger: logger)
        HLSMetrics.collect(registry, source, into: metrics)
    }

    /// The control plane, which is made after its observers: an output keeps a stream on demand as its players do.
    package func attach(_ control: ControlPlane) { source.hold.withLock { $0 = { control.holdIfPublished($0) } } }

    // MARK: StreamObserver

    package func published(_ name: String, by publisher: PeerID) {
        source.published(name, by: publisher)
        registry.published(name)
    }

    package func unpublished(_ name: String, by publisher: PeerID) { source.unpublished(name, by: publisher) }

    /// Every playlist ends, so that no viewer waits for what will not come.
    package func beginShutdown() {
        for stream in registry.all { stream.end(now: .now) }
    }

    // MARK: Time

    /// Keeps time for all outputs, until the task is cancelled.
    package func run() async {
        while !Task.isCancelled {
            let now = Instant.now
            registry.advance(now: now)
            spiller?.look(at: registry.all, now: now)
            try? await Task.sleep(for: Self.tickInterval)
        }
    }
}

/// Reads published streams for the registry.
final class HLSTapSource: HLSSource {
    /// Bytes of packets that may wait for the reader's thread.
    private static let sinkBytes = 2 << 20

    /// A stream that is refused again and again is named in the log so often.
    private static let warningInterval = Interval.seconds(60)

    private struct Publisher {
        let peer: PeerID
        var lastWarning: Instant?
    }

    private let configuration: Configuration.HLS
    private let reader: FrameReader
    private let logger: Logger
    /// Who publishes, by name.
    private let publishers = Mutex<[String: Publisher]>([:])
    let places: HLSTranscodePlaces
    let hold = Mutex<(@Sendable (String) -> StreamHold?)?>(nil)

    init(_ configuration: Configuration.HLS, reader: FrameReader, logger: Logger) {
        places = HLSTranscodePlaces(
            maxPictures: configuration.maxTranscodes, maxSounds: configuration.maxSoundTranscodes)
        self.configuration = configuration
        self.reader = reader
        self.logger = logger
    }

    func published(_ name: String, by publisher: PeerID) {
        publishers.withLock { $0[name] = Publisher(peer: publisher) }
    }

    func unpublished(_ name: String, by publisher: PeerID) {
        publishers.withLock { if $0[name]?.peer == publisher { $0[name] = nil } }
    }

    // MARK: HLSSource

    func isPublished(_ name: String) -> Bool { publishers.withLock { $0[name] != nil } }

    func open(
        _ name: String, make: ([TrackDescription], @escaping @Sendable () -> Void) -> HLSPump?
    ) -> HLSOpening {
        guard let publisher = publishers.withLock({ $0[name]?.peer }) else { return .notPublished }
        var refusal: String?
        var isWanted = false
        let tap = reader.tap(publisher: publisher.rawValue, capacity: Self.sinkBytes) { tap in
            do throws(Refusal) {
                guard let feed = try makeFeed(tap, name, make) else { return NoFeed() }
                isWanted = true
                return feed
            } catch {
                refusal = error.reason
                return NoFeed()
            }
        }
        guard let tap else { return .notPublished }
        guard isWanted else {
            tap.cancel()
            guard let refusal else { return .notPublished }
            warn(name, refusal)
            return .refused(refusal)
        }
        let hold = hold.withLock { $0 }?(name)
        return .reading(
            HLSReading {
                tap.cancel()
                hold?.release()
            })
    }

    private func warn(_ name: String, _ refusal: String) {
        let now = Instant.now
        let isDue = publishers.withLock { publishers -> Bool in
            if let last = publishers[name]?.lastWarning, now - last < Self.warningInterval { return false }
            publishers[name]?.lastWarning = now
            return true
        }
        guard isDue else { return }
        logger.warning(
            "No HLS of a stream", metadata: ["stream": .string(StreamName.shown(name)), "reason": .string(refusal)])
    }

    private struct Refusal: Error {
        let reason: String
    }

    /// - Returns: nil if no pump was made.
    private func makeFeed(
        _ tap: FrameTap, _ name: String, _ make: ([TrackDescription], @escaping @Sendable () -> Void) -> HLSPump?
    ) throws(Refusal) -> HLSFeed? {
        let plan = HLSTrackPlan(
            tap.tracks, sound: configuration.sound, isTransportStream: configuration.isTransportStream(name))
        guard !plan.codecs.isEmpty else {
            guard let pump = make(tap.tracks, { tap.requestKeyFrame() }) else { return nil }
            return HLSFeed(tap: tap, targets: plan.targets, transcoder: nil, pump: pump, ending: {})
        }
        if let reason = places.take(plan) { throw Refusal(reason: reason) }
        let box = HLSPumpBox()
        let transcoder: StreamTranscoder
        do throws(CodecError) {
            transcoder = try makeTranscoder(plan, name, box)
        } catch {
            places.giveBack(plan)
            throw Refusal(reason: "The stream cannot be transcoded for HLS: \(error)")
        }
        let makesPictures = plan.makesPictures
        let requestKeyFrame: @Sendable () -> Void = {
            if makesPictures { transcoder.requestKeyFrame() } else { tap.requestKeyFrame() }
        }
        guard let pump = make(transcoder.tracks, requestKeyFrame) else {
            transcoder.abandon()
            places.giveBack(plan)
            return nil
        }
        box.set(pump)
        return HLSFeed(
            tap: tap, targets: plan.targets, transcoder: transcoder, pump: pump,
            ending: { [places] in places.giveBack(plan) })
    }

    private func makeTranscoder(
        _ plan: HLSTrackPlan, _ name: String, _ box: HLSPumpBox
    ) throws(CodecError) -> StreamTranscoder {
        var settings = StreamTranscoder.Settings()
        settings.video.keyFrameInterval = configuration.segmentDuration
        let inputs = plan.inputs
        return try StreamTranscoder(
            tracks: inputs, to: plan.codecs, settings: settings,
            failed: { [logger] track, error in
                logger.warning(
                    "A track of a stream is missing in HLS: it cannot be transcoded",
                    metadata: [
                        "stream": .string(StreamName.shown(name)), "codec": .string(inputs[track].codec.name),
                        "error": "\(error)",
                    ])
            }, output: { box.handle($0) })
    }
}

/// Names of segments have this in them: 64 random bits, so that nobody can guess one.
enum HLSSegmentToken {
    private static let radix = 36

    @Sendable static func make() -> String { String(UInt64.random(in: .min ... .max), radix: radix) }
}

enum WallClock {
    private static let nanosecondsPerSecond: Int64 = 1_000_000_000

    /// Nanoseconds since 1970.
    @Sendable static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * nanosecondsPerSecond + Int64(time.tv_nsec)
    }
}
