import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Recording
import Testing
import Wire

/// Streams as packets, with what networks do to them.
@Suite struct LiveRecordingTests {
    private struct Sent {
        var packet: MediaPacket
        var payload: [UInt8]
    }

    /// Packets of clips in the order of sending; each arrives when its frame is due.
    private func packets(_ clips: [TestClip], timestampBase: UInt32 = 0) -> [Sent] {
        var sent: [Sent] = []
        for (track, clip) in clips.enumerated() {
            var packetiser = Packetiser(codec: clip.description.codec, limit: 300)
            var number: Int64 = 0
            for frame in clip.frames {
                let ticks = frame.time.nanoseconds * Int64(clip.description.clockRate) / 1_000_000_000
                let payloads = packetiser.payloads(of: frame.data, isKeyFrame: frame.isKeyFrame)
                for (index, payload) in payloads.enumerated() {
                    sent.append(
                        Sent(
                            packet: MediaPacket(
                                track: track, number: number,
                                timestamp: timestampBase &+ UInt32(truncatingIfNeeded: ticks),
                                marker: index == payloads.count - 1, arrival: .zero + .seconds(1) + frame.time),
                            payload: payload))
                    number += 1
                }
            }
        }
        return sent.sorted { ($0.packet.arrival, $0.packet.track) < ($1.packet.arrival, $1.packet.track) }
    }

    private func record(_ sent: [Sent], _ clips: [TestClip], studio: Studio) -> (LiveRecording, requests: Int) {
        var requests = 0
        let tracks = clips.map(\.description)
        let live = LiveRecording(recorder: studio.recorder(tracks), tracks: tracks) { requests += 1 }
        for item in sent {
            live.advance(now: item.packet.arrival)
            live.handle(item.packet, payload: item.payload.span.bytes)
        }
        live.stop(now: .zero)
        return (live, requests)
    }

    @Test(arguments: [Codec.vp8, .vp9, .h264, .av1])
    func packetsBecomeAFileWithEveryFrame(_ codec: Codec) throws {
        let studio = try Studio()
        let clips = [try TestClip.video(codec, count: 90), try TestClip.audio(.opus, count: 150)]
        // Past the wrap of the timestamps.
        _ = record(packets(clips, timestampBase: .max - 90_000), clips, studio: studio)
        let recording = try #require(try studio.recordings().first)
        #expect(recording.frames.map(\.count) == [90, 150])
        let same = essence(codec, recording.frames[0]) == essence(codec, clips[0].frames)
        #expect(same)
        let error = zip(recording.frames[0], clips[0].frames).map { abs(($0.time - $1.time).nanoseconds) }.max()
        #expect(try #require(error) < 3_000_000)
    }

    @Test func whatIsRetransmittedIsNotMissing() throws {
        let studio = try Studio()
        let clips = [try TestClip.video(.h264, count: 90), try TestClip.audio(.opus, count: 150)]
        var random = SeededRandom(seed: 11)
        var sent = packets(clips)
        for index in sent.indices where random.next() % 20 == 0 {
            sent[index].packet.arrival = sent[index].packet.arrival + .milliseconds(120)
        }
        sent.sort { ($0.packet.arrival, $0.packet.track) < ($1.packet.arrival, $1.packet.track) }
        let (live, _) = record(sent, clips, studio: studio)
        let recording = try #require(try studio.recordings().first)
        #expect(recording.frames.map(\.count) == [90, 150])
        let same = essence(.h264, recording.frames[0]) == essence(.h264, clips[0].frames)
        #expect(same)
        #expect(live.counts(track: 0).lost == 0)
    }

    @Test func whatIsLostIsCountedAndTheFilePlays() throws {
        let studio = try Studio()
        let clips = [try TestClip.video(.vp8, count: 150), try TestClip.audio(.opus, count: 250)]
        var random = SeededRandom(seed: 3)
        let all = packets(clips)
        let sent = all.filter { _ in random.next() % 20 != 0 }
        let (live, requests) = record(sent, clips, studio: studio)
        let recording = try #require(try studio.recordings().first)
        let counts = live.counts(track: 0)
        #expect(counts.lost > 0)
        #expect(requests > 0)
        #expect(recording.frames[0].count == Int(counts.frames) && recording.frames[0].count > 20)
        #expect(recording.frames[1].count > 200 && recording.frames[1].count < 250)
        // What follows a gap is not moved by it.
        let last = try #require(recording.frames[1].last)
        #expect(abs(last.time.seconds - 5) < 0.1)
    }

    @Test func aFullQueueIsAGap() throws {
        let studio = try Studio()
        let clips = [try TestClip.video(.vp8, count: 90)]
        let sent = packets(clips)
        let tracks = clips.map(\.description)
        var requests = 0
        let live = LiveRecording(recorder: studio.recorder(tracks), tracks: tracks) { requests += 1 }
        for item in sent where !(1_500...2_200).contains(item.packet.arrival.nanoseconds / 1_000_000) {
            if item.packet.arrival >= .zero + .milliseconds(2_200) { live.handleGap(now: item.packet.arrival) }
            live.handle(item.packet, payload: item.payload.span.bytes)
        }
        live.stop(now: .zero)
        let recording = try #require(try studio.recordings().first)
        let times = recording.frames[0].map(\.time.milliseconds)
        #expect(recording.frames[0].count < 90 && recording.frames[0].count > 40)
        #expect(zip(times, times.dropFirst()).contains { $1 - $0 > 500 })
        #expect(requests > 0)
    }
}
