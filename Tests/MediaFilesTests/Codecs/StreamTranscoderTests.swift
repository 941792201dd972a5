import Dispatch
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Synchronization
import Testing
import Wire

/// What comes out of a worker, from whatever thread.
private final class Collected: Sendable {
    private let frames = Mutex<[MediaFrame]>([])
    private let errors = Mutex<[Int]>([])
    func add(_ frame: MediaFrame) { frames.withLock { $0.append(frame) } }
    func fail(_ track: Int) { errors.withLock { $0.append(track) } }
    var all: [MediaFrame] { frames.withLock { $0 } }
    var failed: [Int] { errors.withLock { $0 } }
}

private func frame(_ track: Int, _ number: Int, isKey: Bool = false) -> MediaFrame {
    MediaFrame(track: track, data: [UInt8(number)], time: .milliseconds(Int64(number)), isKeyFrame: isKey)
}

@Suite struct FrameWorkerTests {
    private let tracks = [TrackDescription(codec: .vp8), TrackDescription(codec: .opus)]

    @Test func workIsDoneInOrderAndWhatDoesNotFitIsDroppedUpToAKeyFrame() async {
        let collected = Collected()
        let gate = DispatchSemaphore(value: 0)
        let began = DispatchSemaphore(value: 0)
        let worker = FrameWorker(label: "test", tracks: tracks, maxFrames: 3) { frame in
            began.signal()
            gate.wait()
            collected.add(frame)
        }
        // One is being worked on, three wait.
        #expect(worker.add(frame(0, 0, isKey: true)))
        await withCheckedContinuation { done in
            DispatchQueue.global().async {
                began.wait()
                done.resume()
            }
        }
        for number in 1...3 { #expect(worker.add(frame(0, number))) }
        #expect(!worker.add(frame(0, 4)))
        #expect(!worker.add(frame(1, 5)))
        #expect(worker.wantsKeyFrame)
        // Two are done, so there is room: for sound at once, for video from a key frame on.
        for _ in 0..<3 { gate.signal() }
        await withCheckedContinuation { done in
            DispatchQueue.global().async {
                for _ in 0..<3 { began.wait() }
                done.resume()
            }
        }
        #expect(!worker.add(frame(0, 6)))
        #expect(worker.add(frame(1, 7)))
        #expect(worker.add(frame(0, 8, isKey: true)))
        #expect(!worker.wantsKeyFrame && worker.dropped == 3)
        for _ in 0..<3 { gate.signal() }
        await withCheckedContinuation { done in worker.finish { done.resume() } }
        #expect(collected.all.map { $0.data[0] } == [0, 1, 2, 3, 7, 8])
        #expect(collected.all.map(\.flags) == [[], [], [], [], .afterLoss, .afterLoss])
        #expect(!worker.add(frame(1, 9)))
    }

    @Test func whatIsAbandonedIsNotDone() async {
        let collected = Collected()
        let gate = DispatchSemaphore(value: 0)
        let began = DispatchSemaphore(value: 0)
        let worker = FrameWorker(label: "test", tracks: tracks) { frame in
            began.signal()
            gate.wait()
            collected.add(frame)
        }
        for number in 0..<5 { worker.add(frame(1, number)) }
        await withCheckedContinuation { done in
            DispatchQueue.global().async {
                began.wait()
                done.resume()
            }
        }
        await withCheckedContinuation { done in
            worker.abandon { done.resume() }
            gate.signal()
        }
        #expect(collected.all.count == 1)
    }
}

@Suite struct StreamTranscoderTests {
    @Test func someTracksAreTranscodedAndOthersPass() async throws {
        let video = try TestClip.video(.vp8, count: 20)
        let sound = try TestClip.audio(.opus, count: 40)
        let untouched = try TestClip.audio(.pcmu, count: 40, track: 2)
        let collected = Collected()
        let transcoder = try StreamTranscoder(
            tracks: [video.description, sound.description, untouched.description], to: [0: .h264, 1: .aac],
            failed: { track, _ in collected.fail(track) }, output: { collected.add($0) })
        #expect(transcoder.tracks.map(\.codec) == [.h264, .aac, .pcmu])
        // No more than the queue takes, since whatever it drops is another test's.
        for frame in interleaved(video, sound, untouched) { #expect(transcoder.add(frame)) }
        await withCheckedContinuation { done in transcoder.finish { done.resume() } }
        let out = collected.all
        #expect(collected.failed.isEmpty)
        #expect(out.count { $0.track == 0 } == 20)
        #expect(out.filter { $0.track == 2 } == untouched.frames)
        let end = out.filter { $0.track == 1 }.map { $0.time + $0.duration! }.max()
        #expect(abs((end! - .milliseconds(800)).milliseconds) < 25)
    }
}
