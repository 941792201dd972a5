import MediaFormats
import Playback
import RTP
import RTSP
import SourceProcess
import Testing
import Wire

/// When units of a live source are sent, and as what.
struct LivePlayoutTests {
    private static func unit(_ milliseconds: Int64, track: Int = 0, bytes: Int = 10) -> MediaUnit {
        let time = Interval.milliseconds(milliseconds)
        return MediaUnit(
            track: track, time: time, due: time, isVideo: track == 0,
            payloads: [[UInt8](repeating: 1, count: bytes), [2]])
    }

    private static func at(_ milliseconds: Int64) -> Instant { .zero + .milliseconds(milliseconds + 1_000_000) }

    private static func playout() -> LivePlayout { LivePlayout(clocks: [(90_000, 0), (48_000, 0)]) }

    @Test func whatComesInTimeIsSentAtOnce() {
        var playout = Self.playout()
        for index in 0..<100 as Range<Int64> {
            playout.add(Self.unit(index * 40))
            let sent = playout.next(now: Self.at(index * 40))
            #expect(sent?.timestamp == UInt32(index) * 3_600)
        }
    }

    /// Two seconds that come at once are sent within one, and nothing is late afterwards.
    @Test func aBurstLeavesAtTwiceItsPace() {
        var playout = Self.playout()
        for index in 0..<50 as Range<Int64> { playout.add(Self.unit(index * 40)) }
        var sent: [Int64] = []
        for now in stride(from: 0, to: 1_100, by: 5) as StrideTo<Int64> {
            while let (unit, _) = playout.next(now: Self.at(now)) { sent.append(now - unit.due.milliseconds / 2) }
        }
        #expect(sent.count == 50)
        #expect(sent.allSatisfy { (0...10).contains($0) }, "\(sent)")
        playout.add(Self.unit(2_000))
        #expect(playout.next(now: Self.at(2_000)) != nil)
    }

    @Test func theDeadlineIsThatOfTheNextUnit() {
        var playout = Self.playout()
        #expect(playout.nextDeadline == .distantFuture)
        playout.add(Self.unit(0))
        playout.add(Self.unit(100))
        _ = playout.next(now: Self.at(0))
        #expect(playout.next(now: Self.at(40)) == nil)
        #expect(playout.nextDeadline == Self.at(50))
        playout.complete()
        #expect(!playout.isOver(now: Self.at(40)))
        #expect(playout.next(now: Self.at(50)) != nil && playout.isOver(now: Self.at(50)))
    }

    @Test func whatWaitsIsBounded() {
        var playout = Self.playout()
        var count = 0
        while playout.wantsMore(now: Self.at(0)), count < 100_000 {
            playout.add(Self.unit(0, bytes: 100_000))
            count += 1
        }
        #expect(count < 100)
    }

    @Test func packetsAndReportsOfAUnit() throws {
        let tracks = [
            TrackDescription(codec: .vp8, payloadType: 96), TrackDescription(codec: .opus, payloadType: 97),
        ]
        var writer = PacketWriter(tracks, began: 1_700_000_000_000_000_000)
        var bytes: [UInt8] = []
        writer.append(Self.unit(40), timestamp: 3_600, into: &bytes)
        writer.append(Self.unit(40, track: 1), timestamp: 1_920, into: &bytes)
        writer.append(report: [7_200, 3_840], elapsed: .milliseconds(80), into: &bytes)
        var parser = RTSPParser()
        parser.append(bytes)
        var headers: [(UInt8, RTPHeader)] = []
        var reports: [SenderReport] = []
        let message = try parser.next { channel, packet in
            if channel % 2 == 1 {
                try? RTCP.parse(packet) { if case .senderReport(let report) = $0 { reports.append(report) } }
            } else if let header = try? RTPHeader(parsing: packet) {
                headers.append((channel, header))
            }
        }
        #expect(message == nil && parser.heldBytes == 0)
        #expect(headers.map(\.0) == [0, 0, 2, 2])
        #expect(headers.map(\.1.marker) == [false, true, false, false])
        #expect(headers.map(\.1.payloadType) == [96, 96, 97, 97])
        #expect(headers[1].1.sequence == headers[0].1.sequence &+ 1)
        #expect(headers.map(\.1.timestamp) == [3_600, 3_600, 1_920, 1_920])
        #expect(reports.map(\.ssrc) == [headers[0].1.ssrc, headers[2].1.ssrc])
        #expect(reports.map(\.rtpTimestamp) == [7_200, 3_840] && reports.map(\.packetCount) == [2, 2])
        #expect(reports.allSatisfy { $0.ntp.unixNanoseconds / 1_000_000 == 1_700_000_000_080 })
    }
}
