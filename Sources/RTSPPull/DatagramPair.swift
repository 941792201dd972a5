import NIOCore
import NIOPosix
import RTSP
import Wire

/// The two UDP ports of a track: RTP on an even one, RTCP on the next (RFC 3550 §11). Of one event loop.
final class DatagramPair {
    /// Even ports whose neighbour was taken that are tried.
    private static let maxTries = 16
    /// A key frame comes in one go.
    private static let receiveBuffer: SocketOptionValue = 1 << 20
    private static let datagramsPerRead = 32
    private static let maxDatagram = 2048

    let rtp: any Channel
    let rtcp: any Channel
    let ports: RTSPTransport.Pair<UInt16>

    private init(rtp: any Channel, rtcp: any Channel, ports: RTSPTransport.Pair<UInt16>) {
        self.rtp = rtp
        self.rtcp = rtcp
        self.ports = ports
    }

    /// Binds both at the address that our connection to the camera has.
    ///
    /// - Parameter receive: Called on the loop for each datagram that comes from `camera`, and with `nil` behind the last
    ///   of a reading.
    static func bind(
        at local: NIOCore.SocketAddress, camera: NIOCore.SocketAddress, on eventLoop: any EventLoop,
        strangers: RTSPPullCounters, receive: @escaping @Sendable (_ isRTCP: Bool, ByteBuffer?) -> Void
    ) -> EventLoopFuture<NIOLoopBound<DatagramPair>> {
        @Sendable func open(port: Int, isRTCP: Bool) -> EventLoopFuture<any Channel> {
            var address = local
            address.port = port
            return DatagramBootstrap(group: eventLoop)
                .channelOption(.socketOption(.so_rcvbuf), value: receiveBuffer)
                .channelOption(.datagramVectorReadMessageCount, value: datagramsPerRead)
                .channelOption(
                    .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: datagramsPerRead * maxDatagram)
                )
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            DatagramHandler(camera: camera, isRTCP: isRTCP, strangers: strangers, receive: receive))
                    }
                }.bind(to: address)
        }
        @Sendable func attempt(_ left: Int) -> EventLoopFuture<NIOLoopBound<DatagramPair>> {
            open(port: 0, isRTCP: false).flatMap { rtp in
                let port = rtp.localAddress?.port ?? 0
                guard port.isMultiple(of: 2), port > 0, let number = UInt16(exactly: port) else {
                    return again(rtp, left)
                }
                return open(port: port + 1, isRTCP: true).flatMap { rtcp in
                    let pair = DatagramPair(rtp: rtp, rtcp: rtcp, ports: .init(number, number + 1))
                    return eventLoop.makeSucceededFuture(NIOLoopBound(pair, eventLoop: eventLoop))
                }.flatMapError { _ in again(rtp, left) }
            }
        }
        @Sendable func again(_ rtp: any Channel, _ left: Int) -> EventLoopFuture<NIOLoopBound<DatagramPair>> {
            rtp.close(promise: nil)
            guard left > 0 else { return eventLoop.makeFailedFuture(ResolutionError(description: "no pair of ports")) }
            return attempt(left - 1)
        }
        return attempt(maxTries)
    }

    func close() {
        rtp.close(promise: nil)
        rtcp.close(promise: nil)
    }
}

/// Takes datagrams of the camera, and of nobody else: whoever guesses the port could else put pictures of their own in.
private final class DatagramHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let camera: NIOCore.SocketAddress
    private let isRTCP: Bool
    private let strangers: RTSPPullCounters
    private let receive: @Sendable (Bool, ByteBuffer?) -> Void

    init(
        camera: NIOCore.SocketAddress, isRTCP: Bool, strangers: RTSPPullCounters,
        receive: @escaping @Sendable (Bool, ByteBuffer?) -> Void
    ) {
        self.camera = camera
        self.isRTCP = isRTCP
        self.strangers = strangers
        self.receive = receive
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = Self.unwrapInboundIn(data)
        guard envelope.remoteAddress.hasSameHost(as: camera) else { return strangers.noteStranger() }
        receive(isRTCP, envelope.data)
    }

    func channelReadComplete(context: ChannelHandlerContext) { receive(isRTCP, nil) }

    /// A port of the camera that is closed answers by ICMP: its media may come all the same.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}

extension NIOCore.SocketAddress {
    /// The same address, whatever the port. Per packet: no text is made.
    fileprivate func hasSameHost(as other: NIOCore.SocketAddress) -> Bool {
        switch (self, other) {
        case (.v4(let a), .v4(let b)): return a.address.sin_addr.s_addr == b.address.sin_addr.s_addr
        case (.v6(let a), .v6(let b)):
            return withUnsafeBytes(of: a.address.sin6_addr) { a in
                withUnsafeBytes(of: b.address.sin6_addr) { b in a.elementsEqual(b) }
            }
        default: return false
        }
    }
}
