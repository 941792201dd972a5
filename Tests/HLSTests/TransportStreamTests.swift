import HLS
import MediaFormats
import Testing
import Wire

/// A reader of transport packets, as far as its tests need it.
private struct Reader {
    struct Packet {
        var id: Int
        var isStart: Bool
        var counter: Int
        var clock: Int?
        var isRandomAccess = false
        var payload: [UInt8]
    }

    let packets: [Packet]

    init(_ bytes: [UInt8]) throws {
        try #require(bytes.count % 188 == 0)
        packets = try stride(from: 0, to: bytes.count, by: 188).map { at in
            let packet = Array(bytes[at..<(at + 188)])
            try #require(packet[0] == 0x47)
            var found = Packet(
                id: Int(packet[1] & 0x1f) << 8 | Int(packet[2]), isStart: packet[1] & 0x40 != 0,
                counter: Int(packet[3] & 15), payload: [])
            var start = 4
            if packet[3] & 0x20 != 0 {
                let length = Int(packet[4])
                try #require(length <= 183)
                if length > 0 {
                    found.isRandomAccess = packet[5] & 0x40 != 0
                    if packet[5] & 0x10 != 0 {
                        found.clock = packet[6...9].reduce(0) { $0 << 8 | Int($1) } << 1 | Int(packet[10] >> 7)
                    }
                }
                start = 5 + length
            }
            found.payload = Array(packet[start...])
            return found
        }
    }

    /// Packets of an elementary stream, put together again.
    func streams(_ id: Int) -> [[UInt8]] {
        var all: [[UInt8]] = []
        for packet in packets where packet.id == id {
            if packet.isStart { all.append([]) }
            all[all.count - 1] += packet.payload
        }
        return all
    }
}

private func time(_ bytes: ArraySlice<UInt8>) -> Int {
    let groups: [(byte: Int, bits: Int, shift: Int)] = [(0, 3, 1), (1, 8, 0), (2, 7, 1), (3, 8, 0), (4, 7, 1)]
    var value = 0
    for group in groups {
        let byte = Int(bytes[bytes.startIndex + group.byte]) >> group.shift
        value = value << group.bits | (byte & (1 << group.bits - 1))
    }
    return value
}

@Suite struct TransportStreamTests {
    private static let video = OutputTrack(
        configuration: .h264(sps: [Clip.sps], pps: [Clip.pps]), size: Clip.size)
    /// AAC-LC, 48 kHz, two channels.
    private static let sound = OutputTrack(configuration: .aac([0x11, 0x90], sampleRate: 48_000, channels: 2))

    private static func sample(_ bytes: Int, at milliseconds: Int64, isKey: Bool = false) -> Sample {
        Sample(
            data: [UInt8](repeating: 0xaa, count: bytes), time: .milliseconds(milliseconds),
            duration: .milliseconds(40),
            isKeyFrame: isKey)
    }

    private static func make(_ samples: [[Sample]], isFirst: Bool = true) throws -> Reader {
        var writer = TransportStream()
        #expect(writer.begin([video, sound]) == nil)
        return try Reader(writer.part(samples, isFirst: isFirst))
    }

    @Test func segmentBeginsWithItsTablesAndPartsHaveNone() throws {
        let pictures = [Self.sample(100, at: 0, isKey: true)]
        #expect(try Self.make([pictures, []]).packets.prefix(2).map(\.id) == [0, 0x1000])
        #expect(try Self.make([pictures, []], isFirst: false).packets.allSatisfy { $0.id == 0x100 })
        #expect(try Self.make([[], []], isFirst: false).packets.isEmpty)
        // The map names both tracks: H264 and AAC with ADTS.
        let map = try Self.make([pictures, []]).packets[1].payload
        #expect(Array(map[13..<23]) == [0x1b, 0xe1, 0, 0xf0, 0, 0x0f, 0xe1, 1, 0xf0, 0])
    }

    /// Every size: each needs another filling of its last packet.
    @Test func payloadComesBackWhole() throws {
        for size in 1...600 {
            let reader = try Self.make([[Self.sample(size, at: 0, isKey: true)], []])
            let streams = reader.streams(0x100)
            #expect(streams.count == 1)
            let packet = streams[0]
            #expect(Array(packet.prefix(4)) == [0, 0, 1, 0xe0])
            #expect(Int(packet[4]) << 8 | Int(packet[5]) == packet.count - 6, "size \(size)")
            let payload = Array(packet[(9 + Int(packet[8]))...])
            #expect(Array(payload.prefix(6)) == [0, 0, 0, 1, 0x09, 0xf0])
            #expect(payload.count == size + 6 && payload.dropFirst(6).allSatisfy { $0 == 0xaa }, "size \(size)")
        }
    }

    @Test func aPictureLongerThanItsLengthCanSayHasNone() throws {
        let packet = try Self.make([[Self.sample(70_000, at: 0, isKey: true)], []]).streams(0x100)[0]
        #expect(packet[4] == 0 && packet[5] == 0 && packet.count > 70_000)
    }

    @Test func timesAreASecondBehindTheClock() throws {
        var late = Self.sample(50, at: 3_000)
        late.decodeTime = .milliseconds(2_960)
        let reader = try Self.make([[Self.sample(50, at: 2_000, isKey: true), late], []])
        let packets = reader.packets.filter { $0.id == 0x100 && $0.isStart }
        #expect(packets.map(\.clock) == [180_000, 266_400] && packets.map(\.isRandomAccess) == [true, false])
        let streams = reader.streams(0x100)
        #expect(streams[0][8] == 5 && time(streams[0][9..<14]) == 270_000)
        #expect(streams[1][8] == 10 && time(streams[1][9..<14]) == 360_000 && time(streams[1][14..<19]) == 356_400)
    }

    @Test func soundHasItsHeadersAndSharesPackets() throws {
        let frames = (0..<10).map { Self.sample(300, at: Int64($0) * 21) }
        let reader = try Self.make([[], frames])
        let streams = reader.streams(0x101)
        #expect(streams.count == 2)
        let payload = Array(streams[0][(9 + Int(streams[0][8]))...])
        // AAC-LC, index 3 of the rates, two channels, 307 bytes.
        #expect(Array(payload.prefix(7)) == [0xff, 0xf1, 0x4c, 0x80, 0x26, 0x7f, 0xfc])
        #expect(payload.count == 9 * 307)
        #expect(streams.reduce(0) { $0 + $1.count } == 10 * 307 + 2 * 14)
    }

    @Test func countersRunOnOverParts() throws {
        var writer = TransportStream()
        _ = writer.begin([Self.video, Self.sound])
        var bytes: [UInt8] = []
        for index in 0..<20 {
            let samples = [[Self.sample(500, at: Int64(index) * 40, isKey: index % 5 == 0)], []]
            bytes += writer.part(samples, isFirst: index % 5 == 0)
        }
        let reader = try Reader(bytes)
        for id in [0, 0x1000, 0x100] {
            let counters = reader.packets.filter { $0.id == id }.map(\.counter)
            #expect(counters == counters.indices.map { $0 & 15 }, "\(id)")
        }
    }
}
