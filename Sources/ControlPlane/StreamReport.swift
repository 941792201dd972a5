import WeirJSON

/// A published or played stream as the operator sees it.
package struct StreamReport: Sendable {
    package var session: SessionFacts
    /// Its present state. `width` and `height` are those of the published picture, if known.
    package var state: StreamStatusEvent
    package var transport: MediaOptions.Transport
    /// kbit/s, 0 = unset.
    package var minBitrate: Int
    package var maxBitrate: Int
    package var cvoExtension: Bool
    package var audioCodec: String?
    package var videoCodec: String?
    /// The published pictures are not in the order in which they are shown (B frames).
    package var isReordered: Bool
    /// Since its request.
    package var age: Duration
    /// Bits per second at the last sampling; nil when not sampled.
    package var rate: (total: Int, video: Int)?
    /// Counters of its media connection, if they were asked for.
    package var statistics: PeerStatistics?
    let peer: PeerID
}

extension ClientSession {
    /// The streams of this session.
    /// - Parameter statistics: also asks the media side for their counters.
    func reports(statistics: Bool) async -> [StreamReport] {
        var reports: [StreamReport] = []
        for (id, stream) in streams.sorted(by: { $0.key < $1.key }) {
            var report = report(stream)
            if statistics { report.statistics = await self.statistics(mediaSessionId: id) }
            reports.append(report)
        }
        return reports
    }

    private func report(_ stream: ManagedStream) -> StreamReport {
        var state = stream.event(stream.status)
        let publication = context.registry.publication(of: stream.publishedName)
        if let size = publication?.size {
            state.width = size.width
            state.height = size.height
        }
        var rate = stream.rate.current
        if rate == nil, stream.published, let total = publication?.bitsPerSecond, total > 0 { rate = (total, total) }
        return StreamReport(
            session: facts, state: state, transport: stream.request.transport, minBitrate: stream.request.minBitrate,
            maxBitrate: stream.request.maxBitrate, cvoExtension: stream.request.cvoExtension,
            audioCodec: stream.description?.audioCodec, videoCodec: stream.description?.videoCodec,
            isReordered: publication?.isReordered ?? false, age: context.timers.now - stream.begun, rate: rate,
            statistics: nil, peer: stream.peer)
    }

    /// Ends a stream on behalf of the operator; false if it has ended meanwhile.
    func terminate(_ mediaSessionId: String, _ peer: PeerID) async -> Bool {
        guard isCurrent(mediaSessionId, peer) else { return false }
        return await end(mediaSessionId, .terminated) != nil
    }
}
