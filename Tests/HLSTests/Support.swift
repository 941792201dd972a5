import HLS
import MediaFormats
import Synchronization
import Wire

/// Parameter sets of x264's and x265's output, made by `ffmpeg -f lavfi -i testsrc=s=320x180:r=30`.
enum Clip {
    static let sps = bytes("6764000dacb202833f3e0220000003002000000781e28549")
    static let pps = bytes("68ebc3cb22c0")
    static let hevc = [
        bytes("40010c01ffff01600000030090000003000003003c959809"),
        bytes("42010101600000030090000003000003003ca00a080b9f796566924caf016808000003000800000300f040"),
        bytes("4401c172b46240"),
    ]
    static let vp9KeyFrame = bytes("824983420013f00b360c38241c184a00")
    static let av1SequenceHeader = bytes("0a0b000000043cfeccdaf90040")
    static let size = VideoSize(width: 320, height: 180)

    static func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8).map { $0 < 0x3a ? $0 - 0x30 : $0 - 0x61 + 10 }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    static let h264 = TrackDescription(codec: .h264)
    static let opus = TrackDescription(codec: .opus)

    /// An access unit whose only slice says which it is.
    static func picture(
        _ number: Int, at time: Interval, isKey: Bool, track: Int = 0, bytes: Int = 64, sps: [UInt8] = sps,
        size: VideoSize = size, flags: MediaFrame.Flags = []
    ) -> MediaFrame {
        var data: [UInt8] = []
        for set in isKey ? [sps, pps] : [] { data += [0, 0, 0, 1] + set }
        data += [0, 0, 0, 1, isKey ? 0x65 : 0x41]
        // Seven bits a byte, the highest set, so that they are never taken for a start code.
        data += [14, 7, 0].map { UInt8(number >> $0 & 0x7f) | 0x80 }
        data += [UInt8](repeating: 0xaa, count: max(0, bytes - 4))
        return MediaFrame(
            track: track, data: data, time: time, isKeyFrame: isKey, size: isKey ? size : nil, flags: flags,
            parameterSets: isKey ? [sps, pps] : nil)
    }

    static func sound(_ number: Int, at time: Interval, track: Int = 1) -> MediaFrame {
        MediaFrame(
            track: track, data: [0x7c, UInt8(number >> 8 & 255), UInt8(number & 255)], time: time,
            duration: .milliseconds(20))
    }
}

extension Instant {
    /// That long after the test's beginning.
    static func at(_ interval: Interval) -> Instant { Instant.zero + .seconds(1_000) + interval }
}

/// A clock that stands still until it is told.
final class TestClock: Sendable {
    private let time = Mutex(Instant.at(.zero))
    var now: Instant { time.withLock { $0 } }
    func set(_ instant: Instant) { time.withLock { $0 = instant } }
    func advance(by interval: Interval) { time.withLock { $0 = $0 + interval } }
}

/// Small random numbers that are the same in each run.
struct Dice: RandomNumberGenerator {
    var state: UInt64
    init(_ seed: UInt64) { state = seed &+ 0x9e37_79b9_7f4a_7c15 }
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

/// Tokens `t0`, `t1`, … in the order in which they are made.
func countedTokens() -> @Sendable () -> String {
    let counter = Counter()
    return { "t\(counter.next())" }
}

private final class Counter: Sendable {
    private let value = Mutex(0)
    func next() -> Int {
        value.withLock { value in
            value += 1
            return value - 1
        }
    }
}

func string(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

/// Tag lines of a playlist, without what stands behind the colon.
func tags(_ text: String) -> [String] {
    text.split(separator: "\n").filter { $0.hasPrefix("#") }.map { String($0.prefix { $0 != ":" }) }
}
