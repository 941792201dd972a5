import CLinuxNet
import Glibc
import ICE
import Synchronization
import Wire

/// What others ask of a worker. Control commands are few; forwarded datagrams are bounded.
package enum WorkerCommand: Sendable {
    case close(peer: UInt64)
    case setPaused(peer: UInt64, Bool)
    case restartICE(peer: UInt64, local: ICECredentials, remote: ICECredentials)
    /// A datagram for a peer of this worker that another worker heard.
    case datagram(
        bytes: [UInt8], remote: SocketAddress, local: SocketAddress, socket: Int32, arrival: Instant, from: Int)
    /// An ICE-TCP connection whose first frame belongs to a peer of this worker.
    case connection(descriptor: CInt, received: [UInt8], remote: SocketAddress, local: SocketAddress)
    /// Datagrams from this address belong to a peer of `worker`.
    case route(SocketAddress, worker: Int)
    case subscribe(stream: UInt64, worker: Int)
    /// To a new replica: what the stream has stored for players that join.
    case group(StoredGroup)
    case unsubscribe(stream: UInt64, worker: Int)
    /// To the holders of replicas: the publisher is gone.
    case ended(stream: UInt64)
    case requestKeyFrame(stream: UInt64)
    /// Sinks were attached to a publisher of this worker, or detached.
    case sinks(publisher: UInt64, SinkList)
    /// A source was given to this worker.
    case source(PeerRegistration)
    case sourceNews(peer: UInt64)
    /// A plain RTP player was given to this worker.
    case plainPlayer(PeerRegistration)
    /// RTCP of a plain RTP player of this worker that another worker heard.
    case plainRTCP(peer: UInt64, track: Int, bytes: [UInt8], arrival: Instant)
    /// RTCP for a plain RTP client that is no peer.
    case sendPlainRTCP(bytes: [UInt8], remote: SocketAddress, local: SocketAddress)
    case senderReport(stream: UInt64, track: Int, ntp: UInt64, timestamp: UInt32, arrival: Instant)
    /// `reply` gets what is known of the peer; nil: it has gone.
    case inspect(peer: UInt64, packets: Int, reply: @Sendable (PeerInspection?) -> Void)
    case stop
}

/// Copy of the current group of pictures of a stream's video track.
package struct StoredGroup: @unchecked Sendable {
    var stream: UInt64
    var track: Int
    var hearing: Track.Hearing
    /// Without slots; the payloads lie one behind the other in `payloads`.
    var packets: [StoredPacket] = []
    var payloads: [UInt8] = []
}

/// Commands to one worker from any thread, and the wake-up that goes with them.
package final class Mailbox: Sendable {
    /// Forwarded datagrams that may wait; more are dropped, as a full socket buffer would.
    package static let maxDatagrams = 1024
    private struct State {
        var commands: [WorkerCommand] = []
        var datagrams = 0
    }
    private let state = Mutex(State())
    let eventDescriptor: CInt
    /// Peers of the worker, and sources on their way to it.
    let load = Atomic<Int>(0)

    package init() { eventDescriptor = weir_eventfd() }

    /// - Parameter waking: `false` when the caller wakes the worker once for many commands.
    package func post(_ command: WorkerCommand, waking: Bool = true) {
        let accepted = state.withLock { s in
            switch command {
            case .datagram, .plainRTCP, .sendPlainRTCP:
                guard s.datagrams < Self.maxDatagrams else { return false }
                s.datagrams += 1
            default: break
            }
            s.commands.append(command)
            return true
        }
        if accepted, waking { wake() }
    }

    deinit { Glibc.close(eventDescriptor) }

    func wake() { weir_eventfd_signal(eventDescriptor) }

    package func drain() -> [WorkerCommand] {
        state.withLock { s in
            let all = s.commands
            s.commands = []
            s.datagrams = 0
            return all
        }
    }
}

extension [Mailbox] {
    /// Worker with the fewest peers, of those that keep pace if there are any.
    func leastLoaded(_ counters: EngineCounters) -> Int? {
        func load(_ worker: Int) -> (Int, Int) {
            (counters.isClosed(worker: worker) ? 1 : 0, self[worker].load.load(ordering: .relaxed))
        }
        return indices.min { load($0) < load($1) }
    }
}
