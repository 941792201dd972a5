import MediaFormats

/// The playlist that a player opens first (RFC 8216bis §4.4.6): which renditions there are and what they need.
package struct MultivariantPlaylist: Sendable, Equatable {
    /// One choice of picture (with its sound in it or beside it).
    package struct Variant: Sendable, Equatable {
        /// Relative to the multivariant playlist.
        package var uri: String
        /// Bits per second of its largest segment, with its largest sound rendition.
        package var bandwidth: Int
        /// The same on average.
        package var averageBandwidth: Int?
        /// RFC 6381 names of everything in it and in its sound group, without repetition.
        package var codecs: [String]
        /// As displayed: turned if the publisher's camera is.
        package var resolution: VideoSize?
        /// Pictures per second.
        package var frameRate: Double?
        /// `GROUP-ID` of its sound renditions; nil: sound is in the variant itself, or there is none.
        package var audioGroup: String?

        package init(
            uri: String, bandwidth: Int, averageBandwidth: Int? = nil, codecs: [String] = [],
            resolution: VideoSize? = nil, frameRate: Double? = nil, audioGroup: String? = nil
        ) {
            self.uri = uri
            self.bandwidth = bandwidth
            self.averageBandwidth = averageBandwidth
            self.codecs = codecs
            self.resolution = resolution
            self.frameRate = frameRate
            self.audioGroup = audioGroup
        }
    }

    /// One sound rendition of a group (`EXT-X-MEDIA`, §4.4.6.1).
    package struct AudioRendition: Sendable, Equatable {
        package var group: String
        /// For the eye; unique in its group.
        package var name: String
        package var uri: String
        package var channels: Int
        /// What a player takes that has no wish of its own: one per group.
        package var isDefault: Bool

        package init(group: String, name: String, uri: String, channels: Int, isDefault: Bool) {
            self.group = group
            self.name = name
            self.uri = uri
            self.channels = channels
            self.isDefault = isDefault
        }
    }

    package var variants: [Variant]
    package var audio: [AudioRendition]
    package var hasIndependentSegments: Bool

    package init(variants: [Variant], audio: [AudioRendition] = [], hasIndependentSegments: Bool = false) {
        self.variants = variants
        self.audio = audio
        self.hasIndependentSegments = hasIndependentSegments
    }

    /// - Parameter query: goes behind each URI: what the media playlists need to know the viewer again; empty for none.
    package func text(query: String = "") -> [UInt8] {
        let suffix = query.isEmpty ? "" : "?\(query)"
        var out = TextOutput(reserving: 1_024)
        out.add("#EXTM3U\n")
        if hasIndependentSegments { out.add("#EXT-X-INDEPENDENT-SEGMENTS\n") }
        for rendition in audio { add(rendition, suffix, to: &out) }
        for variant in variants { add(variant, suffix, to: &out) }
        return out.bytes
    }

    private func add(_ rendition: AudioRendition, _ suffix: String, to out: inout TextOutput) {
        out.add("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"")
        out.add(rendition.group)
        out.add("\",NAME=\"")
        out.add(rendition.name)
        out.add("\",AUTOSELECT=YES,DEFAULT=")
        out.add(rendition.isDefault ? "YES" : "NO")
        out.add(",CHANNELS=\"")
        out.add(rendition.channels)
        out.add("\",URI=\"")
        out.add(rendition.uri)
        out.add(suffix)
        out.add("\"\n")
    }

    private func add(_ variant: Variant, _ suffix: String, to out: inout TextOutput) {
        out.add("#EXT-X-STREAM-INF:BANDWIDTH=")
        out.add(max(1, variant.bandwidth))
        if let average = variant.averageBandwidth {
            out.add(",AVERAGE-BANDWIDTH=")
            out.add(max(1, min(average, variant.bandwidth)))
        }
        if !variant.codecs.isEmpty {
            out.add(",CODECS=\"")
            out.add(variant.codecs.joined(separator: ","))
            out.add("\"")
        }
        if let size = variant.resolution {
            out.add(",RESOLUTION=")
            out.add(size.width)
            out.add("x")
            out.add(size.height)
        }
        if let rate = variant.frameRate, rate > 0, rate < 1_000 {
            // §4.4.6.2: three digits behind the point.
            let thousandths = Int64((rate * 1_000).rounded())
            out.add(",FRAME-RATE=")
            out.add(thousandths / 1_000)
            out.add(".")
            out.addPadded(thousandths % 1_000, digits: 3)
        }
        if let group = variant.audioGroup {
            out.add(",AUDIO=\"")
            out.add(group)
            out.add("\"")
        }
        out.add("\n")
        out.add(variant.uri)
        out.add(suffix)
        out.add("\n")
    }
}
