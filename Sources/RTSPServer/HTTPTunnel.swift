import NIOCore
import Synchronization

/// The RTSP connections that travel in two HTTP connections each, by what their requests have in common.
final class HTTPTunnels: Sendable {
    /// A cookie alone could be guessed by somebody else.
    struct Key: Hashable, Sendable {
        var cookie: String
        var address: String
    }

    private let open = Mutex<[Key: HTTPTunnel]>([:])

    /// - Returns: False if there is one of that key.
    func add(_ tunnel: HTTPTunnel, _ key: Key) -> Bool {
        open.withLock { open in
            guard open[key] == nil else { return false }
            open[key] = tunnel
            return true
        }
    }

    func find(_ key: Key) -> HTTPTunnel? { open.withLock { $0[key] } }
    func remove(_ key: Key) { open.withLock { $0[key] = nil } }
}

/// One RTSP connection in two of HTTP: that of GET carries all that is sent and holds the session; what comes by POST is
/// handed to it.
final class HTTPTunnel: Sendable {
    private let eventLoop: any EventLoop
    private let session: NIOLoopBound<HTTPTunnelHandler>
    private let upstream = Mutex<(any Channel)?>(nil)

    /// On the event loop of GET.
    init(_ session: HTTPTunnelHandler, eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.session = NIOLoopBound(session, eventLoop: eventLoop)
    }

    /// A connection of POST. Clients may begin a new one whenever its announced length is used up; the one before is closed.
    func attach(_ channel: any Channel) {
        let before = upstream.withLock { upstream in
            defer { upstream = channel }
            return upstream
        }
        before?.close(promise: nil)
    }

    /// - Parameter taken: called on GET's event loop when more may come; not called when the session is gone.
    func deliver(_ bytes: ByteBuffer, taken: @escaping @Sendable () -> Void) {
        eventLoop.execute { [session] in session.value.deliver(bytes, taken: taken) }
    }

    /// The session is gone.
    func close() { upstream.withLock { $0.take() }?.close(promise: nil) }
}
