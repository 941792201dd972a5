import Foundation
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Mixing
import Recording
import Testing
import Wire

@Suite struct MixerTests {
    private static let tones = [400.0, 700, 1_100, 1_900]

    @Test(arguments: ["out.mp4", "out.webm", "out.mkv", "out.ts"])
    func fourStreamsAreInFourQuartersAndAllAreHeard(output: String) throws {
        let folder = try MixFolder()
        var inputs: [String] = []
        for (index, colour) in [Colour.red, .green, .blue, .white].enumerated() {
            let clips = try MixFolder.clip(colour, seconds: 1.5, frequency: Self.tones[index])
            inputs.append(try folder.write("\(index).webm", clips))
        }
        let result = try Mixer(folder.settings(inputs, to: output)).run()
        #expect(result.pictures == 4 && result.sounds == 4)
        #expect(abs(result.length.milliseconds - 1_500) < 40)
        let mixed = try Mixed(folder[output])
        let codecs = mixed.tracks.map(\.codec)
        #expect(codecs == (output == "out.webm" ? [.vp8, .opus] : [.h264, output == "out.mkv" ? .opus : .aac]))
        #expect(mixed.pictures.count == 45)
        #expect(mixed.pictures.first?.size == VideoSize(width: 320, height: 180))
        for time in [0.2, 0.7, 1.4] {
            let colours = mixed.colours(time, quarters)
            #expect(colours == [.red, .green, .blue, .white], "at \(time) s")
        }
        for frequency in Self.tones {
            let strength = mixed.strength(frequency, from: 0.3, to: 1.3)
            #expect(strength > 0.15, "\(frequency) Hz: \(strength)")
        }
        for silent in [550.0, 1_500, 2_600] { #expect(mixed.strength(silent, from: 0.3, to: 1.3) < 0.02) }
        let peak = mixed.sound.map(abs).max() ?? 0
        #expect(peak < 1.0)
        #expect(folder.names == ["0.webm", "1.webm", "2.webm", "3.webm", output])
    }

    @Test func whoComesLaterAndLeavesChangesTheGrid() throws {
        let folder = try MixFolder()
        let one = try folder.write("one.mp4", MixFolder.clip(.red, seconds: 3, codec: .h264, frequency: 400))
        let two = try folder.write(
            "two.webm", MixFolder.clip(.blue, seconds: 1, frequency: 1_100), startedAt: MixFolder.start + 1_000)
        _ = try Mixer(folder.settings([two, one], to: "out.mp4")).run()
        let mixed = try Mixed(folder["out.mp4"])
        // Alone: the whole picture. Together: side by side, black above and below.
        let places = [(0.1, 0.5), (0.4, 0.5), (0.6, 0.5), (0.9, 0.5), (0.25, 0.1)]
        for time in [0.1, 0.8, 2.2, 2.9] {
            #expect(mixed.colours(time, places) == [.red, .red, .red, .red, .red], "at \(time) s")
        }
        for time in [1.2, 1.8] {
            #expect(mixed.colours(time, places) == [.red, .red, .blue, .blue, .black], "at \(time) s")
        }
        for (from, to, isHeard) in [(0.1, 0.9, false), (1.1, 1.9, true), (2.1, 2.9, false)] {
            #expect((mixed.strength(1_100, from: from, to: to) > 0.2) == isHeard, "from \(from) s")
            #expect(mixed.strength(400, from: from, to: to) > 0.3)
        }
    }

    @Test(arguments: ["out.mp4", "out.mkv", "out.webm"])
    func picturesAndSoundStayTogether(output: String) throws {
        let folder = try MixFolder()
        // White and a tone from 1 s on, in a file that begins 0.4 s behind another.
        let pictures = try TestClip.video(.vp8, count: 60, size: VideoSize(width: 160, height: 90), keyEvery: 30) {
            index, _, _ in index >= 30 ? Colour.white.yuv : Colour.black.yuv
        }
        // Opus gives out 6.5 ms later what it is given.
        let sound = try TestClip.audio(.opus, count: 100, from: .microseconds(-6_500)) { moment in
            moment >= 48_000 ? tone(1_000, 0.5)(moment) : 0
        }
        let mark = try folder.write("mark.webm", [pictures, sound], startedAt: MixFolder.start + 400)
        let other = try folder.write("other.webm", MixFolder.clip(.black, seconds: 2.5))
        _ = try Mixer(folder.settings([other, mark], to: output)).run()
        let mixed = try Mixed(folder[output])
        let seen = try #require(
            mixed.pictures.first { ($0.luma(x: 240, y: 90) ?? 0) > 150 }.map { Double($0.time.nanoseconds) / 1e9 })
        let heard = try #require(mixed.sound.firstIndex { abs($0) > 0.2 }.map { Double($0) / 48_000 })
        #expect(abs(seen - 1.4) <= 0.02, "seen at \(seen)")
        #expect(abs(heard - 1.4) <= 0.02, "heard at \(heard)")
        #expect(abs(seen - heard) <= 0.02, "\(seen) against \(heard)")
        // Players that only count samples hear it at the right time, too.
        let steps = zip(mixed.soundTimes.dropFirst(), mixed.soundTimes).map { $0 - $1 }
        #expect(mixed.soundTimes[0] < 0.002 && steps.allSatisfy { $0 > 0.019 && $0 < 0.023 })
    }

    @Test func soundIsAddedWithoutClipping() throws {
        let folder = try MixFolder()
        var inputs: [String] = []
        for index in 0..<4 {
            let clip = try TestClip.audio(.opus, count: 100, track: 0, wave: tone(Self.tones[index], 0.9))
            inputs.append(try folder.write("\(index).mkv", [clip]))
        }
        let result = try Mixer(folder.settings(inputs, to: "out.mkv")).run()
        #expect(result.pictures == 0 && result.sounds == 4)
        let mixed = try Mixed(folder["out.mkv"])
        #expect(mixed.pictures.isEmpty)
        for frequency in Self.tones { #expect(mixed.strength(frequency, from: 0.5, to: 1.5) > 0.15) }
        // Cut off they would have strong products of each other.
        for product in [100.0, 300, 1_000, 1_500, 2_300, 2_600] {
            #expect(mixed.strength(product, from: 0.5, to: 1.5) < 0.03, "\(product) Hz")
        }
        #expect((mixed.sound.map(abs).max() ?? 0) <= 1)
    }

    @Test(arguments: ["mp4", "mkv"])
    func turnedAndTallPicturesStandUprightInTheirCells(format: String) throws {
        let folder = try MixFolder()
        // Left half red, right half blue; turned clockwise red is above.
        let turned = try TestClip.video(
            .h264, count: 15, size: VideoSize(width: 160, height: 90), keyEvery: 15, rotation: .clockwise90
        ) { _, column, _ in column < 80 ? Colour.red.yuv : Colour.blue.yuv }
        let input = try folder.write("turned.\(format)", [turned])
        _ = try Mixer(folder.settings([input], to: "out.mp4")).run()
        let mixed = try Mixed(folder["out.mp4"])
        let colours = mixed.colours(0.2, [(0.5, 0.2), (0.5, 0.8), (0.1, 0.5), (0.9, 0.5)])
        #expect(colours == [.red, .blue, .black, .black])
    }

    @Test func namesAreWrittenOnRequest() throws {
        let folder = try MixFolder()
        let input = try folder.write(
            "Zoë 🎥 $(id).webm", MixFolder.clip(.red, seconds: 0.5, size: .init(width: 320, height: 180)))
        var settings = folder.settings([input], to: "plain.mp4")
        _ = try Mixer(settings).run()
        settings.output = folder["named.mp4"]
        settings.showsNames = true
        _ = try Mixer(settings).run()
        func whites(_ name: String) throws -> Int {
            let picture = try #require(try Mixed(folder[name]).picture(0.3))
            return (0..<10).reduce(0) { sum, y in sum + (0..<120).count { (picture.luma(x: $0, y: y) ?? 0) > 170 } }
        }
        #expect(try whites("plain.mp4") == 0)
        #expect(try whites("named.mp4") > 60)
    }

    // MARK: What is not done

    @Test func nothingIsOverwrittenAndFailuresLeaveNothing() throws {
        let folder = try MixFolder()
        let good = try folder.write("good.webm", MixFolder.clip(.red, seconds: 0.5))
        let there = folder["there.mp4"]
        try Data("precious".utf8).write(to: URL(fileURLWithPath: there))
        try Data((0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7_919) }).write(
            to: URL(fileURLWithPath: folder["noise.mp4"]))
        try Data().write(to: URL(fileURLWithPath: folder["empty.webm"]))
        try FileManager.default.createDirectory(atPath: folder["folder.mp4"], withIntermediateDirectories: true)
        try folder.write("unclocked.webm", MixFolder.clip(.blue, seconds: 0.5), startedAt: nil)
        let before = folder.names
        var cases: [(MixSettings, MixError.Kind, String)] = [
            (folder.settings([good], to: "there.mp4"), .cannotCreate, "there.mp4"),
            (folder.settings([good], to: "folder.mp4"), .cannotCreate, "folder.mp4"),
            (folder.settings([good], to: "no/such/folder.mp4"), .cannotCreate, "folder.mp4"),
            (folder.settings([good], to: "out.avi"), .usage, "out.avi"),
            (folder.settings([good], to: "out"), .usage, "out"),
            (folder.settings([folder["missing.webm"]], to: "out.mp4"), .noInput, "missing.webm"),
            (folder.settings([good, folder["noise.mp4"]], to: "out.mp4"), .badInput, "noise.mp4"),
            (folder.settings([folder["empty.webm"]], to: "out.mp4"), .badInput, "empty.webm"),
            (folder.settings([folder["folder.mp4"]], to: "out.mp4"), .badInput, "folder.mp4"),
            (folder.settings([good, folder["unclocked.webm"]], to: "out.mp4"), .badInput, "unclocked.webm"),
            (folder.settings([good, good], to: "out.mp4"), .usage, "good.webm"),
            (folder.settings([], to: "out.mp4"), .usage, "no input"),
        ]
        for (change, name) in [
            ({ (settings: inout MixSettings) in settings.width = 321 }, "321"), ({ $0.height = 0 }, "0"),
            ({ $0.framesPerSecond = 1_000 }, "1000"), ({ $0.offsets = ["other": 1] }, "other"),
        ] {
            var settings = folder.settings([good], to: "out.mp4")
            change(&settings)
            cases.append((settings, .usage, name))
        }
        var same = folder.settings([good], to: "good.webm")
        same.replaces = true
        cases.append((same, .usage, "good.webm"))
        for (settings, kind, name) in cases {
            let error = #expect(throws: MixError.self) { try Mixer(settings).run() }
            #expect(error?.kind == kind, "\(settings.inputs) to \(settings.output): \(error?.description ?? "")")
            #expect(error?.problem.contains(name) == true && error?.remedy.isEmpty == false, "\(name)")
            #expect(folder.names == before, "\(name)")
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: there)) == Data("precious".utf8))
        var replacing = folder.settings([good], to: "there.mp4")
        replacing.replaces = true
        _ = try Mixer(replacing).run()
        #expect(try Mixed(there).pictures.count == 15)
        #expect(folder.names == before)
    }

    @Test func aStoppedMixLeavesNothing() throws {
        let folder = try MixFolder()
        let input = try folder.write("in.webm", MixFolder.clip(.red, seconds: 2, frequency: 400))
        for phase in [MixProgress.Phase.reading, .mixing, .completing] {
            let mixer = Mixer(folder.settings([input], to: "out.mp4")) { progress in
                progress.phase != phase || (phase == .mixing && progress.share < 0.5)
            }
            let error = #expect(throws: MixError.self) { try mixer.run() }
            #expect(error?.kind == .cancelled, "\(phase)")
            #expect(error?.exitCode == 130)
            #expect(folder.names == ["in.webm"])
        }
    }

    @Test func progressRisesToTheEnd() throws {
        let folder = try MixFolder()
        let input = try folder.write("in.webm", MixFolder.clip(.red, seconds: 1, frequency: 400))
        var shares: [Double] = []
        _ = try Mixer(folder.settings([input], to: "out.mp4")) {
            shares.append($0.share)
            return true
        }.run()
        #expect(shares == shares.sorted() && shares.last == 1 && shares.count > 30)
    }

    @Test func filesCutOffAnywhereMixUpToThere() throws {
        let folder = try MixFolder()
        let whole = try folder.write("whole.mkv", MixFolder.clip(.green, seconds: 2, frequency: 400))
        let bytes = try Data(contentsOf: URL(fileURLWithPath: whole))
        for share in [0.95, 0.6] {
            let cut = folder["cut-\(share).mkv"]
            try bytes.prefix(Int(Double(bytes.count) * share)).write(to: URL(fileURLWithPath: cut))
            let result = try Mixer(folder.settings([cut], to: "out-\(share).mp4")).run()
            #expect(result.length > .milliseconds(200) && result.length < .milliseconds(2_100))
            #expect(try Mixed(folder["out-\(share).mp4"]).colours(0.1, [(0.5, 0.5)]) == [.green])
        }
    }

    @Test(arguments: ["mp4", "webm", "mkv", "ts"])
    func damagedInputsNeitherCrashNorHang(format: String) throws {
        let folder = try MixFolder()
        let codec: Codec = format == "webm" ? .vp8 : .h264
        let whole = try folder.write(
            "whole.\(format)", MixFolder.clip(.green, seconds: 1, codec: codec, frequency: 400))
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: whole)))
        var random = SeededRandom(seed: 7)
        var mixed = 0
        for round in 0..<16 {
            var damaged = bytes
            for _ in 0..<(1 << (round % 8)) {
                damaged[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            let input = folder["damaged.\(format)"]
            try Data(damaged).write(to: URL(fileURLWithPath: input))
            var settings = folder.settings([input], to: "out.mp4")
            (settings.width, settings.height, settings.framesPerSecond, settings.replaces) = (64, 64, 10, true)
            var told = 0
            // A clock that was damaged may make it long; nobody waits for that.
            let mixer = Mixer(settings) { _ in
                told += 1
                return told < 300
            }
            do {
                _ = try mixer.run()
                mixed += 1
            } catch {
                #expect([.badInput, .cancelled, .failedIO].contains(error.kind), "\(error)")
            }
        }
        #expect(mixed > 2)
        #expect(!folder.names.contains { $0.hasPrefix(".weir-mix") })
    }
}
