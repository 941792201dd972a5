/// The SRTP protection profiles that Weir negotiates; raw values are the DTLS-SRTP code points (RFC 5764 §4.1.2, RFC 7714 §14.2).
package enum SRTPProfile: UInt16, CaseIterable, Sendable {
    case aes128CMHMACSHA1_80 = 0x0001
    case aeadAES128GCM = 0x0007
    case aeadAES256GCM = 0x0008

    package var keyLength: Int { self == .aeadAES256GCM ? 32 : 16 }
    package var saltLength: Int { self == .aes128CMHMACSHA1_80 ? 14 : 12 }
    /// Bytes that protection adds to an RTP packet.
    package var rtpTagLength: Int { self == .aes128CMHMACSHA1_80 ? 10 : 16 }
    /// Bytes that protection adds to an RTCP packet: tag and the 4-byte SRTCP index.
    package var rtcpOverhead: Int { rtpTagLength + 4 }
    /// IANA name, as in configuration and logs.
    package var name: String {
        switch self {
        case .aes128CMHMACSHA1_80: "AES128_CM_HMAC_SHA1_80"
        case .aeadAES128GCM: "AEAD_AES_128_GCM"
        case .aeadAES256GCM: "AEAD_AES_256_GCM"
        }
    }
}

/// Master keys that a DTLS handshake exported (RFC 5764 §4.2), already told apart by direction.
package struct SRTPKeyingMaterial: Sendable {
    package var profile: SRTPProfile
    /// For what we send.
    package var localKey: [UInt8]
    package var localSalt: [UInt8]
    /// For what the peer sends.
    package var remoteKey: [UInt8]
    package var remoteSalt: [UInt8]

    package init(profile: SRTPProfile, localKey: [UInt8], localSalt: [UInt8], remoteKey: [UInt8], remoteSalt: [UInt8]) {
        self.profile = profile
        self.localKey = localKey
        self.localSalt = localSalt
        self.remoteKey = remoteKey
        self.remoteSalt = remoteSalt
    }
}
