import ControlPlane
import Dispatch
import HLS
import LinuxNet
import Logging
import MediaFiles
import MediaFormats
import Synchronization
import Wire

/// Makes the lower renditions of one stream: places, coders, and the runners with their decoders.
package final class HLSLadderShop: LadderShop {
    private let name: String
    private let rungs: [LadderRung]
    private let isTransportStream: Bool
    private let places: HLSTranscodePlaces
    private let logger: Logger
    /// By generation. An entry is a place that is taken.
    private let coders = Mutex<[Int: HLSLadderCoder]>([:])

    package init(name: String, rungs: [LadderRung], isTransportStream: Bool, places: HLSTranscodePlaces, logger: Logger)
    {
        self.name = name
        self.rungs = rungs
        self.isTransportStream = isTransportStream
        self.places = places
        self.logger = logger
    }

    package var hasPlace: Bool { places.hasPicture }

    package func takePlace() -> String? { places.takeRendition() }

    package func open(_ order: LadderWork.Order) {
        let coder = HLSLadderCoder(rungs[order.rung], order: order, isTransportStream: isTransportStream)
        coders.withLock { $0[order.generation] = coder }
    }

    package func giveBack(_ generation: Int) {
        // Who works with it still may finish its part.
        let coder = coders.withLock { $0.removeValue(forKey: generation) }
        if coder != nil { places.giveBackRendition() }
    }

    package func makeRunner(for stream: HLSStream, run: Int) -> any LadderRunner {
        HLSLadderRunner(stream: stream, run: run, shop: self)
    }

    /// Nil: it is over.
    package func coder(_ order: LadderWork.Order) -> HLSLadderCoder? { coders.withLock { $0[order.generation] } }

    /// Pictures are missing since the encoders do not keep up.
    func dropped(_ pictures: Int) { places.addDropped(pictures) }

    func failed(_ order: LadderWork.Order, _ reason: String) {
        logger.warning(
            "A lower rendition of a stream cannot be made",
            metadata: [
                "stream": .string(StreamName.shown(name)), "rendition": .string(rungs[order.rung].name),
                "error": .string(reason),
            ])
    }
}

/// One decoder on its way through a stream's segments, on a queue of its own.
final class HLSLadderRunner: LadderRunner {
    private let queue = DispatchQueue(label: "weir.hls.ladder", qos: .utility)
    private weak let stream: HLSStream?
    private let run: Int
    private let shop: HLSLadderShop
    /// Of the queue.
    nonisolated(unsafe) private var decoder: LadderDecoder?

    init(stream: HLSStream, run: Int, shop: HLSLadderShop) {
        self.stream = stream
        self.run = run
        self.shop = shop
    }

    func wake() { queue.async { [self] in work() } }

    private func work() {
        guard let stream else { return }
        var turn = stream.ladderTurn(run: run)
        while case .work(let work) = turn { turn = stream.ladderTurn(run: run, finished: work, make(work)) }
        if case .over = turn { decoder = nil }
    }

    private func make(_ work: LadderWork) -> [LadderResult] {
        let began = Instant.now
        let coders = work.orders.compactMap { shop.coder($0) }
        for coder in coders { coder.begin(work) }
        if work.isGap {
            decoder = nil
        } else {
            decode(work, coders)
        }
        var results: [LadderResult] = []
        for coder in coders {
            let result = coder.finish(work)
            if let failure = result.failure { shop.failed(coder.order, failure) }
            results.append(result)
        }
        let spent = Instant.now - began
        shop.dropped(coders.reduce(0) { $0 + $1.note(work: spent, media: work.duration) })
        return results
    }

    private func decode(_ work: LadderWork, _ coders: [HLSLadderCoder]) {
        if work.isRestart { decoder = nil }
        let codec = work.source.codec
        if decoder?.codec != codec { decoder = try? LadderDecoder(codec) }
        guard let decoder else { return }
        decoder.decode(work.samples, isLast: work.isLast) { picture, slot in
            // One picture, all sizes side by side, where there are processors for it.
            if coders.count > 1 {
                let picture = UncheckedPicture(picture)
                DispatchQueue.concurrentPerform(iterations: coders.count) { index in
                    coders[index].take(picture.picture, slot: slot, source: work.source)
                }
            } else {
                coders.first?.take(picture, slot: slot, source: work.source)
            }
        }
    }
}

/// Encoders only read the picture, which outlives them.
private struct UncheckedPicture: @unchecked Sendable {
    let picture: VideoPicture
    init(_ picture: VideoPicture) { self.picture = picture }
}

/// Samples to pictures in the order of showing, each in the place of a sample. One thread at a time.
package final class LadderDecoder {
    /// Samples that a decoder keeps at most: the standard's 16, and what damage leaves behind.
    private static let maxSlots = 32

    let codec: Codec
    private var decoder: VideoDecoder
    /// Samples whose pictures have not come out yet.
    private var slots: [Sample] = []

    package init(_ codec: Codec) throws(CodecError) {
        self.codec = codec
        decoder = try VideoDecoder(TrackDescription(codec: codec), reorders: codec == .h264 || codec == .h265)
    }

    /// - Parameter isLast: all pictures come out.
    package func decode(_ samples: [Sample], isLast: Bool, give: (VideoPicture, Sample) -> Void) {
        for sample in samples {
            slots.append(sample)
            if slots.count > Self.maxSlots { slots.removeFirst() }
            let frame = MediaFrame(track: 0, data: sample.data, time: sample.time, isKeyFrame: sample.isKeyFrame)
            // A damaged frame gives none.
            for picture in (try? decoder.decode(frame)) ?? [] { place(picture, give) }
        }
        guard isLast, !slots.isEmpty else { return }
        for picture in (try? decoder.finish()) ?? [] { place(picture, give) }
        slots = []
        if let fresh = try? VideoDecoder(TrackDescription(codec: codec), reorders: codec == .h264 || codec == .h265) {
            decoder = fresh
        }
    }

    private func place(_ picture: VideoPicture, _ give: (VideoPicture, Sample) -> Void) {
        // In order: a sample before this one gave no picture.
        if !slots.contains(where: { $0.time != $0.decodeTime }) { slots.removeAll { $0.time < picture.time } }
        guard !slots.isEmpty else { return }
        give(picture, slots.removeFirst())
    }
}

extension OutputTrack {
    /// Of a picture.
    var codec: Codec {
        switch configuration {
        case .h264: .h264
        case .h265: .h265
        case .vp9: .vp9
        case .av1: .av1
        case .opus: .opus
        case .aac: .aac
        }
    }
}
