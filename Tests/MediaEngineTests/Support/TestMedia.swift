import Wire

/// What a test payload says of itself: enough to prove that it came whole, in its place and at its time.
struct TestPart: Hashable {
    /// Counts the payload-carrying packets of the track, from 0.
    var serial: UInt32
    /// Picture or audio frame.
    var frame: UInt32
    var part: UInt8
    var parts: UInt8
    var isKey: Bool
    /// Nanoseconds from the publisher's start to the capture of the frame.
    var capture: Int64
}

/// Payloads with a running number, random-looking filler and a checksum; video as VP8 (RFC 7741), so that the engine
/// finds its key frames.
enum TestMedia {
    static let width = 320
    static let height = 240
    private static let magic: UInt32 = 0x5745_4952
    private static let bodyLength = 4 + 4 + 4 + 1 + 1 + 1 + 8 + 4

    /// Shortest payload that there is room in for all that a packet says of itself.
    static let minLength = 40

    /// - Parameter length: bytes; up to seven less come out unless `isExact`.
    static func video(_ part: TestPart, length: Int, isExact: Bool = false) -> [UInt8] {
        var bytes: [UInt8] = part.part == 0 ? [0x10] : [0x00]
        if part.part == 0 {
            // Frame tag: bit 0 is clear for key frames (RFC 6386 §9.1), which go on with start code and size.
            bytes += [part.isKey ? 0 : 1, 0, 0]
            if part.isKey {
                bytes += [0x9d, 0x01, 0x2a]
                for size in [width, height] { bytes += [UInt8(size & 0xff), UInt8(size >> 8)] }
            }
        }
        appendBody(part, length: length, isExact: isExact, to: &bytes)
        return bytes
    }

    static func audio(_ part: TestPart, length: Int, isExact: Bool = false) -> [UInt8] {
        var bytes: [UInt8] = []
        appendBody(part, length: length, isExact: isExact, to: &bytes)
        return bytes
    }

    /// Slices as single NAL units (RFC 6184 §5.6); the first of a picture says so by `first_mb_in_slice` 0.
    static func h264(_ part: TestPart, length: Int) -> [UInt8] {
        var bytes: [UInt8] = [part.isKey ? 0x65 : 0x41, part.part == 0 ? 0x88 : 0x08]
        appendBody(part, length: length, to: &bytes)
        return bytes
    }

    static func isParameterSet(_ bytes: [UInt8]) -> Bool { bytes.first == 0x67 || bytes.first == 0x68 }

    /// `nil`: damaged, or not one of ours.
    static func readVideo(_ bytes: [UInt8]) -> TestPart? {
        guard let first = bytes.first else { return nil }
        if first == 0x65 || first == 0x41 { return readBody(bytes, from: 2) }
        guard first & 0x10 != 0 else { return readBody(bytes, from: 1) }
        guard bytes.count > 1 else { return nil }
        return readBody(bytes, from: bytes[1] & 1 == 0 ? 11 : 4)
    }

    static func readAudio(_ bytes: [UInt8]) -> TestPart? { readBody(bytes, from: 0) }

    private static func appendBody(_ part: TestPart, length: Int, isExact: Bool = false, to bytes: inout [UInt8]) {
        bytes.appendBigEndian(magic)
        bytes.appendBigEndian(part.serial)
        bytes.appendBigEndian(part.frame)
        bytes += [part.part, part.parts, part.isKey ? 1 : 0]
        bytes.appendBigEndian(part.capture)
        var random = SeededRandom(seed: UInt64(part.serial) << 32 | UInt64(part.frame))
        while bytes.count + 8 + 4 <= length { bytes.appendBigEndian(random.next()) }
        while isExact, bytes.count + 4 < length { bytes.append(0) }
        bytes.appendBigEndian(checksum(bytes[...]))
    }

    private static func readBody(_ bytes: [UInt8], from start: Int) -> TestPart? {
        let end = bytes.count - 4
        guard bytes.count >= start + bodyLength else { return nil }
        let span = bytes.span.bytes
        guard span.loadBigEndian(at: start, as: UInt32.self) == magic,
            span.loadBigEndian(at: end, as: UInt32.self) == checksum(bytes[..<end])
        else { return nil }
        return TestPart(
            serial: span.loadBigEndian(at: start + 4), frame: span.loadBigEndian(at: start + 8),
            part: bytes[start + 12], parts: bytes[start + 13], isKey: bytes[start + 14] == 1,
            capture: span.loadBigEndian(at: start + 15))
    }

    /// FNV-1a.
    static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        var hash: UInt32 = 0x811c_9dc5
        for byte in bytes { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
        return hash
    }
}

/// Payload types, SSRCs and header extensions of all test peers.
enum TestIDs {
    static let videoType: UInt8 = 96
    static let rtxType: UInt8 = 97
    static let audioType: UInt8 = 111
    static let videoClock = 90_000
    static let audioClock = 48_000
    static let midExtension: UInt8 = 1
    static let timeExtension: UInt8 = 2
    static let transportExtension: UInt8 = 3
    static let publisherVideo: UInt32 = 0x1000_0001
    static let publisherRTX: UInt32 = 0x1000_0002
    static let publisherAudio: UInt32 = 0x1000_0003
}
