import Synchronization

/// How much is transcoded for HLS at a time, and how much may be.
package final class HLSTranscodePlaces: Sendable {
    private struct State {
        var pictures = 0
        var sounds = 0
        var renditions = 0
        var dropped = 0
    }

    private let maxPictures: Int
    private let maxSounds: Int
    private let state = Mutex(State())

    package init(maxPictures: Int, maxSounds: Int) {
        self.maxPictures = maxPictures
        self.maxSounds = maxSounds
    }

    /// Pictures that are transcoded now (lower renditions among them), sounds, lower renditions.
    package var counts: (pictures: Int, sounds: Int, renditions: Int) {
        state.withLock { ($0.pictures, $0.sounds, $0.renditions) }
    }

    /// Pictures that lower renditions lack since their encoders did not keep up.
    var dropped: Int { state.withLock { $0.dropped } }

    package var hasPicture: Bool { state.withLock { $0.pictures < maxPictures } }

    /// - Returns: why there is no place; nil: it has been taken.
    package func take(_ plan: HLSTrackPlan) -> String? {
        state.withLock { state in
            if plan.makesPictures, state.pictures >= maxPictures {
                return "HLS needs another codec of this picture, and \(state.pictures) pictures are transcoded already "
                    + "(hls.max_transcodes)"
            }
            if plan.makesSound, state.sounds >= maxSounds {
                return "HLS needs another codec of this sound, and \(state.sounds) streams are transcoded already "
                    + "(hls.max_sound_transcodes)"
            }
            if plan.makesPictures { state.pictures += 1 }
            if plan.makesSound { state.sounds += 1 }
            return nil
        }
    }

    package func giveBack(_ plan: HLSTrackPlan) {
        state.withLock { state in
            if plan.makesPictures { state.pictures -= 1 }
            if plan.makesSound { state.sounds -= 1 }
        }
    }

    /// - Returns: why there is no place; nil: it has been taken.
    package func takeRendition() -> String? {
        state.withLock { state in
            guard state.pictures < maxPictures else {
                return "This rendition is made when it is asked for, and \(state.pictures) pictures are transcoded "
                    + "already (hls.max_transcodes)"
            }
            state.pictures += 1
            state.renditions += 1
            return nil
        }
    }

    package func giveBackRendition() {
        state.withLock { state in
            state.pictures -= 1
            state.renditions -= 1
        }
    }

    func addDropped(_ pictures: Int) {
        guard pictures > 0 else { return }
        state.withLock { $0.dropped += pictures }
    }
}
