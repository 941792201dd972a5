import NIOCore
import Synchronization

/// A connection as the rest of the program may touch it, from any thread. Does nothing once the connection is gone.
package final class RTSPLink: Sendable {
    private let eventLoop: any EventLoop
    private let handler: Mutex<NIOLoopBound<RTSPChannelHandler>?>

    init(_ handler: RTSPChannelHandler, eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.handler = Mutex(NIOLoopBound(handler, eventLoop: eventLoop))
    }

    /// RTCP for the peer, of an announced or played track: receiver reports, requests for a key frame.
    package func send(rtcp: [UInt8], track: Int) { onLoop { $0.send(rtcp: rtcp, track: track) } }

    /// A datagram of the client's has come, so it lives.
    package func noteSignOfLife() { onLoop { $0.noteSignOfLife() } }

    /// The stream that is played has ended, or the publication was ended from outside.
    package func end() { onLoop { $0.streamEnded() } }

    func cut() { handler.withLock { $0 = nil } }

    private func onLoop(_ work: @escaping @Sendable (RTSPChannelHandler) -> Void) {
        guard let handler = handler.withLock({ $0 }) else { return }
        eventLoop.execute { work(handler.value) }
    }
}
