import HLS
import Wire

extension Configuration {
    /// HLS and low-latency HLS of published streams.
    package struct HLS: Sendable, Equatable {
        package var enabled = true
        /// Of its own; it is served on the ports of `http`, too.
        package var port: UInt16 = 8082
        /// 0: no TLS listener.
        package var tlsPort: UInt16 = 8445
        package var autoStart = false
        package var idleTimeout = Interval.seconds(300)
        package var segmentDuration = Interval.seconds(2)
        package var partDuration = Interval.milliseconds(300)
        package var lowLatency = true
        /// In a live playlist.
        package var segments = 8
        /// Zero: a live playlist only.
        package var dvrWindow = Interval.zero
        /// Empty: nothing goes to disk.
        package var dvrDirectory = ""
        /// Per stream.
        package var memoryLimit = 64 << 20
        /// Per stream.
        package var diskLimit = 1 << 30
        package var publisherPatience = Interval.seconds(30)
        package var auth = false
        package var sessionLifetime = Interval.seconds(6 * 3_600)
        package var corsOrigins = ["*"]
        package var maxStreams = 200
        /// Requests per stream.
        package var maxWaiting = 20_000
        /// Of streams with Opus.
        package var sound = HLSTrackPlan.Sound.published
        /// Lower renditions that streams have beside their own.
        package var profiles: [HLSProfile] = []
        /// Streams of these names have them.
        package var profileStreams: [StreamPattern] = [StreamPattern("*")].compactMap(\.self)
        /// Pictures that are transcoded at a time: streams and lower renditions.
        package var maxTranscodes = 4
        package var maxSoundTranscodes = 100
        /// Streams of these names are MPEG-TS.
        package var transportStreams: [StreamPattern] = []

        package init() {}

        /// What players of a stream may choose from; each name once, highest first.
        package func ladder(of name: String) -> Ladder {
            guard !profiles.isEmpty, profileStreams.contains(where: { $0.pattern.matches(name) }) else {
                return Ladder()
            }
            var ladder = Ladder()
            for profile in profiles {
                switch profile {
                case .sound: ladder.hasSoundAlone = true
                case .picture(let rung, _):
                    if !ladder.rungs.contains(where: { $0.name == rung.name }) { ladder.rungs.append(rung) }
                }
            }
            ladder.rungs.sort { ($0.height, $0.bitrate) > ($1.height, $1.bitrate) }
            return ladder
        }

        func isTransportStream(_ name: String) -> Bool { transportStreams.contains { $0.pattern.matches(name) } }

        package var registrySettings: HLSRegistry.Settings {
            var settings = HLSRegistry.Settings()
            settings.autoStart = autoStart
            settings.idleTimeout = idleTimeout
            settings.maxStreams = maxStreams
            settings.segmenter.segmentDuration = segmentDuration
            settings.segmenter.partDuration = partDuration
            settings.stream.publisherPatience = publisherPatience
            settings.stream.maxWaiting = maxWaiting
            settings.stream.window.partTarget = lowLatency ? settings.segmenter.partTarget : nil
            settings.stream.window.liveSegments = segments
            settings.stream.window.backwards = dvrWindow > .zero ? dvrWindow : nil
            settings.stream.window.memoryLimit = memoryLimit
            settings.stream.window.diskLimit = dvrDirectory.isEmpty ? 0 : diskLimit
            return settings
        }
    }
}

extension ConfigurationKey {
    static let hls: [ConfigurationKey] = [
        .init("hls", "enabled", \.hls.enabled, .flag),
        .init("hls", "port", \.hls.port, .port(offAllowed: true)),
        .init("hls", "tls_port", \.hls.tlsPort, .port(offAllowed: true)),
        .init("hls", "auto_start", \.hls.autoStart, .flag),
        .init("hls", "idle_timeout", \.hls.idleTimeout, .duration(.seconds(10)...Interval.seconds(24 * 3_600))),
        .init("hls", "segment_duration", \.hls.segmentDuration, .duration(.seconds(1)...Interval.seconds(10))),
        .init("hls", "part_duration", \.hls.partDuration, .duration(.milliseconds(200)...Interval.milliseconds(1_000))),
        .init("hls", "low_latency", \.hls.lowLatency, .flag),
        .init("hls", "segments", \.hls.segments, .integer(3...100)),
        .init("hls", "dvr_window", \.hls.dvrWindow, .duration(.zero...Interval.seconds(24 * 3_600))),
        .init("hls", "dvr_directory", \.hls.dvrDirectory, .path),
        .init("hls", "memory_limit", \.hls.memoryLimit, .size(4 << 20...16 << 30)),
        .init("hls", "disk_limit", \.hls.diskLimit, .size(64 << 20...1 << 40)),
        .init("hls", "publisher_patience", \.hls.publisherPatience, .duration(.zero...Interval.seconds(3_600))),
        .init("hls", "auth", \.hls.auth, .flag),
        .init("hls", "session_lifetime", \.hls.sessionLifetime, .duration(.seconds(60)...Interval.seconds(7 * 86_400))),
        .init("hls", "cors_origins", \.hls.corsOrigins, .list(.origin, 0...256)),
        .init("hls", "max_streams", \.hls.maxStreams, .integer(1...100_000)),
        .init("hls", "max_waiting", \.hls.maxWaiting, .integer(1...1_000_000)),
        .init(
            "hls", "audio", \.hls.sound,
            .word(HLSTrackPlan.Sound.allCases.map { ($0.rawValue, $0) }, name: { $0.rawValue })),
        .init("hls", "transport_streams", \.hls.transportStreams, .list(.streamPattern, 0...1_000)),
        .init("hls", "profiles", \.hls.profiles, .list(.hlsProfile, 0...HLSProfile.most)),
        .init("hls", "profile_streams", \.hls.profileStreams, .list(.streamPattern, 0...1_000)),
        .init("hls", "max_transcodes", \.hls.maxTranscodes, .integer(0...1_000)),
        .init("hls", "max_sound_transcodes", \.hls.maxSoundTranscodes, .integer(0...100_000)),
    ]
}
