import Wire

/// Libraries that can do the cipher work. All give the same bytes; they differ in speed.
package enum SRTPBackendKind: String, CaseIterable, Sendable {
    /// Intel's multi-buffer library: the fastest on x86-64 with AES-NI, much more so with VAES.
    case ipsecMB = "ipsec-mb"
    case openSSL = "openssl"
    /// The reference implementation. Debian's build costs 6 to 13 µs a packet: for tests, not for serving.
    case libsrtp2 = "libsrtp2"

    package static var available: [SRTPBackendKind] {
        #if arch(x86_64)
            MultiBuffer.isSupported ? [.ipsecMB, .openSSL, .libsrtp2] : [.openSSL, .libsrtp2]
        #else
            [.openSSL, .libsrtp2]
        #endif
    }

    package static var preferred: SRTPBackendKind { available[0] }
}

package enum SRTPError: Error, Equatable, CustomStringConvertible {
    case backendUnavailable(String)
    /// A key or salt has not the length that its profile asks for.
    case badKeyLength
    case library(String)

    package var description: String {
        switch self {
        case .backendUnavailable(let name):
            "SRTP backend \"\(name)\" cannot run on this machine; use one of "
                + SRTPBackendKind.available.map(\.rawValue).joined(separator: ", ")
        case .badKeyLength: "the SRTP keying material does not fit its profile"
        case .library(let what): "SRTP library error: \(what)"
        }
    }
}

/// Outcome of unprotecting a packet. Only `.ok` packets may be looked at.
package enum SRTPResult: Equatable, Sendable, BitwiseCopyable {
    /// The packet is authentic; its first `length` bytes are plain RTP or RTCP now.
    case ok(length: Int)
    /// Seen before, or older than the replay window.
    case replayed
    case authenticationFailed
    /// Too short, a wrong version, or lengths that point outside.
    case malformed
    /// The peer has used more SSRCs than one peer may.
    case tooManySources
}

/// Handle of one peer's sending keys: plain data, so that it can lie in the players' lanes and be copied without
/// reference counting. Made and destroyed by one `SRTPMachine`, valid on its thread only.
package struct SRTPOutbound: BitwiseCopyable, @unchecked Sendable {
    package let state: UnsafeMutableRawPointer
    /// Cache lines (of 64 bytes) at `state` that protecting an RTP packet reads: worth asking for ahead of time when
    /// there are more peers than the cache holds.
    package let lines: Int32
}

/// Limits of the receiving side.
package enum SRTPLimits {
    /// Packets behind the highest index that are still told apart (RFC 3711 §3.3.2 asks for at least 64).
    package static let replayWindow = 1024
    package static let maxSources = 32
    /// A source first heard below this sequence number may have begun before the roll-over.
    static let firstRolledOver: UInt16 = 0x4000
    /// 31-bit SRTCP index (RFC 3711 §3.4).
    static let maxRTCPIndex: UInt32 = 0x7fff_ffff
}
