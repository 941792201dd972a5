import Synchronization
import Wire

/// Who sends from an address to the ports of plain RTP.
package struct PlainSource: Sendable {
    enum Client: Sendable {
        case player(PlainPlayer)
        case publisher(PlainPublisher)

        var tracks: [PlainTrack] {
            switch self {
            case .player(let player): player.tracks
            case .publisher(let publisher): publisher.tracks
            }
        }
        var address: SocketAddress {
            switch self {
            case .player(let player): player.client
            case .publisher(let publisher): publisher.client
            }
        }
        var isEnded: Bool {
            switch self {
            case .player(let player): player.isEnded
            case .publisher(let publisher): publisher.isEnded
            }
        }
        func isSame(as other: Client) -> Bool {
            switch (self, other) {
            case (.player(let a), .player(let b)): a === b
            case (.publisher(let a), .publisher(let b)): a === b
            default: false
            }
        }
    }

    let client: Client
    let track: Int
    /// What belongs to our RTCP port.
    let isRTCP: Bool
}

/// Addresses of plain RTP clients, shared by all workers and the control side. Workers remember what they have found, so
/// the lock is taken once per address and worker, and for datagrams of strangers.
package final class PlainDirectory: Sendable {
    private let sources = Mutex<[SocketAddress: PlainSource]>([:])

    package init() {}

    /// All addresses of the client or none.
    func add(_ client: PlainSource.Client) throws(PlainError) {
        let new = Self.addresses(of: client)
        let taken = sources.withLock { sources -> SocketAddress? in
            let taken = new.first { sources[$0.address].map { !$0.client.isEnded } ?? false }
            if taken == nil {
                for (address, source) in new { sources[address] = source }
            }
            return taken?.address
        }
        if let taken { throw .addressInUse(taken) }
    }

    func remove(_ client: PlainSource.Client) {
        sources.withLock { sources in
            for (address, _) in Self.addresses(of: client) where sources[address]?.client.isSame(as: client) == true {
                sources[address] = nil
            }
        }
    }

    func find(_ address: SocketAddress) -> PlainSource? { sources.withLock { $0[address] } }

    package var count: Int { sources.withLock { $0.count } }

    private static func addresses(
        of client: PlainSource.Client
    ) -> [(address: SocketAddress, source: PlainSource)] {
        client.tracks.flatMap { track in
            [(track.rtpPort, false), (track.rtcpPort, true)].map { port, isRTCP in
                var address = client.address
                address.port = port
                return (address, PlainSource(client: client, track: track.track, isRTCP: isRTCP))
            }
        }
    }
}
