import Wire

/// AAC's `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1), as far as it says how the sound is played.
package struct AudioSpecificConfig: Sendable, Equatable {
    /// 2: AAC-LC, 5: with spectral band replication (HE-AAC), 29: with parametric stereo too (HE-AACv2).
    package var objectType: Int
    /// Of the core coder, which RTP clocks count; spectral band replication doubles it when played.
    package var sampleRate: Int
    package var channels: Int

    private static let rates: [Int] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
    ]
    private static let channelCounts = [0, 1, 2, 3, 4, 5, 6, 8]

    /// How headers of frames (ADTS) name a rate; nil if they cannot.
    package static func rateIndex(_ sampleRate: Int) -> Int? { rates.firstIndex(of: sampleRate) }

    /// The bytes of `config=` (RFC 3640 §4.1); nil unless they are a configuration.
    package static func bytes(hexadecimal text: some StringProtocol) -> [UInt8]? {
        let digits = text.utf8.map { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 ? $0 - 0x30 : ($0 | 0x20) &- 0x57 }
        guard !digits.isEmpty, digits.count % 2 == 0, digits.count <= maxConfigurationDigits,
            digits.allSatisfy({ $0 < 16 })
        else { return nil }
        let bytes = stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
        return unsafe AudioSpecificConfig(parsing: bytes.span.bytes) == nil ? nil : bytes
    }
    private static let maxConfigurationDigits = 1_024

    package init(objectType: Int = 2, sampleRate: Int, channels: Int) {
        self.objectType = objectType
        self.sampleRate = sampleRate
        self.channels = channels
    }

    /// `nil` for a configuration without the facts above, such as one whose channels stand in the sound itself.
    package init?(parsing bytes: RawSpan) {
        var bits = BitReader(bytes)
        objectType = Self.objectType(&bits)
        let index = Int(bits.read(4))
        if index == 15 {
            sampleRate = Int(bits.read(24))
        } else {
            guard index < Self.rates.count else { return nil }
            sampleRate = Self.rates[index]
        }
        let configuration = Int(bits.read(4))
        guard bits.isValid, sampleRate > 0, configuration > 0, configuration < Self.channelCounts.count else {
            return nil
        }
        channels = Self.channelCounts[configuration]
    }

    private static func objectType(_ bits: inout BitReader) -> Int {
        let type = Int(bits.read(5))
        return type == 31 ? 32 + Int(bits.read(6)) : type
    }

    /// The bytes of a configuration of AAC-LC; `nil` for rates and channels that have no index.
    package var bytes: [UInt8]? {
        guard let rate = Self.rates.firstIndex(of: sampleRate), channels > 0, objectType < 31,
            let configuration = Self.channelCounts.firstIndex(of: channels)
        else { return nil }
        let bits = UInt16(objectType) << 11 | UInt16(rate) << 7 | UInt16(configuration) << 3
        return [UInt8(bits >> 8), UInt8(bits & 0xff)]
    }
}

/// How AAC is put into RTP payloads (RFC 3640): a header of sizes before the access units.
package struct MPEG4Generic: Sendable, Equatable {
    /// Bits of the fields of an AU header.
    package var sizeLength: Int
    package var indexLength: Int
    package var indexDeltaLength: Int

    /// Access units taken from one packet.
    static let maxUnits = 64

    /// `AAC-hbr`
    package init(sizeLength: Int = 13, indexLength: Int = 3, indexDeltaLength: Int = 3) {
        self.sizeLength = sizeLength
        self.indexLength = indexLength
        self.indexDeltaLength = indexDeltaLength
    }

    /// Where the access units lie in a payload, in order; the last one may be a part of a longer unit, of which
    /// `wholeSize` is the size then (RFC 3640 §3.2.3). Empty for what cannot be read, units in another order included.
    package func units(in payload: RawSpan) -> (ranges: [Range<Int>], wholeSize: Int?) {
        guard payload.byteCount > 2, sizeLength > 0 else { return ([], nil) }
        let headerBits = Int(payload.loadBigEndian(at: 0, as: UInt16.self))
        let headerEnd = 2 + (headerBits + 7) / 8
        guard headerEnd < payload.byteCount else { return ([], nil) }
        var bits = BitReader(payload.extracting(2..<headerEnd))
        var ranges: [Range<Int>] = []
        var read = 0
        var at = headerEnd
        while read + sizeLength <= headerBits, ranges.count < Self.maxUnits {
            let size = Int(bits.read(sizeLength))
            let indexBits = ranges.isEmpty ? indexLength : indexDeltaLength
            let index = bits.read(indexBits)
            read += sizeLength + indexBits
            guard bits.isValid, index == 0, size > 0 else { return ([], nil) }
            guard at + size <= payload.byteCount else {
                // A fragment is alone in its packet.
                return ranges.isEmpty && at < payload.byteCount ? ([at..<payload.byteCount], size) : ([], nil)
            }
            ranges.append(at..<(at + size))
            at += size
        }
        return (ranges, nil)
    }

    /// The four bytes before a single access unit in `AAC-hbr`; units have at most 8,191 bytes.
    package static func header(unitSize: Int) -> [UInt8] {
        precondition(unitSize < 1 << 13, "an access unit longer than AAC-hbr can say")
        return [0, 16, UInt8(unitSize >> 5), UInt8(truncatingIfNeeded: unitSize << 3)]
    }
}
