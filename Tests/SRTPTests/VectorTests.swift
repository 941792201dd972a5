import SRTP
import Testing
import Wire

/// Vectors of RFC 3711 appendix B and RFC 7714 §16 and §17.
@Suite struct VectorTests {
    static let servingBackends = SRTPBackendKind.available.filter { $0 != .libsrtp2 }

    @Test func sessionKeysAreDerivedAsInRFC3711B3() throws {
        let keys = try SessionKeys(
            profile: .aes128CMHMACSHA1_80, masterKey: hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            masterSalt: hex("0EC675AD498AFEEBB6960B3AABE6"))
        #expect(keys.rtpKey == hex("C61E7A93744F39EE10734AFE3FF7A087"))
        #expect(keys.rtpSalt == hex("30CBBC08863D8C85D49DB34A9AE1"))
        #expect(keys.rtpAuth == hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"))
    }

    @Test(arguments: servingBackends) func keyStreamIsThatOfRFC3711B2(_ backend: SRTPBackendKind) throws {
        var keys = try SessionKeys(
            profile: .aes128CMHMACSHA1_80, masterKey: [UInt8](repeating: 0, count: 16),
            masterSalt: [UInt8](repeating: 0, count: 14))
        keys.rtpKey = hex("2B7E151628AED2A6ABF7158809CF4F3C")
        keys.rtpSalt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD")
        let machine = try SRTPMachine(backend: backend)
        let outbound = try machine.makeOutbound(session: keys)
        defer { machine.destroy(outbound) }
        let packet = rtpPacket(ssrc: 0, sequence: 0, payload: [UInt8](repeating: 0, count: 48))
        let protected = protectRTP(machine, outbound, packet, headerLength: 12, index: 0)
        #expect(
            protected[12..<60]
                == hex(
                    "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB41E95B3BB0A2E8DD477901E4FCA894C0")[
                    ...])
    }

    private func rfc7714Keys(_ profile: SRTPProfile) throws -> SessionKeys {
        var keys = try SessionKeys(
            profile: profile, masterKey: [UInt8](repeating: 0, count: profile.keyLength),
            masterSalt: [UInt8](repeating: 0, count: 12))
        keys.rtpKey = (0..<UInt8(profile.keyLength)).map { $0 }
        keys.rtcpKey = keys.rtpKey
        keys.rtpSalt = hex("517569642070726f2071756f")
        keys.rtcpSalt = keys.rtpSalt
        return keys
    }

    @Test(arguments: servingBackends) func rtpIsThatOfRFC7714(_ backend: SRTPBackendKind) throws {
        let plain = hex(
            "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573")
        let machine = try SRTPMachine(backend: backend)
        let small = try machine.makeOutbound(session: try rfc7714Keys(.aeadAES128GCM))
        defer { machine.destroy(small) }
        #expect(
            protectRTP(machine, small, plain, headerLength: 12, index: 0xf17b)
                == hex(
                    "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833"
                        + "899d7f27beb16a9152cf765ee4390cce"))
        let big = try machine.makeOutbound(session: try rfc7714Keys(.aeadAES256GCM))
        defer { machine.destroy(big) }
        #expect(
            protectRTP(machine, big, plain, headerLength: 12, index: 0xf17b)
                == hex(
                    "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b"
                        + "7aa3db36dfffd6b0f9bb7878d7a76c13"))
    }

    @Test(arguments: servingBackends) func rtcpIsThatOfRFC7714(_ backend: SRTPBackendKind) throws {
        let plain = hex(
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef")
        let machine = try SRTPMachine(backend: backend)
        let outbound = try machine.makeOutbound(session: try rfc7714Keys(.aeadAES128GCM))
        defer { machine.destroy(outbound) }
        for _ in 1..<0x5d4 { _ = protectRTCP(machine, outbound, plain) }
        #expect(
            protectRTCP(machine, outbound, plain)
                == hex(
                    "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9"
                        + "275bc84aa45896cf4d2fc5abf87245d9eade800005d4"))
    }

    @Test func keysOfTheWrongLengthAreRefused() throws {
        let machine = try SRTPMachine(backend: .openSSL)
        var keys = keyingMaterial(.aeadAES128GCM, seed: 1)
        keys.localKey.removeLast()
        #expect(throws: SRTPError.badKeyLength) { try machine.makeOutbound(keys) }
        keys.remoteSalt = []
        #expect(throws: SRTPError.badKeyLength) { try SRTPInbound(machine: machine, keys: keys) }
    }
}
