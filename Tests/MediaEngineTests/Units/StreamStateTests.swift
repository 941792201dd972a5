import MediaEngine
import SDP
import SRTP
import Testing
import Wire

@Suite struct StreamStateTests {
    private let slab = PacketSlab(maxSlots: 256)

    private func stream() -> StreamState {
        let codecs: [(MediaKind, RTPCodec)] = [
            (.audio, RTPCodec(payloadType: 111, name: "opus", clockRate: 48_000)),
            (.video, RTPCodec(payloadType: 96, name: "VP8", clockRate: 90_000)),
        ]
        let tracks = codecs.map { NegotiatedTrack(kind: $0, mLineIndex: 0, mid: nil, codec: $1) }
        return StreamState(id: 1, tracks: tracks, originWorker: 0, isOrigin: true, slab: slab)
    }

    private func player(_ id: UInt64) -> Peer {
        let negotiation = Negotiation(answer: "", transports: [], tracks: [])
        return Peer(
            registration: PeerRegistration(id: id, publisher: nil, negotiation: negotiation), now: .zero, localSSRC: 1)
    }

    private func pending(_ stream: StreamState) -> [[Int64]] {
        var out: [[Int64]] = [[], []]
        for i in 0..<stream.pendingCount { out[Int(stream.pending[i].track)].append(stream.pending[i].number) }
        return out
    }

    @Test func lanesFollowTheirPlayersWhenOthersLeave() throws {
        let machine = try SRTPMachine(backend: .openSSL)
        let counter = UnsafeMutablePointer<UInt16>.allocate(capacity: 1)
        defer { counter.deallocate() }
        counter.initialize(to: 0)
        let lane = try testLane(machine, counter: counter)
        defer { machine.destroy(lane.outbound) }
        let stream = stream()
        let players = (0..<20).map { player(UInt64($0)) }
        for player in players {
            // Each lane is marked with its player and track.
            let lanes = (0..<2).map { track in
                var own = lane
                own.ssrc = UInt32(player.id) * 10 + UInt32(track)
                return own
            }
            stream.add(player, lanes: lanes)
        }
        func check(_ alive: Set<UInt64>) {
            #expect(Set(stream.players.map(\.id)) == alive && stream.players.count == alive.count)
            for player in players {
                for track in 0..<2 {
                    let ssrc = stream.lane(of: player, track: track)?.pointee.ssrc
                    #expect(ssrc == (alive.contains(player.id) ? UInt32(player.id) * 10 + UInt32(track) : nil))
                }
            }
        }
        var alive = Set(players.map(\.id))
        check(alive)
        var random = SeededRandom(seed: 5)
        for player in players.shuffled(using: &random) {
            stream.remove(player)
            stream.remove(player)
            alive.remove(player.id)
            check(alive)
        }
        #expect(stream.lane(of: players[0], track: 0) == nil)
    }

    @Test func aPlayerOfAnotherStreamIsNotRemoved() throws {
        let machine = try SRTPMachine(backend: .openSSL)
        let counter = UnsafeMutablePointer<UInt16>.allocate(capacity: 1)
        defer { counter.deallocate() }
        counter.initialize(to: 0)
        let lane = try testLane(machine, counter: counter)
        defer { machine.destroy(lane.outbound) }
        let (a, b) = (stream(), stream())
        let (one, two) = (player(1), player(2))
        a.add(one, lanes: [lane, lane])
        b.add(two, lanes: [lane, lane])
        a.remove(two)
        #expect(a.players.count == 1 && b.players.count == 1 && two.position == 0)
        #expect(a.lane(of: one, track: 2) == nil, "a track that the stream has not")
    }

    @Test(arguments: 1...5 as ClosedRange<UInt64>) func pendingPacketsLieInTheOrderOfTheirTrack(seed: UInt64) {
        let stream = stream()
        var random = SeededRandom(seed: seed)
        var expected: [[Int64]] = [[], []]
        for number in (0..<60 as Range<Int64>).shuffled(using: &random) {
            let track = Int.random(in: 0..<2, using: &random)
            stream.enqueue(track: track, number: number)
            expected[track].append(number)
        }
        #expect(pending(stream) == expected.map { $0.sorted() })
    }

    @Test func tracksKeepTheirPlacesAmongEachOther() {
        let stream = stream()
        for (track, number) in [(1, 10), (0, 1), (1, 12), (0, 2), (1, 11)] as [(Int, Int64)] {
            stream.enqueue(track: track, number: number)
        }
        let order = (0..<stream.pendingCount).map { Int(stream.pending[$0].track) }
        #expect(order == [1, 0, 1, 0, 1])
        #expect(pending(stream) == [[1, 2], [10, 11, 12]])
    }

    @Test func theNumberOfPendingPacketsIsBounded() {
        let stream = stream()
        for number in 0..<2000 as Range<Int64> { stream.enqueue(track: 0, number: number) }
        #expect(stream.pendingCount == StreamState.maxPending)
    }
}
