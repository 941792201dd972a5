// A process to be killed: `record-torture FOLDER h264|vp8` records for ever, as fast as it can, and after each frame says on
// its standard output how far the stream is, in milliseconds.
import Glibc
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Recording
import Wire

final class Nobody: RecordingObserver {
    func recordingStarted(_ identity: RecordingIdentity, name: String?) {}
    func recordingFileEnded(_ identity: RecordingIdentity, name: String) {}
    func recordingFileCompleted(_ file: RecordedFile) {}
    func recordingFailed(_ identity: RecordingIdentity, _ failure: RecordingFailure) { fatalError(failure.text) }
    func recordingRepaired(_ identity: RecordingIdentity, bytes: Int64, lost: Int64) {}
    func recordingNotFinalised(_ identity: RecordingIdentity, _ failure: RecordingFailure) {}
    func recordingProgress(_ name: String, _ share: Double) {}
}

func torture() throws {
    let folder = try RecordingFolder(path: CommandLine.arguments[1])
    let codec = Codec(rawValue: CommandLine.arguments[2]) ?? .h264
    var settings = RecordingSettings()
    settings.template = .streamName
    settings.freeSpaceFloor = 0
    // Finalising falls into the killed time as well.
    settings.rotationInterval = .seconds(20)
    let finaliser = RecordingFinaliser(folder: folder, observer: Nobody())
    let video = try TestClip.video(codec, count: 30)
    let audio = try TestClip.audio(.opus, count: 50)
    let frames = interleaved(video, audio)
    let recorder = Recorder(
        identity: .init(streamName: "torture", mediaSessionID: "t"), tracks: [video.description, audio.description],
        settings: settings, folder: folder, finaliser: finaliser)
    var second: Int64 = 0
    while true {
        for var frame in frames {
            frame.time = frame.time + .seconds(second)
            recorder.write(frame, now: .zero + frame.time)
            let line = Array("\(frame.time.milliseconds)\n".utf8)
            guard write(1, line, line.count) == line.count else { return }
        }
        second += 1
    }
}

try torture()
