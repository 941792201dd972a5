import Wire

/// Master key and salt of one direction for AES_CM_128_HMAC_SHA1_80 (RFC 3711 §8.2), the one transform that all know whose
/// keys are told by signalling.
package struct SRTPMaster: Sendable, Equatable {
    static let profile = SRTPProfile.aes128CMHMACSHA1_80
    static let keyLength = 16
    static let saltLength = 14
    static var length: Int { keyLength + saltLength }

    package let key: [UInt8]
    package let salt: [UInt8]

    /// - Parameter bytes: Key and salt one behind the other, 30 bytes; nil for another number.
    package init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.length else { return nil }
        key = Array(bytes.prefix(Self.keyLength))
        salt = Array(bytes.dropFirst(Self.keyLength))
    }

    package var bytes: [UInt8] { key + salt }

    /// For a track that we send under `self`, and whose peer sends under `remote`.
    func material(remote: SRTPMaster) -> SRTPKeyingMaterial {
        SRTPKeyingMaterial(
            profile: Self.profile, localKey: key, localSalt: salt, remoteKey: remote.key, remoteSalt: remote.salt)
    }
}

/// What keys are made of: the sessions draw no lots and read no clock themselves.
package struct RTSPKeyMaker: Sendable {
    /// Bytes that nobody can foretell.
    package var random: @Sendable (_ count: Int) -> [UInt8]
    /// The wall clock as NTP has it, 32.32 bits: peers refuse keys of another day.
    package var time: @Sendable () -> UInt64

    package init(random: @escaping @Sendable (_ count: Int) -> [UInt8], time: @escaping @Sendable () -> UInt64) {
        self.random = random
        self.time = time
    }

    func master() -> SRTPMaster {
        guard let master = SRTPMaster(random(SRTPMaster.length)) else {
            preconditionFailure("a source of random bytes gives as many as it is asked for")
        }
        return master
    }
}

/// Why keys of a peer cannot be used; the text is for people and names what to change.
package enum SRTPKeyError: Error, Equatable, CustomStringConvertible {
    /// Its bytes are no message.
    case malformed(String)
    /// A message, of a kind that we do not know.
    case unsupported(String)

    package var description: String {
        switch self {
        case .malformed(let what): "malformed keys: \(what)"
        case .unsupported(let what): "\(what) is not supported: use AES_CM_128_HMAC_SHA1_80 without MKI"
        }
    }
}
