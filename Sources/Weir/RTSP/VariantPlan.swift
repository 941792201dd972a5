import MediaFormats

/// What has to be made of a stream's tracks.
package struct VariantPlan: Sendable, Equatable {
    package enum Purpose: String, Sendable {
        case webRTC = "WebRTC"
        /// RTSP players who ask for it.
        case aac = "AAC"
    }

    package let purpose: Purpose
    /// By track: what it becomes. The others stay as they are.
    package private(set) var codecs: [Int: Codec] = [:]
    package let makesPictures: Bool
    package let makesSound: Bool

    /// All sound becomes AAC, pictures stay as they are.
    package init(inAAC tracks: [TrackDescription]) {
        purpose = .aac
        for (index, track) in tracks.enumerated() where !track.isVideo && track.codec != .aac { codecs[index] = .aac }
        makesPictures = false
        makesSound = !codecs.isEmpty
    }

    package init(forWebRTC tracks: [TrackDescription], isReordered: Bool) {
        purpose = .webRTC
        for (index, track) in tracks.enumerated() {
            if track.isVideo {
                if isReordered { codecs[index] = .h264 }
            } else if !Self.isPlayable(track) {
                codecs[index] = .opus
            }
        }
        makesPictures = codecs.values.contains(.h264)
        makesSound = codecs.values.contains(.opus)
    }

    package var isNeeded: Bool { !codecs.isEmpty }

    private static func isPlayable(_ track: TrackDescription) -> Bool {
        switch track.codec {
        case .opus: true
        case .pcmu, .pcma, .g722: track.channels <= 1 && track.clockRate == 8_000
        default: false
        }
    }
}
