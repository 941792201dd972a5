/// Which pictures can be decoded after a loss without a key frame: where an encoder with temporal layers numbers the
/// pictures of the lowest one, it can be seen that none of these is missing (RFC 7741 §4.2, RFC 9628 §4.2).
struct TemporalLayers: Sendable {
    /// Number of the last picture of the lowest layer that was given out.
    private var base: UInt8?
    /// A bit per layer of which nothing is missing.
    private var usable = UInt8.max

    /// There is a chance that the next pictures can be decoded.
    var mayResume: Bool { base != nil }

    /// Upper layers have lost something.
    var isIncomplete: Bool { usable < .max }

    /// Something is missing, nobody knows of which layer.
    mutating func lose() { usable = 1 }

    /// Too much is missing for the 8-bit numbers to tell anything.
    mutating func reset() { base = nil }

    /// Whether a picture, not a key frame, can be decoded after what was given out.
    func canDecode(_ place: TemporalPlace) -> Bool {
        guard let base else { return false }
        if place.layer == 0 { return place.base == base &+ 1 }
        // A picture may build on any of the layers below.
        let needed = UInt8.max >> (7 - min(place.layer, 7))
        return place.base == base && (place.needsOnlyBase || usable & needed == needed)
    }

    /// A picture is given out.
    mutating func give(_ place: TemporalPlace?, isKeyFrame: Bool) {
        if isKeyFrame { usable = .max }
        guard let place else {
            base = nil
            return
        }
        if place.layer == 0 {
            base = place.base
        } else {
            usable |= 1 << min(place.layer, 7)
        }
    }

    /// A picture that cannot be decoded: one of the lowest layer shows that another is missing.
    mutating func refuse(_ place: TemporalPlace?) {
        if place == nil || place?.layer == 0 { base = nil }
    }
}
