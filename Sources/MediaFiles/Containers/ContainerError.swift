import CLibAV
import Glibc

/// Why a media file could not be read or written.
package enum ContainerError: Error, Equatable, Sendable {
    /// The file, or what was asked for in it, is not there.
    case notFound
    /// The bytes are not of a format that Weir reads, or are damaged.
    case wrongFormat
    /// The kernel refused: an errno of read, write, open, fsync, rename.
    case system(errno: Int32)
    /// The container has no form for this codec.
    case unsupported(codec: String, container: String)
    /// A track's parameter sets or size are not known yet.
    case missingParameters(track: Int)
    /// There is nothing in it but what Weir has no place for; the codecs' names, for people.
    case unknownCodecs([String])
    /// libav refused; its own error code.
    case library(code: Int32)
    /// The caller asked to stop.
    case cancelled

    /// WCS's status text for a file that cannot be played.
    package var playbackStatus: String {
        switch self {
        case .notFound: "File not found"
        case .wrongFormat, .unsupported, .unknownCodecs, .missingParameters: "File has wrong format"
        case .system(errno: ENOENT), .system(errno: ENOTDIR): "File not found"
        case .system, .library, .cancelled: "Failed to read file"
        }
    }

    /// Sorts a result code of libav.
    init(code: Int32) {
        switch code {
        case weir_averror_invalid_data: self = .wrongFormat
        case weir_averror_exit: self = .cancelled
        case -4095..<0: self = .system(errno: weir_posix_error(code))
        default: self = .library(code: code)
        }
    }
}

extension ContainerError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notFound: "file not found"
        case .wrongFormat: "wrong format"
        case .system(let errno): String(cString: strerror(errno))
        case .unsupported(let codec, let container): "\(codec) cannot be stored in \(container)"
        case .unknownCodecs(let names): "codecs that are not known here: \(names.joined(separator: " "))"
        case .missingParameters(let track): "parameters of track \(track) are unknown"
        case .library(let code): "\(LibAVError.text(of: code))"
        case .cancelled: "cancelled"
        }
    }
}
