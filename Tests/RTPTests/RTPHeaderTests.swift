import RTP
import Testing
import Wire

@Suite struct RTPHeaderTests {
    private let plain = hex("80 e0 1234 01020304 a0b0c0d0 112233")

    @Test func fixedHeaderIsRead() throws {
        let h = try header(plain)
        #expect(h.marker && h.payloadType == 96 && h.sequence == 0x1234 && h.timestamp == 0x0102_0304)
        #expect(h.ssrc == 0xa0b0_c0d0 && h.headerLength == 12 && h.payloadLength == 3 && h.paddingLength == 0)
        #expect(h.extensionProfile == 0 && h.extensionLength == 0)
    }

    @Test func contributingSourcesAndExtensionBelongToTheHeader() throws {
        let h = try header(hex("92 60 0001 00000000 00000001 00000002 00000003 bede 0001 10aa0000 ff"))
        #expect(h.headerLength == 28 && h.payloadLength == 1)
        #expect(h.extensionProfile == 0xbede && h.extensionOffset == 24 && h.extensionLength == 4)
    }

    @Test func paddingIsNotPayload() throws {
        let h = try header(hex("a0 60 0001 00000000 00000001 1122 000003"))
        #expect(h.payloadLength == 2 && h.paddingLength == 3)
        let probe = try header(hex("a0 60 0001 00000000 00000001 00000004"))
        #expect(probe.payloadLength == 0 && probe.paddingLength == 4)
    }

    @Test func paddingCountsThatCannotBeAreRefused() {
        let error = WireError.malformed("RTP padding count outside the packet")
        #expect(throws: error) { try header(hex("a0 60 0001 00000000 00000001 1100")) }
        #expect(throws: error) { try header(hex("a0 60 0001 00000000 00000001 1103")) }
        #expect(throws: error) { try header(hex("a0 60 0001 00000000 00000001")) }
    }

    @Test func shortPacketsAndOtherVersionsAreRefused() {
        #expect(throws: WireError.truncated(needed: 12, have: 11)) { try header([UInt8](plain.prefix(11))) }
        #expect(throws: WireError.truncated(needed: 12, have: 0)) { try header([]) }
        #expect(throws: WireError.unsupportedVersion(1)) { try header([0x40] + plain.dropFirst()) }
        #expect(throws: WireError.truncated(needed: 72, have: 15)) { try header([0x8f] + plain.dropFirst()) }
        #expect(throws: WireError.truncated(needed: 16, have: 15)) { try header([0x90] + plain.dropFirst()) }
        #expect(throws: WireError.truncated(needed: 20, have: 16)) {
            try header(hex("90 60 0001 00000000 00000001 bede 0001"))
        }
    }

    // RFC 8285 §4.2: elements 1 (1 byte), padding, 3 (2 bytes), padding, 14 (16 bytes)
    private let oneByte =
        hex("90 60 0001 00000000 00000001 bede 0006") + hex("10 aa 00 31 0102 00 ef") + [UInt8](1...16)

    @Test func oneByteElementsAreFound() throws {
        #expect(try element(1, oneByte) == [0xaa])
        #expect(try element(3, oneByte) == [1, 2])
        #expect(try element(14, oneByte) == [UInt8](1...16))
        #expect(try element(2, oneByte) == nil)
        #expect(try element(0, oneByte) == nil)
        #expect(try element(15, oneByte) == nil)
        #expect(try element(200, oneByte) == nil)
    }

    @Test func nothingIsReadAfterTheReservedID() throws {
        let bytes = hex("90 60 0001 00000000 00000001 bede 0002 10aa f011 20bb 0000")
        #expect(try element(1, bytes) == [0xaa])
        #expect(try element(2, bytes) == nil)
    }

    @Test func twoByteElementsAreFoundAlsoEmptyOnes() throws {
        let bytes = hex("90 60 0001 00000000 00000001 1005 0003 0100 00 ff03 010203 4501 09 00 ")
        #expect(try element(1, bytes) == [])
        #expect(try element(0xff, bytes) == [1, 2, 3])
        #expect(try element(0x45, bytes) == [9])
        #expect(try element(2, bytes) == nil)
    }

    @Test func elementsThatRunOverTheBlockAreNotFound() throws {
        // The payload after the block must not be taken for the rest of the element.
        #expect(try element(1, hex("90 60 0001 00000000 00000001 bede 0001 00001311 22334455")) == nil)
        #expect(try element(1, hex("90 60 0001 00000000 00000001 1000 0001 00000001 22334455")) == nil)
        #expect(try element(1, hex("90 60 0001 00000000 00000001 1000 0001 00000101 22334455")) == nil)
        #expect(try element(1, hex("90 60 0001 00000000 00000001 abcd 0001 10110000")) == nil)
        #expect(try element(1, plain) == nil)
    }

    @Test func aHeaderOfALongerPacketIsNoDanger() throws {
        let h = try header(oneByte)
        let short = [UInt8](oneByte.prefix(20))
        let found = RTPExtensions.find(id: 1, in: short.span.bytes, header: h) != nil
        #expect(!found)
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func noiseNeverLeadsOutsideThePacket(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<20_000 {
            var bytes = oneByte
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) { bytes.removeLast(Int.random(in: 0...bytes.count, using: &random)) }
            guard let h = try? header(bytes) else { continue }
            #expect(h.headerLength >= 12 && h.payloadLength >= 0 && h.paddingLength >= 0)
            #expect(h.headerLength + h.payloadLength + h.paddingLength == bytes.count)
            for id in 0...255 as ClosedRange<UInt8> {
                guard let (offset, length) = RTPExtensions.find(id: id, in: bytes.span.bytes, header: h) else {
                    continue
                }
                #expect(offset >= h.extensionOffset && offset + length <= h.headerLength)
            }
        }
    }
}
