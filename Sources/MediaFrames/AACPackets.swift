import MediaFormats
import Wire

/// AAC as `MPEG4-GENERIC` (RFC 3640): access units behind headers that tell their sizes.
struct AACPackets: Sendable {
    /// Samples of an access unit of AAC-LC.
    static let samplesPerUnit: UInt32 = 1_024
    /// More than fit a packet.
    private static let maxUnits = 64
    /// 13 bits of size.
    private static let maxUnitBytes = 8_191

    /// Bits of a unit's size, of its index and of the following ones' distance (§3.2.1, §4.1).
    private let sizeLength: Int
    private let indexLength: Int
    private let deltaLength: Int

    /// A unit larger than a packet: what has come of it, and how large it is.
    private var partial: (bytes: [UInt8], size: Int, timestamp: UInt32)?

    /// - Parameter formatParameters: the `a=fmtp` parameters; `AAC-hbr` by default.
    init(formatParameters: String) {
        func value(_ name: String, _ usual: Int) -> Int {
            Self.parameter(name, in: formatParameters).flatMap { Int($0) }.map { min(max(0, $0), 16) } ?? usual
        }
        sizeLength = value("sizelength", 13)
        indexLength = value("indexlength", 3)
        deltaLength = value("indexdeltalength", 3)
    }

    /// Value of an `a=fmtp` parameter; names are compared without regard to case.
    static func parameter(_ name: String, in text: String) -> Substring? {
        for part in text.split(separator: ";") {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2 else { continue }
            let key = pair[0].drop { $0 == " " }
            if key.lowercased() == name { return pair[1].prefix { $0 != " " } }
        }
        return nil
    }

    /// The `AudioSpecificConfig` of `config=`, in hexadecimal; empty if it is missing or wrong.
    static func configuration(formatParameters: String) -> [UInt8] {
        guard let text = parameter("config", in: formatParameters), text.utf8.count <= 128 else { return [] }
        let digits = text.utf8.compactMap { byte -> UInt8? in
            switch byte {
            case 0x30...0x39: byte - 0x30
            case 0x41...0x46: byte - 0x41 + 10
            case 0x61...0x66: byte - 0x61 + 10
            default: nil
            }
        }
        guard digits.count == text.utf8.count, digits.count % 2 == 0 else { return [] }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    /// Something before this packet is missing: what has come of a unit is of no use.
    mutating func lose() { partial = nil }

    /// The units that the packet completes, with their timestamps. `nil`: the packet is broken.
    mutating func units(_ payload: RawSpan, timestamp: UInt32) -> [(data: [UInt8], timestamp: UInt32)]? {
        guard sizeLength > 0 else { return [(payload.copied(), timestamp)] }
        guard payload.byteCount > 2 else { return nil }
        let bits = Int(payload.loadBigEndian(at: 0, as: UInt16.self))
        let headers = (bits + 7) / 8
        guard bits >= sizeLength + indexLength, 2 + headers < payload.byteCount else { return nil }
        var reader = BitReader(payload.extracting(2..<(2 + headers)))
        var at = 2 + headers
        var used = 0
        var units: [(data: [UInt8], timestamp: UInt32)] = []
        while used + sizeLength + (used == 0 ? indexLength : deltaLength) <= bits, units.count < Self.maxUnits {
            let size = Int(reader.read(sizeLength))
            reader.skip(used == 0 ? indexLength : deltaLength)
            used += sizeLength + (used == 0 ? indexLength : deltaLength)
            guard size > 0, size <= Self.maxUnitBytes else { return nil }
            let rest = payload.byteCount - at
            if size > rest {
                return fragment(payload.extracting(at..<payload.byteCount), size, timestamp, units.isEmpty)
            }
            let time = timestamp &+ UInt32(units.count) &* Self.samplesPerUnit
            units.append((payload.extracting(at..<(at + size)).copied(), time))
            at += size
        }
        partial = nil
        return units
    }

    /// A piece of a unit, the only one in its packet (§3.2.3.1).
    private mutating func fragment(
        _ piece: RawSpan, _ size: Int, _ timestamp: UInt32, _ isAlone: Bool
    ) -> [(data: [UInt8], timestamp: UInt32)]? {
        guard isAlone else { return nil }
        var bytes = partial.map { $0.size == size && $0.timestamp == timestamp ? $0.bytes : [] } ?? []
        bytes.append(piece)
        guard bytes.count >= size else {
            partial = (bytes, size, timestamp)
            return []
        }
        partial = nil
        return bytes.count == size ? [(bytes, timestamp)] : nil
    }
}
