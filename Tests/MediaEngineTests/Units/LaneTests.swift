import CLinuxNet
import MediaEngine
import RTP
import SRTP
import Testing
import Wire

/// A lane with keys that are never used.
func testLane(_ machine: SRTPMachine, counter: UnsafeMutablePointer<UInt16>) throws -> Lane {
    let keys = SRTPKeyingMaterial(
        profile: .aeadAES128GCM, localKey: [UInt8](repeating: 1, count: 16),
        localSalt: [UInt8](repeating: 2, count: 12), remoteKey: [UInt8](repeating: 3, count: 16),
        remoteSalt: [UInt8](repeating: 4, count: 12))
    return Lane(
        outbound: try machine.makeOutbound(keys), remote: weir_address(), local: weir_address(), ssrc: 0x1111,
        rtxSSRC: 0x2222, payloadType: 96, rtxPayloadType: 97, absSendTimeID: 2, transportCCID: 3, orientationID: 4,
        needsKeyFrame: true, rtxIndex: 1, initialIndex: 1000, transportSequence: counter)
}

@Suite struct LaneTests {
    /// A lane and what it hangs on, for the length of a test.
    private final class Fixture {
        let machine: SRTPMachine
        let counter = UnsafeMutablePointer<UInt16>.allocate(capacity: 1)
        var lane: Lane

        init() throws {
            counter.initialize(to: 0xffff)
            machine = try SRTPMachine(backend: .openSSL)
            lane = try testLane(machine, counter: counter)
        }

        deinit {
            machine.destroy(lane.outbound)
            counter.deallocate()
        }

        func header(_ packet: StoredPacket, sequence: UInt16 = 7, time: UInt32 = 0x12_3456) -> [UInt8] {
            var packet = packet
            return withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { room in
                let length = LaneHeader.write(
                    room.baseAddress!, lane: &lane, packet: &packet, ssrc: lane.ssrc, payloadType: lane.payloadType,
                    sequence: sequence, absSendTime: time)
                return Array(room[..<length])
            }
        }
    }

    private func value(_ id: UInt8, _ bytes: [UInt8]) throws -> [UInt8]? {
        let header = try RTPHeader(parsing: bytes.span.bytes)
        guard let (offset, length) = RTPExtensions.find(id: id, in: bytes.span.bytes, header: header) else {
            return nil
        }
        return Array(bytes[offset..<(offset + length)])
    }

    @Test func headersCarryThePlayersOwnIdentity() throws {
        let fixture = try Fixture()
        var packet = StoredPacket()
        packet.timestamp = 0xdead_beef
        packet.marker = true
        let bytes = fixture.header(packet, sequence: 0xfffe)
        let header = try RTPHeader(parsing: bytes.span.bytes)
        #expect(header.ssrc == 0x1111 && header.payloadType == 96 && header.sequence == 0xfffe)
        #expect(header.timestamp == 0xdead_beef && header.marker && header.headerLength == bytes.count)
        #expect(bytes.count <= LaneHeader.maxLength && bytes.count % 4 == 0)
        packet.marker = false
        #expect(try RTPHeader(parsing: fixture.header(packet).span.bytes).marker == false)
    }

    @Test func stampsAreThoseOfThePlayersTransport() throws {
        let fixture = try Fixture()
        var packet = StoredPacket()
        packet.orientation = 3 + 1
        let first = fixture.header(packet)
        #expect(try value(2, first) == [0x12, 0x34, 0x56])
        #expect(try value(3, first) == [0xff, 0xff])
        #expect(try value(4, first) == [3])
        #expect(try value(3, fixture.header(packet)) == [0, 0], "the counter wraps")
        #expect(fixture.counter.pointee == 1)
        packet.orientation = 0
        #expect(try value(4, fixture.header(packet)) == nil)
    }

    @Test func withoutRTXNothingThatChangesIsInTheHeader() throws {
        let fixture = try Fixture()
        fixture.lane.rtxPayloadType = 0
        let first = fixture.header(StoredPacket(), time: 1)
        let second = fixture.header(StoredPacket(), time: 2)
        // The same SRTP index twice is safe for the same bytes only (RFC 3711 §9.1).
        #expect(first == second && first.count == 12)
        #expect(fixture.counter.pointee == 0xffff)
    }

    @Test func aPlayerWithoutExtensionsGetsNone() throws {
        let fixture = try Fixture()
        fixture.lane.absSendTimeID = 0
        fixture.lane.transportCCID = 0
        fixture.lane.orientationID = 0
        var packet = StoredPacket()
        packet.orientation = 1
        #expect(fixture.header(packet).count == 12)
    }

    @Test func startsGoOnFromTheLastNumberSent() throws {
        let fixture = try Fixture()
        fixture.lane.start(at: 70_000)
        #expect(70_000 + fixture.lane.indexOffset == 1000 && fixture.lane.isStarted)
        fixture.lane.lastIndex = 1041
        fixture.lane.isStarted = false
        fixture.lane.start(at: 80_500)
        #expect(80_500 + fixture.lane.indexOffset == 1042 && fixture.lane.firstNumber == 80_500)
    }
}
