import Wire

/// STUN constants and look-ups that need no parsing (RFC 8489, RFC 7983).
package enum STUN {
    package static let magicCookie: UInt32 = 0x2112_a442
    static let headerLength = 20
    static let fingerprintMask: UInt32 = 0x5354_554e

    /// Attribute types (RFC 8489 §18.3, RFC 8445 §16.1).
    package enum Attribute {
        package static let username: UInt16 = 0x0006
        package static let messageIntegrity: UInt16 = 0x0008
        package static let errorCode: UInt16 = 0x0009
        package static let unknownAttributes: UInt16 = 0x000a
        package static let xorMappedAddress: UInt16 = 0x0020
        package static let priority: UInt16 = 0x0024
        package static let useCandidate: UInt16 = 0x0025
        package static let fingerprint: UInt16 = 0x8028
        package static let iceControlled: UInt16 = 0x8029
        package static let iceControlling: UInt16 = 0x802a
    }

    /// Whether a datagram is STUN: two zero bits and the magic cookie.
    package static func isSTUN(_ datagram: RawSpan) -> Bool {
        datagram.byteCount >= headerLength && datagram[0] < 4
            && datagram.loadBigEndian(at: 4, as: UInt32.self) == magicCookie
    }

    /// Part of USERNAME before the colon: our own user fragment (RFC 8445 §7.2.2). Unauthenticated.
    package static func localUsernameFragment(of datagram: RawSpan) -> [UInt8]? {
        guard let message = try? STUNMessage(parsing: datagram), let (offset, length) = message.find(Attribute.username)
        else { return nil }
        var end = offset
        while end < offset + length, datagram[end] != UInt8(ascii: ":") { end += 1 }
        guard end < offset + length, end > offset else { return nil }
        return datagram.extracting(offset..<end).copied()
    }
}

/// Where things are in one STUN message (RFC 8489 §5, §14); the bytes stay with the caller.
package struct STUNMessage {
    package enum Class: UInt8, Sendable { case request = 0, indication = 1, success = 2, error = 3 }
    /// Attributes beyond this number make a message malformed.
    package static let maxAttributes = 32

    package var method: UInt16
    package var messageClass: Class
    package var transactionID: [UInt8]
    /// In order of appearance: type, offset of the value, its length.
    package private(set) var attributes: [(type: UInt16, offset: Int, length: Int)] = []

    package init(parsing bytes: RawSpan) throws(WireError) {
        guard bytes.byteCount >= STUN.headerLength else {
            throw .truncated(needed: STUN.headerLength, have: bytes.byteCount)
        }
        guard STUN.isSTUN(bytes) else { throw .malformed("no STUN magic cookie") }
        let type: UInt16 = bytes.loadBigEndian(at: 0)
        let length = Int(bytes.loadBigEndian(at: 2, as: UInt16.self))
        guard length & 3 == 0, STUN.headerLength + length == bytes.byteCount else {
            throw .malformed("STUN length field disagrees with the datagram")
        }
        guard let messageClass = Class(rawValue: UInt8((type >> 4) & 1 | (type >> 7) & 2)) else {
            throw .malformed("STUN class")
        }
        self.messageClass = messageClass
        method = type & 0xf | (type >> 1) & 0x70 | (type >> 2) & 0xf80
        transactionID = bytes.extracting(8..<20).copied()
        var at = STUN.headerLength
        var isSealed = false
        while at < bytes.byteCount {
            guard at + 4 <= bytes.byteCount else { throw .truncated(needed: at + 4, have: bytes.byteCount) }
            let size = Int(bytes.loadBigEndian(at: at + 2, as: UInt16.self))
            let next = at + 4 + (size + 3) & ~3
            guard next <= bytes.byteCount else { throw .truncated(needed: next, have: bytes.byteCount) }
            guard attributes.count < Self.maxAttributes else { throw .malformed("too many STUN attributes") }
            let type: UInt16 = bytes.loadBigEndian(at: at)
            // What follows MESSAGE-INTEGRITY is not covered by it and must be ignored (RFC 8489 §14.5).
            if !isSealed || type == STUN.Attribute.fingerprint { attributes.append((type, at + 4, size)) }
            if type == STUN.Attribute.messageIntegrity { isSealed = true }
            at = next
        }
    }

    /// First attribute of that type.
    package func find(_ type: UInt16) -> (offset: Int, length: Int)? {
        attributes.first { $0.type == type }.map { ($0.offset, $0.length) }
    }

    package func hasValidFingerprint(_ bytes: RawSpan) -> Bool {
        guard let (offset, length) = find(STUN.Attribute.fingerprint), length == 4, offset + 4 == bytes.byteCount else {
            return false
        }
        let crc = CRC32.checksum(bytes.extracting(0..<(offset - 4)))
        return bytes.loadBigEndian(at: offset, as: UInt32.self) == crc ^ STUN.fingerprintMask
    }

    /// Checks MESSAGE-INTEGRITY with a short-term credential (RFC 8489 §9.1, §14.5).
    package func hasValidIntegrity(_ bytes: RawSpan, password: [UInt8]) -> Bool {
        guard let (offset, length) = find(STUN.Attribute.messageIntegrity), length == 20 else { return false }
        var covered = bytes.extracting(0..<(offset - 4)).copied()
        covered.storeBigEndian(UInt16(truncatingIfNeeded: offset + 20 - STUN.headerLength), at: 2)
        let expected = HMACSHA1.authenticate(covered, key: password)
        var difference: UInt8 = 0
        for i in 0..<20 { difference |= expected[i] ^ bytes[offset + i] }
        return difference == 0
    }
}

/// Writes one STUN message.
package struct STUNBuilder {
    package private(set) var bytes: [UInt8] = []

    package init(method: UInt16 = 1, messageClass: STUNMessage.Class, transactionID: [UInt8]) {
        precondition(transactionID.count == 12, "a transaction id is 96 bits")
        let c = UInt16(messageClass.rawValue)
        let type = method & 0xf | (method & 0x70) << 1 | (method & 0xf80) << 2 | (c & 1) << 4 | (c & 2) << 7
        bytes.reserveCapacity(128)
        bytes.appendBigEndian(type)
        bytes.appendBigEndian(UInt16(0))
        bytes.appendBigEndian(STUN.magicCookie)
        bytes += transactionID
    }

    package mutating func add(_ type: UInt16, _ value: [UInt8]) {
        bytes.appendBigEndian(type)
        bytes.appendBigEndian(UInt16(truncatingIfNeeded: value.count))
        bytes += value
        while bytes.count & 3 != 0 { bytes.append(0) }
        fixLength()
    }

    package mutating func addXORMappedAddress(_ address: SocketAddress) {
        var value: [UInt8] = [0, address.family == .ipv4 ? 1 : 2]
        value.appendBigEndian(address.port ^ UInt16(truncatingIfNeeded: STUN.magicCookie >> 16))
        if address.family == .ipv4 {
            value.appendBigEndian(UInt32(truncatingIfNeeded: address.low) ^ STUN.magicCookie)
        } else {
            var plain: [UInt8] = []
            plain.appendBigEndian(address.high)
            plain.appendBigEndian(address.low)
            for i in 0..<16 { value.append(plain[i] ^ bytes[4 + i]) }
        }
        add(STUN.Attribute.xorMappedAddress, value)
    }

    package mutating func addErrorCode(_ code: Int, _ reason: String) {
        add(STUN.Attribute.errorCode, [0, 0, UInt8(code / 100), UInt8(code % 100)] + Array(reason.utf8))
    }

    package mutating func addIntegrity(password: [UInt8]) {
        let end = bytes.count
        bytes.storeBigEndian(UInt16(truncatingIfNeeded: end + 24 - STUN.headerLength), at: 2)
        let code = HMACSHA1.authenticate(bytes, key: password)
        add(STUN.Attribute.messageIntegrity, code)
    }

    package mutating func addFingerprint() {
        bytes.storeBigEndian(UInt16(truncatingIfNeeded: bytes.count + 8 - STUN.headerLength), at: 2)
        let crc = unsafe CRC32.checksum(bytes.span.bytes) ^ STUN.fingerprintMask
        var value: [UInt8] = []
        value.appendBigEndian(crc)
        add(STUN.Attribute.fingerprint, value)
    }

    private mutating func fixLength() {
        bytes.storeBigEndian(UInt16(truncatingIfNeeded: bytes.count - STUN.headerLength), at: 2)
    }
}
