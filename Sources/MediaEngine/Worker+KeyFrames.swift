import RTP
import SDP
import Wire

/// Key frames: requests to the publisher, merged and throttled, and starts of players from stored ones.
extension Worker {
    /// Shortest time between two key-frame requests to one publisher, whoever asks.
    var keyFrameInterval: Interval { overload.isPressed ? .seconds(2) : .milliseconds(300) }
    /// An answer takes a round trip and a picture; what comes later is no answer.
    private static let promptAnswer = Interval.milliseconds(800)
    /// For a publisher that has answered before: requests may be lost, its encoder busy.
    private static let keyFramePatience = Interval.milliseconds(3000)
    /// A group of pictures older than this would keep a player busy for longer than it waits for the next.
    private static let maxGroupAge = Interval.seconds(15)
    /// Stored packets that a joining player gets at once, and then at every fast tick (10 ms): some 25 Mbit/s, far
    /// more than a stream has and far less than a burst of a whole group of pictures.
    private static let firstCatchUp = 96
    private static let nextCatchUp = 24
    /// Fast ticks that catching up over ICE-TCP waits for one missing packet.
    private static let maxCatchUpWaits = 20

    /// Merged request of all players; goes to the publisher, here or on its worker.
    func requestKeyFrame(_ stream: StreamState) {
        stream.keyFrameWanted = true
        guard now - stream.lastKeyFrameRequest >= keyFrameInterval else {
            stream.isRequestDue = true
            return
        }
        stream.lastKeyFrameRequest = now
        stream.isRequestDue = false
        guard let index = stream.videoIndex, !stream.isOrigin || stream.publisher?.isConnected == true else { return }
        let track = stream.tracks[index]
        guard track.canPLI || track.canFIR else {
            becomeDeaf(track)
            return
        }
        guard let publisher = stream.publisher else {
            mailboxes[stream.originWorker].post(.requestKeyFrame(stream: stream.id))
            expectAnswer(stream, track: track)
            return
        }
        if let source = publisher.source {
            expectAnswer(stream, track: track)
            publisher.counters.plis.bump()
            source.askForKeyFrame()
            return
        }
        guard let ssrc = track.ssrc else { return }
        expectAnswer(stream, track: track)
        var bytes: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: publisher.localSSRC, blocks: [], into: &bytes)
        if track.canPLI {
            RTCPWriter.pli(sender: publisher.localSSRC, media: ssrc, into: &bytes)
        } else {
            track.firSequence &+= 1
            RTCPWriter.fir(sender: publisher.localSSRC, entries: [(ssrc, track.firSequence)], into: &bytes)
        }
        publisher.counters.plis.bump()
        sendRTCP(bytes, on: transport(of: publisher, track: index))
    }

    /// Whoever sends no pictures at all (a camera that is off) is not deaf.
    private func expectAnswer(_ stream: StreamState, track: Track) {
        guard stream.unansweredRequest == nil, isFlowing(track) else { return }
        stream.unansweredRequest = now
    }

    private func isFlowing(_ track: Track) -> Bool {
        guard let latest = track.ring.find(track.ring.highest) else { return false }
        return now - latest.pointee.arrival < .seconds(1)
    }

    private func becomeDeaf(_ track: Track) {
        track.promptAnswers = 0
        guard track.hearing != .deaf, configuration.groupCachePackets > 0 else { return }
        track.hearing = .deaf
        track.ring.grow(to: configuration.groupCachePackets)
    }

    /// To be called when a key frame of the publisher begins.
    func keyFrameBegan(_ stream: StreamState, track: Track) {
        stream.isRequestDue = false
        // Where all players are on other workers no fan-out finds that nobody waits any more. Those who still do ask anew.
        if stream.players.isEmpty { stream.keyFrameWanted = false }
        guard let asked = stream.unansweredRequest else { return }
        stream.unansweredRequest = nil
        guard now - asked <= Self.promptAnswer else { return }
        track.promptAnswers += 1
        // Regular key frames of a deaf publisher look like answers now and then.
        if track.hearing == .unknown || track.promptAnswers >= 3, track.canPLI || track.canFIR {
            track.hearing = .listens
        }
    }

    /// Every slow tick: requests that found no answer. Asks again, or does without.
    func reviewKeyFrameRequest(_ stream: StreamState) {
        guard let video = stream.videoIndex else { return }
        let track = stream.tracks[video]
        if let asked = stream.unansweredRequest {
            let patience = track.hearing == .listens ? Self.keyFramePatience : Self.promptAnswer
            if !isFlowing(track) {
                stream.unansweredRequest = nil
            } else if now - asked > patience {
                becomeDeaf(track)
            }
        }
        if stream.isRequestDue { requestKeyFrame(stream) }
        guard stream.keyFrameWanted else { return }
        if track.hearing == .deaf {
            // A group with a hole is no use to any of them.
            for player in stream.players where !startFromCache(stream, player: player) { break }
            for feed in stream.sinks where !startFromCache(stream, feed: feed) { break }
        }
        if now - stream.lastKeyFrameRequest >= .milliseconds(1000) { requestKeyFrame(stream) }
    }

    /// First packet of the group of pictures that is kept whatever its age; `Int64.max`: none is.
    func keptGroup(of track: Track) -> Int64 {
        guard track.kind == .video, track.hearing != .listens, configuration.groupCachePackets > 0,
            let first = track.ring.find(track.lastKeyFrame), now - first.pointee.arrival <= Self.maxGroupAge,
            !slab.isHalfUsed
        else { return .max }
        return track.lastKeyFrame
    }

    /// What a replica that begins now needs so that its players can start as the origin's do; `nil`: there is nothing
    /// that they could start from.
    func storedGroup(of stream: StreamState) -> StoredGroup? {
        guard let video = stream.videoIndex else { return nil }
        let track = stream.tracks[video]
        guard let first = track.ring.find(track.lastKeyFrame),
            keptGroup(of: track) != .max || now - first.pointee.arrival <= configuration.groupCache
        else { return nil }
        var group = StoredGroup(stream: stream.id, track: video, hearing: track.hearing)
        for number in track.lastKeyFrame...track.ring.highest {
            // What is missing may be on its way by retransmission; it comes by the crossing.
            guard let packet = track.ring.find(number), let slot = packet.pointee.slot else { continue }
            var copy = packet.pointee
            copy.slot = nil
            group.packets.append(copy)
            group.payloads.append(
                contentsOf: UnsafeRawBufferPointer(
                    start: slot + Int(copy.payloadOffset), count: Int(copy.payloadLength)))
        }
        return group
    }

    /// A replica stores the group as if it had been there from its beginning.
    func take(_ group: StoredGroup) {
        guard let stream = streams[group.stream], !stream.isOrigin, group.track < stream.tracks.count,
            let first = group.packets.first
        else { return }
        let track = stream.tracks[group.track]
        track.hearing = group.hearing
        track.ring.grow(to: min(group.packets.count, configuration.groupCachePackets))
        var offset = 0
        for var packet in group.packets {
            guard let slot = slab.take() else { break }
            group.payloads.withUnsafeBytes {
                slot.copyMemory(from: $0.baseAddress! + offset, byteCount: Int(packet.payloadLength))
            }
            offset += Int(packet.payloadLength)
            packet.slot = slot
            packet.payloadOffset = 0
            if !track.ring.store(packet) { slab.give(slot) }
        }
        if track.lastKeyFrame < first.number {
            track.lastKeyFrame = first.number
            track.lastKeyFrameTimestamp = first.timestamp
        }
        for player in stream.players where !startFromCache(stream, player: player) {
            requestKeyFrame(stream)
            break
        }
    }

    func transport(of peer: Peer, track: Int) -> Transport {
        let tracks = peer.negotiation.tracks
        let index = track < tracks.count ? tracks[track].transportIndex : 0
        return peer.transports[min(index, peer.transports.count - 1)]
    }

    /// Whether who joins may begin with what is stored from the last key frame on: all of it, and young or the best
    /// that there is.
    ///
    /// - Parameter mayBeOld: it was waited for a new key frame in vain.
    func isStoredGroupUsable(_ track: Track, mayBeOld: Bool = false) -> Bool {
        let limit = mayBeOld || track.hearing == .deaf ? Self.maxGroupAge : configuration.groupCache
        guard track.lastKeyFrame >= 0, let first = track.ring.find(track.lastKeyFrame),
            now - first.pointee.arrival <= limit
        else { return false }
        var number = track.lastKeyFrame
        while number <= track.ring.highest {
            guard track.ring.contains(number) else { return false }
            number += 1
        }
        return true
    }

    /// Starts a player from the stored group of pictures when that is whole and young, or when the publisher cannot
    /// be asked for a new one. `false`: a key frame has to be asked for.
    func startFromCache(_ stream: StreamState, player: Peer, mayBeOld: Bool = false) -> Bool {
        guard let video = stream.videoIndex, let lane = stream.lane(of: player, track: video) else { return true }
        guard lane.pointee.isActive, !lane.pointee.isStarted, !lane.pointee.isCatchingUp else { return true }
        let track = stream.tracks[video]
        guard isStoredGroupUsable(track, mayBeOld: mayBeOld), let first = track.ring.find(track.lastKeyFrame) else {
            return false
        }
        let age = now - first.pointee.arrival
        lane.pointee.start(at: track.lastKeyFrame)
        lane.pointee.isStarted = false
        lane.pointee.isCatchingUp = true
        player.catchUp = track.lastKeyFrame
        // Should the publisher listen after all, its new key frame ends the catching up.
        if track.hearing == .deaf, age > .seconds(1) { requestKeyFrame(stream) }
        if !catchUp(player, limit: Self.firstCatchUp) {
            catchingUp.append(player)
            hurry()
        }
        return true
    }

    /// Goes on with players that started from stored packets; every fast tick.
    func continueCatchUp() {
        guard !catchingUp.isEmpty else { return }
        catchingUp.removeAll { catchUp($0, limit: Self.nextCatchUp) }
    }

    /// - Returns: `true` when the player has reached the live edge, or needs no stored packets any more.
    private func catchUp(_ player: Peer, limit: Int) -> Bool {
        guard let stream = player.stream, let video = stream.videoIndex else { return true }
        // Packets that wait for their fan-out are in the ring already: the player must not get them twice.
        fanOut(stream, whole: true)
        guard let lane = stream.lane(of: player, track: video), lane.pointee.isActive, lane.pointee.isCatchingUp else {
            return true
        }
        let track = stream.tracks[video]
        let time = absSendTime
        var left = limit
        // Stored packets can wait where live ones cannot.
        let connection = lane.pointee.connection == 0 ? nil : connections[lane.pointee.connection]
        if player.catchUp < track.ring.floor {
            // It took so long that the packets are gone: a later key frame has to do.
            lane.pointee.isCatchingUp = false
            stream.keyFrameWanted = true
            return true
        }
        while player.catchUp <= track.ring.highest, left > 0, lane.pointee.isCatchingUp {
            if let connection, isCongested(connection) { return false }
            if let packet = track.ring.find(player.catchUp) {
                send(packet, on: lane, time: time)
                player.catchUpWaits = 0
            } else if connection != nil, player.catchUpWaits < Self.maxCatchUpWaits {
                // The publisher may still repair it; over ICE-TCP nothing that comes later can be asked for.
                player.catchUpWaits += 1
                return false
            }
            player.catchUp += 1
            left -= 1
        }
        guard lane.pointee.isCatchingUp else { return true }
        guard player.catchUp > track.ring.highest else { return false }
        lane.pointee.isCatchingUp = false
        lane.pointee.isStarted = true
        return true
    }
}
