import ControlPlane
import RTSP

/// In which form a player wants the sound of a stream: `audio` in the query of its URL.
package enum RTSPSound: Sendable, Hashable {
    /// As it was published.
    case published
    /// AAC, made if it is another codec.
    case aac

    package static let parameter = "audio"
    package static let unknown = RTSPStatus(
        400, "Bad Request: only audio=aac can be asked for; without it sound is as published")

    /// - Parameter query: of the URL, percent-encoded. Nil for a wish that nobody can grant.
    package init?(query: String?) {
        switch RTSPQuery.parameters(query)[Self.parameter] {
        case nil: self = .published
        case let wish? where wish.lowercased() == "aac": self = .aac
        default: return nil
        }
    }

    /// Why there is no AAC, and what helps.
    package static func refusal(_ error: MediaError) -> RTSPStatus {
        switch error {
        case .transcodingDisabled:
            RTSPStatus(
                415, "Unsupported Media Type: no AAC is made here (rtsp.sound_transcodings is 0), leave out audio=aac")
        case .noTranscoders:
            RTSPStatus(
                503, "As much sound as may be is transcoded already (rtsp.sound_transcodings), leave out audio=aac")
        case .noCapacity: .notEnoughBandwidth
        case .streamNotFound: .notFound
        default: RTSPStatus(415, "Unsupported Media Type: the stream's sound cannot be made AAC, leave out audio=aac")
        }
    }
}
