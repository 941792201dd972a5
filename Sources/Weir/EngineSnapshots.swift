import ControlPlane
import Dispatch
import MediaFiles
import MediaFormats
import MediaTaps

/// Pictures of live streams: the stream's next key frame, taken from the frame reader and decoded on a queue of its own.
/// The control plane bounds how many are made at once.
package struct EngineSnapshots: SnapshotMaker {
    /// One key frame with some packets before it; a snapshot needs no more.
    private static let sinkBytes = 2 << 20

    private let reader: FrameReader
    private let queue = DispatchQueue(label: "weir.snapshots", qos: .utility, attributes: .concurrent)

    package init(reader: FrameReader) { self.reader = reader }

    package func snapshot(of publisher: PeerID, stream: String) async throws(SnapshotError) -> [UInt8] {
        let (keyFrames, continuation) = AsyncStream.makeStream(
            of: MediaFrame.self, bufferingPolicy: .bufferingNewest(1))
        let tap = reader.tap(publisher: publisher.rawValue, capacity: Self.sinkBytes) { tap in
            KeyFrames(of: tap.tracks, to: continuation)
        }
        guard let tap else { throw .noStream }
        defer { tap.cancel() }
        guard let track = tap.tracks.first(where: \.isVideo) else { throw .noVideo }
        // Ends when the publisher does, and when nobody waits for the picture any more.
        for await frame in keyFrames {
            if let png = try await render(frame, of: track) { return png }
            // A damaged one: perhaps the next is whole.
            tap.requestKeyFrame()
        }
        throw .noStream
    }

    /// - Returns: nil if the frame could not be decoded.
    private func render(_ frame: MediaFrame, of track: TrackDescription) async throws(SnapshotError) -> [UInt8]? {
        let result = await withCheckedContinuation { continuation in
            queue.async {
                continuation.resume(
                    returning: Result { () throws(CodecError) in try SnapshotRenderer(track: track).handle(frame) })
            }
        }
        do throws(CodecError) {
            return try result.get()
        } catch {
            throw .failed("\(error)")
        }
    }
}

/// Hands on the key frames of the first video track.
private final class KeyFrames: FrameConsumer {
    private let track: Int?
    private let continuation: AsyncStream<MediaFrame>.Continuation

    init(of tracks: [TrackDescription], to continuation: AsyncStream<MediaFrame>.Continuation) {
        track = tracks.firstIndex(where: \.isVideo)
        self.continuation = continuation
    }

    func handle(_ frame: MediaFrame) {
        if frame.track == track, frame.isKeyFrame { continuation.yield(frame) }
    }

    func ended() { continuation.finish() }
}
