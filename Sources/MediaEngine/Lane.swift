import CLinuxNet
import SRTP
import Wire

/// One track on its way to one player: all that the packet path needs, as plain memory without references, so that
/// fanning out touches no reference count. Lanes of a stream lie in one array, player by player.
package struct Lane: BitwiseCopyable {
    // What every packet needs comes first.
    package var outbound: SRTPOutbound
    package var remote: weir_address
    package var local: weir_address
    /// Which of the worker's sockets sends; -1: ICE-TCP.
    package var socket: Int32 = 0
    /// ICE-TCP connection of the path, 0 for UDP.
    package var connection: UInt32 = 0
    package var ssrc: UInt32
    package var payloadType: UInt8
    /// 0: the player takes no RTX; lost packets are sent again as they were.
    package var rtxPayloadType: UInt8
    package var absSendTimeID: UInt8
    package var transportCCID: UInt8
    package var orientationID: UInt8
    package var needsKeyFrame: Bool
    private var flags: UInt8 = 0
    /// Added to the stream's packet number: the 48-bit SRTP index (roll-over counter and sequence) of this player.
    package var indexOffset: Int64 = 0
    package var firstNumber: Int64 = 0
    /// The key frame that the player began with: of what comes late before it only its own packets are of use.
    package var keyNumber: Int64 = 0
    package var lastIndex: Int64 = -1
    package var keyTimestamp: UInt32 = 0
    package var lastTimestamp: UInt32 = 0
    /// Transport-wide sequence counter, shared by all lanes of the player's transport.
    package var transportSequence: UnsafeMutablePointer<UInt16>
    // Counters; copied to the shared statistics once a second.
    package var packetsSent: UInt64 = 0
    package var bytesSent: UInt64 = 0
    // What few packets need.
    package var retransmitted: UInt64 = 0
    package var rtxSSRC: UInt32
    package var rtxIndex: Int64
    package var initialIndex: Int64

    private static let active: UInt8 = 1
    private static let started: UInt8 = 2
    private static let thinned: UInt8 = 4
    private static let catchingUp: UInt8 = 8
    private static let plain: UInt8 = 16

    /// Every packet goes to the player: the one question of the packet path.
    @inline(__always) package var isFlowing: Bool {
        flags & (Self.active | Self.started | Self.thinned) == Self.active | Self.started
    }
    /// Ready to send: ICE path valid, DTLS done, not paused.
    @inline(__always) package var isActive: Bool {
        get { flags & Self.active != 0 }
        set { set(Self.active, newValue) }
    }
    /// Video waits for a key frame.
    @inline(__always) package var isStarted: Bool {
        get { flags & Self.started != 0 }
        set { set(Self.started, newValue) }
    }
    /// Of video the player gets key frames only: the worker is overloaded.
    @inline(__always) package var isThinned: Bool {
        get { flags & Self.thinned != 0 }
        set { set(Self.thinned, newValue) }
    }
    /// Stored packets are on their way, a few per tick; live ones follow when they are through.
    @inline(__always) package var isCatchingUp: Bool {
        get { flags & Self.catchingUp != 0 }
        set { set(Self.catchingUp, newValue) }
    }
    /// A player of RTSP: VP9 without flexible mode.
    @inline(__always) package var isPlain: Bool {
        get { flags & Self.plain != 0 }
        set { set(Self.plain, newValue) }
    }
    @inline(__always) private mutating func set(_ flag: UInt8, _ on: Bool) {
        if on { flags |= flag } else { flags &= ~flag }
    }

    package init(
        outbound: SRTPOutbound, remote: weir_address, local: weir_address, ssrc: UInt32, rtxSSRC: UInt32,
        payloadType: UInt8, rtxPayloadType: UInt8, absSendTimeID: UInt8, transportCCID: UInt8, orientationID: UInt8,
        needsKeyFrame: Bool, rtxIndex: Int64, initialIndex: Int64, transportSequence: UnsafeMutablePointer<UInt16>
    ) {
        self.outbound = outbound
        self.remote = remote
        self.local = local
        self.ssrc = ssrc
        self.rtxSSRC = rtxSSRC
        self.payloadType = payloadType
        self.rtxPayloadType = rtxPayloadType
        self.absSendTimeID = absSendTimeID
        self.transportCCID = transportCCID
        self.orientationID = orientationID
        self.needsKeyFrame = needsKeyFrame
        self.rtxIndex = rtxIndex
        self.initialIndex = initialIndex
        self.transportSequence = transportSequence
    }

    /// Begins (or goes on after a pause) with the packet `number`, without a gap in the player's own sequence.
    @inline(__always) package mutating func start(at number: Int64) {
        let next = lastIndex < 0 ? initialIndex : lastIndex + 1
        indexOffset = next - number
        firstNumber = number
        keyNumber = number
        isStarted = true
        isCatchingUp = false
    }
}

/// Writes RTP headers for players (RFC 3550 §5.1, extensions RFC 8285 one-byte form).
package enum LaneHeader {
    /// Twelve bytes of header, four of the extension block, up to twelve of elements.
    package static let maxLength = 28

    /// - Returns: the header's length in bytes.
    @inline(__always)
    package static func write(
        _ out: UnsafeMutableRawPointer, lane: UnsafeMutablePointer<Lane>, packet: UnsafePointer<StoredPacket>,
        ssrc: UInt32, payloadType: UInt8, sequence: UInt16, absSendTime: UInt32
    ) -> Int {
        // Without RTX a lost packet is protected again under the same SRTP index, which is only safe if its bytes
        // are the same (RFC 3711 §9.1): nothing that changes with time may be in it.
        let stamps = lane.pointee.rtxPayloadType != 0
        let hasTransport = stamps && lane.pointee.transportCCID != 0
        let hasTime = stamps && lane.pointee.absSendTimeID != 0
        let hasOrientation = packet.pointee.orientation != 0 && lane.pointee.orientationID != 0
        let hasExtension = hasTransport || hasTime || hasOrientation
        let first: UInt32 =
            0x8000_0000 | (packet.pointee.padding != 0 ? 0x2000_0000 : 0) | (hasExtension ? 0x1000_0000 : 0)
            | (packet.pointee.marker ? 0x0080_0000 : 0)
            | UInt32(payloadType) << 16 | UInt32(sequence)
        out.storeBytes(of: first.bigEndian, as: UInt32.self)
        out.storeBytes(of: packet.pointee.timestamp.bigEndian, toByteOffset: 4, as: UInt32.self)
        out.storeBytes(of: ssrc.bigEndian, toByteOffset: 8, as: UInt32.self)
        guard hasExtension else { return 12 }
        var at = 16
        if hasTime {
            let word = UInt32(lane.pointee.absSendTimeID) << 28 | 2 << 24 | (absSendTime & 0xff_ffff)
            out.storeBytes(of: word.bigEndian, toByteOffset: at, as: UInt32.self)
            at += 4
        }
        if hasTransport {
            let counter = lane.pointee.transportSequence
            out.storeBytes(of: lane.pointee.transportCCID << 4 | 1, toByteOffset: at, as: UInt8.self)
            out.storeBytes(of: UInt8(counter.pointee >> 8), toByteOffset: at + 1, as: UInt8.self)
            out.storeBytes(of: UInt8(truncatingIfNeeded: counter.pointee), toByteOffset: at + 2, as: UInt8.self)
            counter.pointee &+= 1
            at += 3
        }
        if hasOrientation {
            out.storeBytes(of: lane.pointee.orientationID << 4, toByteOffset: at, as: UInt8.self)
            out.storeBytes(of: packet.pointee.orientation &- 1, toByteOffset: at + 1, as: UInt8.self)
            at += 2
        }
        while at & 3 != 0 {
            out.storeBytes(of: 0, toByteOffset: at, as: UInt8.self)
            at += 1
        }
        let words = UInt32((at - 16) / 4)
        out.storeBytes(of: (0xbede_0000 | words).bigEndian, toByteOffset: 12, as: UInt32.self)
        return at
    }
}
