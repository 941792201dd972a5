import RTP
import Testing
import Wire

@Suite struct RTCPTests {
    private let block = ReportBlock(
        ssrc: 0x1122_3344, fractionLost: 85, cumulativeLost: -2, highestSequence: 0x0001_ffff, jitter: 273,
        lastSR: 0x0906_47b6, delaySinceLastSR: 150_137)

    @Test func rtcpIsToldFromRTP() {
        for type in 192...223 as ClosedRange<UInt8> { #expect(isRTCP([0x80, type, 0, 1, 0, 0, 0, 0])) }
        for type in [0, 96, 127, 191, 224, 255] as [UInt8] { #expect(!isRTCP([0x80, type, 0, 1, 0, 0, 0, 0])) }
        #expect(!isRTCP([0x00, 200, 0, 1]))
        #expect(!isRTCP([0x80, 200]))
    }

    @Test func senderReportMakesTheRoundTrip() throws {
        let report = SenderReport(
            ssrc: 0x902f_9e2e, ntp: NTPTime(rawValue: 0xda8b_d1fc_dddd_a05a), rtpTimestamp: 0xaaf4_edd5,
            packetCount: 1, octetCount: 2, blocks: [block])
        var bytes: [UInt8] = []
        RTCPWriter.senderReport(report, into: &bytes)
        #expect(
            bytes
                == hex(
                    """
                    81c8000c 902f9e2e da8bd1fcdddda05a aaf4edd5 00000001 00000002
                    11223344 55fffffe 0001ffff 00000111 090647b6 00024a79
                    """))
        guard case .senderReport(let read) = try parse(bytes).first else { throw WireError.malformed("not an SR") }
        #expect(read == report)
    }

    @Test func receiverReportMakesTheRoundTrip() throws {
        var bytes: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: 7, blocks: [block, ReportBlock(ssrc: 9)], into: &bytes)
        guard case .receiverReport(let ssrc, let blocks) = try parse(bytes).first else {
            throw WireError.malformed("not an RR")
        }
        #expect(ssrc == 7 && blocks == [block, ReportBlock(ssrc: 9)])
        var empty: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: 7, blocks: [], into: &empty)
        #expect(empty == hex("80c90001 00000007"))
    }

    @Test(arguments: [-0x80_0000, -1, 0, 1, 0x7f_ffff] as [Int32])
    func cumulativeLossIsSigned24Bits(lost: Int32) throws {
        var bytes: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: 7, blocks: [ReportBlock(ssrc: 1, cumulativeLost: lost)], into: &bytes)
        guard case .receiverReport(_, let blocks) = try parse(bytes).first else {
            throw WireError.malformed("not an RR")
        }
        #expect(blocks.first?.cumulativeLost == lost)
    }

    @Test func moreBlocksThanFiveBitsCountGoIntoFurtherReports() throws {
        let blocks = (0..<70).map { ReportBlock(ssrc: $0) }
        var bytes: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: 7, blocks: blocks, into: &bytes)
        let report = SenderReport(
            ssrc: 7, ntp: NTPTime(rawValue: 1), rtpTimestamp: 2, packetCount: 3, octetCount: 4, blocks: blocks)
        RTCPWriter.senderReport(report, into: &bytes)
        var read: [[ReportBlock]] = []
        for packet in try parse(bytes) {
            switch packet {
            case .senderReport(let report): read.append(report.blocks)
            case .receiverReport(7, let blocks): read.append(blocks)
            default: Issue.record("unexpected packet")
            }
        }
        #expect(read.map(\.count) == [31, 31, 8, 31, 31, 8])
        #expect(Array(read.joined()) == blocks + blocks)
    }

    @Test(arguments: 0...9)
    func sdesIsFilledTo32Bits(length: Int) throws {
        let cname = String("abcdefghij".prefix(length))
        var bytes: [UInt8] = []
        RTCPWriter.sdesCNAME(ssrc: 5, cname: cname, into: &bytes)
        #expect(bytes.count % 4 == 0 && bytes.last == 0)
        guard case .sdes(let chunks) = try parse(bytes).first else { throw WireError.malformed("not SDES") }
        #expect(chunks == [SourceDescription(ssrc: 5, cname: cname)])
    }

    @Test func sdesWithSeveralChunksAndItemsIsRead() throws {
        // SSRC 1: NAME "x", CNAME "ab"; SSRC 2: no items; SSRC 3: CNAME "c"
        let bytes = hex("83ca0008 00000001 0201780102616200 00000002 00000000 00000003 01016300 00000000")
        guard case .sdes(let chunks) = try parse(bytes).first else {
            throw WireError.malformed("not SDES")
        }
        #expect(chunks.map(\.cname) == ["ab", nil, "c"] && chunks.map(\.ssrc) == [1, 2, 3])
    }

    @Test func longNamesAreCutAt255Bytes() throws {
        var bytes: [UInt8] = []
        RTCPWriter.sdesCNAME(ssrc: 5, cname: String(repeating: "x", count: 300), into: &bytes)
        guard case .sdes(let chunks) = try parse(bytes).first else { throw WireError.malformed("not SDES") }
        #expect(chunks.first?.cname?.utf8.count == 255)
    }

    @Test func byeMakesTheRoundTripAlsoWithAReason() throws {
        var bytes: [UInt8] = []
        RTCPWriter.bye(ssrcs: [1, 2], into: &bytes)
        bytes += hex("81cb0003 00000003 03627965 00000000")
        let read = try parse(bytes).map { packet -> [UInt32] in
            guard case .bye(let ssrcs) = packet else { return [] }
            return ssrcs
        }
        #expect(read == [[1, 2], [3]])
    }

    @Test func nackIsPackedInEntriesOf17() throws {
        var bytes: [UInt8] = []
        RTCPWriter.nack(sender: 1, media: 2, lost: [100, 101, 116, 117, 300], into: &bytes)
        #expect(bytes == hex("81cd0005 00000001 00000002 00648001 00750000 012c0000"))
        guard case .nack(1, 2, let lost) = try parse(bytes).first else { throw WireError.malformed("not a NACK") }
        #expect(lost == [100, 101, 116, 117, 300])
    }

    @Test func nackWrapsAround() throws {
        var bytes: [UInt8] = []
        RTCPWriter.nack(sender: 1, media: 2, lost: [65_530, 65_535, 0, 9, 10], into: &bytes)
        #expect(bytes.count == 16)
        guard case .nack(_, _, let lost) = try parse(bytes).first else { throw WireError.malformed("not a NACK") }
        #expect(lost == [65_530, 65_535, 0, 9, 10])
    }

    @Test func longNackListsAreSplitAndEmptyOnesNotWritten() throws {
        let numbers = (0..<1000).map { UInt16($0 * 40) }
        var bytes: [UInt8] = []
        RTCPWriter.nack(sender: 1, media: 2, lost: numbers, into: &bytes)
        var read: [UInt16] = []
        for case .nack(_, _, let lost) in try parse(bytes) { read += lost }
        #expect(read == numbers)
        var none: [UInt8] = []
        RTCPWriter.nack(sender: 1, media: 2, lost: [], into: &none)
        #expect(none.isEmpty)
    }

    @Test func numbersOfOneNackAreBounded() throws {
        var bytes = hex("81cd0202 00000001 00000002")
        for i in 0..<512 { bytes += [UInt8(i / 12), UInt8(i % 12 * 20), 0xff, 0xff] }
        guard case .nack(_, _, let lost) = try parse(bytes).first else { throw WireError.malformed("not a NACK") }
        #expect(lost.count <= RTCP.maxNackNumbers && lost.count > RTCP.maxNackNumbers - 17)
    }

    @Test func keyFrameRequestsMakeTheRoundTrip() throws {
        var bytes: [UInt8] = []
        RTCPWriter.pli(sender: 1, media: 2, into: &bytes)
        #expect(bytes == hex("81ce0002 00000001 00000002"))
        RTCPWriter.fir(sender: 3, entries: [(4, 5), (6, 255)], into: &bytes)
        #expect(bytes[12...] == hex("84ce0006 00000003 00000000 00000004 05000000 00000006 ff000000")[...])
        let packets = try parse(bytes)
        guard case .pli(1, 2) = packets[0], case .fir(3, let entries) = packets[1] else {
            throw WireError.malformed("not PLI and FIR")
        }
        #expect(entries.map(\.ssrc) == [4, 6] && entries.map(\.sequence) == [5, 255])
    }

    @Test func rembIsReadAndWritten() throws {
        let bytes = hex("8fce0005 00000001 00000000 52454d42 011a20df 4874ed16")
        guard case .remb(1, let bitrate, let ssrcs) = try parse(bytes).first else {
            throw WireError.malformed("not REMB")
        }
        #expect(bitrate == 8_927_168 && ssrcs == [1_215_622_422])
        var written: [UInt8] = []
        RTCPWriter.remb(sender: 1, bitrate: bitrate, ssrcs: ssrcs, into: &written)
        #expect(written == bytes)
    }

    @Test(arguments: [0, 1, 0x3_ffff, 0x4_0000, 10_000_000, .max] as [UInt64])
    func rembKeeps18Bits(bitrate: UInt64) throws {
        var bytes: [UInt8] = []
        RTCPWriter.remb(sender: 1, bitrate: bitrate, ssrcs: [2, 3], into: &bytes)
        guard case .remb(_, let read, [2, 3]) = try parse(bytes).first else { throw WireError.malformed("not REMB") }
        #expect(read <= bitrate && bitrate - read <= bitrate >> 17)
    }

    @Test func rembAbove64BitsIsRefused() {
        #expect(throws: WireError.malformed("REMB bitrate above 64 bits")) {
            try parse(hex("8fce0004 00000001 00000000 52454d42 00ffffff"))
        }
    }

    @Test func reducedSizeUnknownAndExtendedReportsAreRead() throws {
        // RFC 5506: no report in front. XR, APP, unknown feedback, unknown AFB
        let bytes =
            hex("80cf0001 00000009 80cc0002 00000001 41424344 83cd0002 00000001 00000002")
            + hex("8fce0003 00000001 00000002 01020304")
        let packets = try parse(bytes)
        guard packets.count == 4, case .xr(9) = packets[0], case .other(204) = packets[1],
            case .other(205) = packets[2], case .other(206) = packets[3]
        else { throw WireError.malformed("not as expected") }
    }

    @Test func paddingIsLeftOut() throws {
        let packets = try parse(hex("a1cd0004 00000001 00000002 00070000 00000004"))
        guard case .nack(_, _, [7]) = packets[0] else { throw WireError.malformed("not a NACK of one number") }
        let error = WireError.malformed("RTCP padding count outside the packet")
        #expect(throws: error) { try parse(hex("a0c90001 00000000")) }
        #expect(throws: error) { try parse(hex("a0c90001 00000005")) }
    }

    @Test func lengthsAreChecked() {
        #expect(throws: WireError.truncated(needed: 4, have: 0)) { try parse([]) }
        #expect(throws: WireError.truncated(needed: 8, have: 4)) { try parse(hex("80c90001")) }
        #expect(throws: WireError.truncated(needed: 4, have: 2)) { try parse(hex("80c90001 00000001 80c9")) }
        #expect(throws: WireError.truncated(needed: 32, have: 8)) { try parse(hex("81c90001 00000001")) }
        #expect(throws: WireError.truncated(needed: 28, have: 8)) { try parse(hex("80c80001 00000001")) }
        #expect(throws: WireError.unsupportedVersion(0)) { try parse(hex("00c90001 00000001")) }
        #expect(throws: WireError.malformed("NACK without entries")) { try parse(hex("81cd0002 00000001 00000002")) }
        #expect(throws: WireError.truncated(needed: 8, have: 4)) { try parse(hex("81cb0000")) }
        #expect(throws: WireError.truncated(needed: 20, have: 12)) { try parse(hex("81ca0002 00000001 010a6162")) }
    }

    @Test func packetsBeforeAMalformedOneAreHandedOver() {
        let bytes = hex("81ce0002 00000001 00000002 80c80001 00000001")
        var seen = 0
        #expect(throws: WireError.self) { try RTCP.parse(bytes.span.bytes) { _ in seen += 1 } }
        #expect(seen == 1)
    }

    @Test func compoundsAreBounded() throws {
        let bye = hex("80cb0000")
        #expect(try parse(Array(repeatElement(bye, count: RTCP.maxPackets).joined())).count == RTCP.maxPackets)
        #expect(throws: WireError.malformed("too many packets in an RTCP compound")) {
            try parse(Array(repeatElement(bye, count: RTCP.maxPackets + 1).joined()))
        }
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func noiseIsReadOrRefused(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var whole: [UInt8] = []
        RTCPWriter.senderReport(
            SenderReport(
                ssrc: 1, ntp: NTPTime(rawValue: 2), rtpTimestamp: 3, packetCount: 4, octetCount: 5, blocks: [block]),
            into: &whole)
        RTCPWriter.receiverReport(ssrc: 1, blocks: [block, block], into: &whole)
        RTCPWriter.sdesCNAME(ssrc: 1, cname: "weir", into: &whole)
        RTCPWriter.nack(sender: 1, media: 2, lost: [1, 5, 9, 100], into: &whole)
        RTCPWriter.fir(sender: 1, entries: [(2, 3)], into: &whole)
        RTCPWriter.remb(sender: 1, bitrate: 5_000_000, ssrcs: [2], into: &whole)
        var recorder = TransportFeedbackRecorder()
        for i in 0..<40 as Range<UInt16> where i % 5 != 2 { recorder.receive(sequence: i, arrival: .ms(Int64(i) * 90)) }
        _ = recorder.makeFeedback(senderSSRC: 1, mediaSSRC: 2, into: &whole)
        RTCPWriter.bye(ssrcs: [1], into: &whole)
        for _ in 0..<20_000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) { bytes.removeLast(Int.random(in: 0...bytes.count, using: &random)) }
            for case .transportFeedback(let feedback) in (try? parse(bytes)) ?? [] {
                #expect(feedback.received.count <= feedback.statusCount && feedback.received.count <= bytes.count)
            }
        }
    }
}
