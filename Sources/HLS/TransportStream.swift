import MediaFormats
import Wire

/// MPEG-TS parts (ISO/IEC 13818-1) with H264 or H265 and AAC, for players that know no fragmented MP4.
///
/// A segment begins with its tables, as RFC 8216bis §3.1.1 wants; times are those of the output line, a second later, so
/// that the clock reference may be ahead of them.
package struct TransportStream: RenditionWriter {
    private static let tableID: UInt16 = 0
    private static let mapID: UInt16 = 0x1000
    private static let firstTrackID: UInt16 = 0x100
    private static let ticks: Int64 = 90_000
    /// Between the clock reference and the times of what is decoded.
    private static let lead: Int64 = 90_000
    /// Frames of sound share a packet up to so many bytes: each alone would waste half of its transport packets.
    private static let soundPacketBytes = 2_800
    private static let adtsBytes = 7

    private var tracks: [OutputTrack] = []
    private var version: UInt8 = 31
    private var packets = TransportPackets()

    package init() {}

    package var isTransportStream: Bool { true }

    /// - Precondition: codecs that transport streams have a place for; others are transcoded before.
    package mutating func begin(_ tracks: [OutputTrack]) -> [UInt8]? {
        if tracks != self.tracks { version = (version + 1) & 31 }
        self.tracks = tracks
        return nil
    }

    package mutating func part(_ samples: [[Sample]], isFirst: Bool) -> [UInt8] {
        let bytes = samples.joined().reduce(0) { $0 + $1.data.count }
        packets.begin(reserving: bytes + bytes / 8 + 1_024)
        if isFirst { writeTables() }
        for unit in units(samples) { write(unit) }
        return packets.take()
    }

    // MARK: Elementary streams

    /// What goes into one packet of an elementary stream.
    private struct Unit {
        var track: Int
        var samples: ArraySlice<Sample>
        var start: Interval { samples.first?.decodeTime ?? .zero }
    }

    /// In the order of their times: each picture alone, sound by the handful.
    private func units(_ samples: [[Sample]]) -> [Unit] {
        var all: [Unit] = []
        for (index, track) in tracks.enumerated() where samples.indices.contains(index) {
            var rest = samples[index][...]
            while let first = rest.first {
                var count = 1
                var bytes = first.data.count
                while !track.isVideo, count < rest.count {
                    let next = rest[rest.startIndex + count]
                    guard bytes + next.data.count <= Self.soundPacketBytes else { break }
                    bytes += next.data.count
                    count += 1
                }
                all.append(Unit(track: index, samples: rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
        }
        return all.sorted { $0.start < $1.start }
    }

    private mutating func write(_ unit: Unit) {
        guard let first = unit.samples.first else { return }
        let track = tracks[unit.track]
        var payload: [UInt8] = []
        for sample in unit.samples { payload += Self.elementary(sample, track.configuration) }
        let (shown, decoded) = (Self.ticks(first.time), Self.ticks(first.decodeTime))
        let hasBoth = shown != decoded
        var head: [UInt8] = [0, 0, 1, track.isVideo ? 0xe0 : 0xc0]
        let fields = hasBoth ? 10 : 5
        // A picture may be longer than the length can say; 0 means "up to the next" (§2.4.3.7).
        let length = payload.count + 3 + fields
        head += length > Int(UInt16.max) ? [0, 0] : [UInt8(length >> 8), UInt8(length & 255)]
        // Marker bits and data alignment; which times follow; how many bytes they take.
        head += [0x84, hasBoth ? 0xc0 : 0x80, UInt8(fields)]
        head += Self.timeField(shown + Self.lead, mark: hasBoth ? 3 : 2)
        if hasBoth { head += Self.timeField(decoded + Self.lead, mark: 1) }
        packets.write(
            head + payload, id: Self.firstTrackID + UInt16(unit.track),
            clock: unit.track == clockTrack ? decoded : nil, isRandomAccess: first.isKeyFrame)
    }

    /// The track whose packets carry the clock.
    private var clockTrack: Int { tracks.firstIndex(where: \.isVideo) ?? 0 }

    private static func elementary(_ sample: Sample, _ configuration: CodecConfiguration) -> [UInt8] {
        switch configuration {
        // Access unit delimiters, which transport streams must have.
        case .h264: [0, 0, 0, 1, 0x09, 0xf0] + sample.data
        case .h265: [0, 0, 0, 1, 0x46, 0x01, 0x50] + sample.data
        case .aac(let bytes, let rate, let channels):
            adts(sample.data.count, bytes, rate: rate, channels: channels) + sample.data
        case .vp9, .av1, .opus: sample.data
        }
    }

    /// The header of a frame of AAC (ISO/IEC 14496-3 §1.A.2.2.1).
    private static func adts(_ count: Int, _ configuration: [UInt8], rate: Int, channels: Int) -> [UInt8] {
        let type = AudioSpecificConfig(parsing: unsafe configuration.span.bytes)?.objectType ?? 2
        // Replication and stereo extensions are over an AAC-LC core; ADTS names no others.
        let profile = UInt8((1...4).contains(type) ? type - 1 : 1)
        let index = UInt8(AudioSpecificConfig.rateIndex(rate) ?? 3)
        let length = count + adtsBytes
        let setup = UInt8(channels == 8 ? 7 : channels & 7)
        return [
            0xff, 0xf1, profile << 6 | index << 2 | setup >> 2, (setup & 3) << 6 | UInt8(length >> 11 & 3),
            UInt8(length >> 3 & 255), UInt8(length & 7) << 5 | 0x1f, 0xfc,
        ]
    }

    private static func ticks(_ time: Interval) -> Int64 {
        let (seconds, rest) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        return seconds * ticks + rest * ticks / 1_000_000_000
    }

    /// 33 bits with a marker bit behind each group.
    private static func timeField(_ time: Int64, mark: UInt8) -> [UInt8] {
        [
            mark << 4 | UInt8(time >> 30 & 7) << 1 | 1, UInt8(time >> 22 & 255), UInt8(time >> 15 & 127) << 1 | 1,
            UInt8(time >> 7 & 255), UInt8(time & 127) << 1 | 1,
        ]
    }

    // MARK: Tables

    private mutating func writeTables() {
        let map = Self.mapID
        packets.writeTable(
            section(0x00, [0, 1], version: 0, body: [0, 1, 0xe0 | UInt8(map >> 8), UInt8(map & 255)]), id: Self.tableID)
        let clock = Self.firstTrackID + UInt16(clockTrack)
        var body: [UInt8] = [0xe0 | UInt8(clock >> 8), UInt8(clock & 255), 0xf0, 0]
        for (index, track) in tracks.enumerated() {
            let id = Self.firstTrackID + UInt16(index)
            body += [Self.streamType(track.configuration), 0xe0 | UInt8(id >> 8), UInt8(id & 255), 0xf0, 0]
        }
        packets.writeTable(section(0x02, [0, 1], version: version, body: body), id: map)
    }

    /// ISO/IEC 13818-1 table 2-34.
    private static func streamType(_ configuration: CodecConfiguration) -> UInt8 {
        switch configuration {
        case .h264: 0x1b
        case .h265: 0x24
        case .aac: 0x0f
        // Private data: players leave it alone.
        case .vp9, .av1, .opus: 0x06
        }
    }

    /// A section of program information with its checksum.
    private func section(_ table: UInt8, _ id: [UInt8], version: UInt8, body: [UInt8]) -> [UInt8] {
        let length = id.count + 3 + body.count + 4
        var bytes = [table, 0xb0 | UInt8(length >> 8), UInt8(length & 255)] + id
        bytes += [0xc1 | version << 1, 0, 0] + body
        let sum = Self.checksum(bytes)
        return bytes + [UInt8(sum >> 24), UInt8(sum >> 16 & 255), UInt8(sum >> 8 & 255), UInt8(sum & 255)]
    }

    /// CRC-32/MPEG-2 (annex A).
    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        bytes.reduce(0xffff_ffff) { sum, byte in
            (0..<8).reduce(sum ^ UInt32(byte) << 24) { value, _ in
                value & 0x8000_0000 != 0 ? value << 1 ^ 0x04c1_1db7 : value << 1
            }
        }
    }
}

/// Cuts packets of elementary streams into transport packets of 188 bytes.
struct TransportPackets {
    static let length = 188
    private static let payload = length - 4

    private var out: [UInt8] = []
    /// By packet id; runs on over segments.
    private var counters: [UInt16: UInt8] = [:]

    mutating func begin(reserving count: Int) {
        out = []
        out.reserveCapacity(count)
    }

    mutating func take() -> [UInt8] {
        defer { out = [] }
        return out
    }

    mutating func writeTable(_ section: [UInt8], id: UInt16) {
        head(id, isStart: true, hasAdaptation: false)
        // The pointer: the section begins right behind it.
        out.append(0)
        out += section
        out += [UInt8](repeating: 0xff, count: max(0, Self.payload - 1 - section.count))
    }

    /// - Parameter clock: the clock reference in ticks of 90 kHz, at the first packet.
    mutating func write(_ bytes: [UInt8], id: UInt16, clock: Int64?, isRandomAccess: Bool) {
        var rest = bytes[...]
        var isStart = true
        while !rest.isEmpty {
            var adaptation: [UInt8] = []
            if isStart, clock != nil || isRandomAccess {
                adaptation = [(isRandomAccess ? 0x40 : 0) | (clock == nil ? 0 : 0x10)]
                if let clock {
                    adaptation += [
                        UInt8(clock >> 25 & 255), UInt8(clock >> 17 & 255), UInt8(clock >> 9 & 255),
                        UInt8(clock >> 1 & 255), UInt8(clock & 1) << 7 | 0x7e, 0,
                    ]
                }
            }
            // What is too little for a packet is filled up by the adaptation field: a length, flags and 0xff.
            let room = Self.payload - (adaptation.isEmpty ? 0 : adaptation.count + 1)
            let missing = max(0, room - rest.count)
            var hasAdaptation = !adaptation.isEmpty
            if missing > 0 {
                if adaptation.isEmpty {
                    // The field's length takes a byte itself, its flags the next.
                    if missing > 1 { adaptation = [0] + [UInt8](repeating: 0xff, count: missing - 2) }
                } else {
                    adaptation += [UInt8](repeating: 0xff, count: missing)
                }
                hasAdaptation = true
            }
            head(id, isStart: isStart, hasAdaptation: hasAdaptation)
            if hasAdaptation { out += [UInt8(adaptation.count)] + adaptation }
            let taken = Self.payload - (hasAdaptation ? adaptation.count + 1 : 0)
            out += rest.prefix(taken)
            rest = rest.dropFirst(taken)
            isStart = false
        }
    }

    private mutating func head(_ id: UInt16, isStart: Bool, hasAdaptation: Bool) {
        let counter = counters[id, default: 0]
        counters[id] = (counter + 1) & 15
        out += [
            0x47, (isStart ? 0x40 : 0) | UInt8(id >> 8), UInt8(id & 255), (hasAdaptation ? 0x30 : 0x10) | counter,
        ]
    }
}
