import ControlPlane
import MediaFormats
import RTP
import Testing
import Weir
import Wire

@Suite struct RTSPSoundTests {
    @Test(
        arguments: [
            (nil, RTSPSound.published), ("token=x", .published), ("audio=aac", .aac), ("token=x&audio=AAC", .aac),
            ("audio=%61ac", .aac), ("audio=opus", nil), ("audio=", nil), ("audio", nil),
        ] as [(String?, RTSPSound?)])
    func wishesAreRead(query: String?, wish: RTSPSound?) {
        #expect(RTSPSound(query: query) == wish)
    }

    @Test func refusalsNameTheKey() {
        #expect(RTSPSound.refusal(.transcodingDisabled).code == 415)
        #expect(RTSPSound.refusal(.noTranscoders).code == 503)
        for error in [MediaError.transcodingDisabled, .noTranscoders] {
            #expect(RTSPSound.refusal(error).reason.contains("rtsp.sound_transcodings"))
        }
        #expect(RTSPSound.refusal(.streamNotFound).code == 404)
    }

    @Test func onlySoundThatIsNotAACIsMadeAAC() {
        let video = TrackDescription(codec: .vp8)
        let opus = TrackDescription(codec: .opus)
        let aac = TrackDescription(codec: .aac, clockRate: 44_100, channels: 2)
        #expect(VariantPlan(inAAC: [video, opus]).codecs == [1: .aac])
        #expect(VariantPlan(inAAC: [TrackDescription(codec: .pcma)]).makesSound)
        #expect(!VariantPlan(inAAC: [video, aac]).isNeeded && !VariantPlan(inAAC: [video]).isNeeded)
        // WebRTC has it the other way round.
        #expect(VariantPlan(forWebRTC: [video, aac], isReordered: false).codecs == [1: .opus])
    }
}

/// A stream of VP8 (90 kHz) and Opus (48 kHz), whose publisher's reports are of one wall clock.
@Suite struct VariantClockTests {
    private let tracks = [TrackDescription(codec: .vp8), TrackDescription(codec: .opus)]
    private static let began: UInt64 = 1_700_000_000_000_000_000

    private func frame(_ track: Int, _ timestamp: UInt32, _ milliseconds: Int64) -> MediaFrame {
        MediaFrame(track: track, data: [1], time: .milliseconds(milliseconds), timestamp: timestamp)
    }

    private func ntp(_ milliseconds: UInt64) -> UInt64 {
        NTPTime(unixNanoseconds: Self.began + milliseconds * 1_000_000).rawValue
    }

    /// Nanoseconds from the first one to the second.
    private func distance(_ from: NTPTime?, _ to: NTPTime?) throws -> Int64 {
        let (from, to) = (try #require(from), try #require(to))
        return Int64(bitPattern: to.unixNanoseconds &- from.unixNanoseconds)
    }

    /// The stream's clock puts pictures in line by and by; theirs runs on as the publisher's does, also over a wrap.
    @Test func aTrackKeepsItsOwnClock() {
        var clock = VariantClock(tracks, began: Self.began)
        let first = UInt32.max - 45_000
        #expect(clock.place(frame(0, first, 400)) == .milliseconds(400))
        #expect(clock.place(frame(0, first &+ 90_000, 1_350)) == .milliseconds(1_400))
        #expect(clock.place(frame(0, first &+ 180_000, 2_300)) == .milliseconds(2_400))
        // Pictures out of order.
        #expect(clock.place(frame(0, first &+ 177_000, 2_267)).nanoseconds / 1_000_000 == 2_366)
    }

    @Test func reportsSayHowTheClocksBelongTogether() throws {
        var clock = VariantClock(tracks, began: Self.began)
        // Of the same moment, before anything else; the pictures came half a second late.
        clock.handleReport(track: 0, ntp: ntp(5_000), timestamp: 9_000)
        clock.handleReport(track: 1, ntp: ntp(5_000), timestamp: 4_800)
        let picture = clock.place(frame(0, 9_000, 500))
        let sound = clock.place(frame(1, 4_800, 0))
        #expect(try distance(clock.ntp(track: 0, at: picture), clock.ntp(track: 1, at: sound)) == 0)
        #expect(clock.ntp(track: 0, at: picture)?.rawValue == ntp(5_000))
        let later = clock.place(frame(0, 9_000 + 90_000, 1_450))
        #expect(try distance(clock.ntp(track: 1, at: sound), clock.ntp(track: 0, at: later)) == 1_000_000_000)
    }

    @Test func withoutReportsFramesOfOneTimeBelongTogether() throws {
        var clock = VariantClock(tracks, began: Self.began)
        #expect(clock.ntp(track: 0, at: .zero) == nil)
        let picture = clock.place(frame(0, 70_000, 100))
        #expect(clock.ntp(track: 1, at: .zero) == nil)
        let sound = clock.place(frame(1, 1_000, 160))
        #expect(try distance(clock.ntp(track: 0, at: picture), clock.ntp(track: 1, at: sound)) == 60_000_000)
        // One of them says when it was: the other goes with it.
        let version = clock.version
        clock.handleReport(track: 1, ntp: ntp(9_000), timestamp: 1_000)
        #expect(clock.version != version)
        #expect(clock.ntp(track: 1, at: sound)?.rawValue == ntp(9_000))
        let apart = try distance(clock.ntp(track: 0, at: picture), clock.ntp(track: 1, at: sound))
        #expect(abs(apart - 60_000_000) < 1_000)
    }

    /// A source that begins anew counts from elsewhere: time goes on, and what reports said is forgotten.
    @Test func aNewBeginningGoesOn() throws {
        var clock = VariantClock(tracks, began: Self.began)
        _ = clock.place(frame(0, 70_000, 0))
        clock.handleReport(track: 0, ntp: ntp(1_000), timestamp: 70_000)
        var jumped = frame(0, 3_000_000_000, 2_000)
        jumped.flags = .discontinuity
        let place = clock.place(jumped)
        #expect(place == .milliseconds(2_000))
        clock.handleReport(track: 0, ntp: ntp(3_500), timestamp: 3_000_000_000)
        #expect(clock.ntp(track: 0, at: place)?.rawValue == ntp(3_500))
    }

    @Test func noNumberTraps() {
        var clock = VariantClock(tracks, began: .max)
        var random = SeededRandom(seed: 7)
        for _ in 0..<20_000 {
            let track = Int(random.next() % 3)
            let time = Interval(nanoseconds: Int64(truncatingIfNeeded: random.next()) >> (random.next() % 60))
            if random.next() % 4 == 0 {
                clock.handleReport(
                    track: track, ntp: random.next(), timestamp: UInt32(truncatingIfNeeded: random.next()))
            } else {
                var frame = MediaFrame(
                    track: track, data: [], time: time, timestamp: UInt32(truncatingIfNeeded: random.next()))
                if random.next() % 8 == 0 { frame.flags = .discontinuity }
                _ = clock.ntp(track: track, at: clock.place(frame))
            }
        }
    }
}
