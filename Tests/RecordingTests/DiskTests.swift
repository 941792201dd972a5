import Foundation
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Recording
import Synchronization
import Testing
import Wire

/// A file system in memory of so many bytes; nil where mounting is not allowed.
private final class SmallDisk {
    let path: String

    init?(bytes: Int) {
        path = NSTemporaryDirectory() + "weir-disk-" + UUID().uuidString
        guard geteuid() == 0, mkdir(path, 0o755) == 0 else { return nil }
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(bytes)") == 0 else {
            rmdir(path)
            return nil
        }
    }

    func makeReadOnly() -> Bool { mount("tmpfs", path, "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), nil) == 0 }

    deinit {
        umount2(path, Int32(MNT_DETACH))
        rmdir(path)
    }
}

@Suite struct DiskTests {
    @Test func aFullDiskEndsTheRecordingAndWhatWasWrittenPlays() throws {
        guard let disk = SmallDisk(bytes: 400 << 10) else { return }
        let studio = try Studio(path: disk.path + "/records")
        let video = try TestClip.video(.h264, count: 400, size: VideoSize(width: 320, height: 240), keyEvery: 2)
        let audio = try TestClip.audio(.opus, count: 660)
        let recorder = studio.recorder([video.description, audio.description])
        recorder.feed(interleaved(video, audio))
        #expect(recorder.state == .failed(.diskFull))
        #expect(recorder.stop(now: .zero) == "s1.mp4")
        #expect(studio.events.all.failed == [.diskFull])
        let recording = try #require(try studio.recordings().first)
        // No room for a copy: as it was written.
        #expect(!recording.file.isIndexed && recording.file.name == "s1.mp4")
        let count = recording.frames[0].count
        #expect(count > 30 && count < 400)
        let same = essence(.h264, recording.frames[0]) == Array(essence(.h264, video.frames).prefix(count))
        #expect(same)
    }

    @Test func aDiskThatFillsWhileTheIndexIsMadeLeavesTheFileAsItWasWritten() throws {
        guard let disk = SmallDisk(bytes: 8 << 20) else { return }
        let filler = disk.path + "/filler"
        let studio = try Studio(
            path: disk.path + "/records",
            events: Events { _ in
                // Somebody else takes all the room that there was.
                guard !FileManager.default.fileExists(atPath: filler), let file = fopen(filler, "w") else { return }
                let block = [UInt8](repeating: 1, count: 4_096)
                while fwrite(block, 1, block.count, file) == block.count {}
                fclose(file)
            })
        let video = try TestClip.video(.h264, count: 200, size: VideoSize(width: 320, height: 240), keyEvery: 2)
        let recorder = studio.recorder([video.description])
        recorder.feed(video.frames)
        #expect(recorder.stop(now: .zero) == "s1.mp4")
        let recording = try #require(try studio.recordings().first)
        #expect(!recording.file.isIndexed && recording.frames[0].count == 200)
        #expect(studio.names.filter { $0.hasPrefix("unfinished/") } == ["unfinished/.lock"])
    }

    @Test func aReadOnlyDiskIsSaidToBeOne() throws {
        guard let disk = SmallDisk(bytes: 1 << 20) else { return }
        let studio = try Studio(path: disk.path + "/records")
        let clip = try TestClip.audio(.opus, count: 20, track: 0)
        guard disk.makeReadOnly() else { return }
        let recorder = studio.recorder([clip.description])
        recorder.feed(clip.frames)
        #expect(recorder.state == .failed(.readOnly))
        #expect(throws: ContainerError.self) { try RecordingFolder(path: disk.path + "/other") }
    }

    @Test func aFolderThatIsGoneEndsTheRecording() throws {
        let studio = try Studio()
        var settings = Studio.settings
        settings.rotationInterval = .seconds(1)
        let clip = try TestClip.video(.h264, count: 90)
        let recorder = studio.recorder([clip.description], settings: settings)
        recorder.feed(Array(clip.frames.prefix(10)))
        try FileManager.default.removeItem(atPath: studio.path)
        recorder.feed(Array(clip.frames.dropFirst(10)))
        #expect(recorder.state == .failed(.folderGone))
        studio.finaliser.waitUntilIdle()
        #expect(studio.events.all.notFinalised.contains(.folderGone))
    }

    @Test func theFloorOfFreeSpaceIsKept() throws {
        let studio = try Studio()
        var settings = Studio.settings
        settings.freeSpaceFloor = .max
        let clip = try TestClip.video(.h264, count: 30)
        let recorder = studio.recorder([clip.description], settings: settings)
        recorder.feed(clip.frames)
        guard case .failed(.freeSpaceFloor) = recorder.state else {
            Issue.record("\(recorder.state)")
            return
        }
        #expect(try studio.recordings().first?.frames[0].isEmpty == false)
    }

    @Test func oldFilesAreDeletedByAgeAndByTotalSize() throws {
        let studio = try Studio()
        func make(_ name: String, bytes: Int, age: Double) throws {
            let path = studio.path + "/" + name
            try Data(count: bytes).write(to: URL(fileURLWithPath: path))
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSince1970: 1_000_000 - age)], ofItemAtPath: path)
        }
        try make("a.mp4", bytes: 100, age: 500)
        try make("b.webm", bytes: 100, age: 300)
        try make("c.mp4", bytes: 100, age: 200)
        try make("d.ts", bytes: 100, age: 100)
        try make("notes.txt", bytes: 1_000, age: 900)
        try make(".hidden.mp4", bytes: 1_000, age: 900)
        let now: WallMillis = 1_000_000_000
        #expect(RecordingRetention().sweep(studio.folder, now: now).isEmpty)
        #expect(RecordingRetention(maxAge: 400_000).sweep(studio.folder, now: now) == ["a.mp4"])
        #expect(RecordingRetention(maxBytes: 250).sweep(studio.folder, now: now) == ["b.webm"])
        #expect(studio.names.filter { !$0.hasPrefix("unfinished") } == [".hidden.mp4", "c.mp4", "d.ts", "notes.txt"])
    }

    @Test func onlyRecordingsOfTheFolderCanBeNamed() throws {
        let studio = try Studio()
        try Data(count: 10).write(to: URL(fileURLWithPath: studio.path + "/a.mp4"))
        symlink("/etc/passwd", studio.path + "/link.mp4")
        mkdir(studio.path + "/dir.mp4", 0o755)
        #expect(studio.folder.entry("a.mp4")?.bytes == 10)
        for name in ["link.mp4", "dir.mp4", "../a.mp4", "unfinished/.lock", ".mp4", "a.txt", "", "a.mp4\u{0}"] {
            #expect(studio.folder.entry(name) == nil, "\(name)")
            #expect(!studio.folder.delete(name))
        }
        #expect(studio.folder.delete("a.mp4"))
        #expect(studio.folder.entry("a.mp4") == nil)
    }
}

@Suite struct HookTests {
    private final class Reports: Sendable {
        let all = Mutex<[(RecordingHook.Outcome, String)]>([])
    }

    private func file(_ stream: String) -> RecordedFile {
        RecordedFile(
            identity: .init(streamName: stream, mediaSessionID: "m"), name: "x.mp4", path: "/records/x.mp4",
            format: .mp4, duration: .zero, bytes: 0, startedAt: 0, part: 1, wasRepaired: false, isIndexed: true)
    }

    private func run(_ script: String, stream: String = "s", change: (inout RecordingHook.Settings) -> Void = { _ in })
        throws -> (RecordingHook.Outcome, String)
    {
        let path = NSTemporaryDirectory() + "weir-hook-" + UUID().uuidString
        defer { unlink(path) }
        try ("#!/bin/sh\n" + script + "\n").write(toFile: path, atomically: false, encoding: .utf8)
        chmod(path, 0o755)
        var settings = RecordingHook.Settings(program: path)
        change(&settings)
        let reports = Reports()
        let hook = RecordingHook(settings: settings) { _, outcome, text in
            reports.all.withLock { $0.append((outcome, text)) }
        }
        hook.run(for: file(stream))
        hook.waitUntilIdle()
        hook.stop()
        return try #require(reports.all.withLock { $0.first })
    }

    @Test func theHookGetsNameAndPathAsTheyAre() throws {
        let (outcome, output) = try run("printf '%s|%s|%s' \"$1\" \"$2\" \"$#\"; exit 3", stream: "$(id); `id` \"'")
        #expect(outcome == .exited(3))
        #expect(output == "$(id); `id` \"'|/records/x.mp4|2")
    }

    @Test func aHookThatDoesNotEndIsKilledWithItsChildren() throws {
        let (outcome, output) = try run("echo begun; sleep 1000 & wait") { $0.timeout = .milliseconds(300) }
        #expect(outcome == .timedOut)
        #expect(output == "begun\n")
    }

    @Test func outputIsCutToItsEnd() throws {
        let (outcome, output) = try run("seq 1 20000; echo last") { $0.outputBytes = 100 }
        #expect(outcome == .exited(0))
        #expect(output.utf8.count <= 110 && output.hasSuffix("last\n"))
    }

    @Test func aMissingProgramIsTold() {
        let reports = Reports()
        let hook = RecordingHook(settings: .init(program: "/nonexistent/hook")) { _, outcome, text in
            reports.all.withLock { $0.append((outcome, text)) }
        }
        hook.run(for: file("s"))
        hook.waitUntilIdle()
        hook.stop()
        #expect(reports.all.withLock { $0.map(\.0) } == [.notStarted(errno: ENOENT)])
    }

    @Test func theHookRunsAfterEachCompletedFile() throws {
        let reports = Reports()
        let hook = RecordingHook(settings: .init(program: "/bin/ls")) { file, outcome, text in
            reports.all.withLock { $0.append((outcome, file.name)) }
        }
        let studio = try Studio(hook: hook)
        let clip = try TestClip.audio(.opus, count: 10, track: 0)
        let recorder = studio.recorder([clip.description])
        recorder.feed(clip.frames)
        recorder.stop(now: .zero)
        studio.finaliser.waitUntilIdle()
        hook.waitUntilIdle()
        hook.stop()
        #expect(reports.all.withLock { $0.map(\.1) } == ["s1.mp4"])
    }
}
