import MediaFormats
import Wire

extension HLSStream {
    /// What the renditions are, from what has been in them so far.
    ///
    /// - Parameter mayBegin: a lower rendition that is not made yet can be.
    static func multivariant(_ state: State, plan: RenditionPlan, mayBegin: Bool) -> MultivariantPlaylist {
        func outputs(_ index: Int) -> [OutputTrack] {
            plan.renditions[index].tracks.compactMap { state.tracks.indices.contains($0) ? state.tracks[$0] : nil }
        }
        let rates = state.window.rates
        let rate = frameRate(state.window)
        let all = plan.renditions.indices.filter { !outputs($0).isEmpty }
        let pictures = all.filter { outputs($0).contains(where: \.isVideo) }
        let sounds = all.filter { !pictures.contains($0) }
        // Sound alone: each codec is a choice of its own.
        let main = pictures.isEmpty ? sounds : pictures
        let group = pictures.isEmpty || sounds.isEmpty ? nil : "audio"
        let beside = group == nil ? [] : sounds
        let loudest = beside.map { rates[$0].largest }.max() ?? 0
        let average = beside.map { rates[$0].average }.max() ?? 0
        func codecs(_ own: [String]) -> [String] {
            var codecs: [String] = []
            for name in own + beside.flatMap(outputs).map(\.configuration.name) where !codecs.contains(name) {
                codecs.append(name)
            }
            return codecs
        }
        var variants = main.map { index in
            let own = outputs(index)
            let picture = own.first(where: \.isVideo)
            return MultivariantPlaylist.Variant(
                uri: "\(plan.renditions[index].name)/live.m3u8", bandwidth: rates[index].largest + loudest,
                averageBandwidth: rates[index].average + average, codecs: codecs(own.map(\.configuration.name)),
                resolution: picture?.displaySize, frameRate: picture == nil ? nil : rate,
                audioGroup: group)
        }
        if let picture = main.first.flatMap({ outputs($0).first(where: \.isVideo) }), let size = picture.size {
            for (rung, state) in zip(plan.ladder.rungs.indices, state.ladder.rungs) {
                let wanted = plan.ladder.rungs[rung]
                guard wanted.isLower(than: size), state.generation != nil || state.isFinished || mayBegin else {
                    continue
                }
                let measured = rates[plan.renditions.count + rung]
                let small = OutputTrack(
                    configuration: picture.configuration, size: wanted.size(of: size), rotation: picture.rotation)
                variants.append(
                    MultivariantPlaylist.Variant(
                        uri: "\(wanted.name)/live.m3u8",
                        bandwidth: max(wanted.expectedBandwidth, measured.largest) + loudest,
                        averageBandwidth: (measured.average > 0 ? measured.average : wanted.bitrate) + average,
                        codecs: codecs([LadderRung.codecName(of: wanted.size(of: size))]),
                        resolution: small.displaySize, frameRate: rate.map { min($0, wanted.fastest) },
                        audioGroup: group))
            }
        }
        if plan.ladder.hasSoundAlone, let group, let sound = beside.first {
            variants.append(
                MultivariantPlaylist.Variant(
                    uri: "\(plan.renditions[sound].name)/live.m3u8", bandwidth: loudest, averageBandwidth: average,
                    codecs: codecs([]), audioGroup: group))
        }
        let audio = beside.enumerated().map { place, index in
            let output = outputs(index).first
            return MultivariantPlaylist.AudioRendition(
                group: "audio", name: plan.renditions[index].name, uri: "\(plan.renditions[index].name)/live.m3u8",
                channels: output?.configuration.channels ?? 2, isDefault: place == 0)
        }
        return MultivariantPlaylist(variants: variants, audio: audio)
    }

    /// Of all that is in the window; nil if no picture has come.
    private static func frameRate(_ window: StreamWindow) -> Double? {
        var pictures = window.open?.pictures ?? 0
        var duration = window.open?.duration ?? .zero
        for segment in window.segments where segment.pictures > 0 {
            pictures += segment.pictures
            duration = duration + segment.duration
        }
        return pictures > 0 && duration > .zero ? Double(pictures) / duration.seconds : nil
    }
}

extension LadderRung {
    /// Pictures per second. The first picture of each part is made whatever the limit is.
    fileprivate var fastest: Double { framesPerSecond.map(Double.init) ?? .infinity }
}

extension CodecConfiguration {
    /// Of sound; 0 for pictures.
    var channels: Int {
        switch self {
        case .opus(let channels), .aac(_, _, let channels): channels
        case .h264, .h265, .vp9, .av1: 0
        }
    }
}
