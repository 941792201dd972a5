import MediaFormats
import Testing
import Wire

/// When pictures out of order are decoded.
@Suite struct DecodeTimesTests {
    /// Of libx264 at its defaults: two pictures may come before one that is shown earlier.
    static let reordering: [UInt8] = [
        0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00,
        0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60,
    ]
    /// In decoding order: I, then P with a pyramid of three B frames before it, again and again; a key frame.
    static let shown: [Int64] = [0, 160, 80, 40, 120, 320, 240, 200, 280, 360, 480, 440, 400]

    @Test func picturesInOrderAreDecodedWhenTheyAreShown() {
        for codec in Codec.allCases where codec.isVideo {
            var times = DecodeTimes(codec, parameterSets: [], leastStep: .nanoseconds(1))
            for index in 0..<50 as Range<Int64> {
                #expect(times.next(.milliseconds(33 * index)) == .milliseconds(33 * index))
            }
        }
    }

    @Test func whatTheStreamSaysSuffices() {
        var times = DecodeTimes(.h264, parameterSets: [Self.reordering], leastStep: .milliseconds(1))
        let decoded = Self.shown.map { times.next(.milliseconds($0)) }
        #expect(zip(decoded, decoded.dropFirst()).allSatisfy { $0 < $1 })
        #expect(zip(decoded, Self.shown).allSatisfy { $0 <= .milliseconds($1) })
        // Behind the beginning at the pace at which pictures are shown.
        #expect(decoded[3...].map(\.milliseconds) == [40, 80, 120, 160, 200, 240, 280, 320, 360, 400].map { $0 - 0 })
    }

    @Test func whatItDoesNotSayIsFoundOut() {
        var times = DecodeTimes(.h264, parameterSets: [], leastStep: .milliseconds(1))
        let decoded = Self.shown.map { times.next(.milliseconds($0)) }
        #expect(zip(decoded, decoded.dropFirst()).allSatisfy { $0 < $1 })
        let late = zip(decoded, Self.shown).filter { $0 > .milliseconds($1) }
        #expect(late.count <= 4, "\(late)")
        #expect(decoded.last! <= .milliseconds(Self.shown.last!))
    }

    /// A clock that goes back for a moment is no reordering.
    @Test func otherCodecsHaveNone() {
        var times = DecodeTimes(.vp8, parameterSets: [], leastStep: .milliseconds(1))
        let decoded = [0, 33, 30, 66, 99].map { times.next(.milliseconds($0)).milliseconds }
        #expect(decoded == [0, 33, 34, 66, 99])
    }
}
