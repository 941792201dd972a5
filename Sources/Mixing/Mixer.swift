import MediaFiles
import MediaFormats
import MediaFrames
import Wire

/// How far a mix has come.
package struct MixProgress: Sendable, Equatable {
    package enum Phase: Sendable, Equatable {
        /// The inputs are looked at.
        case reading
        case mixing
        /// The output gets its index.
        case completing
    }

    package var phase: Phase
    /// Of the whole work, 0...1.
    package var share: Double
    /// Of the mix, how much has been made.
    package var done: Interval
    package var length: Interval
}

/// What came of a mix.
package struct MixResult: Sendable, Equatable {
    package var length: Interval
    package var pictures: Int
    package var sounds: Int
}

/// Makes one file of several recordings: pictures in a grid, sound added up. Reads, decodes and writes picture by picture,
/// so that its memory does not grow with the length. One thread (codecs may use more); blocks.
package struct Mixer {
    /// Shares of the whole work at which the phases end.
    private static let read = 0.02
    private static let mixed = 0.97

    private let settings: MixSettings
    private let progress: (MixProgress) -> Bool

    /// - Parameter progress: told often; false stops the mix.
    package init(_ settings: MixSettings, progress: @escaping (MixProgress) -> Bool = { _ in true }) {
        self.settings = settings
        self.progress = progress
    }

    /// - Throws: what is wrong, with the file's name; then no output is left, and one that was there is as it was.
    package func run() throws(MixError) -> MixResult {
        try check()
        let output = try MixOutput(path: settings.output, replaces: settings.replaces, inputs: settings.inputs)
        let plan = try MixPlan(settings) { share in
            progress(.init(phase: .reading, share: share * Self.read, done: .zero, length: .zero))
        }
        var now = MixProgress(phase: .mixing, share: Self.read, done: .zero, length: plan.length)
        // Asked while files are read, too: much may have to be read for one picture.
        let session = try MixSession(plan, settings, output, isCancelled: { [progress] in !progress(now) })
        try session.run { done in
            let share = Double(done.nanoseconds) / Double(max(1, plan.length.nanoseconds))
            now.share = Self.read + min(1, share) * (Self.mixed - Self.read)
            now.done = done
            return progress(now)
        }
        try output.finish { share in
            progress(
                .init(
                    phase: .completing, share: Self.mixed + share * (1 - Self.mixed), done: plan.length,
                    length: plan.length))
        }
        _ = progress(.init(phase: .completing, share: 1, done: plan.length, length: plan.length))
        return MixResult(length: plan.length, pictures: plan.pictures.count, sounds: plan.sounds.count)
    }

    private func check() throws(MixError) {
        guard !settings.inputs.isEmpty else {
            throw MixError(.usage, "there is no input", remedy: "name at least one recording")
        }
        for (index, input) in settings.inputs.enumerated() where settings.inputs[..<index].contains(input) {
            throw MixError(.usage, "\(input): it is named twice", remedy: "name it once")
        }
        for file in settings.offsets.keys.sorted() where !settings.inputs.contains(file) {
            throw MixError(.usage, "--offset \(file): it is no input", remedy: "name it as the input is named")
        }
        for (name, side) in [("--width", settings.width), ("--height", settings.height)] {
            guard MixSettings.sides.contains(side), side % 2 == 0 else {
                throw MixError(
                    .usage, "\(name) \(side)",
                    remedy:
                        "give an even number from \(MixSettings.sides.lowerBound) to \(MixSettings.sides.upperBound)")
            }
        }
        guard MixSettings.rates.contains(settings.framesPerSecond) else {
            throw MixError(
                .usage, "--fps \(settings.framesPerSecond)",
                remedy: "give a number from \(MixSettings.rates.lowerBound) to \(MixSettings.rates.upperBound)")
        }
    }
}

/// A mix that is being made. One thread.
private final class MixSession {
    private let plan: MixPlan
    private let settings: MixSettings
    private let output: MixOutput
    private let isCancelled: () -> Bool
    private let pictureEncoder: PictureEncoder?
    private let soundEncoder: SoundEncoder?
    private let soundTrack: Int
    /// Open only while they are on: decoders are large.
    private var pictures: [Int: PictureLine] = [:]
    private var sounds: [Int: SoundLine] = [:]
    private var limiter = Limiter(channels: SoundEncoder.channels)
    /// Samples mixed so far, and how many of those that the limiter gives are still of before the beginning.
    private var position: Int64 = 0
    private var early = Limiter.latency
    /// The picture before, and what it was made of.
    private var before: (canvas: PictureCanvas, parts: [Part])?

    private struct Part {
        var picture: FittedPicture?
        var cell: GridLayout.Cell
        var label: String

        func isSame(_ other: Part) -> Bool {
            picture === other.picture && cell == other.cell && label == other.label
        }
    }

    init(
        _ plan: MixPlan, _ settings: MixSettings, _ output: MixOutput, isCancelled: @escaping () -> Bool
    ) throws(MixError) {
        self.plan = plan
        self.settings = settings
        self.output = output
        self.isCancelled = isCancelled
        let codecs = MixOutput.codecs(output.format)
        do throws(CodecError) {
            var picture = PictureEncoder.Settings()
            picture.codec = codecs.picture
            picture.size = VideoSize(width: settings.width, height: settings.height)
            picture.framesPerSecond = settings.framesPerSecond
            picture.threads = settings.threads
            pictureEncoder = plan.pictures.isEmpty ? nil : try PictureEncoder(picture)
            soundEncoder = plan.sounds.isEmpty ? nil : try SoundEncoder(codecs.sound)
        } catch {
            throw .decoding(settings.output, error)
        }
        soundTrack = pictureEncoder == nil ? 0 : 1
        output.begin([pictureEncoder?.output, soundEncoder?.output].compactMap { $0 })
    }

    /// - Parameter progress: what has been made; false stops.
    func run(progress: (Interval) -> Bool) throws(MixError) {
        let rate = Int64(settings.framesPerSecond)
        let step = 1_000_000_000 / rate
        let ticks = (plan.length.nanoseconds * rate + 999_999_999) / 1_000_000_000
        for tick in 0..<max(1, ticks) {
            let time = Interval.nanoseconds(tick * 1_000_000_000 / rate)
            if let pictureEncoder {
                let canvas = try canvas(at: time + .nanoseconds(step / 2))
                try encoding { () throws(CodecError) in try pictureEncoder.encode(canvas, time: time) }
            }
            try mix(until: MixClock.samples(.nanoseconds((tick + 1) * 1_000_000_000 / rate)))
            guard progress(time) else { throw .cancelled }
        }
        if let pictureEncoder { try encoding { () throws(CodecError) in try pictureEncoder.finish() } }
        guard let soundEncoder else { return }
        // What is still in the limiter.
        try sound(Array(repeating: 0, count: Limiter.latency * SoundEncoder.channels), soundEncoder)
        try encoding(track: soundTrack) { () throws(CodecError) in try soundEncoder.finish() }
    }

    private func encoding(
        track: Int = 0, _ body: () throws(CodecError) -> [MediaFrame]
    ) throws(MixError) {
        let frames: [MediaFrame]
        do throws(CodecError) { frames = try body() } catch { throw .decoding(settings.output, error) }
        try output.write(frames, track: track)
    }

    // MARK: Pictures

    /// The whole picture. Half a picture's time later than the output's own time: the nearest pictures are taken.
    private func canvas(at time: Interval) throws(MixError) -> PictureCanvas {
        let parts = try parts(at: time)
        if let before, before.parts.count == parts.count, zip(before.parts, parts).allSatisfy({ $0.isSame($1) }) {
            return before.canvas
        }
        let canvas: PictureCanvas
        do throws(CodecError) {
            canvas = try PictureCanvas(size: VideoSize(width: settings.width, height: settings.height))
        } catch {
            throw .decoding(settings.output, error)
        }
        for part in parts {
            let cell = part.cell
            if let picture = part.picture {
                canvas.draw(
                    picture, x: cell.x + (cell.width - picture.size.width) / 2 & ~1,
                    y: cell.y + (cell.height - picture.size.height) / 2 & ~1)
            }
            if settings.showsNames {
                let scale = max(1, cell.height / Self.fontShare)
                canvas.write(part.label, x: cell.x, y: cell.y, scale: scale, width: cell.width)
            }
        }
        before = (canvas, parts)
        return canvas
    }

    /// A letter's pixel is one of so many parts of a cell's height.
    private static let fontShare = 160

    private func parts(at time: Interval) throws(MixError) -> [Part] {
        let tracks = plan.pictures
        let on = tracks.indices.filter { tracks[$0].isOn(time) }
        for index in pictures.keys where !on.contains(index) { pictures[index] = nil }
        let cells = GridLayout.cells(on.count, settings.layout, width: settings.width, height: settings.height)
        var parts: [Part] = []
        for (index, cell) in zip(on, cells) {
            let line: PictureLine
            if let open = pictures[index] {
                line = open
            } else {
                line = try PictureLine(tracks[index], isCancelled: isCancelled)
                pictures[index] = line
            }
            let picture = try line.picture(at: time, box: VideoSize(width: cell.width, height: cell.height))
            parts.append(Part(picture: picture, cell: cell, label: line.label))
        }
        return parts
    }

    // MARK: Sound

    private func mix(until end: Int64) throws(MixError) {
        guard let soundEncoder, end > position else { return }
        var mix = [Float](repeating: 0, count: Int(end - position) * SoundEncoder.channels)
        let tracks = plan.sounds
        for index in tracks.indices {
            // What decoders give may begin a little before or end a little behind what the file says.
            let begin = MixClock.samples(tracks[index].begin) - Self.margin
            let last = MixClock.samples(tracks[index].end) + Self.margin
            guard begin < end, position < last else {
                sounds[index] = nil
                continue
            }
            let line: SoundLine
            if let open = sounds[index] {
                line = open
            } else {
                line = try SoundLine(tracks[index], isCancelled: isCancelled)
                sounds[index] = line
            }
            try line.add(to: &mix, at: position)
        }
        position = end
        try sound(mix, soundEncoder)
    }

    private static let margin = Int64(SoundEncoder.rate)

    private func sound(_ samples: [Float], _ encoder: SoundEncoder) throws(MixError) {
        var samples = samples
        limiter.process(&samples)
        if early > 0 {
            let dropped = min(early, samples.count / SoundEncoder.channels)
            samples.removeFirst(dropped * SoundEncoder.channels)
            early -= dropped
        }
        try encoding(track: soundTrack) { () throws(CodecError) in try encoder.encode(samples) }
    }
}
