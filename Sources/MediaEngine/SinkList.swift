import MediaFormats
import SDP
import Synchronization

/// The sinks of one publisher that its worker has not taken over yet. Decides, under one lock, whether a sink comes in
/// time: before the publisher is adopted sinks wait here, and after its end none is let in.
package final class SinkList: Sendable {
    private struct State {
        var arriving: [PacketSink] = []
        var worker: Int?
        var isClosed = false
    }
    private let state = Mutex(State())

    package init() {}

    enum Admission { case refused, waits, served(worker: Int) }

    func add(_ sink: PacketSink) -> Admission {
        state.withLock { s in
            guard !s.isClosed else { return .refused }
            s.arriving.append(sink)
            return s.worker.map { .served(worker: $0) } ?? .waits
        }
    }

    /// - Returns: the worker that may have it by now.
    func remove(_ sink: PacketSink) -> Int? {
        state.withLock { s in
            s.arriving.removeAll { $0 === sink }
            return s.isClosed ? nil : s.worker
        }
    }

    /// The publisher has found its worker, which takes what waits, and is told of all that come later.
    func adopt(worker: Int) { state.withLock { $0.worker = worker } }

    func take() -> [PacketSink] {
        state.withLock { s in
            let all = s.arriving
            s.arriving = []
            return all
        }
    }

    /// The publisher is gone: ends what waits. Idempotent.
    func close() {
        let left = state.withLock { s in
            s.isClosed = true
            let all = s.arriving
            s.arriving = []
            return all
        }
        for sink in left { sink.end() }
    }
}

/// What other threads do with sinks; none of it waits for a worker.
package struct SinkControl: Sendable {
    let directory: Directory
    let mailboxes: [Mailbox]
    let counters: EngineCounters

    package init(directory: Directory, mailboxes: [Mailbox], counters: EngineCounters) {
        self.directory = directory
        self.mailboxes = mailboxes
        self.counters = counters
    }

    /// See `MediaEngine.attach`.
    package func attach(_ sink: PacketSink, publisher: UInt64) -> [TrackDescription]? {
        guard let registration = directory.find(peer: publisher), let list = registration.sinks,
            let tracks = registration.trackDescriptions
        else { return nil }
        return sink.link.withLock { link in
            guard !sink.isEnded else { return nil }
            if let link { return link.publisher == publisher && link.list === list ? tracks : nil }
            sink.count(in: counters)
            link = PacketSink.Link(publisher: publisher, list: list)
            switch list.add(sink) {
            case .refused:
                sink.end()
                return nil
            case .waits: break
            case .served(let worker): mailboxes[worker].post(.sinks(publisher: publisher, list))
            }
            return tracks
        }
    }

    /// See `MediaEngine.detach`.
    package func detach(_ sink: PacketSink) {
        sink.link.withLock { link in
            sink.end()
            guard let link, let worker = link.list.remove(sink) else { return }
            mailboxes[worker].post(.sinks(publisher: link.publisher, link.list))
        }
    }

    package func requestKeyFrame(publisher: UInt64) {
        guard let owner = directory.find(peer: publisher)?.owner.load(ordering: .acquiring), owner >= 0 else { return }
        mailboxes[owner].post(.requestKeyFrame(stream: publisher))
    }

    package func tracks(of publisher: UInt64) -> [TrackDescription]? {
        guard let registration = directory.find(peer: publisher), registration.publisher == nil else { return nil }
        return registration.trackDescriptions
    }
}

extension PeerRegistration {
    /// Of a publisher's tracks, in their order; `nil` when one is of a codec that nobody knows.
    var trackDescriptions: [TrackDescription]? {
        let all = negotiation.tracks.compactMap(TrackDescription.init)
        return all.count == negotiation.tracks.count ? all : nil
    }
}

extension TrackDescription {
    init?(_ track: NegotiatedTrack) {
        guard let codec = Codec(sdpName: track.codec.name) else { return nil }
        let sets: [[UInt8]] =
            switch codec {
            case .h264, .h265: track.parameterSets.map(H264.parameterSets(sprop:)) ?? []
            case .aac:
                FormatParameters(track.codec.fmtp)["config"].flatMap(AudioSpecificConfig.bytes(hexadecimal:))
                    .map { [$0] } ?? []
            case .vp8, .vp9, .av1, .opus, .pcmu, .pcma, .g722: []
            }
        self.init(
            codec: codec, clockRate: max(track.codec.clockRate, 1), channels: codec.isVideo ? 0 : track.codec.channels,
            payloadType: track.codec.payloadType, formatParameters: track.codec.fmtp, parameterSets: sets)
    }
}
