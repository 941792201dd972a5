import Wire

/// A load as it was asked for. It becomes part of the report, so it holds no secrets.
package struct LoadPlanOptions: Sendable, Codable, Equatable {
    package enum SignallingProtocol: String, Sendable, Codable, CaseIterable { case whip, wcs }
    package enum Video: String, Sendable, Codable, CaseIterable { case h264, vp8 }
    package enum Protection: String, Sendable, Codable, CaseIterable {
        case aesCM = "aes-cm"
        case gcm
        case gcm256

        package var profile: SRTPProfile {
            switch self {
            case .aesCM: .aes128CMHMACSHA1_80
            case .gcm: .aeadAES128GCM
            case .gcm256: .aeadAES256GCM
            }
        }
    }

    /// Players that come and go while others are measured.
    package struct Churn: Sendable, Codable, Equatable {
        package var joinsPerSecond: Double
        /// How long each stays after its first picture, seconds.
        package var staySeconds: Double
        /// There at once, joining ones included.
        package var atMost: Int

        package init(joinsPerSecond: Double, staySeconds: Double, atMost: Int) {
            self.joinsPerSecond = joinsPerSecond
            self.staySeconds = staySeconds
            self.atMost = atMost
        }
    }

    // Where
    package var url = "http://127.0.0.1:8080"
    package var signalling = SignallingProtocol.whip
    /// Instead of the paths that Weir has; `{name}` stands for the stream's name.
    package var publishURL: String?
    package var playURL: String?
    package var insecure = false
    /// Streams are called PREFIX-0, PREFIX-1, …
    package var prefix = "bench"

    // What
    package var publishers = 1
    /// Loads, one after the other: each adds players to those that are there, and is measured.
    package var players = [1]
    package var video = Video.h264
    package var width = 1_280
    package var height = 720
    package var framesPerSecond = 30
    /// Of the video, bit/s.
    package var bitrate = 2_000_000
    /// Seconds from key frame to key frame.
    package var keyInterval = 2.0
    package var hasAudio = true
    /// Bit/s.
    package var audioBitrate = 48_000
    package var protection = Protection.aesCM
    /// Share of the packets that players throw away as if the network had lost them.
    package var loss = 0.0
    /// Seconds between two key-frame requests of each player; nil: only who needs one asks.
    package var keyRequestInterval: Double?
    package var seed: UInt64 = 1

    // When
    /// Joins per second.
    package var ramp = 50.0
    package var joinsInFlight = 32
    /// For one join, from the answer to the first picture, seconds.
    package var joinTimeout = 15.0
    /// Seconds between the last join of a step and its measurement.
    package var warmUp = 3.0
    /// Of each measurement, seconds.
    package var duration = 10.0
    package var churn: Churn?
    /// The whole load is run this often; figures are medians.
    package var repeats = 1

    // How
    /// Media threads of the generator.
    package var threads = 1
    /// Processor of the first media thread; nil: wherever the kernel puts it.
    package var pin: Int?
    package var serverPID: Int32?

    // Bars
    /// Share of the packets.
    package var limitLoss: Double?
    /// Milliseconds, of video.
    package var limitDelayP99: Double?

    package init() {}

    /// Every load ends, and none is larger than what one program can honestly drive.
    package enum Limits {
        package static let players = 20_000
        package static let publishers = 2_000
        package static let steps = 50
        package static let repeats = 20
        package static let duration = 3_600.0
        package static let warmUp = 600.0
        package static let ramp = 1_000.0
        package static let joinsInFlight = 256
        package static let joinTimeout = 60.0
        package static let stay = 3_600.0
        package static let churnAtMost = 5_000
        package static let loss = 0.5
        package static let threads = 64
        package static let bitrate = 30_000...50_000_000
        package static let audioBitrate = 6_000...510_000
        package static let framesPerSecond = 1...120
        package static let keyInterval = 0.1...60.0
        /// From key frame to key frame.
        package static let clipFrames = 1_000
        package static let side = 32...4_096
        package static let prefixBytes = 64
        /// Warm-ups and measurements together, seconds.
        package static let total = 8 * 3_600.0
    }
}
