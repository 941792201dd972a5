import Glibc
import MediaFiles
import MediaFormats
import Wire

/// How pictures are arranged.
package enum MixLayout: String, Sendable, CaseIterable {
    /// As square as possible.
    case grid
    /// Side by side.
    case row
    /// One above the other.
    case column
}

/// What is to be made of which files.
package struct MixSettings: Sendable, Equatable {
    /// Sizes of the picture: even, and no smaller or larger than encoders and players take.
    package static let sides = 64...7_680
    package static let rates = 1...60

    package var inputs: [String]
    package var output: String
    package var layout = MixLayout.grid
    package var width = 1_280
    package var height = 720
    package var framesPerSecond = 30
    /// By input: seconds from the beginning of the first recording by the clock to that of this file, instead of its own
    /// time.
    package var offsets: [String: Double] = [:]
    /// Names are written on the pictures.
    package var showsNames = false
    /// An output that is there is replaced.
    package var replaces = false
    package var threads = 1

    package init(inputs: [String], output: String) {
        self.inputs = inputs
        self.output = output
    }
}

/// Why a mix was not made: what is wrong with which file, and what to do about it.
package struct MixError: Error, Equatable, CustomStringConvertible {
    /// For exit codes (sysexits.h).
    package enum Kind: Sendable, Equatable {
        /// What was asked for cannot be.
        case usage
        /// An input is not there or must not be read.
        case noInput
        /// An input is not what it should be.
        case badInput
        case cannotCreate
        case failedIO
        case cancelled
        /// The machine has no such codec, or no memory.
        case machine
    }

    package var kind: Kind
    /// With the file's name.
    package var problem: String
    package var remedy: String

    package init(_ kind: Kind, _ problem: String, remedy: String) {
        self.kind = kind
        self.problem = problem
        self.remedy = remedy
    }

    package var description: String { remedy.isEmpty ? problem : "\(problem); \(remedy)" }

    package var exitCode: Int32 {
        switch kind {
        case .usage: EX_USAGE
        case .noInput: EX_NOINPUT
        case .badInput: EX_DATAERR
        case .cannotCreate: EX_CANTCREAT
        case .failedIO: EX_IOERR
        // As shells say it of SIGINT.
        case .cancelled: 130
        case .machine: EX_SOFTWARE
        }
    }

    static let cancelled = MixError(.cancelled, "stopped", remedy: "")

    /// What reading an input came to.
    static func reading(_ path: String, _ error: ContainerError) -> MixError {
        switch error {
        case .cancelled: .cancelled
        case .notFound, .system(errno: ENOENT), .system(errno: ENOTDIR):
            MixError(.noInput, "\(path): there is no such file", remedy: "look at its name")
        case .system(errno: EACCES), .system(errno: EPERM):
            MixError(.noInput, "\(path): it may not be read", remedy: "give yourself the right to (chmod, sudo)")
        case .system(let errno):
            MixError(.failedIO, "\(path): \(String(cString: strerror(errno)))", remedy: "look at the disk")
        case .unknownCodecs, .wrongFormat, .unsupported, .missingParameters, .library:
            MixError(
                .badInput, "\(path): it is not a recording that can be read (\(error))",
                remedy: "give MP4, WebM, MKV or TS files as Weir records them; ffprobe tells what this one is")
        }
    }

    static func decoding(_ path: String, _ error: CodecError) -> MixError {
        MixError(.machine, "\(path): \(error)", remedy: "mend that, or leave the file out")
    }

    static func writing(_ path: String, _ error: ContainerError) -> MixError {
        switch error {
        case .cancelled: .cancelled
        case .system(errno: ENOSPC), .system(errno: EDQUOT):
            MixError(.failedIO, "\(path): no space left on the disk", remedy: "make room, or write elsewhere")
        default: MixError(.failedIO, "\(path): \(error)", remedy: "look at the disk, or write elsewhere")
        }
    }
}
