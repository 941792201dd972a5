import MediaFiles
import Synchronization

/// Why a file cannot be played, or not any further.
package enum PlaybackError: Error, Equatable, Sendable, CustomStringConvertible {
    case container(ContainerError)
    case codec(CodecError)
    /// There is nothing in it that can be sent.
    case nothingToPlay
    /// Its pictures must be transcoded, and this server does not do that.
    case transcodingDisabled
    /// ... and does it for as many others as it can.
    case noTranscoders

    package var description: String {
        switch self {
        case .container(let error): "\(error)"
        case .codec(let error): "\(error)"
        case .nothingToPlay: "neither pictures that begin with a key frame nor sound in a codec that Weir knows"
        case .transcodingDisabled: "its pictures are out of order (B frames) and vod.transcodings is 0"
        case .noTranscoders: "its pictures are out of order (B frames) and vod.transcodings are under way"
        }
    }
}

/// How many files' pictures may be transcoded at the same time.
package final class TranscodingPlaces: Sendable {
    /// One of the places, until it is let go.
    package final class Place: Sendable {
        private let places: TranscodingPlaces
        fileprivate init(_ places: TranscodingPlaces) { self.places = places }
        deinit { places.taken.withLock { $0 -= 1 } }
    }

    package let count: Int
    private let taken = Mutex(0)

    package init(_ count: Int) { self.count = count }

    package var inUse: Int { taken.withLock { $0 } }

    func take() throws(PlaybackError) -> Place {
        guard count > 0 else { throw .transcodingDisabled }
        let isFree = taken.withLock { taken in
            guard taken < count else { return false }
            taken += 1
            return true
        }
        guard isFree else { throw .noTranscoders }
        return Place(self)
    }
}
