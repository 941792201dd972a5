import Synchronization
import Wire

/// What a worker does when it cannot keep pace: see `OverloadGuard`.
extension Worker {
    /// Players of whom video is thinned get a new key frame this often.
    private static let thinnedKeyFrameInterval = Interval.seconds(4)
    /// Players that came, went or became faster since are considered anew.
    private static let selectionInterval = Interval.seconds(1)

    /// At every slow tick.
    func reviewOverload() {
        let changed = overload.look(longestWait: longestWait)
        longestWait = .zero
        if changed { counters.setOverload(worker: index, isPressed: overload.isPressed, admits: overload.admits) }
        defer { tellOverload() }
        let shouldThin = overload.thinnedParts > 0
        guard shouldThin || thinnedPlayers > 0 else { return }
        if changed || now - lastSelection >= Self.selectionInterval { selectThinned() }
        for stream in streams.values where stream.thinnedPlayers > 0 {
            if now - stream.lastKeyFrameRequest >= Self.thinnedKeyFrameInterval { requestKeyFrame(stream) }
        }
    }

    private func tellOverload() {
        let news = overloadEpisode.look(isThinning: overload.thinnedParts > 0, thinned: thinnedPlayers, now: now) {
            peers.values.count { !$0.isPublisher }
        }
        if let news { post(.overload(worker: index, news)) }
    }

    /// The slowest players, by the loss that they report, then by their round trips; of equals the latest to come. Who
    /// is thinned already comes first, since it reports little loss now: the choice does not go round.
    private func selectThinned() {
        lastSelection = now
        var players = peers.values.filter { !$0.isPublisher && $0.position != nil && $0.stream?.videoIndex != nil }
        let before = thinnedPlayers
        thinnedPlayers = (players.count * overload.thinnedParts + OverloadGuard.parts - 1) / OverloadGuard.parts
        func key(_ player: Peer) -> (Int, UInt8, Int64, UInt64) {
            let lane = player.stream.flatMap { stream in
                stream.videoIndex.flatMap { stream.lane(of: player, track: $0) }
            }
            return (
                lane?.pointee.isThinned == true ? 1 : 0, player.reportedLoss, player.roundTrip.nanoseconds, player.id
            )
        }
        players.sort { key($0) > key($1) }
        for stream in streams.values { stream.thinnedPlayers = 0 }
        for (i, player) in players.enumerated() {
            guard let stream = player.stream, let video = stream.videoIndex,
                let lane = stream.lane(of: player, track: video)
            else { continue }
            let isThinned = i < thinnedPlayers
            if isThinned { stream.thinnedPlayers += 1 }
            guard lane.pointee.isThinned != isThinned else { continue }
            lane.pointee.isThinned = isThinned
            // Back to full video with the next key frame.
            if !isThinned, !lane.pointee.isStarted { stream.keyFrameWanted = true }
        }
        counters.playersThinned.wrappingAdd(thinnedPlayers - before, ordering: .relaxed)
    }
}
