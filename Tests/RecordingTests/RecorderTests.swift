import Foundation
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Recording
import Testing
import Wire

@Suite struct RecorderTests {
    @Test(arguments: [
        (Codec.h264, ContainerFormat.mp4), (.h265, .mp4), (.av1, .mp4), (.vp9, .webm), (.vp8, .webm),
    ])
    func everyFrameIsInTheFileOfTheCodecsContainer(_ codec: Codec, _ format: ContainerFormat) throws {
        let studio = try Studio()
        let video = try TestClip.video(codec, count: 60)
        let audio = try TestClip.audio(.opus, count: 100)
        let recorder = studio.recorder([video.description, audio.description])
        #expect(recorder.state == .waiting)
        recorder.feed(interleaved(video, audio))
        #expect(recorder.state == .recording)
        #expect(recorder.stop(now: .zero) == "s1.\(format)")
        #expect(recorder.state == .stopped)
        let recordings = try studio.recordings()
        try #require(recordings.count == 1)
        let (file, tracks, frames) = recordings[0]
        #expect(file.name == "s1.\(format)" && file.format == format && file.isIndexed && !file.wasRepaired)
        #expect(tracks.map(\.codec) == [codec, .opus])
        #expect(frames.map(\.count) == [60, 100])
        #expect(abs(file.duration.seconds - 2) < 0.05)
        #expect(studio.events.all.started == ["s1.\(format)"])
        #expect(studio.events.all.ended == ["s1.\(format)"])
        #expect(studio.names.filter { !$0.hasPrefix("unfinished") } == ["s1.\(format)"])
        #expect(studio.names.filter { $0.hasPrefix("unfinished/") } == ["unfinished/.lock"])
    }

    @Test func soundAloneGoesToMP4() throws {
        let studio = try Studio()
        let audio = try TestClip.audio(.opus, count: 120, track: 0)
        let recorder = studio.recorder([audio.description])
        recorder.feed(audio.frames)
        #expect(recorder.stop(now: .zero) == "s1.mp4")
        let recordings = try studio.recordings()
        #expect(recordings.first?.frames.map(\.count) == [120])
    }

    @Test(arguments: [Codec.opus, .pcmu])
    func soundBecomesAACWhereItMust(_ codec: Codec) throws {
        let studio = try Studio()
        var settings = Studio.settings
        settings.convertsToAAC = codec == .opus
        let video = try TestClip.video(.h264, count: 60)
        let audio = try TestClip.audio(codec, count: 100)
        let recorder = studio.recorder([video.description, audio.description], settings: settings)
        recorder.feed(interleaved(video, audio))
        recorder.stop(now: .zero)
        let recording = try #require(try studio.recordings().first)
        #expect(recording.tracks.map(\.codec) == [.h264, .aac])
        #expect(recording.frames[0].count == 60)
        let last = try #require(recording.frames[1].last)
        #expect(abs(last.time.seconds - 2) < 0.1)
        // Encoders want samples beforehand: the picture begins later than the sound by them, and stays in step.
        let first = try #require(recording.frames[0].first)
        #expect(first.time >= .zero && first.time < .milliseconds(60))
    }

    @Test func soundFromBeforeTheFirstKeyFrameIsKeptAndPicturesBeforeItAreNot() throws {
        let studio = try Studio()
        var video = try TestClip.video(.h264, count: 60)
        video.frames[15].parameterSets = video.frames[0].parameterSets
        video.frames.removeFirst(5)
        let audio = try TestClip.audio(.opus, count: 100)
        let recorder = studio.recorder([video.description, audio.description])
        recorder.feed(interleaved(video, audio))
        recorder.stop(now: .zero)
        #expect(recorder.state == .stopped)
        #expect(studio.events.all.notFinalised.isEmpty)
        let recording = try #require(try studio.recordings().first)
        #expect(recording.frames.map(\.count) == [45, 100])
        #expect(abs(recording.frames[0][0].time.seconds - 0.5) < 0.01)
    }

    @Test func aPictureThatComesLateBeginsANewFile() throws {
        let studio = try Studio()
        let video = try TestClip.video(.h264, count: 60, first: 240)
        let audio = try TestClip.audio(.opus, count: 500)
        let recorder = studio.recorder([video.description, audio.description])
        recorder.feed(interleaved(video, audio))
        #expect(recorder.stop(now: .zero) == "s1.mp4")
        let recordings = try studio.recordings()
        #expect(recordings.map(\.file.name) == ["s1_1.mp4", "s1.mp4"])
        #expect(recordings.map { $0.tracks.map(\.codec) } == [[.opus], [.h264, .opus]])
        #expect(recordings[1].frames[0].count == 60)
        #expect(recordings.map { $0.frames.last?.count ?? 0 }.reduce(0, +) == 500)
    }

    @Test(arguments: [true, false])
    func rotationLosesNoFrameAndRepeatsNone(_ byTime: Bool) throws {
        let studio = try Studio()
        var settings = Studio.settings
        if byTime { settings.rotationInterval = .seconds(1) } else { settings.rotationBytes = 20_000 }
        let video = try TestClip.video(.h264, count: 150)
        var audio = try TestClip.audio(.opus, count: 250)
        // Sound that lags behind the pictures in coming, not in time.
        let lag = Interval.milliseconds(70)
        for index in audio.frames.indices { audio.frames[index].time = audio.frames[index].time + lag }
        var order = interleaved(video, audio)
        for index in order.indices where order[index].track == 1 { order[index].time = order[index].time - lag }
        let recorder = studio.recorder([video.description, audio.description], settings: settings)
        recorder.feed(order)
        recorder.stop(now: .zero)
        let recordings = try studio.recordings()
        #expect(recordings.count >= 3)
        #expect(recordings.map(\.file.name) == (1..<recordings.count).map { "s1_\($0).mp4" } + ["s1.mp4"])
        let pictures = recordings.flatMap { essence(.h264, $0.frames[0]) }
        let same = pictures == essence(.h264, video.frames)
        #expect(same)
        let sound = recordings.flatMap { $0.frames[1].map(\.data) }
        let sameSound = sound == audio.frames.map(\.data)
        #expect(sameSound)
        #expect(recordings.allSatisfy { $0.frames[0].first?.isKeyFrame == true })
        // Each file's sound is in step with its pictures, and its clock begins with it.
        for recording in recordings.dropFirst() {
            if byTime { #expect(recording.file.duration < .seconds(2)) }
            let first = try #require(recording.frames[1].first)
            #expect(first.time < .milliseconds(25))
        }
    }

    @Test func aNewFileThatIsDueAsksForAKeyFrame() throws {
        let studio = try Studio()
        var settings = Studio.settings
        settings.rotationInterval = .seconds(1)
        let video = try TestClip.video(.h264, count: 60, keyEvery: 60)
        let recorder = studio.recorder([video.description], settings: settings)
        recorder.feed(Array(video.frames.prefix(30)))
        #expect(!recorder.wantsKeyFrame)
        recorder.feed(Array(video.frames.suffix(30)))
        #expect(recorder.wantsKeyFrame)
        recorder.stop(now: .zero)
        #expect(try studio.recordings().map { $0.frames[0].count } == [60])
    }

    @Test func aTurnedPictureBeginsANewFile() throws {
        let studio = try Studio()
        let upright = try TestClip.video(.h264, count: 30)
        let turned = try TestClip.video(.h264, count: 30, first: 30, rotation: .clockwise90)
        let recorder = studio.recorder([upright.description])
        recorder.feed(upright.frames + turned.frames)
        recorder.stop(now: .zero)
        let recordings = try studio.recordings()
        #expect(recordings.map { $0.frames[0].count } == [30, 30])
        #expect(recordings.map { $0.frames[0][0].rotation } == [.none, .clockwise90])
    }

    @Test func takenNamesAreNumbered() throws {
        let studio = try Studio()
        let clip = try TestClip.audio(.opus, count: 10, track: 0)
        let recorders = (0..<3).map { _ in studio.recorder([clip.description]) }
        for recorder in recorders { recorder.feed(clip.frames) }
        #expect(recorders.map { $0.stop(now: .zero) } == ["s1.mp4", "s1-2.mp4", "s1-3.mp4"])
        studio.finaliser.waitUntilIdle()
        let next = studio.recorder([clip.description])
        next.feed(clip.frames)
        #expect(next.stop(now: .zero) == "s1-4.mp4")
        #expect(try studio.recordings().count == 4)
    }

    @Test(arguments: [1, 2, 3, 7, 8, 9, 1_000])
    func aNameThatWasTakenOftenGetsTheNextNumber(_ count: Int) throws {
        let studio = try Studio()
        for number in 1...count {
            let name = number == 1 ? "cam.mp4" : "cam-\(number).mp4"
            #expect(FileManager.default.createFile(atPath: studio.folder.path + "/" + name, contents: nil))
        }
        #expect(studio.folder.reserve(base: "cam", part: "", fileExtension: "mp4") == "cam-\(count + 1).mp4")
        // Reserved is as good as taken.
        #expect(studio.folder.reserve(base: "cam", part: "", fileExtension: "mp4") == "cam-\(count + 2).mp4")
    }

    @Test(arguments: ["../../etc/x", String(repeating: "n", count: 300), "😀😀", "$(id)", "a\u{0}b", ".", "/"])
    func hostileNamesStayInTheFolder(_ name: String) throws {
        let studio = try Studio()
        let clip = try TestClip.audio(.opus, count: 10, track: 0)
        for _ in 0..<2 {
            let recorder = studio.recorder([clip.description], identity: .init(streamName: name, mediaSessionID: "m"))
            recorder.feed(clip.frames)
            recorder.stop(now: .zero)
        }
        let recordings = try studio.recordings()
        #expect(recordings.count == 2)
        for recording in recordings {
            #expect(recording.file.name.utf8.count <= 255 && !recording.file.name.contains("/"))
            #expect(studio.folder.entry(recording.file.name) != nil)
        }
        #expect(Set(recordings.map(\.file.name)).count == 2)
    }

    @Test func aCodecWithoutContainerEndsTheRecordingWithAReason() throws {
        let studio = try Studio()
        var settings = Studio.settings
        settings.formats = [.h264: .mp4]
        let clip = try TestClip.video(.vp8, count: 5)
        let recorder = studio.recorder([clip.description], settings: settings)
        recorder.feed(clip.frames)
        #expect(recorder.state == .failed(.unsupported(codec: "VP8")))
        #expect(studio.events.all.failed == [.unsupported(codec: "VP8")])
        #expect(recorder.stop(now: .zero) == nil)
    }

    @Test func nothingRecordedLeavesNothing() throws {
        let studio = try Studio()
        let clip = try TestClip.video(.h264, count: 5)
        let recorder = studio.recorder([clip.description])
        #expect(recorder.stop(now: .zero) == nil)
        #expect(studio.names.filter { !$0.hasPrefix("unfinished") }.isEmpty)
        #expect(studio.events.all.completed.isEmpty)
    }

    @Test func anIdleFragmentReachesTheFileByTime() throws {
        let studio = try Studio()
        let clip = try TestClip.video(.vp8, count: 10)
        let recorder = studio.recorder([clip.description])
        recorder.feed(clip.frames)
        let path = try #require(studio.names.first { $0.hasSuffix(".part") })
        let part = studio.path + "/" + path
        #expect(try TornFile.inspect(path: part, format: .webm).fragments == 0)
        recorder.advance(now: .zero + .seconds(2))
        #expect(try TornFile.inspect(path: part, format: .webm).fragments == 1)
        recorder.stop(now: .zero)
    }
}
