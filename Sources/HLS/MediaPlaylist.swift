import Wire

/// One media playlist as a value (RFC 8216bis §4.4.3 to §4.4.5): what a server says of one rendition at one moment.
///
/// Times are nanoseconds here; the writer rounds them. All URIs are relative to the playlist's own.
package struct MediaPlaylist: Sendable, Equatable {
    package struct Part: Sendable, Equatable {
        package var uri: String
        package var duration: Interval
        /// A key frame is in it.
        package var isIndependent: Bool
        /// There is no media for its time; nobody can load it.
        package var isGap: Bool

        package init(uri: String, duration: Interval, isIndependent: Bool = false, isGap: Bool = false) {
            self.uri = uri
            self.duration = duration
            self.isIndependent = isIndependent
            self.isGap = isGap
        }
    }

    package struct Segment: Sendable, Equatable {
        package var uri: String
        /// The sum of its parts' durations.
        package var duration: Interval
        /// Those that are still listed: empty once the segment is far from the live edge.
        package var parts: [Part]
        /// When its first frame was taken, in nanoseconds since 1970.
        package var programDate: Int64?
        /// Where its initialisation section is; nil for MPEG-TS.
        package var map: String?
        /// What comes before does not belong on one line with it (§4.4.4.3).
        package var isDiscontinuity: Bool
        package var isGap: Bool

        package init(
            uri: String, duration: Interval, parts: [Part] = [], programDate: Int64? = nil, map: String? = nil,
            isDiscontinuity: Bool = false, isGap: Bool = false
        ) {
            self.uri = uri
            self.duration = duration
            self.parts = parts
            self.programDate = programDate
            self.map = map
            self.isDiscontinuity = isDiscontinuity
            self.isGap = isGap
        }
    }

    /// The segment that is being made: its parts are listed, its own URI is not yet.
    package struct OpenSegment: Sendable, Equatable {
        package var parts: [Part]
        package var programDate: Int64?
        package var map: String?
        package var isDiscontinuity: Bool

        package init(
            parts: [Part], programDate: Int64? = nil, map: String? = nil, isDiscontinuity: Bool = false
        ) {
            self.parts = parts
            self.programDate = programDate
            self.map = map
            self.isDiscontinuity = isDiscontinuity
        }
    }

    /// How far another rendition of the same presentation has come (§4.4.5.4).
    package struct RenditionReport: Sendable, Equatable {
        package var uri: String
        package var lastSequenceNumber: UInt64
        /// Nil if it has no parts.
        package var lastPart: Int?

        package init(uri: String, lastSequenceNumber: UInt64, lastPart: Int?) {
            self.uri = uri
            self.lastSequenceNumber = lastSequenceNumber
            self.lastPart = lastPart
        }
    }

    /// Seconds. No segment is longer when rounded; never changes in a playlist's life.
    package var targetDuration: Int
    /// The longest part; nil: no low latency.
    package var partTarget: Interval?
    /// Of the first segment.
    package var mediaSequence: UInt64
    /// Of the first segment.
    package var discontinuitySequence: UInt64
    package var segments: [Segment]
    package var open: OpenSegment?
    /// The part that comes next; a request for it is answered when it exists (§4.4.5.3).
    package var preloadHint: String?
    package var renditionReports: [RenditionReport]
    /// Every segment can be decoded without any other. May be said only if it will stay true.
    package var hasIndependentSegments: Bool
    /// Nothing will follow.
    package var isEnded: Bool

    package init(
        targetDuration: Int, partTarget: Interval? = nil, mediaSequence: UInt64 = 0, discontinuitySequence: UInt64 = 0,
        segments: [Segment] = [], open: OpenSegment? = nil, preloadHint: String? = nil,
        renditionReports: [RenditionReport] = [], hasIndependentSegments: Bool = false, isEnded: Bool = false
    ) {
        self.targetDuration = targetDuration
        self.partTarget = partTarget
        self.mediaSequence = mediaSequence
        self.discontinuitySequence = discontinuitySequence
        self.segments = segments
        self.open = open
        self.preloadHint = preloadHint
        self.renditionReports = renditionReports
        self.hasIndependentSegments = hasIndependentSegments
        self.isEnded = isEnded
    }

    /// Of the segments that are whole.
    package var duration: Interval { segments.reduce(.zero) { $0 + $1.duration } }
}

/// What a server promises in `EXT-X-SERVER-CONTROL` (§4.4.3.8): one place for the numbers, since the server must also
/// keep to them.
package enum ServerControl {
    /// Clients of whole segments stay so many target durations behind the end: the least that is allowed.
    package static let holdBackTargets: Int64 = 3
    /// Clients of parts stay so many part targets behind the end: the draft's recommendation; two are the least.
    package static let partHoldBackTargets: Int64 = 3
    /// Segments further from the end can be left out of updates: six target durations are the least.
    package static let skipTargets: Int64 = 6
    /// Parts are listed so many target durations from the end (§6.2.2).
    package static let partListTargets: Int64 = 3
    /// A playlist that may still grow does not become shorter than this (§6.2.2).
    package static let leastPlaylistTargets: Int64 = 3
    /// Longest that a request may be held back (§6.2.5.2).
    package static let blockTargets: Int64 = 3
    /// A request may name a segment so far beyond the last whole one (§6.2.5.2).
    package static let sequenceNumbersAhead: UInt64 = 2

    /// Parts that a request may be ahead of the last one: three seconds of them, and at least three (§6.2.5.2).
    package static func advancePartLimit(partTarget: Interval) -> Int {
        let target = partTarget.nanoseconds
        guard target > 0, target < 1_000_000_000 else { return 3 }
        return Int((3_000_000_000 + target - 1) / target)
    }
}
